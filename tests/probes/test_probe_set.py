"""The facade: armed once, quiet when nothing moves, silent between open and close, and never in the user's way."""

import asyncio
import gc
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from jitwarmup import OneTimeWork
from jitwarmup.host.scope import CURRENT
from jitwarmup.probes import probe_set
from jitwarmup.probes.probe_set import DEFAULT, THREAD, Observation, ProbeSet, merged
from jitwarmup.probes.process import Collections, Imports
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState


class Meter:
    """A probe as the Protocol asks for, and no more: a number that rises, and a list of everything asked of it."""

    name = "meter"

    def __init__(self):
        self.value = 0
        self.asked = []

    def arm(self):
        self.asked.append("arm")
        return ArmState("armed")

    def snapshot(self):
        self.asked.append("snapshot")
        return self.value

    def delta(self, before, after):
        self.asked.append("delta")
        return [OneTimeWork(kind="meter.step", count=after - before)] if after > before else []

    def disarm(self):
        self.asked.append("disarm")


class Stamped(Meter):
    """A probe with a stamp: its snapshot is only read when the stamp has moved."""

    name = "stamped"

    def stamp(self):
        self.asked.append("stamp")
        return self.value


def described(seen):
    return [(item.kind, item.count, item.scope) for item in seen.work]


def step(meter, by=1):
    meter.value += by


def test_a_probe_of_the_users_is_read_at_both_edges_of_every_run(make_look):
    meter = Meter()
    look = make_look(meter)
    meter.asked.clear()
    assert described(look(step, meter, 3)) == [("meter.step", 3, "own")]
    assert described(look(lambda: None)) == []
    assert meter.asked == ["arm", *["snapshot", "snapshot", "delta"] * 2]


def test_a_probe_with_a_stamp_is_read_in_full_only_when_it_moved(make_look):
    meter = Stamped()
    look = make_look(meter)
    look(lambda: None)
    meter.asked.clear()
    assert described(look(lambda: None)) == []
    assert meter.asked == ["stamp", "stamp"]
    meter.asked.clear()
    assert described(look(step, meter)) == [("meter.step", 1, "own")]
    assert meter.asked == ["stamp", "stamp", "arm", "stamp", "snapshot", "delta"]


def test_what_moves_between_runs_belongs_to_no_run(make_look):
    meter = Stamped()
    look = make_look(meter)
    look(lambda: None)
    step(meter)
    assert described(look(lambda: None)) == []
    assert described(look(step, meter)) == [("meter.step", 1, "own")]


def test_nothing_is_read_between_open_and_close(make_look, monkeypatch):
    """Every reading there is goes through one of these: none is made while user code runs."""
    reads = []
    meter, stamped = Meter(), Stamped()
    look = make_look(*DEFAULT, meter, stamped)
    look(lambda: None)
    for probe in DEFAULT:
        for method in ("stamp", "snapshot", "delta", "attributed", "arm"):
            if hasattr(probe, method):
                monkeypatch.setattr(probe, method, counted(getattr(probe, method), reads))
    monkeypatch.setattr(THREAD, "read", counted(THREAD.read, reads))
    monkeypatch.setattr(probe_set.dynamo_records, "read", counted(probe_set.dynamo_records.read, reads))
    look.watch.arm()

    def user():
        return len(reads), len(meter.asked), len(stamped.asked)

    begun = []

    def twice():
        begun.append(user())
        list(range(10_000))
        begun.append(user())

    for _ in range(3):
        look(twice)
        assert begun[-1] == begun[-2]
    assert len(reads) > 10  # and the counters do count: at the edges something was read


def test_a_quiet_run_reads_stamps_only(make_look, monkeypatch):
    reads = []
    for probe in DEFAULT:
        monkeypatch.setattr(probe, "snapshot", counted(probe.snapshot, reads))
    stamped = Stamped()
    look = make_look(*DEFAULT, stamped)
    look(lambda: None)
    reads.clear()
    stamped.asked.clear()
    for _ in range(3):
        assert look(lambda: None).work == ()
    assert reads == []
    assert stamped.asked == ["stamp"] * 6


def counted(function, reads):
    def call(*args, **kwargs):
        reads.append(function)
        return function(*args, **kwargs)

    return call


