"""Torch's compile callbacks: put in once, put back after a reset, taken out, and never in anybody's way."""

import subprocess
import sys

import pytest

from jitwarmup.host.scope import RunContext
from jitwarmup.probes import compile_callbacks
from jitwarmup.probes.compile_callbacks import CALLBACKS
from jitwarmup.probes.run_table import RUNS, Compile


@pytest.fixture(autouse=True)
def released():
    yield
    CALLBACKS.release("a")
    CALLBACKS.release("b")


@pytest.fixture
def token():
    token = RunContext()
    RUNS.enter(token)
    yield token
    RUNS.leave(token)


def test_two_holders_share_one_pair_and_the_last_takes_it_out(fake_dynamo):
    handler = fake_dynamo.handler
    assert CALLBACKS.ensure("a") is None
    assert CALLBACKS.ensure("b") is None
    assert (len(handler.start_callbacks), len(handler.end_callbacks)) == (1, 1)
    CALLBACKS.release("a")
    assert CALLBACKS.present
    CALLBACKS.release("b")
    assert (handler.start_callbacks, handler.end_callbacks) == ([], [])
    assert not CALLBACKS.present


def test_other_peoples_callbacks_stay(fake_dynamo):
    fake_dynamo.handler.register_start_callback(theirs := lambda *_: None)
    CALLBACKS.ensure("a")
    CALLBACKS.release("a")
    assert fake_dynamo.handler.start_callbacks == [theirs]


def test_a_reset_takes_them_out_and_ensure_puts_them_back(fake_dynamo):
    CALLBACKS.ensure("a")
    fake_dynamo.handler.start_callbacks.clear()
    assert not CALLBACKS.present
    CALLBACKS.ensure("a")
    assert (len(fake_dynamo.handler.start_callbacks), len(fake_dynamo.handler.end_callbacks)) == (1, 1)


def test_a_handler_of_another_form_is_said_to_be_unknown(fake_dynamo):
    del fake_dynamo.handler.end_callbacks
    assert "not as known" in CALLBACKS.ensure("a")


def test_a_handler_that_keeps_nothing_is_found_out(fake_dynamo):
    fake_dynamo.handler.register_end_callback = lambda callback: None
    assert "not kept" in CALLBACKS.ensure("a")


def test_a_compile_is_told_to_the_run_it_happened_in(fake_dynamo, token):
    CALLBACKS.ensure("a")
    fake_dynamo.start("0/1")
    fake_dynamo.end("0/1")
    [(notice, own)] = token.hook_events
    assert own
    assert notice.backstop
    assert (notice.source, notice.work.kind) == ("dynamo", "dynamo.recompile")
    assert notice.work.duration_s > 0


def test_a_backward_and_a_recording_have_their_own_kinds(fake_dynamo, token):
    CALLBACKS.ensure("a")
    for trigger in ("LAZY_BACKWARD", "CUDAGRAPH_RECORDING", "CUDAGRAPH_RECORDING"):
        fake_dynamo.start("0/0", trigger)
        fake_dynamo.end("0/0", trigger)
    events = [(notice.source, notice.work.kind, notice.backstop) for notice, _ in token.hook_events]
    assert events == [
        ("dynamo", "aot.backward", True),
        ("cudagraph", "cudagraph.record", False),
        ("cudagraph", "cudagraph.rerecord", False),
    ]


def test_after_a_reset_the_same_id_is_a_first_recording_again(fake_dynamo, token):
    for _ in range(2):
        CALLBACKS.ensure("a")
        fake_dynamo.start("0/0", "CUDAGRAPH_RECORDING")
        fake_dynamo.end("0/0", "CUDAGRAPH_RECORDING")
        fake_dynamo.handler.start_callbacks.clear()
    assert [notice.work.kind for notice, _ in token.hook_events] == ["cudagraph.record"] * 2


def test_children_that_ended_within_a_compile_are_told_by_their_cpu_seconds(fake_dynamo, token):
    CALLBACKS.ensure("a")
    fake_dynamo.start()
    subprocess.run([sys.executable, "-c", "import os\nwhile sum(os.times()[:2]) < 0.3: pass"], check=True)
    fake_dynamo.end()
    [work] = [notice.work for notice, _ in token.hook_events if notice.source == "subprocess"]
    assert (work.kind, work.duration_s) == ("compiler.subprocess", None)
    seconds, _, words = work.reason.partition(" ")
    assert words == "s of CPU in child processes that ended"
    assert float(seconds) >= 0.3


@pytest.mark.parametrize("broken", ["compile_started", "compile_ended", "push"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_callback_never_raises(fake_dynamo, token, monkeypatch, broken, error):
    def fail(*args, **kwargs):
        raise error

    CALLBACKS.ensure("a")
    monkeypatch.setattr(type(RUNS), broken, fail)
    fake_dynamo.start()
    fake_dynamo.end()
    monkeypatch.undo()
    RUNS.open.clear()


def test_a_compile_that_has_not_ended_says_so():
    compiled = Compile("DYNAMO", ("3/0",), (None,), 1, False, 0, 0)
    work = compile_callbacks.unexplained_compile(compiled)
    assert (work.kind, work.duration_s, work.reason) == ("dynamo.capture", None, "under way in another thread")
