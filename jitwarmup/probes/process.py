"""
What the process itself does once, or from time to time: imports, shared objects, compilers, collections.

Modules and shared objects are read at the edges of a run; whose an import was and how long it took is noted while it
happens, as a collection is (``gc.callbacks``).
"""

from __future__ import annotations

import gc
import importlib
import inspect
import re
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from jitwarmup.analysis.costs import WITHIN
from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of
from jitwarmup.host.interrupts import Contained, send_again
from jitwarmup.host.scope import RunContext
from jitwarmup.probes.base import ARMED, ChainedHook, HookProbe, ReadingProbe, absent, compiling, loaded
from jitwarmup.probes.compile_callbacks import CALLBACKS, USAGE
from jitwarmup.probes.run_table import RUNS, HookEvent
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork, Scope

GENERATED = re.compile(r"[a-z0-9]{40,}")
"""Modules and libraries that Inductor writes have 52-letter names; its C++ builds are told by its own probe."""
NAMED = 3
NOTHING = OneTimeWork(kind="import", count=0)
LONG_COLLECTION_NS = 1_000_000
FULL_GENERATION = 2


class SeenImport:
    """The imports of one thread, nested ones included, until the outermost ends: whose they are, and which modules."""

    def __init__(self) -> None:
        owner = RUNS.owner_here()
        self.owner: Callable[[], RunContext | None] = (lambda: None) if owner is None else weakref.ref(owner)
        self.within = compiling()
        self.began_ns = time.perf_counter_ns()
        self.names: list[str] = []
        self.locks: dict[int, weakref.ref[Any]] = {}
        UNDER_WAY[id(self)] = self

    def add(self, name: str, lock: Any) -> None:
        """A module is being imported until ``lock`` goes."""
        self.names.append(name)
        self.locks[id(lock)] = weakref.ref(lock, partial(self._end, id(lock)))

    def _end(self, lock: int, _gone: Any) -> None:
        with suppress(BaseException):  # Python would print it in the middle of the user's output
            self.locks.pop(lock, None)
            if not self.locks:
                spent_s = None if self.within else (time.perf_counter_ns() - self.began_ns) / 1e9
                work = OneTimeWork(kind="import", count=len(self.names), duration_s=spent_s)
                RUNS.push(Imports.name, work, owners=(self.owner(),), names=tuple(self.names))
                ENDED.append(self)
                UNDER_WAY.pop(id(self), None)


UNDER_WAY: dict[int, SeenImport] = {}
ENDED: deque[SeenImport] = deque(maxlen=256)  # lately: between the last event of a run and its readings


