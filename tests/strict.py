"""Events that refuse what production leaves out, so that no test passes on a misspelt key or a value of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from jitwarmup.events import schema

BUILD = schema.build  # what production does


def strict_build(event: str, fields: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """``schema.build``; raises AssertionError for what it left out without need, and where a promised key is absent."""
    built = BUILD(event, fields, **options)
    row = schema.BY_NAME[event]
    opt_in = {key.name for key in row.keys if key.opt_in}
    left_out = {
        name: type(value).__name__
        for name, value in fields.items()
        if name not in built and name not in opt_in and value is not None
        if not (isinstance(value, float) and not isfinite(value))
    }
    assert not left_out or "keys_cut" in built, f"{event}: not declared in keys.py, or of another type: {left_out}"
    lacks = {*schema.ALWAYS, *row.required} - {*built}
    assert not lacks, f"{event}: got no {lacks}; its row in schema.py promises them"
    return built
