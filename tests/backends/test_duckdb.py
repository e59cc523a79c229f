from __future__ import annotations

import json
from collections import Counter

import pytest

from jitwarmup.events import schema

TYPES = {"str": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "list": "VARCHAR[]"}


@pytest.fixture(scope="module")
def found(backends, thousand, tmp_path_factory):
    """What duckdb says of the thousand events in a file."""
    file = tmp_path_factory.mktemp("duckdb") / "events.jsonl"
    thousand.write(str(file))
    return json.loads(backends.script(backends.installed("duckdb") / "bin" / "python", "query_duckdb.py", file))


def test_none_is_lost_and_the_median_is_the_true_one(found, thousand):
    events = thousand.make()
    assert found["count"] == 1000
    assert found["kinds"] == Counter(event for event, _, _ in events)
    assert found["median"] == pytest.approx(thousand.median(events), rel=1e-3)


def test_every_column_has_the_type_of_its_key(found):
    types = {
        key.name.replace("<", "").replace(">", ""): TYPES[key.type]
        for event in schema.EVENTS
        for key in schema.keys_of(event)
    }
    columns = {name: kind for name, kind in found["columns"].items() if name not in ("timestamp", "level", "event")}
    assert len(columns) > 100
    assert columns == {name: types[name] for name in columns}
    assert found["columns"]["timestamp"].startswith("TIMESTAMP")


def test_every_value_is_the_one_that_was_sent(found, thousand):
    for row, (event, level, fields) in zip(found["rows"], thousand.make(), strict=True):
        got = {name: value for name, value in row.items() if value is not None}
        assert got == {"event": event, "level": level, **fields}
