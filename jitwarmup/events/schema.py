"""
The schema ``jitwarmup/1``: one table of every event, and the one way to make an event's fields.

``build`` lets through what is declared here and nothing else; the JSON Schema and the README's
table are printed from it (``schema_files.py``). A minor version only adds keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final

from jitwarmup.events import keys as k
from jitwarmup.events.keys import Key
from jitwarmup.events.sanitize import (
    ENVELOPE,
    MAX_BYTES,
    MAX_INT,
    SCALAR,
    WIDEST,
    fit,
    to_bool,
    to_float,
    to_int,
    to_text,
    to_texts,
)
from jitwarmup.records.errors import ArgumentError

SCHEMA: Final = "jitwarmup/1"
STRICT = False  # our tests set it: an undeclared key or a value of the wrong type then raises instead of being left out

VALIDATION_COMPLETED: Final = "jitwarmup.validation.completed"
VALIDATION_FAILED: Final = "jitwarmup.validation.failed"
WARMUP_COMPLETED: Final = "jitwarmup.warmup.completed"
WARMUP_FAILED: Final = "jitwarmup.warmup.failed"
STEADY_STATE_REACHED: Final = "jitwarmup.steady_state.reached"
STEADY_STATE_NOT_REACHED: Final = "jitwarmup.steady_state.not_reached"
STEADY_STATE_LOST: Final = "jitwarmup.steady_state.lost"
CALL: Final = "jitwarmup.call"
SUMMARY: Final = "jitwarmup.summary"
COVERAGE_MISSED: Final = "jitwarmup.coverage.missed"
MONITOR_DEGRADED: Final = "jitwarmup.monitor.degraded"
MEASUREMENT_COMPLETED: Final = "jitwarmup.measurement.completed"
MEASUREMENT_FAILED: Final = "jitwarmup.measurement.failed"
BLOCK_COMPLETED: Final = "jitwarmup.block.completed"
BLOCK_FAILED: Final = "jitwarmup.block.failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its level, when it is sent, the keys it may carry, and those it carries besides ``callable``."""

    name: str
    level: str
    when: str
    keys: tuple[Key, ...]
    required: tuple[str, ...] = ()


EVENTS: Final[tuple[Event, ...]] = (
    Event(VALIDATION_COMPLETED, "info", "after the validation run", k.VALIDATION, ("duration_s",)),
    Event(
        VALIDATION_FAILED,
        "error",
        "after a validation run that raised or was not accepted; `latency_s` is -1.0",
        (k.LATENCY, *k.ERROR, *k.VALIDATION, *k.FAILED_RANKS),
        ("latency_s", "error_type", "phase"),
    ),
    Event(
        WARMUP_COMPLETED,
        "info",
        "after the silent warm-up",
        (*k.WARMUP, *k.SKIPPED, k.PATH, *k.GROWTH),
        ("iterations", "duration_s"),
    ),
    Event(
        WARMUP_FAILED,
        "warning",
        "after a warm-up run that failed or answered an interrupt",
        (*k.FAILED, *k.WARMUP, k.SKIPPED[0]),
        ("error_type",),
    ),
    Event(STEADY_STATE_REACHED, "info", "when steady state is proven", k.STEADY),
    Event(STEADY_STATE_NOT_REACHED, "warning", "when `until_steady` is spent without proof", (*k.STEADY, k.REASON)),
    Event(STEADY_STATE_LOST, "warning", "on own one-time work after the warm-up", k.LOST, ("reason",)),
    Event(CALL, "info", "after each timed plain call; none within `measure`", k.CALL, ("duration_s", "outcome")),
    Event(
        SUMMARY,
        "info",
        'with `emit="summary"`: every 60 s (at a call), at `flush()` and at normal exit',
        k.TOTALS,
        ("count", "sum_s"),
    ),
    Event(COVERAGE_MISSED, "warning", "once per key that live calls missed", k.COVERAGE),
    Event(MONITOR_DEGRADED, "warning", "once per metric and reason", k.DEGRADED, ("metric", "reason")),
    Event(
        MEASUREMENT_COMPLETED,
        "info",
        "the canonical line: exactly one per `measure` or `trials()` loop",
        (*k.MEASURED, k.SKIPPED[0]),
        ("report_id",),
    ),
    Event(
        MEASUREMENT_FAILED,
        "error",
        "the canonical line of one that failed",
        (*k.FAILED, *k.MEASURED),
        ("report_id", "error_type", "phase"),
    ),
    Event(BLOCK_COMPLETED, "info", "exactly one per `with` block", k.BLOCK, ("report_id", "duration_s")),
    Event(
        BLOCK_FAILED,
        "error",
        "the same where its body raised",
        (k.ERROR_TYPE, *k.FAILED_RANKS, *k.BLOCK),
        ("report_id", "error_type"),
    ),
)
LEVELS: Final[Mapping[str, str]] = {event.name: event.level for event in EVENTS}
BY_NAME: Final[Mapping[str, Event]] = {event.name: event for event in EVENTS}
ALWAYS: Final = ("schema", "callable")


