from __future__ import annotations

import random
from typing import Any

import pytest
import structlog

from jitwarmup.events import guard, keys, schema


@pytest.fixture(autouse=True)
def _nothing_left_behind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard, "_NOTED", set())
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
def every_event():
    """A function that gives one built event of every kind, each with every key it may carry."""

    def make(seed: int = 0) -> list[tuple[str, str, dict[str, Any]]]:
        chance = random.Random(seed)
        return [(event.name, event.level, schema.build(event.name, _full(event, chance))) for event in schema.EVENTS]

    return make


TEXTS = {"callable": "module.generate", "state": "warm", "outcome": "ok"}


def _full(event: schema.Event, chance: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key in schema.keys_of(event):
        values = {
            "str": TEXTS.get(key.name, f"{key.name} text"),
            "int": chance.randrange(1000),
            "float": chance.uniform(0.01, 10.0),
            "bool": chance.random() < 0.5,
            "list": ["dynamo.recompile", "import"],
        }
        if key.name != "schema" and not key.name.endswith("_cut"):
            fields[_concrete(key)] = values[key.type]
    return fields


def _concrete(key: keys.Key) -> str:
    return key.name.replace("<", "").replace(">", "")
