"""
The schema ``jitwarmup/1``: one table of every event, and the one way to make an event's fields.

The table is the law: ``build`` lets through what is declared here and nothing else; the JSON Schema and the README's
table are printed from it (``publish.py``). A minor version only adds keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from math import isfinite
from typing import Any, Final

from jitwarmup.edges.events import keys as k
from jitwarmup.edges.events.keys import Key
from jitwarmup.edges.events.safe import (
    ENVELOPE,
    MAX_BYTES,
    MAX_INT,
    fit,
    to_bool,
    to_float,
    to_int,
    to_text,
    to_texts,
    upper_bound,
)
from jitwarmup.model.errors import ArgumentError

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
        (k.LATENCY, *k.ERROR, *k.VALIDATION),
        ("latency_s", "error_type", "phase"),
    ),
    Event(WARMUP_COMPLETED, "info", "after the silent warm-up", k.WARMUP, ("iterations", "duration_s")),
    Event(WARMUP_FAILED, "warning", "after a warm-up run that failed", (*k.FAILED, *k.WARMUP), ("error_type",)),
    Event(STEADY_STATE_REACHED, "info", "when steady state is proven", k.STEADY),
    Event(STEADY_STATE_NOT_REACHED, "warning", "when `until_steady` is spent without proof", k.STEADY),
    Event(STEADY_STATE_LOST, "warning", "on own one-time work or drift after the warm-up", k.LOST, ("reason",)),
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
        k.MEASURED,
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
    Event(BLOCK_FAILED, "error", "the same where its body raised", (*k.ERROR, *k.BLOCK), ("report_id", "error_type")),
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
    coercions = form.coercions
    out: dict[str, Any] = {"schema": SCHEMA}
    for name, value in fields.items():
        if value is not None:
            coerce = coercions.get(name)
            if coerce is None:
                form.add_rare(out, name, value, log_messages=log_messages)
            elif (safe := coerce(value)) is not None:
                out[name] = safe
            elif STRICT:
                form.complain(name, value)
    if STRICT:
        form.check(out)
    return out if upper_bound(out) <= MAX_BYTES else fit(out, MAX_BYTES - ENVELOPE, (*ALWAYS, *form.event.required))


class _Form:
    """An event's table made ready for speed: ``coercions`` by name, and the rarer keys apart."""

    __slots__ = ("coercions", "event", "patterns", "rare")

    def __init__(self, event: Event) -> None:
        declared = keys_of(event)
        self.event = event
        self.patterns = [(pattern, key) for key in declared if (pattern := key.pattern)]
        self.rare = {key.name: key for key in declared if key.type == "list" or key.opt_in}
        plain = (key for key in declared if key.name not in self.rare and key.pattern is None)
        self.coercions = {key.name: _coercion(key) for key in plain}

    def add_rare(self, out: dict[str, Any], name: str, value: Any, *, log_messages: bool) -> None:
        """Add a list, an opt-in text, or a key of a pattern; anything else is not declared."""
        key = self.rare.get(name)
        if key is None:
            self._add_matching(out, name, value)
        elif key.type == "list":
            self._add_list(out, key, value)
        elif log_messages and (safe := to_text(value, key.limit)) is not None:
            out[name] = safe

    def _add_list(self, out: dict[str, Any], key: Key, value: Any) -> None:
        found = to_texts(value, key.limit)
        if found is None:
            self.complain(key.name, value)
            return
        out[key.name], left_out = found
        if left_out:
            out[f"{key.name}_cut"] = left_out

    def _add_matching(self, out: dict[str, Any], name: str, value: Any) -> None:
        for pattern, key in self.patterns:
            if pattern.fullmatch(name):
                if sum(1 for other in out if pattern.fullmatch(other)) >= key.limit:
                    out["keys_cut"] = out.get("keys_cut", 0) + 1
                elif (safe := to_float(value)) is not None:
                    out[name] = safe
                return
        self.complain(name, value)

    def complain(self, name: str, value: Any) -> None:
        """Under ``STRICT``, say what the table does not allow; otherwise it is simply left out."""
        if not STRICT or (isinstance(value, float) and not isfinite(value)):
            return
        if name in self.coercions or name in self.rare:
            raise ArgumentError(f"{self.event.name}: got {type(value).__name__} for {name!r}; see its row in keys.py")
        near = get_close_matches(name, [*self.coercions, *self.rare])
        raise ArgumentError(f"{self.event.name}: {name!r} is not declared; declare it in keys.py or use one of {near}")

    def check(self, out: Mapping[str, Any]) -> None:
        """Under ``STRICT``, refuse an event without the keys that its row promises."""
        lacks = [name for name in (*ALWAYS, *self.event.required) if name not in out]
        if lacks:
            raise ArgumentError(f"{self.event.name}: got no {lacks}; its row in schema.py promises them")


def _coercion(key: Key) -> Callable[[Any], Any]:
    """What makes one value of the key safe: builtin types pass at once, everything else takes the slow road."""
    if key.type == "str":
        return partial(_text, key.limit)
    return {"float": _float, "int": _int, "bool": to_bool}[key.type]


def _text(limit: int, value: Any) -> str | None:
    if type(value) is str and len(value) <= limit and value.isprintable():
        return value
    return to_text(value, limit)


def _float(value: Any) -> float | None:
    if type(value) is float and isfinite(value):
        return value
    return to_float(value)


def _int(value: Any) -> int | None:
    if type(value) is int and -MAX_INT <= value <= MAX_INT:
        return value
    return to_int(value)


_FORMS: Final[Mapping[str, _Form]] = {event.name: _Form(event) for event in EVENTS}
