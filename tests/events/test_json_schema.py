from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import jitwarmup.events
from jitwarmup.cli import main
from jitwarmup.events import json_schema, schema

GOLDEN = Path(__file__).with_name("golden") / "jitwarmup-1.json"
ENVELOPE = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "trace_id": "0" * 32}


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_every_event_fits_the_json_schema_with_its_envelope(validator, every_event):
    for event, _, fields in every_event():
        validator.validate({"event": event, **ENVELOPE, **fields})


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration_s": "1.5"},
        {"items": 1.5},
        {"work": "import"},
        {"outcome": None},
        {"event": "jitwarmup.news"},
        {"schema": "jitwarmup/2"},
        {"callable": 3},
        {"device_throttled_power_s": "x"},
    ],
)
def test_what_is_no_event_does_not_fit(validator, wrong):
    good = {"event": schema.CALL, "schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0, "outcome": "ok"}
    validator.validate(good)
    assert not validator.is_valid(good | wrong)


def test_an_event_without_a_promised_key_does_not_fit(validator):
    assert not validator.is_valid({"event": schema.CALL, "schema": "jitwarmup/1", "callable": "f", "duration_s": 1.0})


def test_the_file_in_the_wheel_is_what_the_command_prints(capsys):
    assert main(["schema"]) == 0
    file = Path(jitwarmup.events.__file__).with_name("schema.json")
    assert file.read_text(encoding="utf-8") == capsys.readouterr().out, "run what the docstring of schema.py shows"


def golden() -> dict[str, object]:
    """What consumers rely on: per event its level, promises, and each key's type and unit."""
    return {
        event.name: {
            "level": event.level,
            "required": list(event.required),
            "keys": {key.name: [key.type, key.unit] for key in schema.keys_of(event)},
        }
        for event in schema.EVENTS
    }


def test_a_minor_version_only_adds():
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    now = golden()
    assert set(kept) <= set(now)
    for name, event in kept.items():
        assert now[name]["level"] == event["level"]
        assert set(event["required"]) <= set(now[name]["required"])
        assert event["keys"].items() <= now[name]["keys"].items(), name


def test_the_readme_table_names_every_event():
    table = schema.readme_table()
    for event in schema.EVENTS:
        assert f"| `{event.name}` | {event.level} | {event.when} |" in table
