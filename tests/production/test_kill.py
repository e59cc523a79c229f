"""
An exception and a KeyboardInterrupt from each place in turn, with another caller waiting: afterwards the key's state, the
monitor, the random streams and the waiter are right. The matrix is printed.
"""

import asyncio
import random
import threading
from contextvars import copy_context
from types import SimpleNamespace

import pytest

from jitwarmup import OneTimeWork, State, steady_state, warmed
from jitwarmup.events import emit
from jitwarmup.testing import RecordingMonitor, capture_events

PLACES = (
    "validation run",
    "warm-up run",
    "timed run",
    "key function",
    "fresh function",
    "accept function",
    "probe snapshot",
    "probe delta",
    "monitor pause",
    "monitor resume",
    "monitor window+",
    "monitor window-",
    "emitter",
)
ERRORS = (RuntimeError, KeyboardInterrupt)
OURS_TO_CATCH = ("probe", "monitor", "emitter")  # a failing one of these never breaks a user's call


class StepByStep:
    """A probe of the user's that sees work in every run; whose it is depends on which other runs are open."""

    name = "steps"

    def arm(self):
        return SimpleNamespace(state="armed", reason=None)

    def snapshot(self) -> None: ...

    def delta(self, before, after):
        return [OneTimeWork(kind="step")]

    def disarm(self) -> None: ...


def no_run_was_left_open():
    """A run that was never closed would make the work of every later one shared."""
    with capture_events(), steady_state(probes=[StepByStep()]) as steady:
        pass
    return [work.scope for work in steady.block.work if work.kind == "step"] == ["own"]


class Fuse:
    """Raises once, at its place, in the leader's thread only."""

    def __init__(self, place, error) -> None:
        self.place, self.error, self.leader, self.blown = place, error, None, False

    def at(self, place) -> None:
        if place == self.place and not self.blown and threading.current_thread() is self.leader:
            self.blown = True
            raise self.error("planted")


class FusedProbe:
    """A probe of the user's that may blow."""

    name = "fused"

    def __init__(self, fuse) -> None:
        self.fuse = fuse

    def arm(self):
        return SimpleNamespace(state="armed", reason=None)

    def snapshot(self):
        self.fuse.at("probe snapshot")

    def delta(self, before, after):
        self.fuse.at("probe delta")
        return ()

    def disarm(self) -> None: ...


class FusedEmitter:
    def __init__(self, fuse) -> None:
        self.fuse = fuse

    def emit(self, event, level, fields) -> None:
        self.fuse.at("emitter")


