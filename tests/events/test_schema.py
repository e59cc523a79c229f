from __future__ import annotations

import json
import logging
from decimal import Decimal
from enum import Enum, StrEnum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strict import BUILD, strict_build

from jitwarmup.events import keys, sanitize, schema
from jitwarmup.records.runs import Phase

CALLED = {"callable": "module.generate", "duration_s": 0.0123, "outcome": "ok"}


def test_a_call_is_built_whole():
    assert schema.build(schema.CALL, CALLED | {"items": 3, "contaminated": False}) == {
        "schema": "jitwarmup/1",
        "callable": "module.generate",
        "duration_s": 0.0123,
        "outcome": "ok",
        "items": 3,
        "contaminated": False,
    }


@pytest.mark.parametrize(
    ("given_value", "want"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(2), 2.0),
        (Decimal("0.5"), 0.5),
        (3, 3.0),
        (1.0, 1.0),
    ],
)
def test_a_float_key_holds_a_builtin_float(given_value, want):
    got = schema.build(schema.CALL, CALLED | {"first_item_s": given_value})["first_item_s"]
    assert (got, type(got)) == (want, float)


@pytest.mark.parametrize("given_value", [5, np.int32(5), np.uint8(5), torch.tensor(5), 5.0, np.float64(5)])
def test_an_int_key_holds_a_builtin_int(given_value):
    got = schema.build(schema.CALL, CALLED | {"items": given_value})["items"]
    assert (got, type(got)) == (5, int)


@pytest.mark.parametrize("given_value", [True, np.True_, torch.tensor(True)])
def test_a_bool_key_holds_a_builtin_bool(given_value):
    assert schema.build(schema.CALL, CALLED | {"contaminated": given_value})["contaminated"] is True


class Shade(Enum):
    DARK = "dark"


class Loud(StrEnum):
    DARK = "dark"

    def __str__(self) -> str:
        return "LOUD"


class Liar(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "a lie"

    __repr__ = __str__


@pytest.mark.parametrize(
    ("given_value", "want"),
    [(Phase.WARM, "warm"), (Shade.DARK, "dark"), (Loud.DARK, "dark"), (Liar("truth"), "truth"), (np.str_("x"), "x")],
)
def test_a_text_key_holds_a_builtin_str(given_value, want):
    got = schema.build(schema.CALL, CALLED | {"label": given_value})["label"]
    assert (got, type(got)) == (want, str)


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), -float("inf"), np.float32("nan"), torch.tensor(float("inf"))]
)
def test_what_is_none_or_not_finite_is_left_out(value):
    assert "first_item_s" not in BUILD(schema.CALL, CALLED | {"first_item_s": value})


class Hostile:
    def __float__(self):
        raise RuntimeError("no")

    __index__ = __float__

    @property
    def dtype(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("first_item_s", "0.5"),
        ("first_item_s", True),
        ("first_item_s", np.True_),
        ("first_item_s", torch.zeros(3)),
        ("first_item_s", Hostile()),
        ("first_item_s", 1j),
        ("first_item_s", b"1"),
        ("items", 2.5),
        ("items", 2**60),
        ("items", True),
        ("items", np.True_),
        ("contaminated", 1),
        ("contaminated", "yes"),
        ("contaminated", torch.tensor([True, False])),
        ("contaminated", Hostile()),
        ("label", b"warm"),
        ("label", 3),
        ("work", {"a": 1}),
        ("work", 5),
        ("work", (kind for kind in "ab")),
        ("nonsense", 5),
    ],
)
def test_a_wrong_value_or_key_is_left_out_and_refused_in_tests(key, value):
    assert BUILD(schema.CALL, CALLED | {key: value}) == BUILD(schema.CALL, CALLED)
    with pytest.raises(AssertionError, match=key):
        strict_build(schema.CALL, CALLED | {key: value})


def test_an_event_without_a_promised_key_is_refused_in_tests():
    with pytest.raises(AssertionError, match="outcome"):
        strict_build(schema.CALL, {"callable": "f", "duration_s": 1.0})


