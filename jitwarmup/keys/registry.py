"""
What is warm, and who is warming it: the one mutable thing that all calls of a warmed function share.

Per key one warm-up at a time (single flight). Whoever claims a cold key first gets a *lease* and leads; the others wait
for the flight to land, or do as ``while_warming`` says. A lease that is dropped (interrupt, cancellation, a failed
validation) leaves the key cold and keeps the runs that were finished.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from jitwarmup.analysis.habits import RecurringWork
from jitwarmup.host.process_size import Size
from jitwarmup.keys.counters import KEYS_AT_MOST, HitCounter
from jitwarmup.keys.summary import CallSummary
from jitwarmup.records.errors import NotReady
from jitwarmup.records.runs import Phase, Run, State, Warmup

ROUNDS = 64  # warm-ups that are remembered to tell whether the process grows by each
BUDGET_SPENT = "budget_spent"
BEING_WARMED = "being_warmed"
Landing = Literal["warm", "failed", "interrupted"]
Key = tuple[int, Hashable]


class InFlight:
    """A warm-up in progress; those who wait for it are woken when it lands, in threads and event loops alike."""

    def __init__(self) -> None:
        self.landed: Landing | None = None
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], Any]] = []

    def land(self, how: Landing) -> None:
        """Wake everybody who waits still; landing again changes nothing else."""
        with self._lock:
            self.landed = self.landed or how
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def join(self, wake: Callable[[], Any]) -> bool:
        """Ask to be woken; False where the flight has landed already."""
        with self._lock:
            if self.landed is None:
                self._wakers.append(wake)
        return self.landed is None

    def leave(self, wake: Callable[[], Any]) -> None:
        """Ask no more."""
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)


class Wait:
    """The wish of a course to wait for somebody: in a thread, or in a task."""

    __slots__ = ()

    def block(self) -> Any:
        """Wait in a thread."""
        raise NotImplementedError

    async def sleep(self) -> Any:
        """Wait in a task; the event loop goes on."""
        raise NotImplementedError


class WaitForWarmup(Wait):
    """The wish to wait for a flight; answered with whether it landed in time."""

    __slots__ = ("deadline", "flight")

    def __init__(self, flight: InFlight, deadline: float | None) -> None:
        self.flight = flight
        self.deadline = deadline

    def seconds(self) -> float | None:
        """Seconds left, None for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def block(self) -> bool:
        """Wait in a thread."""
        event = threading.Event()
        if not self.flight.join(event.set):
            return True
        try:
            return event.wait(self.seconds())
        finally:
            self.flight.leave(event.set)

    async def sleep(self) -> bool:
        """Wait in a task; the event loop goes on."""
        loop = asyncio.get_running_loop()
        landed = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(landed.set)

        if not self.flight.join(wake):
            return True
        try:
            await asyncio.wait_for(landed.wait(), self.seconds())
        except TimeoutError:
            return False
        finally:
            self.flight.leave(wake)
        return True


class KeyState:
    """One key: its state, its warm-up, and the runs of an interrupted warm-up that still count."""

    __slots__ = (
        "asked",
        "finished",
        "flight",
        "habits",
        "label",
        "lost",
        "planned",
        "reason",
        "state",
        "token",
        "unready",
        "warmup",
    )

    def __init__(self, label: str, token: int = 0) -> None:
        self.label = label
        self.token = token
        self.state = State.COLD
        self.warmup: Warmup | None = None
        self.finished: tuple[Run, ...] = ()
        self.flight: InFlight | None = None
        self.asked = False
        self.lost = 0  # clean calls that are wanted before the key is warm again after a loss
        self.unready = False  # readiness was taken back, until the key is warmed again
        self.planned: int | None = None  # runs of the warm-up under way, where a count decides
        self.reason: str | None = None  # why it stands where it stands, in words that hold no value
        self.habits = RecurringWork()

    @property
    def is_warm(self) -> bool:
        """Whether the key was warmed up, whatever happened to it since."""
        return self.state in (State.WARM, State.STEADY, State.DEGRADED)

    @property
    def left_over(self) -> bool:
        """Whether a ``degraded`` preparation had no budget left for it, and it was not warmed since."""
        return self.reason == BUDGET_SPENT and self.state is State.COLD