def test_watches_share_their_hooks_and_the_last_takes_them_out():
    before = len(gc.callbacks)
    first, second = ProbeSet(), ProbeSet()
    first.arm()
    second.arm()
    second.arm()
    assert len(gc.callbacks) == before + 1
    first.disarm()
    first.disarm()
    assert len(gc.callbacks) == before + 1
    second.disarm()
    assert len(gc.callbacks) == before
    assert not RUNS.held


def test_opening_arms_a_watch_that_was_not_armed_or_was_disarmed(make_look):
    meter = Meter()
    watch = ProbeSet([meter])
    assert watch.states() == {}
    watch.close(watch.open())
    assert watch.watched() == ("meter", "interference")
    watch.disarm()
    assert meter.asked[-1] == "disarm"
    watch.close(watch.open())
    assert meter.asked.count("disarm") == 1
    watch.disarm()


def test_each_probe_says_whether_it_looks(monkeypatch, make_look):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torch", "triton", "transformers")]:
        monkeypatch.delitem(sys.modules, name)
    watch = make_look().watch
    assert watch.watched() == ("import", "dlopen", "gc", "interference")
    assert watch.unwatched() == dict.fromkeys(
        ["dynamo", "inductor", "cudagraph", "allocator", "triton", "transformers", "subprocess"], "not loaded"
    )
    assert watch.states()["dynamo"].state == "dormant"


def test_a_state_without_a_reason_is_its_own_reason(make_look):
    meter = Meter()
    meter.arm = lambda: ArmState("unavailable")
    assert make_look(meter).watch.unwatched() == {"meter": "unavailable"}


@pytest.mark.parametrize("kind", [Meter, Stamped])
@pytest.mark.parametrize("method", ["arm", "snapshot", "delta", "stamp", "disarm"])
def test_a_probe_that_raises_is_out_and_the_user_never_notices(kind, method, make_look):
    meter, other = kind(), Collections()
    watch = ProbeSet([meter, other])
    watch.close(watch.open())

    def fail(*args):
        raise ValueError("hunter2")

    setattr(meter, method, fail)
    step(meter)
    for _ in range(2):
        token = watch.open()
        step(meter)
        gc.collect()
        seen = watch.close(token)
        assert "gc.collect" in [item.kind for item in seen.work]
    watch.disarm()
    if method in ("snapshot", "delta") or (kind is Stamped and method in ("stamp", "arm")):
        assert watch._broken["meter" if kind is Meter else "stamped"].reason == f"{method} raised ValueError"


def test_a_broken_probe_is_listed_as_unavailable_with_its_reason(make_look):
    meter = Meter()
    look = make_look(meter)
    meter.snapshot = lambda: 1 / 0
    look(lambda: None)
    assert look.watch.unwatched() == {"meter": "snapshot raised ZeroDivisionError"}
    look.watch.arm()
    assert look.watch.unwatched() == {"meter": "snapshot raised ZeroDivisionError"}


@pytest.mark.parametrize("found", [None, ["no work"]])
def test_a_probe_that_returns_something_else_is_out(found, make_look):
    meter = Meter()
    look = make_look(meter)
    meter.delta = lambda before, after: found
    assert look(step, meter).work == ()
    assert look.watch.unwatched() == {"meter": f"delta returned {type(found).__name__}"}


def test_a_reading_may_be_an_array_whose_comparison_is_no_bool(make_look):
    meter = Meter()
    meter.snapshot = lambda: np.array([meter.value, meter.value])
    meter.delta = lambda before, after: [OneTimeWork(kind="meter.step", count=int((after - before)[0]))]
    assert described(make_look(meter)(step, meter)) == [("meter.step", 1, "own")]


def test_the_users_exception_is_let_through_and_the_run_is_closed(look):
    with pytest.raises(KeyError):
        look({}.__getitem__, "x")
    assert isinstance(look.seen[0], Observation)
    assert not RUNS.live


def test_closing_twice_sees_nothing(make_look):
    meter = Meter()
    watch = make_look(meter).watch
    token = watch.open()
    step(meter)
    assert described(watch.close(token)) == [("meter.step", 1, "own")]
    step(meter)
    assert watch.close(token) == Observation()