def test_a_ledger_is_a_declared_pattern():
    fields = {"callable": "f", "iterations": 5, "duration_s": 3.0, "ledger_dynamo_capture_s": np.float64(2.5)}
    assert schema.build(schema.WARMUP_COMPLETED, fields)["ledger_dynamo_capture_s"] == 2.5
    assert "ledger_Bad Name_s" not in BUILD(schema.WARMUP_COMPLETED, fields | {"ledger_Bad Name_s": 1.0})


def test_a_pattern_adds_no_more_than_its_share_and_counts_the_rest():
    ledger = {f"ledger_cause{number}_s": 1.0 for number in range(keys.PATTERN + 3)}
    built = schema.build(schema.WARMUP_COMPLETED, {"callable": "f", "iterations": 5, "duration_s": 3.0, **ledger})
    assert sum(name.startswith("ledger_") for name in built) == keys.PATTERN
    assert built["keys_cut"] == 3


def test_a_long_list_counts_what_it_lacks():
    built = schema.build(schema.CALL, CALLED | {"work": [f"kind.{number}" for number in range(20)]})
    assert built["work"] == [f"kind.{number}" for number in range(16)]
    assert built["work_cut"] == 4


def test_a_set_comes_sorted_and_a_single_text_is_a_list():
    kinds = {f"kind.{number:02}" for number in range(16)}
    assert schema.build(schema.CALL, CALLED | {"work": kinds})["work"] == sorted(kinds)
    assert schema.build(schema.CALL, CALLED | {"work": "import"})["work"] == ["import"]


def test_an_exception_message_needs_leave():
    failed = {
        "callable": "f",
        "latency_s": -1.0,
        "error_type": "ValueError",
        "phase": "validate",
        "error_message": "hi",
    }
    assert "error_message" not in schema.build(schema.VALIDATION_FAILED, failed)
    assert schema.build(schema.VALIDATION_FAILED, failed, log_messages=True)["error_message"] == "hi"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x00b", "a\u2028b", "a\x1bb", "a\ud800b", "a\x85b"])
def test_a_text_is_one_printable_line(text):
    built = schema.build(schema.CALL, CALLED | {"callable": text})
    assert built["callable"].isprintable()
    assert built["callable"].split() == ["a", "b"]
    built["callable"].encode("utf-8")


def test_no_key_can_meet_a_log_record_or_structlog():
    record = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
    taken = record | {"event", "level", "timestamp", "logger", "log_level", "_record", "_from_structlog"}
    for event in schema.EVENTS:
        assert not taken & {key.name for key in schema.keys_of(event)}


def test_every_key_has_its_unit_in_its_name_and_has_one_meaning_of_type():
    ends = {"s": "_s", "J": "_j", "W": "_w", "Cel": "_c", "MHz": "_mhz", "%": "_pct", "By": "_bytes", "1/s": "_per_s"}
    types: dict[str, str] = {}
    for event in schema.EVENTS:
        for key in schema.keys_of(event):
            assert key.name.endswith(ends.get(key.unit, "")), key
            assert types.setdefault(key.name, key.type) == key.type
            assert key.text.endswith(".")
            assert key.name.replace("<", "").replace(">", "").isidentifier()


def test_no_event_declares_a_key_twice_and_every_promise_is_declared():
    for event in schema.EVENTS:
        names = [key.name for key in schema.keys_of(event)]
        assert len(names) == len(set(names)), event.name
        assert {*schema.ALWAYS, *event.required} <= set(names)


def widest(key: keys.Key) -> dict[str, object]:
    """The key with the widest value it can hold."""
    astral = "\N{GRINNING FACE}"
    if key.pattern is not None:
        start, end = key.name.split("<")[0], key.name.split(">")[1]
        return {f"{start}{'x' * 37}{number:03}{end}": -1.2345678901234567e-300 for number in range(2 * key.limit)}
    values = {"str": astral * 500, "int": -(2**53), "float": -1.2345678901234567e-300, "bool": False}
    return {key.name: values.get(key.type, [astral * 100] * 30)}


