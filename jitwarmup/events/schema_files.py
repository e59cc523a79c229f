"""
The schema for others to read: a JSON Schema (``jitwarmup schema``, and ``schema.json`` in the wheel) and a table.

Both are printed from the one table in ``schema.py``. ``schema.json`` is written by

    python -c "from jitwarmup.events import schema_files; schema_files.write()"
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from jitwarmup.events.keys import COMMON, Key
from jitwarmup.events.sanitize import ENTRY
from jitwarmup.events.schema import ALWAYS, EVENTS, SCHEMA, Event, keys_of

FILE: Final = Path(__file__).with_name("schema.json")
_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array"}


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
    declared = keys_of(event)
    return {
        "description": f"{event.when} (level {event.level})",
        "required": [*ALWAYS, *event.required],
        "properties": {"event": {"const": event.name}}
        | {key.name: _of_key(key) for key in declared if not key.pattern},
        "patternProperties": {f"^{key.pattern.pattern}$": _of_key(key) for key in declared if key.pattern},
    }


def _of_key(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _TYPES[key.type], "description": key.text}
    if key.name == "schema":
        found["const"] = SCHEMA
    if key.unit:
        found["x-unit"] = key.unit
    if key.type == "str":
        found["maxLength"] = key.limit
    if key.type == "list":
        found |= {"items": {"type": "string", "maxLength": ENTRY}, "maxItems": key.limit}
    return found


def write() -> None:
    """Write the JSON Schema where the wheel takes it from."""
    FILE.write_text(text(), encoding="utf-8")


def text() -> str:
    """The JSON Schema as text, the same on every machine."""
    return json.dumps(json_schema(), indent=1) + "\n"


def readme_table() -> str:
    """The README's table of events in Markdown: name, level, when, and what each always carries besides ``callable``."""
    rows = ["| event | level | when | always carries |", "|---|---|---|---|"]
    rows += [f"| `{event.name}` | {event.level} | {event.when} | {_quoted(event.required)} |" for event in EVENTS]
    return "\n".join([*rows, "", f"On every event, where known: {_quoted(key.name for key in COMMON)}."]) + "\n"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
