"""The keys of a warmed function: the one mutable thing that all its calls share."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Hashable
from contextlib import suppress
from itertools import islice
from typing import Any

from jitwarmup.host import fork_safe
from jitwarmup.host.process_size import Size
from jitwarmup.keys.counters import KEYS_AT_MOST, HitCounter
from jitwarmup.keys.shapes import ShapeKey
from jitwarmup.keys.state import Demotion, KeyState, note_change
from jitwarmup.keys.summary import CallSummary
from jitwarmup.records.first_run import FirstRun
from jitwarmup.records.runs import Run, State

ROUNDS = 64  # warm-ups that are remembered to see whether the process grows by each
SWEPT = 64  # instances that one call forgets at most
Key = tuple[int, Hashable]


class KeyRegistry:
    """The keys of one warmed function."""

    def __init__(self, name: str = "", planned: int | None = None, declared: Collection[str] = ()) -> None:
        self.name = name
        self.declared = declared  # names of the function's parameters: those in its source code
        self.planned = planned  # runs of a warm-up, where a count decides
        self.lock = threading.RLock()
        self.entries: dict[Key, KeyState] = {}
        self.keys_of: dict[int, list[Key]] = {}  # of each instance, so that forgetting it costs no more than its own
        self.latched: set[int] = set()
        self.dead: deque[tuple[int, weakref.ref[Any]]] = deque()
        self.watching: dict[int, weakref.ref[Any]] = {}
        self.refresh: Callable[[], Any] = lambda: None  # called where a shortcut for warm keys may hold no longer
        self.summary = CallSummary()
        self.counts = HitCounter()
        self.used = False  # whether any key was ever met: what was reset is cold, and not unheard of
        self.rounds: deque[Size] = deque(maxlen=ROUNDS)  # what the process held after each of the newest warm-ups
        self.limit_announced = False
        self.advised = False  # of the key that would help
        self.given_up: str | None = None  # why compiled code was given up, for new programs of any key
        self.unknown_classes: set[str] = set()  # of arguments, that were announced
        self.first_runs: dict[Key, FirstRun] = {}  # shared by all registries of one function, and outlives a reset
        REGISTRIES.add(self)
        fork_safe.after_fork_in_child(self.after_fork)

    def after_fork(self) -> None:
        """In a child, what is warm stays warm; a warm-up that was under way, and who held the lock, stay in the parent."""
        self.lock = threading.RLock()
        for entry in self.entries.values():
            if entry.in_flight is not None:
                entry.in_flight = None
                entry.state = State.COLD
                entry.resumable_runs = ()
                entry.reason = "forked while it was being warmed up"

    def instance_id_of(self, instance: Any) -> int:
        """
        The identity of an instance as part of a key; 0 for none. The instance is not kept alive: its keys go with it.

        One that cannot be weakly referenced (``__slots__`` without ``__weakref__``) is not noticed when it goes, and a
        later one may get its address: all of its class have one key.
        """
        if instance is None:
            return 0
        if self.dead:
            self.sweep()
        instance_id = id(instance)
        known = self.watching.get(instance_id)
        if known is not None and known() is instance:
            return instance_id
        try:  # the callback may run anywhere, in any thread, so it only leaves a note
            watch = weakref.ref(instance, lambda gone: self.dead.append((instance_id, gone)))
        except TypeError:
            return self.instance_id_of(type(instance))
        with self.lock:
            known = self.watching.get(instance_id)
            if known is None or known() is not instance:
                if known is not None:  # of one that is gone, whose address this one has
                    self.forget(instance_id)
                self.watching[instance_id] = watch  # last: from here on its keys are looked up without the lock
        return instance_id

    def sweep(self) -> None:
        """Forget instances that are gone; no more than a few at a time, since a call pays for it."""
        with self.lock:
            for instance_id, gone in islice(fork_safe.taken(self.dead), SWEPT):
                if self.watching.get(instance_id) is gone:
                    self.forget(instance_id)
                    self.watching.pop(instance_id, None)

    def forget(self, instance_id: int) -> None:
        """Forget the keys of an instance."""
        with self.lock:
            self.latched.discard(instance_id)
            for key in self.keys_of.pop(instance_id, ()):
                self.entries.pop(key, None)
                self.first_runs.pop(key, None)

    def entry(self, key: Key) -> KeyState | None:
        """The state of a key, made where there is room; None where the bound on keys is reached."""
        with self.lock:
            if len(self.entries) >= KEYS_AT_MOST and key not in self.entries:
                return None
            if key not in self.entries:
                self.used = True
                self.keys_of.setdefault(key[0], []).append(key)
            label = label_of(key[1], len(self.entries) + 1, self.declared)
            return self.entries.setdefault(key, KeyState(label, key[0], first=self.first_runs.get(key)))

    def note_first(self, entry: KeyState, run: Run) -> None:
        """Keep the first run of a key."""
        with self.lock:
            key = next((key for key, each in self.entries.items() if each is entry), None)
            entry.first = FirstRun(run)
            if key is not None and len(self.first_runs) < KEYS_AT_MOST:
                entry.first = self.first_runs.setdefault(key, entry.first)

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
        if self.given_up is not None or any(entry.left_over for entry in self.met(instance_id)):
            states.add(State.DEGRADED)
        return next((state for state in WORST_FIRST if state in states), State.COLD)

    def ready(self, instance_id: int | None) -> bool:
        """Whether every key asked for (or the first) is warm; latches."""
        latch = instance_id or 0
        if latch not in self.latched and self.warm_now(instance_id):
            self.latched.add(latch)
            if not self.warm_now(instance_id):  # taken back while we looked
                self.latched.discard(latch)
        return latch in self.latched

    def warm_now(self, instance_id: int | None) -> bool:
        """Whether every key asked for (or the first) is warm at this moment."""
        met = self.met(instance_id)
        wanted = [entry for entry in met if entry.requested] or met[:1]
        return bool(wanted) and all(entry.is_warm and not entry.unready for entry in wanted)

    def changed(self) -> None:
        """A key got warm, or is warm no longer: let everybody know who keeps a copy of that."""
        self.refresh()
        note_change()

    def take_readiness_back(self, entry: KeyState, reason: str) -> None:
        """The key is not to be relied upon until it is warmed again: readiness latches no more."""
        with self.lock:
            entry.demotion = Demotion(reason, policy="unready")
            self.latched -= {0, entry.instance_id}


REGISTRIES: weakref.WeakSet[KeyRegistry] = weakref.WeakSet()
FIRST_RUNS: weakref.WeakKeyDictionary[Any, dict[str, dict[Key, FirstRun]]] = weakref.WeakKeyDictionary()


def first_runs_of(function: Any) -> dict[Key, FirstRun]:
    """The first runs of a function's keys, whoever wrapped it: by itself, and of a bound method by its object and name."""
    name = getattr(function, "__name__", "") if inspect.ismethod(function) else ""
    with suppress(Exception):  # it can be no key, or its own hash fails: what is known of it lives with its registry
        return FIRST_RUNS.setdefault(function.__self__ if name else function, {}).setdefault(name, {})
    return {}


WORST_FIRST = (State.FAILED, State.DEGRADED, State.VALIDATING, State.WARMING, State.COLD, State.WARM, State.STEADY)


def label_of(key: Hashable, number: int, declared: Collection[str] = ()) -> str:
    """A key in words that hold no argument's value: our shape keys name themselves, a user's own get a number."""
    if isinstance(key, ShapeKey):
        return key.label(declared)
    return "default" if key is None else f"key-{number}"
