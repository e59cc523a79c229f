"""Events as JSON text, by orjson where it can be imported and by the standard library otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Dumps = Callable[[Mapping[str, Any]], bytes]


def find_dumps() -> Dumps:
    """The fastest JSON writer at hand; both write builtin types alike, and neither ever raises over a foreign value."""
    try:
        import orjson
    except ImportError:
        return _standard_dumps()

    def dumps(fields: Mapping[str, Any]) -> bytes:
        found: bytes = orjson.dumps(fields, default=_name_only)
        return found

    return dumps


def _standard_dumps() -> Dumps:
    import json

    encode = json.JSONEncoder(separators=(",", ":"), default=_name_only).encode

    def dumps(fields: Mapping[str, Any]) -> bytes:
        return encode(dict(fields)).encode("ascii")

    return dumps


def _name_only(value: Any) -> str:
    """What stands for a value JSON does not know: its type, since a repr could show a prompt or a tensor."""
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def now() -> str:
    """The time as structlog's ``TimeStamper(fmt="iso", utc=True)`` writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