class Claim:
    """
    The right and duty to warm one key, once ``KeyRegistry.turn`` has claimed it. Left without ``settle``, it counts as interrupted.

    Entered before the claim, and twice (``with lease, lease:``): an interrupt may come at the very beginning of an exit,
    and a key that nobody gives back is waited for for ever. ``entry`` is None beyond the bound on keys.
    """

    def __init__(self, ledger: KeyRegistry, entry: KeyState | None) -> None:
        self.ledger = ledger
        self.entry = entry
        self.flight = InFlight()

    @property
    def held(self) -> KeyState | None:
        """The key, while it is ours to warm."""
        entry = self.entry
        return entry if entry is not None and entry.flight is self.flight else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(State.COLD, "interrupted")

    def progress(self, state: State, planned: int | None = None) -> None:
        """Tell the phase that is under way, and how many runs are planned in all."""
        if (entry := self.held) is not None:
            entry.state = state
            entry.planned = planned

    def finished(self, runs: Sequence[Run]) -> None:
        """Keep finished runs for whoever goes on, should this warm-up be interrupted."""
        if (entry := self.entry) is not None:
            entry.finished = tuple(run for run in runs if run.outcome == "ok" and run.phase is not Phase.MEASURE)

    def settle(
        self,
        state: State,
        how: Landing,
        warmup: Warmup | None = None,
        reason: str | None = None,
        own: Sequence[Run] | None = None,
    ) -> None:
        """
        End the warm-up: set the key's state and wake the waiters. Only the first settling counts.

        ``own``: the warm-up's runs with this rank's work only, from which its habits are learnt.
        """
        with self.ledger.lock:
            entry = self.held
            if entry is not None:
                entry.state = state
                entry.reason = reason if reason is not None or how != "interrupted" else "interrupted"
                entry.lost, entry.unready = 0, entry.unready and how != "warm"
                if how != "interrupted":
                    entry.finished = ()
                if warmup is not None:
                    entry.warmup = warmup
                    entry.habits.learn(warmup.runs if own is None else own)
                entry.flight = None  # last: interrupted before it, the key is still ours to settle
        if entry is not None:
            self.ledger.changed()
        self.flight.land(how)


