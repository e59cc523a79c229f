"""
What is warm, and who is warming it: the one mutable thing that all calls of a warmed function share.

Per key one warm-up at a time (single flight). Whoever claims a cold key first gets a *lease* and leads; the others wait
for the flight to land, or do as ``while_warming`` says. A lease that is dropped (interrupt, cancellation, a failed
validation) leaves the key cold and keeps the runs that were finished.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from jitwarmup.analysis.habits import RecurringWork
from jitwarmup.host import fork_safe
from jitwarmup.host.process_size import Size
from jitwarmup.keys.counters import KEYS_AT_MOST, HitCounter
from jitwarmup.keys.summary import CallSummary
from jitwarmup.records.errors import NotReady
from jitwarmup.records.runs import Phase, Run, State, Warmup

ROUNDS = 64  # warm-ups that are remembered to tell whether the process grows by each
BUDGET_SPENT = "budget_spent"
BEING_WARMED = "being_warmed"
WarmupOutcome = Literal["warm", "failed", "interrupted"]
Key = tuple[int, Hashable]


class InFlight:
    """A warm-up in progress; those who wait for it are woken when it lands, in threads and event loops alike."""

    def __init__(self) -> None:
        self.landed: WarmupOutcome | None = None
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], Any]] = []

    def land(self, how: WarmupOutcome) -> None:
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

    __slots__ = ("deadline", "in_flight")

    def __init__(self, in_flight: InFlight, deadline: float | None) -> None:
        self.in_flight = in_flight
        self.deadline = deadline

    def seconds(self) -> float | None:
        """Seconds left, None for no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def block(self) -> bool:
        """Wait in a thread."""
        event = threading.Event()
        if not self.in_flight.join(event.set):
            return True
        try:
            return event.wait(self.seconds())
        finally:
            self.in_flight.leave(event.set)

    async def sleep(self) -> bool:
        """Wait in a task; the event loop goes on."""
        loop = asyncio.get_running_loop()
        landed = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(landed.set)

        if not self.in_flight.join(wake):
            return True
        try:
            await asyncio.wait_for(landed.wait(), self.seconds())
        except TimeoutError:
            return False
        finally:
            self.in_flight.leave(wake)
        return True


