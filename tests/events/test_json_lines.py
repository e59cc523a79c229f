from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import structlog

from jitwarmup.events import JsonLines, schema
from jitwarmup.events.sanitize import to_json

FIELDS = {"schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0, "outcome": "ok"}
posix = pytest.mark.skipif(os.name != "posix", reason="pipes, /dev/full and signals of POSIX")


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_json_object_with_its_envelope_first(tmp_path):
    with JsonLines(tmp_path / "events.jsonl") as out:
        out.emit(schema.CALL, "info", FIELDS)
        out.emit(schema.CALL, "info", FIELDS)
    first, _ = read(out.path and Path(out.path))
    assert list(first)[:3] == ["timestamp", "level", "event"]
    assert first == {"timestamp": first["timestamp"], "level": "info", "event": schema.CALL, **FIELDS}
    assert len(str(first["timestamp"])) == len("2026-01-01T00:00:00.000000Z")


def test_json_keeps_every_type_and_hides_foreign_values():
    class Prompt:
        def __repr__(self):
            return "secret"

    fields = {"f": 1.0, "i": 1, "b": True, "s": "é\N{GRINNING FACE}", "l": ["a"], "n": None, "p": Prompt()}
    line = to_json(fields)
    back = json.loads(line)
    assert "\n" not in line
    assert back.pop("p").startswith("<")
    assert "secret" not in line
    assert back == {key: value for key, value in fields.items() if key != "p"}
    assert [type(back[key]) for key in "fib"] == [float, int, bool]


def test_processors_run_on_each_event_and_may_drop_it(tmp_path):
    def no_steady(_logger, _level, fields):
        if fields["event"] == schema.STEADY_STATE_REACHED:
            raise structlog.DropEvent
        return {**fields, "service": "chat"}

    with JsonLines(tmp_path / "e", processors=[no_steady]) as out:
        out.emit(schema.CALL, "info", FIELDS)
        out.emit(schema.STEADY_STATE_REACHED, "info", {})
    assert [entry["service"] for entry in read(tmp_path / "e")] == ["chat"]
    assert out.lost == 0


def test_a_raising_processor_loses_the_event_and_notes_so_once(tmp_path, capsys):
    def bad(_logger, _level, fields):
        raise ValueError("secret")

    out = JsonLines(tmp_path / "e", processors=[bad])
    out.emit(schema.CALL, "info", FIELDS)
    out.emit(schema.CALL, "info", FIELDS)
    captured = capsys.readouterr().err
    assert out.lost == 2
    assert captured.count("\n") == 1
    assert "ValueError" in captured
    assert "secret" not in captured


@posix
def test_a_full_disk_is_counted_and_noted_once(capsys):
    with JsonLines("/dev/full") as out:
        for _ in range(3):
            out.emit(schema.CALL, "info", FIELDS)
    assert out.lost == 3
    assert capsys.readouterr().err == (
        "jitwarmup: the log sink /dev/full could not be written (OSError); its event is lost, "
        "further ones are only counted\n"
    )


def test_a_path_that_cannot_be_opened_is_counted(tmp_path, capsys):
    out = JsonLines(tmp_path / "no" / "such" / "folder")
    out.emit(schema.CALL, "info", FIELDS)
    out.emit(schema.CALL, "info", FIELDS)
    assert out.lost == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_rotated_file_is_left_for_the_new_one(tmp_path):
    path = tmp_path / "events.jsonl"
    out = JsonLines(path)
    out.emit(schema.CALL, "info", FIELDS)
    path.rename(tmp_path / "events.jsonl.1")
    out.emit(schema.CALL, "info", FIELDS)
    path.write_bytes(b"")  # logrotate's copytruncate
    out.emit(schema.CALL, "info", FIELDS)
    assert len(read(tmp_path / "events.jsonl.1")) == 1
    assert len(read(path)) == 1
    assert out.lost == 0


@posix
def test_a_pipe_without_a_reader_loses_events_and_takes_them_again_when_one_comes(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    out = JsonLines(tmp_path / "pipe")
    out.emit(schema.CALL, "info", FIELDS)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    out.emit(schema.CALL, "info", FIELDS)
    assert json.loads(os.read(reader, 5000))["event"] == schema.CALL
    os.close(reader)
    out.emit(schema.CALL, "info", FIELDS)  # EPIPE
    assert out.lost == 2
    out.close()


@posix
def test_a_reader_that_stands_still_holds_nobody_up(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    out = JsonLines(tmp_path / "pipe")
    for _ in range(2000):
        out.emit(schema.CALL, "info", FIELDS)
    lines = os.read(reader, 1 << 20).decode().splitlines()
    assert 0 < len(lines) < 2000
    assert len(lines) + out.lost == 2000
    assert {json.loads(line)["event"] for line in lines} == {schema.CALL}
    os.close(reader)
    out.close()


def test_threads_share_one_file(tmp_path):
    out = JsonLines(tmp_path / "e")

    def write(number: int) -> None:
        for _ in range(500):
            out.emit(schema.CALL, "info", {**FIELDS, "rank": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(entry["rank"] for entry in read(tmp_path / "e")) == dict.fromkeys(range(4), 500)


@posix
def test_a_child_forked_while_another_thread_holds_the_lock_can_write(tmp_path):
    out = JsonLines(tmp_path / "e")
    out.emit(schema.CALL, "info", FIELDS)
    held, release = threading.Event(), threading.Event()

    def hold():
        with out._file.lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        out.emit(schema.CALL, "info", FIELDS)
        os._exit(out.lost)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(read(tmp_path / "e")) == 2


WRITER = """
import sys
from jitwarmup.events import schema
from jitwarmup.events import JsonLines
path, writer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
out = JsonLines(path)
wide = ["w" * 60] * 16  # most lines are a few hundred bytes, every tenth over a thousand
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    fields = {"callable": "module.generate", "duration_s": number / 1000, "outcome": "ok", "rank": writer, "items": number}
    if number % 10 == 0:
        fields["work"] = wide
    out.emit(schema.CALL, "info", schema.build(schema.CALL, fields))
assert out.lost == 0
"""


def start_writers(path: Path, count: int) -> list[subprocess.Popen[str]]:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        for number in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.close()
    return writers


def finish(writers: list[subprocess.Popen[str]]) -> list[int]:
    codes = [writer.wait(120) for writer in writers]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    return codes


@pytest.mark.slow
def test_eight_processes_write_eighty_thousand_whole_lines(tmp_path):
    path = tmp_path / "events.jsonl"
    assert finish(start_writers(path, 10_000)) == [0] * 8
    entries = read(path)
    assert len(entries) == 80_000
    for writer in range(8):  # each writer's lines are all there, in the order it wrote them
        assert [entry["items"] for entry in entries if entry["rank"] == writer] == list(range(10_000))


@pytest.mark.slow
@posix
def test_a_killed_process_loses_at_most_the_line_it_was_writing(tmp_path):
    path = tmp_path / "events.jsonl"
    writers = start_writers(path, 10_000)
    victim = writers[3]
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < 4_000_000:  # all eight are in full swing
        assert time.monotonic() < deadline
    victim.kill()
    codes = finish(writers)
    assert codes.pop(3) == -signal.SIGKILL
    assert codes == [0] * 7
    entries = read(path)
    written = Counter(entry["rank"] for entry in entries)
    assert {writer: written[writer] for writer in range(8) if writer != 3} == dict.fromkeys({*range(8)} - {3}, 10_000)
    assert 0 < written[3] < 10_000
    assert [entry["items"] for entry in entries if entry["rank"] == 3] == list(range(written[3]))


def test_an_interrupt_in_a_processor_passes_through(tmp_path):
    def stop(_logger, _level, fields):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        JsonLines(tmp_path / "e", processors=[stop]).emit(schema.CALL, "info", FIELDS)


@posix
def test_forked_children_write_each_line_once_and_none_of_them_by_halves(tmp_path):
    """Each opens the file anew: one position for all would make a child take another's line for half of its own."""
    children, lines = 6, 400
    out = JsonLines(tmp_path / "events.jsonl")
    out.emit("parent", "info", {"number": 0})
    started = []
    for number in range(children):
        child = os.fork()
        if not child:
            try:
                for line in range(lines):
                    out.emit(f"child {number}", "info", {"number": line, "padding": "x" * (line % 50)})
                grandchild = os.fork()
                out.emit("grandchild" if not grandchild else f"child {number}", "info", {"number": lines})
                if grandchild and os.waitpid(grandchild, 0)[1]:
                    os._exit(2)
            finally:
                os._exit(1 if out.lost or sys.exc_info()[0] else 0)
        started.append(child)
        out.emit("parent", "info", {"number": 1 + number})
    assert [os.waitpid(child, 0)[1] for child in started] == [0] * children
    out.emit("parent", "info", {"number": 1 + children})
    came = Counter((entry["event"], entry["number"]) for entry in read(tmp_path / "events.jsonl"))
    assert came.pop(("grandchild", lines)) == children
    assert set(came.values()) == {1}
    assert len(came) == children * (lines + 1) + children + 2
