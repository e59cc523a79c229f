"""
A thousand events of all kinds, the same on every machine, each with every key it may carry.

    python thousand.py FILE      writes them with JsonLines, as an application would

``report_id`` numbers them from 0000 to 0999. Most are calls; the median of their ``duration_s`` is what every back end
must give back.
"""

from __future__ import annotations

import random
import statistics
import sys
from typing import Any

from jitwarmup import warmed
from jitwarmup.events import JsonLines, SafeEmitter, keys, schema

TEXTS = {"callable": "module.generate", "outcome": "ok", "phase": "measure"}
Event = tuple[str, str, dict[str, Any]]


def make() -> list[Event]:
    """The events as (name, level, fields)."""
    chance = random.Random(2026)
    others = [event for event in schema.EVENTS if event.name != schema.CALL]
    kinds = [event for event in others for _ in range(20)]
    kinds += [schema.BY_NAME[schema.CALL]] * (1000 - len(kinds))
    chance.shuffle(kinds)
    events = [(event.name, event.level, _built(event, number, chance)) for number, event in enumerate(kinds)]
    for event, _, fields in events:
        if event in (schema.SUMMARY, schema.MEASUREMENT_COMPLETED):  # these carry a median: the true one
            fields["median_s"] = median(events)
        if event == schema.SUMMARY:
            fields |= {"count": 100, "errors": 3}
        if "recompiles" in fields:
            fields["recompiles"] %= 4  # counters are doubles: sums stay exact only below 2**53
    return events


def _built(event: schema.Event, number: int, chance: random.Random) -> dict[str, Any]:
    fields = {
        key.name.replace("<", "").replace(">", ""): _value(key, chance)
        for key in schema.keys_of(event)
        if key.name != "schema" and not key.name.endswith("_cut")
    }
    return schema.build(event.name, fields | {"report_id": f"{number:04}"})


def _value(key: keys.Key, chance: random.Random) -> Any:
    if key.type == "float":  # every tenth is whole: a whole float must stay a float
        return float(chance.randrange(1, 9)) if chance.random() < 0.1 else chance.lognormvariate(-0.5, 0.6)
    values = {
        "str": TEXTS.get(key.name, f'{key.name} "é" \\ \N{GRINNING FACE}'),
        "int": chance.choice([0, 7, 2**31, 2**53]),
        "bool": chance.random() < 0.5,
        "list": ["dynamo.recompile", "import"],
    }
    return values[key.type]


def median(events: list[Event]) -> float:
    """The true median of the calls."""
    return statistics.median(fields["duration_s"] for event, _, fields in events if event == schema.CALL)


def warm_one() -> Any:
    """A warmed function with the name the events have, whose own events go to stderr."""

    def generate() -> None: ...

    generate.__module__, generate.__qualname__ = TEXTS["callable"].split(".")
    warm = warmed(iterations=1)(generate)
    warm.warm()
    return warm


def write(path: str) -> None:
    """Write them to a file of JSON lines."""
    with JsonLines(path) as out:
        guarded = SafeEmitter(out)
        for event, level, fields in make():
            guarded.emit(event, level, fields)
        lost = out.lost + guarded.lost
    if lost:
        sys.exit(f"{lost} events were lost")


if __name__ == "__main__":
    write(sys.argv[1])
