"""
The schema ``jitwarmup/1``: one table of every event, and the one way to make an event's fields.

``build`` lets through what is declared here and nothing else; ``schema.json`` and the README's table are printed from it:

    python -m jitwarmup schema > jitwarmup/events/schema.json
    python -m jitwarmup schema --table

A minor version only adds keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jitwarmup.events import keys as k
from jitwarmup.events import sanitize
from jitwarmup.events.keys import Key
from jitwarmup.events.sanitize import ENTRY, ENVELOPE, MAX_BYTES, MAX_INT, fit

SCHEMA: Final = "jitwarmup/1"

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
    Event(VALIDATION_COMPLETED, "info", "after the validation run", (*k.VALIDATION, *k.LEFT), ("duration_s",)),
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
    Event(
        STEADY_STATE_REACHED, "info", "when steady state is proven, or drift is over", (*k.STEADY, k.REASON, k.FACTOR)
    ),
    Event(STEADY_STATE_NOT_REACHED, "warning", "when `until_steady` is spent without proof", (*k.STEADY, k.REASON)),
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
        (*k.MEASURED, k.SKIPPED[0]),
        ("report_id",),
    ),
    Event(
        MEASUREMENT_FAILED,
        "error",
        "the canonical line of one that failed",
        (*k.FAILED, *k.MEASURED, k.SKIPPED[0]),
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
    left out too. ``error_message`` needs ``log_messages``.
    """
    form = _FORMS[event]
    plain, limits = form.plain, form.limits
    out: dict[str, Any] = {"schema": SCHEMA}
    for name, value in fields.items():
        kind = type(value)
        if plain.get(name) is kind and (
            len(value) <= limits[name] and value.isprintable()
            if kind is str
            else -MAX_INT <= value <= MAX_INT  # false for NaN too
        ):
            out[name] = value
        elif value is not None:
            form.add(out, name, value, log_messages=log_messages)
    return fit(out, MAX_BYTES - ENVELOPE, (*ALWAYS, *form.event.required))


class _Form:
    """An event's table made ready for speed: by name, the builtin type that may pass as it is, and the texts' limits."""

    def __init__(self, event: Event) -> None:
        declared = keys_of(event)
        self.event = event
        self.patterns = [(pattern, key) for key in declared if (pattern := key.pattern)]
        self.keys = {key.name: key for key in declared if not key.pattern}
        self.plain = {name: _PLAIN.get(key.type) for name, key in self.keys.items() if not key.opt_in}
        self.limits = {name: key.limit for name, key in self.keys.items()}

    def add(self, out: dict[str, Any], name: str, value: Any, *, log_messages: bool) -> None:
        """Add what is not plain (another type, a long text, a list, a pattern's key), or leave out what does not fit."""
        key = self.keys.get(name) or self._matching(name)
        if key is None or (key.opt_in and not log_messages):
            return
        if key.pattern and sum(self._matching(other) is key for other in out) >= key.limit:
            out["keys_cut"] = out.get("keys_cut", 0) + 1
        elif key.type == "list":
            texts, left_out = sanitize.to_texts(value, key.limit)
            if texts is not None:
                out[name] = texts
            if left_out:
                out[f"{name}_cut"] = left_out
        else:
            safe = sanitize.to_text(value, key.limit) if key.type == "str" else _SAFE[key.type](value)
            if safe is not None:
                out[name] = safe

    def _matching(self, name: str) -> Key | None:
        return next((key for pattern, key in self.patterns if pattern.fullmatch(name)), None)


_PLAIN: Final[Mapping[str, type]] = {"str": str, "float": float, "int": int, "bool": bool}
_SAFE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "float": sanitize.to_float,
    "int": sanitize.to_int,
    "bool": sanitize.to_bool,
}
_FORMS: Final[Mapping[str, _Form]] = {event.name: _Form(event) for event in EVENTS}
_JSON_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one event as a JSON line: its ``event`` decides which keys it may carry."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": f"Events of {SCHEMA}",
        "type": "object",
        "required": ["event", *ALWAYS],
        "properties": {"event": {"enum": [event.name for event in EVENTS]}},
        "oneOf": [{"$ref": f"#/$defs/{event.name}"} for event in EVENTS],
        "$defs": {event.name: _of_event(event) for event in EVENTS},
    }


def _of_event(event: Event) -> dict[str, Any]:
    form = _FORMS[event.name]
    return {
        "description": f"{event.when} (level {event.level})",
        "required": [*ALWAYS, *event.required],
        "properties": {"event": {"const": event.name}} | {name: _of_key(key) for name, key in form.keys.items()},
        "patternProperties": {f"^{pattern.pattern}$": _of_key(key) for pattern, key in form.patterns},
    }


def _of_key(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _JSON_TYPES[key.type], "description": key.text}
    if key.name == "schema":
        found["const"] = SCHEMA
    if key.unit:
        found["x-unit"] = key.unit
    if key.type == "str":
        found["maxLength"] = key.limit
    if key.type == "list":
        found |= {"items": {"type": "string", "maxLength": ENTRY}, "maxItems": key.limit}
    return found


def readme_table() -> str:
    """The README's table of events in Markdown: name, level, when, and what each always carries besides ``callable``."""
    rows = ["| event | level | when | always carries |", "|---|---|---|---|"]
    rows += [f"| `{event.name}` | {event.level} | {event.when} | {_quoted(event.required)} |" for event in EVENTS]
    return "\n".join([*rows, "", f"On every event, where known: {_quoted(key.name for key in k.COMMON)}."]) + "\n"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
