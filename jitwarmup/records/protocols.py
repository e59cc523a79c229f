"""
The protocols through which the outside world is met. Each is one to five methods; any object that has them fits.

Clock, Monitor, Probe, Emitter, Ranks and Rule are the places where the project grows: write one file, hand the object to
``steady_state`` or ``warmed``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jitwarmup.records.runs import Decision, OneTimeWork, Run
from jitwarmup.records.verdict import Reason

Rule = Callable[[Sequence[Run]], Decision]


@runtime_checkable
class Clock(Protocol):
    """Reads monotonic time; ``fence`` waits until work that was started on a device has ended."""

    def now(self) -> int:
        """Monotonic nanoseconds."""

    def fence(self) -> None:
        """Wait for the device; must create no context."""


class MonitorWindow(Protocol):
    """What ``Monitor.window`` yields: ``reading`` is there after the exit (a DeviceReading, or None)."""

    @property
    def reading(self) -> Any: ...


@runtime_checkable
class Monitor(Protocol):
    """A device meter. Optional further methods: ``start``, ``stop`` and the attribute ``running``."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def window(self, name: str) -> AbstractContextManager[MonitorWindow]: ...


@dataclass(frozen=True, slots=True)
class ArmState:
    """Whether a probe can look: ``armed``, ``dormant`` (its module is not loaded yet) or ``unavailable`` with a reason."""

    state: Literal["armed", "dormant", "unavailable"]
    reason: str | None = None


class Probe(Protocol):
    """
    A source of one-time work. No method may raise, compile, import a heavy module or wait for a device.

    ``arm`` is asked again at every boundary and must be cheap; ``snapshot`` returns an immutable reading; ``delta``
    is pure over two readings; ``disarm`` restores exactly what ``arm`` found and may be called twice.
    """

    name: str

    def arm(self) -> ArmState: ...

    def snapshot(self) -> Any: ...

    def delta(self, before: Any, after: Any) -> Sequence[OneTimeWork]: ...

    def disarm(self) -> None: ...


class RunAnnotation(Protocol):
    """
    What code inside of a run leaves behind (token times, facts of generation), read when the clock has stopped.

    ``finish`` gets the run's first clock reading and returns ``first_item_s``, ``item_gaps_s`` and ``items``, or
    nothing. ``facts`` is asked of one note of each class, over all notes of a measurement with the runs that left them.
    """

    def finish(self, t0_ns: int) -> Mapping[str, Any]: ...

    def facts(
        self, notes: Sequence[tuple[Run, RunAnnotation]], runs: Sequence[Run]
    ) -> tuple[Mapping[str, str | int | float | bool], Sequence[Reason]]: ...


@runtime_checkable
class Emitter(Protocol):
    """A sink of events. Fields are builtin JSON types; ``emit`` must not raise (the caller guards it all the same)."""

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came of one exchange: the message of each member, in their order; or why it failed (a RankFailed), and nothing."""

    messages: tuple[bytes, ...] = ()
    lost: Exception | None = None


class Exchange(Protocol):
    """One exchange under way. Neither way of waiting raises for what another rank did: that is in the Exchanged."""

    def block(self) -> Exchanged:
        """Wait in a thread."""

    async def sleep(self) -> Exchanged:
        """Wait in a task; the event loop goes on."""


@runtime_checkable
class Ranks(Protocol):
    """
    Several processes that decide alike, because each hears what all of them say.

    ``rank`` is this process's in the whole job, ``members`` are the ranks that agree, in an order that is the same on
    all. Every member calls ``exchange`` equally often. ``leave`` tells the others, without waiting, that this rank will
    not come to the next one; it may be called twice.
    """

    @property
    def rank(self) -> int: ...

    @property
    def members(self) -> tuple[int, ...]: ...

    def exchange(self, message: bytes) -> Exchange: ...

    def leave(self, reason: str) -> None: ...