class KeyRegistry:
    """The keys of one warmed function."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.entries: dict[Key, KeyState] = {}
        self.latched: set[int] = set()
        self.dead: deque[int] = deque()
        self.watching: dict[int, weakref.ref[Any]] = {}
        self.listeners: list[Callable[[], None]] = []
        self.tally = CallSummary()
        self.counts = HitCounter()
        self.rounds: deque[Size] = deque(maxlen=ROUNDS)  # what the process held after each of the newest warm-ups
        self.limit_told = False
        self.name = ""
        self.planned: int | None = None  # runs of a warm-up, where a count decides
        REGISTRIES.add(self)

    def after_fork(self) -> None:
        """In a child, what is warm stays warm; a warm-up that was under way goes on in the parent only."""
        self.lock = threading.RLock()
        self.counts.renew()
        self.tally.renew()
        for entry in self.entries.values():
            if entry.flight is not None:
                entry.flight = None
                entry.state = State.COLD
                entry.finished = ()
                entry.reason = "forked while it was being warmed up"

    def changed(self) -> None:
        """Tell those who keep a shortcut for warm keys."""
        for listener in self.listeners:
            listener()

    def token_of(self, instance: Any) -> int:
        """
        The identity of an instance as part of a key; 0 for none. The instance is not kept alive.

        Where it can be weakly referenced, its keys go when it goes. Where it cannot (``__slots__`` without
        ``__weakref__``), identity is the address, which a later object may get again.
        """
        if instance is None:
            return 0
        self.sweep()
        token = id(instance)
        if token not in self.watching:
            try:
                self.watching[token] = weakref.ref(instance, functools.partial(self.note_death, token))
            except TypeError:
                return token
        return token

    def note_death(self, token: int, _: object) -> None:
        """An instance is gone. This may run anywhere, in any thread, so it only leaves a note."""
        self.dead.append(token)

    def sweep(self) -> None:
        """Forget instances that are gone."""
        while self.dead:
            with self.lock:
                try:
                    token = self.dead.popleft()
                except IndexError:  # another thread was quicker
                    return
                self.watching.pop(token, None)
                self.latched.discard(token)
                for key in [key for key in self.entries if key[0] == token]:
                    del self.entries[key]
            self.changed()

    def entry(self, key: Key) -> KeyState | None:
        """The entry of a key, made where there is room; None where the bound on keys is reached."""
        found = self.entries.get(key)
        if found is not None:
            return found
        with self.lock:
            if len(self.entries) >= KEYS_AT_MOST and key not in self.entries:
                return None
            return self.entries.setdefault(key, KeyState(label_of(key[1], len(self.entries) + 1), key[0]))

    def claim(self, lease: Claim, entry: KeyState, *, demand: bool) -> InFlight | None:
        """
        Give the lease its key, where that has to be warmed; ``demand`` warms failed keys again.

        Returns:
            The flight of whoever is warming the key already; None where nobody is to be waited for.

        """
        with self.lock:
            if entry.flight is not None:
                return entry.flight
            settled = entry.is_warm and not (demand and entry.unready)
            if not settled and (demand or entry.state is not State.FAILED):
                entry.flight = lease.flight
                entry.state = State.VALIDATING if not entry.finished else State.WARMING
        return None

    def turn(
        self, lease: Claim, *, policy: str, wait_s: float | None, demand: bool, name: str
    ) -> Generator[WaitForWarmup, bool, bool]:
        """
        Whether the lease got its key; False where the key is warm or the call shall run plainly.

        Raises:
            NotReady: somebody else is warming this key and the policy says ``raise``.

        """
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            other = None if lease.entry is None else self.claim(lease, lease.entry, demand=demand)
            if other is None:
                return lease.held is not None
            if policy == "raise":
                raise NotReady(
                    f"{name} is being warmed up by another caller and while_warming='raise' was chosen; try again when "
                    f".ready is true, or choose while_warming='wait' or 'pass'"
                )
            if policy == "pass":
                return False
            in_time = yield WaitForWarmup(other, deadline)
            if not in_time or (other.landed == "failed" and not demand):
                return False

    def met(self, token: int | None) -> list[KeyState]:
        """The keys met so far (of one instance). Takes no lock: whoever asks for the state never waits."""
        for _ in range(8):
            try:
                return [entry for entry in list(self.entries.values()) if token in (None, entry.token)]
            except RuntimeError:  # a collection inside list() let another thread add a key
                continue
        return []

    def asked_or_met(self, token: int | None) -> list[KeyState]:
        """The keys that were asked to be warmed or, where none was, all keys met (of one instance)."""
        met = self.met(token)
        return [entry for entry in met if entry.asked] or met

    def state(self, token: int | None) -> State:
        """All keys in one word: the least of them."""
        states = {entry.state for entry in self.asked_or_met(token)}
        if any(entry.left_over for entry in self.met(token)):
            states.add(State.DEGRADED)
        return next((state for state in WORST_FIRST if state in states), State.COLD)

    def ready(self, token: int | None) -> bool:
        """Whether every key asked for (or the first) is warm; latches."""
        latch = token or 0
        if latch in self.latched:
            return True
        if not self.warm_now(token):
            return False
        self.latched.add(latch)
        if not self.warm_now(token):  # taken back while we looked
            self.latched.discard(latch)
            return False
        return True

    def warm_now(self, token: int | None) -> bool:
        """Whether every key asked for (or the first) is warm at this moment."""
        met = self.met(token)
        wanted = [entry for entry in met if entry.asked] or met[:1]
        return bool(wanted) and all(entry.is_warm and not entry.unready for entry in wanted)

    def take_back(self, entry: KeyState) -> None:
        """The key is not to be relied upon until it is warmed again: readiness latches no more."""
        with self.lock:
            entry.unready = True
            self.latched -= {0, entry.token}


REGISTRIES: weakref.WeakSet[KeyRegistry] = weakref.WeakSet()


def after_fork_in_child() -> None:
    """Locks that another thread held would stay held for ever, and warm-ups of other threads would never land."""
    for ledger in tuple(REGISTRIES):
        ledger.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork_in_child)

WORST_FIRST = (
    State.FAILED,
    State.DEGRADED,
    State.VALIDATING,
    State.WARMING,
    State.COLD,
    State.WARM,
    State.STEADY,
)


def label_of(key: Hashable, number: int) -> str:
    """A key in words that hold no argument's value: shape keys name themselves, others get a number."""
    label = getattr(key, "label", None)
    if isinstance(label, str):
        return label
    return "default" if key is None else f"key-{number}"