class KeyState:
    """One key: its state, its warm-up, and the runs of an interrupted warm-up that still count."""

    __slots__ = (
        "finished",
        "in_flight",
        "instance_id",
        "label",
        "lost",
        "planned",
        "reason",
        "recurring",
        "requested",
        "state",
        "unready",
        "warmup",
    )

    def __init__(self, label: str, instance_id: int = 0) -> None:
        self.label = label
        self.instance_id = instance_id
        self.state = State.COLD
        self.warmup: Warmup | None = None
        self.finished: tuple[Run, ...] = ()
        self.in_flight: InFlight | None = None
        self.requested = False
        self.lost = 0  # clean calls that are wanted before the key is warm again after a loss
        self.unready = False  # readiness was taken back, until the key is warmed again
        self.planned: int | None = None  # runs of the warm-up under way, where a count decides
        self.reason: str | None = None  # why it stands where it stands, in words that hold no value
        self.recurring = RecurringWork()

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
    The right and duty to warm one key, once ``KeyRegistry.turn`` has claimed it. Left without ``finish``, it counts as interrupted.

    Entered before the claim, and twice (``with lease, lease:``): an interrupt may come at the very beginning of an exit,
    and a key that nobody gives back is waited for for ever. ``entry`` is None beyond the bound on keys.
    """

    def __init__(self, registry: KeyRegistry, entry: KeyState | None) -> None:
        self.registry = registry
        self.entry = entry
        self.in_flight = InFlight()

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

    def progress(self, state: State, planned: int | None = None) -> None:
        """Tell the phase that is under way, and how many runs are planned in all."""
        if (entry := self.held) is not None:
            entry.state = state
            entry.planned = planned

    def finished(self, runs: Sequence[Run]) -> None:
        """Keep finished runs for whoever goes on, should this warm-up be interrupted."""
        if (entry := self.entry) is not None:
            entry.finished = tuple(run for run in runs if run.outcome == "ok" and run.phase is not Phase.MEASURE)

    def finish(
        self,
        state: State,
        how: WarmupOutcome,
        warmup: Warmup | None = None,
        reason: str | None = None,
        own: Sequence[Run] | None = None,
    ) -> None:
        """
        End the warm-up: set the key's state and wake the waiters. Only the first settling counts.

        ``own``: the warm-up's runs with this rank's work only, from which its habits are learnt.
        """
        with self.registry.lock:
            entry = self.held
            if entry is not None:
                entry.state = state
                entry.reason = reason if reason is not None or how != "interrupted" else "interrupted"
                entry.lost, entry.unready = 0, entry.unready and how != "warm"
                if how != "interrupted":
                    entry.finished = ()
                if warmup is not None:
                    entry.warmup = warmup
                    entry.recurring.learn(warmup.runs if own is None else own)
                entry.in_flight = None  # last: interrupted before it, the key is still ours to settle
        if entry is not None:
            self.registry.changed()
        self.in_flight.land(how)


class KeyRegistry:
    """The keys of one warmed function."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.entries: dict[Key, KeyState] = {}
        self.latched: set[int] = set()
        self.dead: deque[int] = deque()
        self.watching: dict[int, weakref.ref[Any]] = {}
        self.listeners: list[Callable[[], None]] = []
        self.summary = CallSummary()
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
        self.summary.renew()
        for entry in self.entries.values():
            if entry.in_flight is not None:
                entry.in_flight = None
                entry.state = State.COLD
                entry.finished = ()
                entry.reason = "forked while it was being warmed up"

    def changed(self) -> None:
        """Tell those who keep a shortcut for warm keys."""
        for listener in self.listeners:
            listener()

    def instance_id_of(self, instance: Any) -> int:
        """
        The identity of an instance as part of a key; 0 for none. The instance is not kept alive.

        Where it can be weakly referenced, its keys go when it goes. Where it cannot (``__slots__`` without
        ``__weakref__``), identity is the address, which a later object may get again.
        """
        if instance is None:
            return 0
        self.sweep()
        instance_id = id(instance)
        if instance_id not in self.watching:
            try:
                self.watching[instance_id] = weakref.ref(instance, functools.partial(self.note_death, instance_id))
            except TypeError:
                return instance_id
        return instance_id

    def note_death(self, instance_id: int, _: object) -> None:
        """An instance is gone. This may run anywhere, in any thread, so it only leaves a note."""
        self.dead.append(instance_id)

    def sweep(self) -> None:
        """Forget instances that are gone."""
        while self.dead:
            with self.lock:
                try:
                    instance_id = self.dead.popleft()
                except IndexError:  # another thread was quicker
                    return
                self.watching.pop(instance_id, None)
                self.latched.discard(instance_id)
                for key in [key for key in self.entries if key[0] == instance_id]:
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

    def claim(self, claim: Claim, entry: KeyState, *, demand: bool) -> InFlight | None:
        """
        Give the lease its key, where that has to be warmed; ``demand`` warms failed keys again.

        Returns:
            The flight of whoever is warming the key already; None where nobody is to be waited for.

        """
        with self.lock:
            if entry.in_flight is not None:
                return entry.in_flight
            settled = entry.is_warm and not (demand and entry.unready)
            if not settled and (demand or entry.state is not State.FAILED):
                entry.in_flight = claim.in_flight
                entry.state = State.VALIDATING if not entry.finished else State.WARMING
        return None

    def acquire(
        self, claim: Claim, *, policy: str, wait_s: float | None, demand: bool, name: str
    ) -> Generator[WaitForWarmup, bool, bool]:
        """
        Whether the lease got its key; False where the key is warm or the call shall run plainly.

        Raises:
            NotReady: somebody else is warming this key and the policy says ``raise``.

        """
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            other = None if claim.entry is None else self.claim(claim, claim.entry, demand=demand)
            if other is None:
                return claim.held is not None
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

    def met(self, instance_id: int | None) -> list[KeyState]:
        """The keys met so far (of one instance). Takes no lock: whoever asks for the state never waits."""
        entries = fork_safe.snapshot_of(self.entries.values())
        return [entry for entry in entries if instance_id in (None, entry.instance_id)]

    def requested_or_met(self, instance_id: int | None) -> list[KeyState]:
        """The keys that were asked to be warmed or, where none was, all keys met (of one instance)."""
        met = self.met(instance_id)
        return [entry for entry in met if entry.requested] or met

    def state(self, instance_id: int | None) -> State:
        """All keys in one word: the least of them."""
        states = {entry.state for entry in self.requested_or_met(instance_id)}
        if any(entry.left_over for entry in self.met(instance_id)):
            states.add(State.DEGRADED)
        return next((state for state in WORST_FIRST if state in states), State.COLD)

    def ready(self, instance_id: int | None) -> bool:
        """Whether every key asked for (or the first) is warm; latches."""
        latch = instance_id or 0
        if latch in self.latched:
            return True
        if not self.warm_now(instance_id):
            return False
        self.latched.add(latch)
        if not self.warm_now(instance_id):  # taken back while we looked
            self.latched.discard(latch)
            return False
        return True

    def warm_now(self, instance_id: int | None) -> bool:
        """Whether every key asked for (or the first) is warm at this moment."""
        met = self.met(instance_id)
        wanted = [entry for entry in met if entry.requested] or met[:1]
        return bool(wanted) and all(entry.is_warm and not entry.unready for entry in wanted)

    def take_back(self, entry: KeyState) -> None:
        """The key is not to be relied upon until it is warmed again: readiness latches no more."""
        with self.lock:
            entry.unready = True
            self.latched -= {0, entry.instance_id}


REGISTRIES: weakref.WeakSet[KeyRegistry] = weakref.WeakSet()


def after_fork_in_child() -> None:
    """Locks that another thread held would stay held for ever, and warm-ups of other threads would never land."""
    for registry in tuple(REGISTRIES):
        registry.after_fork()


fork_safe.after_fork_in_child(after_fork_in_child)

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