class Finder:
    """
    Stands first in ``sys.meta_path``, finds nothing, and notes whose an import is and how long it takes.

    An import ends when the lock of its module goes: the import system holds one from before it asks the finders until
    the module is made. One that is only searched for (``importlib.util.find_spec``) has none.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def find_spec(self, name: str, _path: Any = None, target: Any = None) -> None:
        """The import system asks for a module that is not loaded."""
        with suppress(Exception):  # an import goes on whatever becomes of its note
            known = getattr(importlib._bootstrap, "_module_locks", {}).get(name)
            lock = known and known()
            if lock is None or target is not None:
                return
            under_way = getattr(self._of_thread, "under_way", None)
            if under_way is None or not under_way.locks:
                under_way = self._of_thread.under_way = SeenImport()
            under_way.add(name, lock)


class Imports(ReadingProbe):
    """
    Kind ``import``: modules that are in ``sys.modules`` for the first time; the reason names the largest packages.

    An import is its run's own where it happened in the run's context or in a thread that began in it; one in any other
    thread is foreign. What came without a search (put there by an extension) is taken as its package is, else by
    default. Its seconds are part of a compile's where it happened within one.
    """

    name = "import"
    _began: ChainedHook | None = None

    def arm(self) -> ArmState:
        """Always; our finder and the note of who starts a thread are in place."""
        if FINDER not in sys.meta_path:
            sys.meta_path.insert(0, FINDER)
        if self._began is None:
            self._began = ChainedHook(threading.Thread, "start", RUNS.thread_begins)
        return ARMED

    def disarm(self) -> None:
        """Takes both out."""
        with suppress(ValueError):  # it is out already
            sys.meta_path.remove(FINDER)
        if self._began is not None:
            self._began.leave()
            self._began = None

    def stamp(self) -> int:
        """How many modules there are (25 ns)."""
        return len(sys.modules)

    def snapshot(self) -> tuple[str, ...]:
        """The names, oldest first."""
        return tuple(snapshot_of(sys.modules))

    def delta(self, before: Sequence[str], after: Sequence[str]) -> Sequence[OneTimeWork]:
        """New names, without those that Inductor generates."""
        return self.claimed(before, after, (), "own")

    def pending(self) -> list[tuple[HookEvent, RunContext | None]]:
        """Imports that have not ended, or only just: they count nothing, but tell whose a module is."""
        found = [*snapshot_of(UNDER_WAY.values()), *snapshot_of(ENDED)]
        return [(HookEvent(self.name, NOTHING, names=tuple(one.names)), one.owner()) for one in found]

    def claimed(
        self, before: Sequence[str], after: Sequence[str], events: Sequence[tuple[HookEvent, bool]], otherwise: Scope
    ) -> list[OneTimeWork]:
        """What is new, by whose it was; ``events`` are of imports that were seen, with whether they are the run's own."""
        there, known = set(after), set(before)
        scopes: dict[str, Scope] = {}
        ended: dict[str, None] = {}
        for event, own in reversed(events):  # the events come before what is pending
            scopes |= dict.fromkeys(event.names, "own" if own else "foreign")
            ended |= dict.fromkeys(event.names if event.work.count else ())
        new: dict[Scope, list[str]] = {}
        for name in [*ended, *(str(name) for name in after if name not in known and name not in ended)]:
            if name in there and not GENERATED.search(name):
                new.setdefault(scope_of(name, scopes) or otherwise, []).append(name)
        return [
            OneTimeWork(kind="import", count=len(names), reason=largest(names), scope=scope, duration_s=seconds)
            for scope, names in new.items()
            for seconds in [import_seconds(events, scope)]
        ]


FINDER = Finder()


def scope_of(name: str, scopes: Mapping[str, Scope]) -> Scope | None:
    """Whose a module is, or the nearest package around it that was seen; None where none was."""
    while name and name not in scopes:
        name = name.rpartition(".")[0]
    return scopes.get(name)


def import_seconds(events: Sequence[tuple[HookEvent, bool]], scope: Scope) -> float | None:
    """Wall seconds of the imports of a scope, as far as they are known."""
    spent = [event.work.duration_s for event, own in events if own == (scope == "own")]
    return sum(filter(None, spent)) or None


def largest(names: Sequence[str]) -> str:
    """The packages with the most modules, by their counts."""
    most = sorted(Counter(name.partition(".")[0] for name in names).items(), key=lambda item: (-item[1], item[0]))
    more = [f"{len(most) - NAMED} more"] if len(most) > NAMED else []
    return ", ".join([f"{name} {count}" for name, count in most[:NAMED]] + more)


class SharedObjects(ReadingProbe):
    """
    Kind ``dlopen``: libraries that are mapped for the first time (cuDNN's parts, extensions, compiled kernels).

    Read from ``/proc/self/maps`` and only when something else has moved. ``dl_iterate_phdr`` would be cheaper, but its
    callback would run Python inside the loader's lock: a thread that imports an extension meanwhile holds the
    interpreter's lock and waits for the loader's, and both wait for ever.
    """

    name = "dlopen"
    follows = True

    def __init__(self, maps: str = "/proc/self/maps") -> None:
        self._maps = Path(maps)
        self._armed = False

    def arm(self) -> ArmState:
        """The self-test: this process must have mapped something."""
        if not self._armed:
            self._armed = bool(_mapped(self._maps))
        return ARMED if self._armed else ArmState("unavailable", f"{self._maps} tells of no shared object")

    def snapshot(self) -> frozenset[str]:
        """Paths of all mapped shared objects."""
        return _mapped(self._maps) if self._armed else frozenset()

    def delta(self, before: frozenset[str], after: frozenset[str]) -> Sequence[OneTimeWork]:
        """New paths, told by file name; generated ones are counted without their names."""
        new = sorted(path.rpartition("/")[2] for path in after - before)
        named = [name for name in new if not GENERATED.search(name)][:NAMED]
        rest = len(new) - len(named)
        parts = named + ([f"{rest} more" if named else f"{rest} compiled here"] if rest else [])
        return [OneTimeWork(kind="dlopen", count=len(new), reason=", ".join(parts))] if new else []


