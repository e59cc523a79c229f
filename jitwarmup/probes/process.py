"""
What the process itself does once, or from time to time: imports, shared objects, compilers, collections.

Imports and shared objects are read at the edges of a run; a collection is told by ``gc.callbacks`` when it happens.
"""

from __future__ import annotations

import gc
import inspect
import re
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from jitwarmup.analysis.costs import WITHIN
from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of
from jitwarmup.host.interrupts import Contained, send_again
from jitwarmup.probes.base import ARMED, HookProbe, ReadingProbe, absent, compiling, loaded
from jitwarmup.probes.compile_callbacks import CALLBACKS, USAGE
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

GENERATED = re.compile(r"[a-z0-9]{40,}")
"""Modules and libraries that Inductor writes have 52-letter names; its C++ builds are told by its own probe."""
NAMED = 3
LONG_COLLECTION_NS = 1_000_000
FULL_GENERATION = 2


class Imports(ReadingProbe):
    """Kind ``import``: modules that are in ``sys.modules`` for the first time; the reason names the largest packages."""

    name = "import"

    def arm(self) -> ArmState:
        """Always."""
        return ARMED

    def stamp(self) -> int:
        """How many modules there are (25 ns)."""
        return len(sys.modules)

    def snapshot(self) -> tuple[str, ...]:
        """The names, oldest first."""
        return tuple(snapshot_of(sys.modules))

    def delta(self, before: Sequence[str], after: Sequence[str]) -> Sequence[OneTimeWork]:
        """New names, without those that Inductor generates."""
        known = set(before)
        new = [str(name) for name in after if name not in known and not GENERATED.search(str(name))]
        most = sorted(Counter(name.partition(".")[0] for name in new).items(), key=lambda item: (-item[1], item[0]))
        more = [f"{len(most) - NAMED} more"] if len(most) > NAMED else []
        reason = ", ".join([f"{name} {count}" for name, count in most[:NAMED]] + more)
        return [OneTimeWork(kind="import", count=len(new), reason=reason)] if new else []


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
