"""
Per key one warm-up at a time (single flight), over threads and tasks.

Whoever claims a cold key first leads; the others wait for the warm-up to end, or do as ``while_warming`` says. A claim
that is dropped (interrupt, cancellation, a failed validation) leaves the key cold and keeps the runs that were finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from jitwarmup.analysis.drift import Drift
from jitwarmup.host.callers import Caller, between_steps
from jitwarmup.host.event_loops import until_woken
from jitwarmup.keys.registry import KeyRegistry
from jitwarmup.keys.state import InFlight, KeyState, WarmupOutcome
from jitwarmup.records.errors import NotReady
from jitwarmup.records.runs import Phase, Run, State, Warmup

BEING_WARMED = "being_warmed"
LOOK_S = 1.0  # between two looks whether whoever leads can still end it


class Wait:
    """A procedure's request to wait for somebody: ``block`` in a thread, ``sleep`` in a task, where the event loop goes on."""

    __slots__ = ()

    def block(self) -> Any:
        raise NotImplementedError

    async def sleep(self) -> Any:
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class WaitForWarmup(Wait):
    """The request to wait for a warm-up; answered with whether it ended in time (``deadline``: None for no limit)."""

    in_flight: InFlight
    deadline: float | None

    def hopeful(self, *, asleep: bool) -> bool:
        """Whether whoever leads can end it while we wait; else the call is the plain call, at once."""
        return self.in_flight.leader.goes_on(asleep=asleep) and not between_steps()

    def seconds(self) -> float:
        """How long to wait until the next look whether that still holds: a loop may stop, a thread may end."""
        return LOOK_S if self.deadline is None else min(LOOK_S, max(0.0, self.deadline - time.monotonic()))

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def block(self) -> bool:
        event = threading.Event()
        if not self.in_flight.join(event.set):
            return True
        try:
            while self.hopeful(asleep=False):
                if event.wait(self.seconds()):
                    return True
                if self.late:
                    return False
            return self.in_flight.outcome is not None
        finally:
            self.in_flight.leave(event.set)

    async def sleep(self) -> bool:
        while self.hopeful(asleep=True):
            woken = await until_woken(self.in_flight.join, self.in_flight.leave, self.seconds())
            if woken or woken is None or self.late:
                return bool(woken)
        return self.in_flight.outcome is not None


class Claim:
    """
    The right and duty to warm one key, once ``acquire`` got it. Left without ``finish``, it counts as interrupted.

    Entered before it is acquired, and twice (``with claim, claim:``): an interrupt may come at the very beginning of an
    exit, and a key that nobody gives back is waited for for ever. ``entry`` is None beyond the bound on keys. Whoever
    makes it leads, a coroutine where it is ``asynchronous``.
    """

    def __init__(self, registry: KeyRegistry, entry: KeyState | None, *, asynchronous: bool = False) -> None:
        self.registry = registry
        self.entry = entry
        self.asynchronous = asynchronous
        self.in_flight = InFlight(Caller(asynchronous=asynchronous))

    @property
    def held(self) -> KeyState | None:
        """The key, while it is ours to warm."""
        entry = self.entry
        return entry if entry is not None and entry.in_flight is self.in_flight else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(State.COLD, "interrupted")

    def take(self, *, demand: bool) -> InFlight | None:
        """Take the key where it has to be warmed (``demand``: failed ones too); else the warm-up of whoever has it."""
        entry = self.entry
        if entry is None:
            return None
        with self.registry.lock:
            before = entry.in_flight
            if before is not None and not before.leader.ended:
                return before
            warm = entry.is_warm and not (demand and entry.unready)
            if not warm and (demand or entry.state is not State.FAILED):
                entry.in_flight = self.in_flight
                entry.state = State.WARMING if entry.resumable_runs else State.VALIDATING
        if before is not None:  # whoever led is gone without an end: those who wait for it come here
            before.end("interrupted")
        return None

    def acquire(
        self, *, policy: str, wait_s: float | None, demand: bool, name: str
    ) -> Generator[WaitForWarmup, bool, bool]:
        """Whether the key is ours to warm; False where it is warm or the call shall run plainly. May raise NotReady."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while (other := self.take(demand=demand)) is not None:
            wait = WaitForWarmup(other, deadline)
            if policy == "pass" or not wait.hopeful(asleep=self.asynchronous):
                return False
            if policy == "raise":
                raise NotReady(
                    f"{name} is being warmed up by another caller and while_warming='raise' was chosen; try again when "
                    f".ready is true, or choose while_warming='wait' or 'pass'"
                )
            in_time = yield wait
            if not in_time or (other.outcome == "failed" and not demand):
                return False
        return self.held is not None

    def progress(self, state: State, planned: int | None = None) -> None:
        """Note the phase that is under way, and how many runs are planned in all."""
        if (entry := self.held) is not None:
            entry.state, entry.planned = state, planned

    def keep(self, runs: Sequence[Run]) -> None:
        """Keep finished runs for whoever goes on, should this warm-up be interrupted."""
        if (entry := self.entry) is not None:
            entry.resumable_runs = tuple(run for run in runs if run.outcome == "ok" and run.phase is not Phase.MEASURE)

    def finish(
        self,
        state: State,
        outcome: WarmupOutcome,
        warmup: Warmup | None = None,
        reason: str | None = None,
        own: Sequence[Run] | None = None,
    ) -> None:
        """End the warm-up: set the key's state and wake the waiters. Only the first call counts; ``own`` are this rank's runs."""
        with self.registry.lock:
            entry = self.held
            if entry is not None:
                entry.state = state
                entry.reason = reason if reason is not None or outcome != "interrupted" else "interrupted"
                if not entry.unready or outcome == "warm":
                    entry.demotion = None
                if outcome != "interrupted":
                    entry.resumable_runs = ()
                if warmup is not None:
                    entry.warmup, entry.drift, entry.unread = warmup, Drift(), []
                    entry.recurring.observe_warmup(warmup.runs if own is None else own)
                entry.in_flight = None  # last: interrupted before it, the key is still ours to finish
        if entry is not None:
            self.registry.changed()
        self.in_flight.end(outcome)