def _mapped(maps: Path) -> frozenset[str]:
    lines: Iterable[bytes] = ()
    with Contained():  # not on this system
        lines = maps.read_bytes().splitlines()
    paths = {line.split(maxsplit=5)[-1] for line in lines if b".so" in line}
    return frozenset(path.decode(errors="replace") for path in paths if path.startswith(b"/"))


class Children(HookProbe):
    """
    Kind ``compiler.subprocess``: child processes that ended within a compile, by their CPU seconds.

    Told by the compile callbacks. Workers that live on (Inductor's pool) are not in it before they end.
    """

    name = "subprocess"

    def arm(self) -> ArmState:
        """Where the system has ``getrusage``; dormant until ``torch._dynamo`` is loaded."""
        if USAGE is None:
            return ArmState("unavailable", "this system has no getrusage of children")
        if loaded("torch._dynamo.callback") is None:
            return absent("torch._dynamo.callback")
        lost = CALLBACKS.ensure(self.name)
        return ArmState("unavailable", lost) if lost else ARMED

    def disarm(self) -> None:
        """Takes the callbacks out, unless another probe holds them."""
        CALLBACKS.release(self.name)


class Collections(HookProbe):
    """
    Kind ``gc.collect``: full collections, and younger ones of a millisecond or more. They come back: ``ambient``.

    Young collections take microseconds and happen in most runs; they are part of what Python code costs.
    """

    name = "gc"

    def __init__(self) -> None:
        self._begin()
        after_fork_in_child(self._begin)

    def _begin(self) -> None:
        """
        Make the callback: ``min(phase, info, key=generator.send)``, which looks at both, in this order.

        A plain function would lose a Ctrl-C that came during the collection: Python raises it at the function's very
        beginning, before any ``try``, and lets nothing out of a callback. A generator goes on inside of one. In a forked
        child it is a new one, since another thread may have been in the midst of it.
        """
        former = getattr(self, "_on_collection", None)
        self._generator = self._collections()
        next(self._generator)
        self._on_collection = partial(min, key=self._generator.send)
        if former in gc.callbacks:
            gc.callbacks[gc.callbacks.index(former)] = self._on_collection

    def arm(self) -> ArmState:
        """Our callback is in ``gc.callbacks``."""
        if inspect.getgeneratorstate(self._generator) == inspect.GEN_CLOSED:  # interrupted twice at once
            self._begin()
        if self._on_collection not in gc.callbacks:
            gc.callbacks.append(self._on_collection)
        return ARMED

    def disarm(self) -> None:
        """Takes the callback out."""
        with suppress(ValueError):  # it is out already
            gc.callbacks.remove(self._on_collection)

    def _collections(self) -> Generator[int, Any, None]:
        while True:
            try:
                yield from self._looks()
            except BaseException as error:  # noqa: BLE001 - Python would print it in the middle of the user's output
                if isinstance(error, GeneratorExit):
                    return
                send_again(error)

    def _looks(self) -> Generator[int, Any, None]:
        began_ns, phase = 0, ""
        while True:
            given = yield 0
            if isinstance(given, str):
                phase = given
            elif phase == "start":
                began_ns = time.perf_counter_ns() if RUNS.live else 0
            elif began_ns:
                spent_ns, began_ns = time.perf_counter_ns() - began_ns, 0
                if given["generation"] == FULL_GENERATION or spent_ns >= LONG_COLLECTION_NS:
                    reason, duration_s = WITHIN if compiling() else None, spent_ns / 1e9
                    work = OneTimeWork(kind="gc.collect", duration_s=duration_s, reason=reason, recurrence="ambient")
                    RUNS.push(self.name, work)
