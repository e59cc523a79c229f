"""One key of a warmed function: where it stands, and the warm-up that is under way for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from weakref import WeakSet

from jitwarmup.analysis.drift import Drift
from jitwarmup.analysis.recurrence import RecurringWork
from jitwarmup.events.guard import FAULTS
from jitwarmup.host.callers import Caller
from jitwarmup.host.fork_safe import snapshot_of
from jitwarmup.records.first_run import FirstRun
from jitwarmup.records.runs import Run, State, Warmup

BUDGET_SPENT = "budget_spent"
UNREAD = 16  # clean calls of a warm key that wait until they are looked at for drift, which costs some microseconds
WARM_STATES = (State.WARM, State.STEADY, State.DEGRADED)  # warmed up, whatever happened to it since
WarmupOutcome = Literal["warm", "failed", "interrupted"]


class InFlight:
    """
    A warm-up in progress, and its ``leader``; those who wait are woken when it ends, in threads and event loops alike.

    Takes no lock: a signal handler may join while its thread joins, leaves or ends.
    """

    def __init__(self, leader: Caller | None = None) -> None:
        self.leader = Caller() if leader is None else leader
        self.outcome: WarmupOutcome | None = None
        self._wakers: list[Callable[[], Any]] = []

    def end(self, outcome: WarmupOutcome) -> None:
        """Wake everybody who still waits; only the first outcome counts."""
        self.outcome = self.outcome or outcome
        for wake in list(self._wakers):
            wake()

    def join(self, wake: Callable[[], Any]) -> bool:
        """Ask to be woken; False where it has ended already."""
        self._wakers.append(wake)  # before the look: who ends it sets the outcome first, then wakes
        return self.outcome is None

    def leave(self, wake: Callable[[], Any]) -> None:
        """Do not wake this one."""
        with suppress(ValueError):
            self._wakers.remove(wake)


@dataclass(frozen=True, slots=True)
class Demotion:
    """
    Steady state was lost after the warm-up.

    ``policy`` is that of ``on_loss``. ``clean_calls_wanted`` is how many clean calls in a row make the key warm again;
    0 where none do: until it is warmed up again, or (the recompile limit) for as long as the process lives.
    """

    reason: str
    policy: str = "mark"
    clean_calls_wanted: int = 0


@dataclass(slots=True, eq=False)
class KeyState:
    """
    One key: its `State`, and at most one `Demotion`.

        from                    by                                    to
        COLD, FAILED            a caller claims it (FAILED: .warm)    VALIDATING, or WARMING where runs can be resumed
        VALIDATING              the validation run ends well          WARMING
        VALIDATING, WARMING     the warm-up ends well                 WARM, or STEADY where steady state was proven
        VALIDATING, WARMING     validation fails, an interruption     COLD
        WARMING                 a warm-up run fails                   FAILED
        WARM, STEADY            one-time work on a live call, drift   DEGRADED with a Demotion (on_loss="rewarm": COLD)
        DEGRADED                enough clean calls, drift is over     WARM, without a Demotion

    ``in_flight`` is set exactly while somebody warms it. ``resumable_runs`` are the finished runs of an interrupted
    warm-up, from which the next one goes on.
    """

    label: str
    instance_id: int = 0
    state: State = State.COLD
    demotion: Demotion | None = None
    warmup: Warmup | None = None
    resumable_runs: tuple[Run, ...] = ()
    in_flight: InFlight | None = None
    requested: bool = False  # .warm, .warm_all or a lifespan asked for it
    planned: int | None = None  # runs of the warm-up under way, where a count decides
    reason: str | None = None  # why it stands where it stands, in words that hold no value
    first: FirstRun | None = None
    recurring: RecurringWork = field(default_factory=lambda: RecurringWork(in_service=True))
    drift: Drift = field(default_factory=Drift)
    unread: list[tuple[int, float | None]] = field(default_factory=list)  # wall ns and wait s of its newest clean calls

    @property
    def is_warm(self) -> bool:
        """Whether the key was warmed up, whatever happened to it since."""
        return self.state in WARM_STATES

    @property
    def unready(self) -> bool:
        """Whether readiness was taken back, until the key is warmed again."""
        return self.demotion is not None and self.demotion.policy == "unready"

    @property
    def left_over(self) -> bool:
        """Whether a ``degraded`` preparation had no budget left for it, and it was not warmed since."""
        return self.reason == BUDGET_SPENT and self.state is State.COLD


class Observer(Protocol):
    """Whoever keeps a copy of how the keys stand: other processes read it there."""

    def note_change(self) -> None: ...


OBSERVERS: Final[WeakSet[Observer]] = WeakSet()


def note_change() -> None:
    """A key of some function got warm, lost that, or is called for the first time in this process."""
    for observer in snapshot_of(OBSERVERS):
        try:
            observer.note_change()
        except BaseException as error:  # noqa: BLE001 - raised again where it is an interrupt
            FAULTS.contain(error, of_port=True)