@pytest.mark.parametrize("event", schema.EVENTS, ids=lambda event: event.name)
def test_the_widest_event_stays_within_4000_bytes_with_its_envelope(event):
    fields: dict[str, object] = {}
    for key in schema.keys_of(event):
        if not key.name.endswith("_cut") and key.name != "schema":
            fields |= widest(key)
    for ordered in (fields, dict(reversed(fields.items()))):
        check_width(event, schema.build(event.name, ordered, log_messages=True))


def test_many_numbers_alone_are_cut_too():
    event = schema.BY_NAME[schema.MEASUREMENT_COMPLETED]
    fields: dict[str, object] = {"callable": "f", "report_id": "r"}
    for key in schema.keys_of(event):
        if key.type == "float":
            fields |= widest(key)
    assert len(json.dumps(fields)) > 2 * sanitize.MAX_BYTES
    check_width(event, schema.build(event.name, fields))


def check_width(event: schema.Event, built: dict[str, object]) -> None:
    envelope = {
        "event": event.name,
        "level": event.level,
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "logger": "jitwarmup",
        "trace_id": "0" * 32,
        "span_id": "0" * 16,
    }
    assert len(json.dumps(built | envelope)) <= sanitize.MAX_BYTES
    assert {"schema", "callable", *event.required} <= set(built)


@settings(max_examples=60, deadline=None)
@given(
    event=st.sampled_from(schema.EVENTS),
    values=st.lists(
        st.one_of(st.text(max_size=2000), st.floats(), st.integers(), st.booleans(), st.lists(st.text(max_size=300))),
        min_size=150,
        max_size=150,
    ),
)
def test_whatever_is_put_in_comes_out_as_strict_json_within_4000_bytes(event, values):
    built = BUILD(event.name, dict(zip((key.name for key in schema.keys_of(event)), values, strict=False)))
    text = json.dumps(built, allow_nan=False)
    assert len(text) <= sanitize.MAX_BYTES - sanitize.ENVELOPE
    assert json.loads(text) == built
    types = {key.name: key.type for key in schema.keys_of(event)}
    builtin = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
    assert all(type(value) is builtin[types[name]] for name, value in built.items())


@pytest.mark.parametrize("text", ['"' * 200, "\\" * 200, "\N{GRINNING FACE}" * 200, "\u00e9" * 200, "a" * 200])
def test_an_event_that_needs_no_cut_is_not_cut_and_one_that_does_is(text):
    for names in (["callable"], ["callable", "label"], ["callable", "label", "key", "error_type", "device_name"]):
        fields = {"duration_s": 1.0, "outcome": "ok", "work": [text] * 16, **dict.fromkeys(names, text)}
        built = schema.build(schema.CALL, fields)
        whole = {
            "schema": "jitwarmup/1",
            **{name: sanitize.cut_text(text, 60) for name in names},
            "work": [text[:60]] * 16,
        }
        assert len(json.dumps(built)) <= sanitize.MAX_BYTES - sanitize.ENVELOPE
        if len(json.dumps(whole)) <= 2000:
            assert len(built["work"]) == 16


def test_levels_are_those_of_the_contract():
    assert schema.LEVELS == {
        "jitwarmup.validation.completed": "info",
        "jitwarmup.validation.failed": "error",
        "jitwarmup.warmup.completed": "info",
        "jitwarmup.warmup.failed": "warning",
        "jitwarmup.steady_state.reached": "info",
        "jitwarmup.steady_state.not_reached": "warning",
        "jitwarmup.steady_state.lost": "warning",
        "jitwarmup.call": "info",
        "jitwarmup.summary": "info",
        "jitwarmup.coverage.missed": "warning",
        "jitwarmup.monitor.degraded": "warning",
        "jitwarmup.measurement.completed": "info",
        "jitwarmup.measurement.failed": "error",
        "jitwarmup.block.completed": "info",
        "jitwarmup.block.failed": "error",
    }
