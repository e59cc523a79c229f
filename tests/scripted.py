"""The engine is tested without probes (they have rooms of their own): a watch that sees what a test tells it to see."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from jitwarmup import OneTimeWork, RankFailed, steady_state
from jitwarmup.engine import instruments, options
from jitwarmup.events.sinks import Recorder
from jitwarmup.host import process_size
from jitwarmup.host.scope import RunContext
from jitwarmup.probes import Observation
from jitwarmup.records.protocols import Exchanged
from jitwarmup.testing import FakeClock, RecordingMonitor


class ScriptedProbeSet:
    """Has the face of a `ProbeSet`. ``seen`` holds what the next windows shall see; ``open_now`` counts open windows."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.open_now = 0
        self.suspended = 0

    def arm(self) -> None: ...

    def disarm(self) -> None: ...

    def watched(self) -> tuple[str, ...]:
        return ("scripted",)

    def unwatched(self) -> Mapping[str, str]:
        return {"absent": "not loaded"}

    def open(self, context: RunContext, *, cpu: bool = True) -> RunContext:
        self.open_now += 1
        context.reading = self
        context.enter()
        return context

    def close(self, context: RunContext) -> Observation:
        context.leave()
        run = context.first or context
        if run.reading is None:  # closed already, or never opened
            return Observation()
        run.reading = None
        self.open_now -= 1
        return self.seen.pop(0) if self.seen else Observation()

    def suspend(self, context: RunContext) -> None:
        context.leave()
        self.suspended += 1

    def resume(self, context: RunContext) -> None:
        context.enter()
        self.suspended -= 1


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProbeSet]:
    scripted = ScriptedProbeSet()
    monkeypatch.setattr(instruments, "probe_set_of", lambda probes: scripted)
    monkeypatch.setattr(options, "probe_set_of", lambda probes: scripted)
    yield scripted
    assert scripted.open_now == 0, "a window was opened and never closed"


@pytest.fixture(autouse=True)
def captured(events: Recorder) -> None:
    """Every test of the engine captures events, whether it looks at them or not."""


class Log(list[str]):
    """One list that a clock, a monitor and the user's function write into."""

    def clock(self, step_ns: int = 1000) -> FakeClock:
        return FakeClock(step_ns=step_ns, log=self)

    def monitor(self, **options: Any) -> RecordingMonitor:
        return RecordingMonitor(log=self, **options)

    def text(self) -> str:
        return " ".join(self)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def names(events: Recorder) -> Callable[[], list[str]]:
    """The names of the events so far, without their common beginning."""
    return lambda: [entry["event"].removeprefix("jitwarmup.") for entry in events]


# ------------------------------------------------------------------ several ranks in one process

PATIENCE_S = 30.0  # nobody in these tests is waited for longer; a rank that is, fails its test


class Job:
    """
    Several ranks as threads or tasks of one process: what they tell each other goes through here, and no process.

    Behaves as the real side group does: a round is over when all members have said something; a member that leaves
    breaks its generation, and each of the others hears of it once. ``lose(n)`` breaks exchange ``n`` for all.
    """

    def __init__(self, size: int = 2) -> None:
        self.members = tuple(range(size))
        self.changed = threading.Condition()
        self.rounds: dict[tuple[int, int], dict[int, bytes]] = {}
        self.broken: dict[int, RankFailed] = {}
        self.lost_at: dict[int, RankFailed] = {}
        self.participants = [Participant(self, rank) for rank in self.members]

    def lose(self, exchange: int, *ranks: int) -> None:
        """Let everybody's exchange of that number (from 0 on) end with the loss of some ranks."""
        self.lost_at[exchange] = RankFailed("rank 9 is gone: its process ended", ranks or (9,))

    def put(self, participant: Participant, message: bytes) -> tuple[int, int]:
        """A rank says something; the round that it belongs to."""
        with self.changed:
            place = (participant.generation, participant.round)
            participant.round += 1
            self.rounds.setdefault(place, {})[participant.rank] = message
            self.changed.notify_all()
        return place

    def result_of(self, participant: Participant, place: tuple[int, int]) -> Exchanged | None:
        """What came of a round; None while others are waited for."""
        rows = self.rounds[place]
        if len(rows) == len(self.members):
            return Exchanged(tuple(rows[rank] for rank in self.members))
        if place[0] in self.broken:
            participant.generation, participant.round = place[0] + 1, 0
            return Exchanged(lost=self.broken[place[0]])
        return None

    def leave(self, participant: Participant, reason: str) -> None:
        """A rank breaks its generation; the first one counts."""
        with self.changed:
            error = RankFailed(
                f"rank {participant.rank} left the measurement ({reason})", (participant.rank,), left=True
            )
            self.broken.setdefault(participant.generation, error)
            participant.generation, participant.round = participant.generation + 1, 0
            self.changed.notify_all()

    # ------------------------------------------------------------------ running

    def run(self, body: Callable[[Participant], Any]) -> list[Any]:
        """What ``body(participant)`` returned or raised on each rank, each in a thread of its own."""
        got: list[Any] = [None] * len(self.participants)

        def work(participant: Participant) -> None:
            PARTICIPANT.set(participant)
            try:
                got[participant.rank] = body(participant)
            except BaseException as error:
                got[participant.rank] = error

        threads = [threading.Thread(target=work, args=(participant,), daemon=True) for participant in self.participants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads), "a rank hangs"
        return self.checked(got)

    def arun(self, body: Callable[[Participant], Any]) -> list[Any]:
        """The same in tasks of one event loop."""

        async def work(participant: Participant) -> Any:
            PARTICIPANT.set(participant)
            return await body(participant)

        async def main() -> list[Any]:
            return await asyncio.gather(
                *(work(participant) for participant in self.participants), return_exceptions=True
            )

        return self.checked(asyncio.run(main()))

    @staticmethod
    def checked(got: list[Any]) -> list[Any]:
        """What tests themselves assert inside of a rank fails the test."""
        for each in got:
            if isinstance(each, AssertionError):
                raise each
        return got


