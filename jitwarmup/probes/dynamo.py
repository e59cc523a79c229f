"""
What ``torch._dynamo`` does once: graph capture, recompilation with its reason, graph breaks, the recompile limit.

Nothing of this is public in torch. The records and the counters are read at the edges of a run; the callbacks (see
``compile_callbacks``) say in which context a compile ran. ``torch._dynamo.reset()`` takes our callbacks out and leaves records
and counters alone; users clear the counters; both are seen and survived.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jitwarmup.probes import dynamo_records as records
from jitwarmup.probes.base import ARMED, absent, risen
from jitwarmup.probes.compile_callbacks import CALLBACKS
from jitwarmup.probes.dynamo_records import Record, ScopeOf
from jitwarmup.probes.guard_reasons import rebuild
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork, Scope

LIMIT_TYPE = "RecompileLimitExceeded"
"""Failure type of the recompile limit up to torch 2.10; from 2.11 on it is an ``Unsupported`` with this first line:"""
LIMIT_TEXT = "Dynamo recompile limit exceeded"
COMBINATION = "a combination of sizes not met before"
SIZE = re.compile(r"size of (.+) changed at dimension (\d+): expected (\d+), got (\d+)")
KEPT = 256


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records torch still has, and graph breaks by their text (the text stays in here)."""

    records: tuple[Record, ...] = ()
    breaks: Mapping[str, int] = field(default_factory=dict)
    capacity: int | None = None


class Dynamo:
    """
    Kinds: ``dynamo.capture``, ``dynamo.recompile``, ``dynamo.graph_break``, ``dynamo.eager_fallback`` (the recompile
    limit: silent eager from here on), ``dynamo.failed``, ``aot.backward``. Durations are wall seconds of the whole
    frame, what is nested in it included.
    """

    name = "dynamo"
    _utils: Any = None

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, str, str], set[str]] = {}  # of each frame, tensor and dimension: those it has met
        self._known: dict[tuple[str, Any], str] = {}  # reasons of the newest records: several runs may ask of one

    def arm(self) -> ArmState:
        """Dormant until somebody loads ``torch._dynamo``; then the callbacks are (again) in place."""
        utils = records.utils()
        if utils is None:
            return absent("torch._dynamo.utils")
        if problem := records.unknown(utils):
            return ArmState("unavailable", problem)
        self._utils = utils
        lost = CALLBACKS.ensure(self.name)
        return ArmState("armed", f"overlap not seen: {lost}") if lost else ARMED

    def stamp(self) -> int:
        """Moves with every record, and when our callbacks were taken out."""
        utils = self._utils
        if utils is None:
            return 0
        return latest(utils) if CALLBACKS.present else -1

    def snapshot(self) -> Snapshot:
        """Records and graph breaks of now; empty while dormant, so that the first compile of all is explained too."""
        utils = self._utils
        if utils is None:
            return Snapshot()
        capacity = getattr(getattr(utils, "_compilation_metrics", None), "maxlen", None)
        return Snapshot(records.read(utils), dict(utils.counters.get("graph_break", {})), capacity)

    def attributed(
        self, before: Snapshot, after: Snapshot, scope_of: ScopeOf = records.everything_own, otherwise: Scope = "own"
    ) -> list[OneTimeWork]:
        """What is new, each record with its own scope; counters take the records' common one, else ``otherwise``."""
        new, lost = records.added(before.records, after.records)
        work = []
        for record in new:
            if (scope := scope_of(record)) and not records.is_runtime(record):
                kind, reason = _kind_and_reason(record)
                if kind == "dynamo.recompile" and reason is not None:
                    reason = self._combined(record, reason)
                duration_s = records.frame_seconds(record)
                work.append(OneTimeWork(kind=kind, duration_s=duration_s, reason=reason, scope=scope))
        if lost and after.capacity is not None and len(after.records) >= after.capacity:
            work.append(OneTimeWork(kind="dynamo.capture", reason="more compiles than torch keeps records of"))
        common = records.common_scope(new, scope_of, otherwise)
        for text, now in after.breaks.items():
            if (count := risen(before.breaks.get(text, 0), now)) > 0:
                work.append(OneTimeWork(kind="dynamo.graph_break", count=count, reason=known_break(text), scope=common))
        return work

    def _combined(self, record: Record, reason: str) -> str:
        """
        The reason, and whether it is only a combination of sizes that is new.

        Torch compares with the newest of a frame's programs alone: a size that an older one was made for may be named.
        """
        frame, _, attempt = str(getattr(record, "compile_id", "")).partition("/")
        mark = (f"{frame}/{attempt}", getattr(record, "start_time_us", None))
        if (found := SIZE.fullmatch(reason)) is None or mark in self._known:
            return self._known.get(mark, reason)
        if attempt == "1":  # the frame's second program: what is known of an equal one is of before a reset
            self._sizes = {key: sizes for key, sizes in self._sizes.items() if key[0] != frame}
        name, dimension, expected, got = found.groups()
        met = self._sizes.setdefault((frame, name, dimension), {expected})
        words = f"{COMBINATION} ({reason})" if got in met else reason
        met.add(got)
        if len(self._known) >= KEPT:
            self._known.clear()
            self._sizes.clear()
        self._known[mark] = words
        return words

    delta = attributed  # as if one run alone had been under way

    def disarm(self) -> None:
        """Takes the callbacks out, unless another probe holds them."""
        self._utils = None
        CALLBACKS.release(self.name)


def _kind_and_reason(record: Record) -> tuple[str, str | None]:
    name, why, failure = (getattr(record, field, None) for field in ("co_name", "recompile_reason", "fail_type"))
    text = str(getattr(record, "fail_reason", None))
    if getattr(record, "is_forward", None) is False:  # a backward that was compiled when it was first needed
        return "aot.backward", None
    if failure and (failure == LIMIT_TYPE or text.startswith(LIMIT_TEXT)):
        return "dynamo.eager_fallback", "recompile limit reached" + (f": {rebuild(why)}" if why else "")
    if failure:  # its type, and torch's own words for it where they are known to be torch's own
        known = known_break(text)
        return "dynamo.failed", f"{failure}: {known}" if known else failure
    if why:
        return "dynamo.recompile", rebuild(why)
    return "dynamo.capture", f"function {name}" if name else None


def known_break(text: str) -> str | None:
    """
    The first line of a graph-break text, if it is one of the fixed sentences in torch's registry, else None.

    The rest of the text may hold arguments.
    """
    line = text.split("\n", 1)[0].strip()
    home = getattr(records.utils(), "__file__", None)
    return line if home and line in _registry(Path(home).with_name("graph_break_registry.json")) else None


@cache
def _registry(path: Path) -> frozenset[str]:
    """Torch's list of graph-break types (250 kB, read when the first graph break is seen)."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(entry["Gb_type"] for versions in entries.values() for entry in versions)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return frozenset()


def latest(module: Any) -> int:
    """
    The identity of the newest record, 0 if there is none (60 ns).

    Safe to compare as long as somebody holds the record it was compared with: an identity cannot be given twice then.
    """
    newest = getattr(module, "_compilation_metrics", None)
    try:
        return id(newest[-1]) if newest else 0
    except IndexError:  # cleared by another thread between the two looks
        return 0