def keys_of(event: Event) -> tuple[Key, ...]:
    """Every key of an event, the common ones and the ``_cut`` counts of its lists included."""
    own = (*k.COMMON, *event.keys)
    cuts = (k.count(f"{key.name}_cut", f"Entries of `{key.name}` left out.") for key in own if key.type == "list")
    return (*own, *cuts, k.count("keys_cut", "Whole keys left out to stay within 4,000 bytes."))


def build(event: str, fields: Mapping[str, Any], *, log_messages: bool = False) -> dict[str, Any]:
    """
    The fields of an event as builtin JSON types, ``schema`` added, at most 4,000 bytes of JSON with its envelope.

    None and non-finite numbers are left out, numpy and torch scalars become builtin ones, whole floats stay floats,
    long texts end in ``...``, long lists say under ``<key>_cut`` what they lack. What the table does not declare is
    left out too (raises ``ArgumentError`` under ``STRICT``). ``error_message`` needs ``log_messages``.
    """
    form = _FORMS[event]
    types, limits = form.types, form.limits
    out: dict[str, Any] = {"schema": SCHEMA}
    chars = 0
    for name, value in fields.items():
        kind = type(value)
        if types.get(name) is not kind:
            if value is not None:
                chars += form.add(out, name, value, log_messages=log_messages)
        elif kind is not str:
            if -MAX_INT <= value <= MAX_INT:  # false for NaN too
                out[name] = value
            else:
                chars += form.add(out, name, value)
        elif len(value) <= limits[name] and value.isprintable():
            out[name] = value
            chars += len(value)
        else:
            chars += form.add(out, name, value)
    if STRICT:
        form.check(out)
    if ENVELOPE + len(out) * SCALAR + chars * WIDEST <= MAX_BYTES:
        return out
    return fit(out, MAX_BYTES - ENVELOPE, (*ALWAYS, *form.event.required))


class _Form:
    """An event's table made ready for speed: by name, the builtin type that may pass as it is, and the texts' limits."""

    __slots__ = ("event", "keys", "limits", "patterns", "types")

    def __init__(self, event: Event) -> None:
        declared = keys_of(event)
        self.event = event
        self.patterns = [(pattern, key) for key in declared if (pattern := key.pattern)]
        self.keys = {key.name: key for key in declared if not key.pattern}
        self.types = {
            name: _PLAIN[key.type] for name, key in self.keys.items() if key.type in _PLAIN and not key.opt_in
        }
        self.limits = {name: key.limit for name, key in self.keys.items()}

    def add(self, out: dict[str, Any], name: str, value: Any, *, log_messages: bool = False) -> int:
        """Add what is not plain: another type, a long text, a list, a pattern's key. Returns the characters it took."""
        key = self.keys.get(name) or self._matching(name)
        if key is None or (key.opt_in and not log_messages):
            return self.complain(name, value)
        if key.type == "list":
            return self._add_list(out, key, value)
        if key.pattern is not None and self._is_full(out, key):
            out["keys_cut"] = out.get("keys_cut", 0) + 1
            return 0
        safe = to_text(value, key.limit) if key.type == "str" else _NUMBERS[key.type](value)
        if safe is None:
            return self.complain(name, value)
        out[name] = safe
        return len(safe) if key.type == "str" else 0

    def _matching(self, name: str) -> Key | None:
        return next((key for pattern, key in self.patterns if pattern.fullmatch(name)), None)

    def _is_full(self, out: Mapping[str, Any], key: Key) -> bool:
        return sum(1 for name in out if self._matching(name) is key) >= key.limit

    def _add_list(self, out: dict[str, Any], key: Key, value: Any) -> int:
        found = to_texts(value, key.limit)
        if found is None:
            return self.complain(key.name, value)
        texts, left_out = found
        out[key.name] = texts
        if left_out:
            out[f"{key.name}_cut"] = left_out
        return sum(len(text) + 1 for text in texts)

    def complain(self, name: str, value: Any) -> int:
        """Under ``STRICT``, say what the table does not allow; otherwise it is simply left out: 0 characters."""
        allowed = (isinstance(value, float) and not isfinite(value)) or getattr(self.keys.get(name), "opt_in", False)
        if not STRICT or allowed:
            return 0
        if name in self.keys:
            raise ArgumentError(f"{self.event.name}: got {type(value).__name__} for {name!r}; see its row in keys.py")
        near = get_close_matches(name, list(self.keys))
        raise ArgumentError(f"{self.event.name}: {name!r} is not declared; declare it in keys.py or use one of {near}")

    def check(self, out: Mapping[str, Any]) -> None:
        """Under ``STRICT``, refuse an event without the keys that its row promises."""
        lacks = [name for name in (*ALWAYS, *self.event.required) if name not in out]
        if lacks:
            raise ArgumentError(f"{self.event.name}: got no {lacks}; its row in schema.py promises them")


_PLAIN: Final[Mapping[str, type]] = {"str": str, "float": float, "int": int, "bool": bool}
_NUMBERS: Final[Mapping[str, Callable[[Any], Any]]] = {"float": to_float, "int": to_int, "bool": to_bool}
_FORMS: Final[Mapping[str, _Form]] = {event.name: _Form(event) for event in EVENTS}