class Scene:
    """One leader that blows, one waiter that has to get its value all the same."""

    def __init__(self, place, error) -> None:
        self.fuse = fuse = Fuse(place, error)
        self.monitor = RecordingMonitor(fail=lambda note: fuse.at(f"monitor {note}"))
        self.block = steady_state(probes=[FusedProbe(fuse)])
        self.begun = threading.Event()
        self.runs = 0
        self.function = warmed(
            iterations=2, key=self.key, fresh=self.fresh, accept=self.accept, monitor=self.monitor, rng="restore"
        )(self.body)
        self.outcome: dict[str, object] = {}

    def key(self, x):
        self.fuse.at("key function")

    def fresh(self, x):
        self.fuse.at("fresh function")
        return (x,), {}

    def accept(self, value):
        self.fuse.at("accept function")
        return True

    def body(self, x):
        random.random()
        entry = self.function._core.entry((), (x,), {})
        state = entry.state
        if threading.current_thread() is self.fuse.leader and state is State.VALIDATING:
            self.begun.set()
            for _ in range(500):
                if entry.in_flight is not None and entry.in_flight._wakers:
                    break
                threading.Event().wait(0.01)
        self.fuse.at({State.VALIDATING: "validation run", State.WARMING: "warm-up run"}.get(state, "timed run"))
        return x + 1

    def call(self, who):
        try:
            self.outcome[who] = self.function(1)
        except BaseException as error:
            self.outcome[who] = type(error)
        finally:
            self.begun.set()

    def play(self):
        random.seed(7)
        states = [random.getstate(), random.random() and random.getstate()]
        random.seed(7)
        leader = self.fuse.leader = threading.Thread(target=copy_context().run, args=(self.call, "leader"))
        waiter = threading.Thread(target=copy_context().run, args=(self.call, "waiter"))
        leader.start()
        assert self.begun.wait(30)
        waiter.start()
        leader.join(30)
        waiter.join(30)
        assert not leader.is_alive(), "the leader hangs"
        assert not waiter.is_alive(), "the waiter hangs"
        return states


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_after_a_kill_everything_is_right(place, error, capsys) -> None:
    scene = Scene(place, error)
    fuse = scene.fuse
    with emit.captured(FusedEmitter(fuse)), scene.block:
        scene.play()
    with capsys.disabled():
        print(
            f"\n{place:16} {error.__name__:18} leader {scene.outcome['leader']!s:30} -> {scene.function.state}", end=""
        )
    assert fuse.blown, "the place was never reached"
    assert scene.outcome["waiter"] == 2, "the waiter got somebody else's exception"
    caught = error is RuntimeError and (place.startswith(OURS_TO_CATCH) or place == "warm-up run")
    assert scene.outcome["leader"] == (2 if caught else error)
    refused = place in ("validation run", "accept function") and error is RuntimeError  # the waiter ran plainly
    failed = place == "warm-up run" and error is RuntimeError
    assert scene.function.state is (State.COLD if refused else State.FAILED if failed else State.WARM)
    assert scene.monitor.paused <= 0 or place == "monitor resume", "the monitor was left paused"
    assert no_run_was_left_open()
    assert scene.function._core.entry((), (1,), {}).in_flight is None
    before = random.getstate()
    scene.function.warm(1)
    assert random.getstate() == before
    assert scene.function.state is State.WARM
    assert scene.function(1) == 2
    found = scene.function.coverage()
    assert found.calls == sum(one.count for one in found.missed) + found.hits


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("place", [place for place in PLACES if place != "timed run"])
def test_alone_the_random_streams_are_as_one_plain_call_or_none_leaves_them(place, error, monkeypatch) -> None:
    scene = Scene(place, error)
    random.seed(7)
    untouched = random.getstate()
    random.random()
    once = random.getstate()
    random.setstate(untouched)
    monkeypatch.setattr(threading.Event, "wait", lambda *_: True)  # nobody comes: do not wait for them
    with emit.captured(FusedEmitter(scene.fuse)), scene.block:
        scene.fuse.leader = threading.current_thread()
        scene.call("leader")
        assert scene.fuse.blown
    assert random.getstate() in (untouched, once)
    assert no_run_was_left_open()


@pytest.mark.parametrize("at", ["validate", "warm", "measure", "waiting"])
def test_a_cancelled_task_frees_its_waiters_and_keeps_its_finished_runs(at, events) -> None:
    async def main():
        reached, release, runs = asyncio.Event(), asyncio.Event(), []
        hold = {"validate": 0, "warm": 2, "measure": 4, "waiting": 1}[at]

        @warmed(iterations=3)
        async def answer():
            runs.append(1)
            if len(runs) - 1 == hold and not reached.is_set():
                reached.set()
                await release.wait()
            return 7

        leader = asyncio.create_task(answer())
        waiter = asyncio.create_task(answer())
        await asyncio.wait_for(reached.wait(), 30)
        doomed, other = (waiter, leader) if at == "waiting" else (leader, waiter)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        release.set()
        assert await asyncio.wait_for(other, 30) == 7
        return answer.state, len(runs)

    state, runs = asyncio.run(main())
    assert state is State.WARM
    assert runs == {"validate": 1 + 5, "warm": 1 + 5, "measure": 4 + 1 + 1, "waiting": 5}[at]
    assert no_run_was_left_open()