class Participant:
    """One rank's place: it is the `Ranks` port, and holds a clock, a watch and a recorder of its own."""

    def __init__(self, job: Job, rank: int) -> None:
        self.job = job
        self.rank = rank
        self.generation = 0
        self.round = 0
        self.log: list[str] = []
        self.clock = FakeClock(step_ns=1, log=self.log)
        self.events = Recorder()
        self.watch = ScriptedProbeSet()
        self.watches: tuple[str, ...] = ("dynamo",)
        self.watch.watched = lambda: self.watches  # type: ignore[method-assign]
        self.sent: list[bytes] = []
        self.left: list[str] = []
        self.interrupts: dict[int, BaseException] = {}  # exchange (from 0 on) -> what interrupts this rank's wait
        self.late: dict[int, BaseException] = {}  # the same before it has said anything

    @property
    def members(self) -> tuple[int, ...]:
        return self.job.members

    def exchange(self, message: bytes) -> Meeting:
        self.log.append("exchange")
        self.sent.append(message)
        if len(self.sent) - 1 in self.late:
            raise self.late.pop(len(self.sent) - 1)
        return Meeting(self, len(self.sent) - 1, self.job.put(self, message))

    def leave(self, reason: str) -> None:
        self.left.append(reason)
        self.job.leave(self, reason)

    # ------------------------------------------------------------------ what tests want of a rank

    def block(self, *call: Any, **settings: Any) -> Any:
        """A block with this rank's clock and recorder; ranks agree in it unless it is told otherwise."""
        return steady_state(*call, **{"clock": self.clock, "log": self.events, "ranks": self, **settings})

    def function(
        self,
        *seconds: float,
        error: Mapping[int, BaseException] | None = None,
        work: Mapping[int, Sequence[OneTimeWork]] | None = None,
    ) -> Callable[..., int]:
        """A user's function that takes so long (the last time for ever), fails in some runs, and pays for work in some."""
        runs = 0

        def user(*args: Any) -> int:
            nonlocal runs
            run, runs = runs, runs + 1
            self.log.append("user")
            self.clock.advance(seconds[min(run, len(seconds) - 1)] if seconds else 1.0)
            self.watch.seen = [Observation(work=tuple((work or {}).get(run, ())))]
            if error is not None and run in error:
                raise error[run]
            return 1000 * self.rank + run

        return user

    def lines(self) -> list[str]:
        """Level and name of its events."""
        return [f"{event['level']} {event['event'].removeprefix('jitwarmup.')}" for event in self.events]


class Meeting:
    """One exchange of a `Participant`."""

    def __init__(self, participant: Participant, number: int, place: tuple[int, int]) -> None:
        self.participant = participant
        self.number = number
        self.place = place

    def outcome(self) -> Exchanged | None:
        if self.number in self.participant.interrupts:
            raise self.participant.interrupts.pop(self.number)
        job, lost = self.participant.job, self.participant.job.lost_at.get(self.number)
        if lost is not None:
            job.broken.setdefault(self.place[0], lost)
            self.participant.generation, self.participant.round = self.place[0] + 1, 0
        exchanged = Exchanged(lost=lost) if lost is not None else job.result_of(self.participant, self.place)
        if exchanged is not None:
            self.participant.log.append("lost" if exchanged.lost is not None else "heard")
        return exchanged

    def block(self) -> Exchanged:
        found: list[Exchanged] = []

        def over() -> bool:
            found[:] = [exchanged for exchanged in [self.outcome()] if exchanged is not None]
            return bool(found)

        with self.participant.job.changed:
            assert self.participant.job.changed.wait_for(over, PATIENCE_S), (
                f"rank {self.participant.rank} waits for ever"
            )
        return found[0]

    async def sleep(self) -> Exchanged:
        until = time.monotonic() + PATIENCE_S
        while (exchanged := self.outcome()) is None:
            assert time.monotonic() < until, f"rank {self.participant.rank} waits for ever"
            await asyncio.sleep(0)
        return exchanged


PARTICIPANT: ContextVar[Participant] = ContextVar("participant")


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """
    Makes jobs of several ranks. The port `Ranks` is the seam that was made for this: no process, no torch, no network.

    Every rank has a watch of its own; all are of one size, since they are one process.
    """
    monkeypatch.setattr(instruments, "probe_set_of", lambda probes: PARTICIPANT.get().watch)
    monkeypatch.setattr(options, "probe_set_of", lambda probes: PARTICIPANT.get().watch)
    monkeypatch.setattr(process_size, "read", process_size.Size)
    return Job
