from __future__ import annotations

import json

import pytest

from jitwarmup.events import schema

pytestmark = pytest.mark.backends

TYPES = {"str": "String", "int": "Int64", "float": "Float64", "bool": "Bool", "list": "Array(Nullable(String))"}


@pytest.fixture(scope="module")
def found(backends, thousand, tmp_path_factory):
    """What ClickHouse says of the thousand events in a file."""
    file = tmp_path_factory.mktemp("chdb") / "events.jsonl"
    thousand.write(str(file))
    return json.loads(backends.script(backends.installed("chdb") / "bin" / "python", "query_chdb.py", file))


def test_none_is_lost_and_the_median_is_the_true_one(found, thousand):
    assert found["count"] == 1000
    assert found["median"] == pytest.approx(thousand.median(thousand.make()), rel=1e-3)


def test_every_key_was_seen_with_one_type_and_it_is_its_own(found):
    types = {
        key.name.replace("<", "").replace(">", ""): [TYPES[key.type]]
        for event in schema.EVENTS
        for key in schema.keys_of(event)
    }
    seen = {name: kinds for name, kinds in found["types"].items() if name not in ("timestamp", "level", "event")}
    assert len(seen) > 100
    assert seen == {name: types[name] for name in seen}


def test_every_value_is_the_one_that_was_sent(found, thousand):
    for row, (event, level, fields) in zip(found["rows"], thousand.make(), strict=True):
        row.pop("timestamp")
        assert row == {"event": event, "level": level, **fields}
