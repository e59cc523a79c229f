"""
What makes a value fit to be logged: builtin type, finite, one line, small.

A numpy float is written as a string by some JSON encoders, NaN makes ClickHouse refuse a file, a line over 4,096 bytes is
torn apart by a second writer on the same pipe, a NUL is refused by PostgreSQL, and a lone surrogate by every UTF-8
writer (`evidence/logs-and-aggregators.md` part 0). So none of these leaves this module.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from math import isfinite
from typing import Any

from jitwarmup.host.interrupts import is_interrupt
from jitwarmup.records.text import one_line

MAX_BYTES = 4000  # of one event as JSON, envelope included; a pipe keeps writes up to 4,096 whole
ENVELOPE = 320  # room for event, level, timestamp, logger, trace_id and span_id, which processors add
MAX_INT = 2**53  # beyond it a JSON reader that knows only doubles reads another number
SCALAR = 88  # a key of at most 57 characters (a pattern's), a number of at most 24, and the punctuation
WIDEST = 12  # bytes one character can take: two \\uXXXX escapes
ENTRY = 60  # characters of one entry of a list
SHORTEST = 40  # characters below which a text is not cut any further


def to_float(value: Any) -> float | None:
    """A finite builtin float, or None."""
    number = _scalar(value)
    return None if isinstance(number, bool) else number


def to_int(value: Any) -> int | None:
    """A builtin int that JSON carries exactly, or None; a whole float counts as one."""
    number = to_float(value)  # of 2**53 + 1 it would be 2**53
    return int(number) if number is not None and number.is_integer() and abs(number) < MAX_INT else None


def to_bool(value: Any) -> bool | None:
    """A builtin bool, or None; numpy's and torch's own count, numbers and strings do not."""
    found = _scalar(value)
    return found if isinstance(found, bool) else None


def _scalar(value: Any) -> bool | float | None:
    """The bool or finite number in a builtin, numpy, torch or decimal scalar; None for anything else, a str included."""
    try:
        if callable(
            item := getattr(value, "item", None)
        ):  # numpy's and torch's; it raises where there are many elements
            value = item()
        if isinstance(value, bool):
            return value
        return float(value) if isfinite(value) else None
    except Exception as error:  # a foreign object may raise anything; a value that cannot be read is left out
        if is_interrupt(error):
            raise
        return None


def to_text(value: Any, limit: int) -> str | None:
    """One printable line of at most ``limit`` characters, or None for what is no string (an Enum gives its value)."""
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str):
        return None
    # A subclass may override what it likes, so the characters are copied by str's own method.
    return cut_text(one_line(str.__getitem__(value, slice(limit + 1))), limit)


def cut_text(text: str, limit: int) -> str:
    """The text, its end replaced by ``...`` where it is longer than ``limit``."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def to_texts(value: Any, limit: int) -> tuple[list[str] | None, int]:
    """At most ``limit`` texts and how many were left out; a set is sorted, a single string is a list of one."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, AbstractSet):
        value = sorted(value, key=str)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        return None, 0
    entries = [text for entry in value[:limit] if (text := to_text(entry, ENTRY)) is not None]
    return entries, max(0, len(value) - limit)


def to_json(fields: Mapping[str, Any]) -> str:
    """The fields as JSON text in ASCII; a value JSON does not know never raises and never shows its content."""
    return _ENCODER.encode(fields if type(fields) is dict else dict(fields))


_ENCODER = json.JSONEncoder(  # a value JSON does not know is shown by its type: a repr could show a prompt or a tensor
    separators=(",", ":"), default=lambda value: f"<{type(value).__module__}.{type(value).__qualname__}>"
)


def fit(fields: dict[str, Any], most: int, keep: Collection[str] = ()) -> dict[str, Any]:
    """
    The fields cut until they are at most ``most`` bytes of JSON.

    The longest list or text is halved first, again and again; a cut list says under ``<key>_cut`` how many entries were
    left out. Only where nothing can be halved any more do whole keys go, last first but none of ``keep``, and
    ``keys_cut`` counts them.
    """
    characters = 0
    for value in fields.values():
        if type(value) is str:
            characters += len(value)
        elif type(value) is list:
            characters += len(value) + sum(map(len, value))
    if SCALAR * len(fields) + WIDEST * characters <= most:
        return fields  # surely short enough: most events are not encoded for this
    while len(json.dumps(fields)) > most:
        key = max(fields, key=lambda name: _slack(fields[name]))
        if _slack(fields[key]) == 0:
            del fields[next(name for name in reversed(fields) if name not in keep and name != "keys_cut")]
            fields["keys_cut"] = fields.get("keys_cut", 0) + 1
        elif isinstance(entries := fields[key], list):
            fields[key] = entries[: len(entries) // 2]
            fields[f"{key}_cut"] = fields.get(f"{key}_cut", 0) + len(entries) - len(fields[key])
        else:
            fields[key] = cut_text(fields[key], max(SHORTEST, len(fields[key]) // 2))
    return fields


def _slack(value: Any) -> int:
    """Bytes that halving could still win."""
    shortest = SHORTEST if isinstance(value, str) else 0
    return len(json.dumps(value)) if isinstance(value, str | list) and len(value) > shortest else 0