def test_the_thread_is_read_and_absent_where_the_run_ended_elsewhere(look):
    seen = look(lambda: None)
    assert seen.cpu_s > 0
    assert seen.switches is None or seen.switches >= 0
    token = look.watch.open()
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(look.watch.close(token)))
    thread.start()
    thread.join()
    assert (elsewhere[0].cpu_s, elsewhere[0].wait_s, elsewhere[0].switches) == (None, None, None)
    CURRENT.set(None)


def test_what_is_pulled_while_runs_overlap_is_shared(make_look):
    meter = Meter()
    look = make_look(meter)
    outer = look.watch.open()
    thread = threading.Thread(target=look, args=(step, meter))
    thread.start()
    thread.join()
    assert described(look.seen[0]) == [("meter.step", 1, "shared")]
    assert described(look.watch.close(outer)) == [("meter.step", 1, "shared")]


def test_what_an_inner_run_does_is_own_of_both(make_look):
    meter = Meter()
    look = make_look(meter)
    outer = look.watch.open()
    assert described(look(step, meter)) == [("meter.step", 1, "own")]
    step(meter)
    assert described(look.watch.close(outer)) == [("meter.step", 2, "own")]


def test_two_watches_see_the_same_run_each_with_its_own_probes():
    meter, other = Meter(), Collections()
    first, second = ProbeSet([meter]), ProbeSet([other])
    tokens = first.open(), second.open()
    step(meter)
    gc.collect()
    seen = second.close(tokens[1]), first.close(tokens[0])
    assert [described(one) for one in seen] == [[("gc.collect", 1, "own")], [("meter.step", 1, "own")]]
    first.disarm()
    second.disarm()


def test_tasks_that_run_side_by_side_are_told_apart_by_what_is_pushed(make_look):
    look = make_look(Collections())

    async def task(barrier, busy):
        token = look.watch.open()
        await barrier.wait()
        if busy:
            gc.collect()
        await barrier.wait()
        return look.watch.close(token)

    async def main():
        barrier = asyncio.Barrier(2)
        return await asyncio.gather(task(barrier, busy=True), task(barrier, busy=False))

    busy, idle = asyncio.run(main())
    assert described(busy) == [("gc.collect", 1, "own")]
    assert described(idle) == [("gc.collect", 1, "foreign")]


def test_to_thread_takes_the_run_along(make_look):
    look = make_look(Collections())

    async def main():
        token = look.watch.open()
        await asyncio.to_thread(gc.collect)
        return look.watch.close(token)

    assert described(asyncio.run(main())) == [("gc.collect", 1, "own")]


def test_a_thread_without_the_context_is_foreign(make_look):
    look = make_look(Collections())

    def user():
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()

    assert described(look(user)) == [("gc.collect", 1, "foreign")]


def test_what_a_streams_consumer_does_is_not_the_streams(make_look):
    look = make_look(Collections())
    token = look.watch.open()
    look.watch.suspend(token)
    gc.collect()
    step = token.next_step()
    look.watch.resume(step)
    assert described(look.watch.close(step)) == []
    assert CURRENT.get() is None


def test_a_module_that_is_still_being_imported_is_asked_again_at_the_next_run(make_look, monkeypatch, module):
    half = module("triton")
    half.__spec__ = SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "triton", half)
    look = make_look()
    look(lambda: None)
    assert look.watch.unwatched()["triton"] == "being imported"
    half.__spec__ = None
    look(lambda: None)
    assert look.watch.unwatched()["triton"] == "triton has no compilation hook that is known"


def test_a_run_wholly_inside_another_threads_compile_shares_it(make_look, fake_dynamo, kinds):
    look = make_look(*DEFAULT)
    started, done = threading.Event(), threading.Event()

    def work():
        fake_dynamo.start("7/0")
        started.set()
        done.wait(10)
        fake_dynamo.end("7/0")

    thread = threading.Thread(target=work)
    thread.start()
    started.wait(10)
    inside = look(lambda: None)
    ends = look(lambda: (done.set(), thread.join()))
    after = look(lambda: None)
    assert kinds(inside, "shared") == ["dynamo.capture"]
    assert inside.work[0].reason == "under way in another thread"
    assert kinds(ends, "shared") == ["dynamo.capture"]
    assert kinds(after, "shared") == kinds(after) == []


