from __future__ import annotations

import contextlib
import io
import os
import sys
import time

import pytest

from jitwarmup.events import SafeEmitter, guard
from jitwarmup.events.sinks import LineWriter, is_writable, write_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")


@pytest.fixture
def full_pipe():
    """A pipe whose reader stands still, as a stream to write to, and how to let the reader go on."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    stream = os.fdopen(writer, "w")
    yield stream, lambda: os.read(reader, 1 << 16)
    os.close(reader)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_full_pipe_is_not_writable_and_an_empty_one_is(full_pipe):
    stream, read_on = full_pipe
    began = time.monotonic()
    assert not is_writable(stream, 0.05)
    assert time.monotonic() - began >= 0.05
    read_on()
    assert is_writable(stream, 0)


def test_a_stream_without_a_descriptor_is_writable():
    assert is_writable(io.StringIO(), 0)
    assert is_writable(object(), 0)


def test_a_line_for_a_reader_that_stands_still_is_given_up(full_pipe, monkeypatch):
    stream, _ = full_pipe
    monkeypatch.setattr(sys, "stderr", stream)
    on_stderr, given = LineWriter(patience_s=0.01), LineWriter(stream, 0.01)
    began = time.monotonic()
    for _ in range(100):
        write_line("hello")
        on_stderr.write("hello")
        given.info("hello")
    assert time.monotonic() - began < 5
    assert not is_writable(stream, 0)


class Broken:
    def emit(self, event, level, fields):
        raise OSError("a secret")


def test_losses_are_counted_and_the_first_is_noted(capsys):
    sink = SafeEmitter(Broken())
    for _ in range(3):
        sink.emit("jitwarmup.call", "info", {})
    assert sink.lost == 3
    assert capsys.readouterr().err == (
        f"jitwarmup: the log sink {__name__}.Broken raised OSError; its event is lost, further ones are only counted\n"
    )


def test_a_thing_is_named_by_type_and_never_by_value():
    assert guard.name_of("secret") == "builtins.str"
    assert guard.name_of(guard.name_of) == "jitwarmup.events.guard.name_of"