def test_a_record_that_torch_appends_after_its_compile_belongs_to_the_former_run(
    make_look, fake_dynamo, kinds, record, monkeypatch
):
    """The end callback came in the first run, the record in the second: the second did not compile."""
    look = make_look(*DEFAULT)

    def compiles():
        def work():
            fake_dynamo.start("7/0")
            fake_dynamo.end("7/0")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    first = look(compiles)
    late = RUNS.compiles[-1].started_us
    second = look(fake_dynamo.records.append, record(compile_id="7/0", start_time_us=late - 5, end_time_us=late + 5))
    assert kinds(first) == ["dynamo.capture"]  # its own: the thread began in it
    assert kinds(second, "shared") == kinds(second) == []


def test_an_id_that_starts_again_after_a_reset_is_matched_by_its_time(make_look, fake_dynamo, kinds, record):
    look = make_look(*DEFAULT)
    fake_dynamo.start("0/0")
    fake_dynamo.end("0/0")
    later = RUNS.compiles[-1].started_us + 1_000_000
    seen = look(fake_dynamo.records.append, record(start_time_us=later, end_time_us=later + 10))
    assert kinds(seen) == ["dynamo.capture"]


def test_without_records_the_callbacks_tell(make_look, fake_dynamo, kinds):
    """``set_compilation_metrics_limit(0)``."""
    from collections import deque

    fake_dynamo.utils._compilation_metrics = deque(maxlen=0)
    look = make_look(*DEFAULT)

    def compiles():
        fake_dynamo.start("0/1")
        fake_dynamo.end("0/1")

    seen = look(compiles)
    assert kinds(seen) == ["dynamo.recompile"]
    assert seen.work[0].duration_s > 0


def test_a_compile_whose_end_never_came_does_not_haunt_later_runs(make_look, fake_dynamo, kinds):
    look = make_look(*DEFAULT)
    look(fake_dynamo.start, "0/0")
    fake_dynamo.handler.start_callbacks.clear()
    seen = look(lambda: None)
    assert kinds(seen) == kinds(seen, "foreign") == kinds(seen, "shared") == []


def test_a_watch_without_dynamo_hears_nothing_of_compiles(make_look, fake_dynamo):
    make_look(*DEFAULT)
    look = make_look(Imports())

    def compiles():
        fake_dynamo.start()
        fake_dynamo.end()

    assert look(compiles).work == ()


def test_equal_pieces_become_one():
    one = OneTimeWork(kind="a", count=2, duration_s=0.5)
    two = OneTimeWork(kind="a", count=3, duration_s=None)
    assert merged([one, two, one]) == (OneTimeWork(kind="a", count=7, duration_s=1.0),)
    assert merged([two, two]) == (OneTimeWork(kind="a", count=6),)
    assert len(merged([one, OneTimeWork(kind="a", reason="b"), OneTimeWork(kind="a", scope="foreign")])) == 3
    assert merged([]) == ()


def test_importing_the_probes_loads_nothing_heavy(child):
    script = """
        import json, sys
        from jitwarmup.probes.probe_set import ProbeSet
        watch = ProbeSet(); watch.arm(); watch.close(watch.open()); watch.disarm()
        print(json.dumps([name for name in ("torch", "numpy", "transformers", "triton", "structlog") if name in sys.modules]))
    """
    assert child(script) == []


def test_arming_with_torch_loaded_does_not_load_dynamo(child):
    script = """
        import json, sys
        import torch
        from jitwarmup.probes.probe_set import ProbeSet
        watch = ProbeSet(); watch.arm(); watch.close(watch.open())
        print(json.dumps([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]))
    """
    assert child(script) == []


def test_probes_are_armed_once_where_a_signal_handler_comes_in_the_middle_of_it():
    class Reentered:
        name = "reentered"
        times = 0

        def arm(self):
            self.times += 1
            watch.arm()  # as a warmed function does that a handler calls
            return ArmState("armed")

        def snapshot(self): ...

        def delta(self, before, after):
            return ()

        def disarm(self): ...

    watch = ProbeSet([probe := Reentered()])
    watch.arm()
    assert probe.times == 1
    watch.arm()
    assert probe.times == 2
    watch.disarm()
