"""Records to plain JSON and back: exactly, by the annotations, and without trust in what is loaded."""

import builtins
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitwarmup.records.checks import LARGEST, SMALLEST
from jitwarmup.records.codec import TRANSIENT, Record, decode, field_types
from jitwarmup.records.errors import ArgumentError, JitwarmupError
from jitwarmup.records.failure import Failure
from jitwarmup.records.report import Report, Summary
from jitwarmup.records.runs import Decision, DeviceReading, OneTimeWork, Phase, Run, Warmup
from jitwarmup.records.verdict import Reason, Verdict

RECORDS = (Report, Warmup, Run, OneTimeWork, DeviceReading, Decision, Failure)
FEW = 2  # items in a list: what a report is made of, not how long it is
PLAIN = {
    str: st.text(max_size=8),
    int: st.integers(-(2**70), 2**70),
    float: st.just(0.0) | st.floats(SMALLEST, LARGEST) | st.floats(-LARGEST, -SMALLEST),  # drawn fit, not filtered
    bool: st.booleans(),
    type(None): st.none(),
}


def anything(kind, depth=3):  # noqa: PLR0911 - one way out for each form of annotation
    """Values of an annotation, as wild as it allows."""
    inner = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(anything(one, depth) for one in inner))
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(anything(inner[0], depth - 1), max_size=FEW if depth > 0 else 0).map(tuple)
    if origin is tuple:
        return st.tuples(*(anything(one, depth) for one in inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(anything(inner[0]), anything(inner[1]), max_size=FEW)
    if is_dataclass(kind):
        return records(kind, depth - 1)
    assert issubclass(kind, Enum), kind
    return st.sampled_from(list(kind))


def records(kind, depth=3):
    hints = field_types(kind)
    kept = [one.name for one in fields(kind) if not one.metadata.get(TRANSIENT) and one.name != "schema"]
    if depth < 0:  # readings within readings have to end somewhere
        kept = [one.name for one in fields(kind) if one.name in kept and one.name != "others"]
    return st.deferred(lambda: st.builds(kind, **{name: anything(hints[name], depth) for name in kept}))


def leaves(value):
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@given(records(Report))
@settings(max_examples=60, deadline=None)
def test_a_report_comes_back_exactly_by_way_of_json(report):
    document = report.to_dict()
    assert {type(leaf) for leaf in leaves(document)} <= {str, int, float, bool, type(None)}
    back = Report.from_dict(json.loads(json.dumps(document, allow_nan=False)))
    assert back == report
    assert back.to_dict() == document


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_comes_back_exactly(kind):
    @given(records(kind))
    @settings(max_examples=15, deadline=None)
    def check(record):
        assert kind.from_dict(json.loads(json.dumps(record.to_dict()))) == record

    check()


@pytest.mark.parametrize("kind", [*RECORDS, Summary, Reason, Verdict])
def test_every_record_is_frozen_and_has_slots(kind):
    assert kind.__dataclass_params__.frozen
    assert all("__dict__" not in vars(parent) for parent in kind.__mro__[:-1])


def test_tuples_come_back_as_tuples_and_phases_as_phases():
    run = Run(
        phase=Phase.WARM, index=1, started_at=2.0, duration_ns=3, item_gaps_s=(0.5,), work=(OneTimeWork(kind="x"),)
    )
    back = Run.from_dict(run.to_dict())
    assert back.phase is Phase.WARM
    assert (back.item_gaps_s, back.work) == ((0.5,), (OneTimeWork(kind="x"),))
    assert run.to_dict()["phase"] == "warm"


def test_a_reader_that_made_one_of_one_point_zero_is_forgiven():
    back = Run.from_dict({"phase": "warm", "index": 0, "started_at": 1, "duration_ns": 5})
    assert type(back.started_at) is float


def test_what_lives_in_this_process_only_is_not_written_and_not_read():
    failure = Failure(phase=Phase.WARM, index=0, type="E", message="m", traceback="t", exception=ValueError("m"))
    assert "exception" not in failure.to_dict()
    assert Failure.from_dict({**failure.to_dict(), "exception": "boom"}).exception is None


# ------------------------------------------------------------------------------------------------ what is refused


def minimal(**more):
    run = {"phase": "measure", "index": 0, "started_at": 1.0, "duration_ns": 5}
    return {**run, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Record):
    pair: tuple[int | None, int | None] = (None, None)
    numbers: Mapping[str, float] = field(default_factory=dict)


REFUSED = [
    (Run, [], "cannot read a Run from list; wanted what to_dict() gave"),
    (Run, None, "cannot read a Run from NoneType"),
    (Run, {}, "missing"),
    (Run, minimal(phase="sleep"), "'sleep' is not a valid Phase"),
    (Run, minimal(outcome="fine"), "got 'fine', wanted one of ('ok', 'error', 'cancelled', 'closed')"),
    (Run, minimal(duration_ns=5.5), "got float where int is wanted"),
    (Run, minimal(duration_ns=True), "got bool where int is wanted"),
    (Run, minimal(started_at="now"), "got str where float is wanted"),
    (Run, minimal(started_at=True), "got bool where float is wanted"),
    (Run, minimal(contaminated=1), "got int where bool is wanted"),
    (Run, minimal(index=None), "got NoneType where int is wanted"),
    (Run, minimal(work={"kind": "x"}), "got dict where a list is wanted"),
    (Run, minimal(work="x"), "got str where a list is wanted"),
    (Run, minimal(work=["x"]), "cannot read a OneTimeWork from str"),
    (Run, minimal(device=[]), "cannot read a DeviceReading from list"),
    (Sample, {"pair": [1, 2, 3]}, "got 3 items where 2 are wanted"),
    (Sample, {"numbers": [1.0]}, "got list where"),
    (Sample, {"numbers": {"a": None}}, "got NoneType where float is wanted"),
]


@pytest.mark.parametrize(("kind", "document", "wording"), REFUSED)
def test_what_does_not_fit_is_refused_with_the_way_out(kind, document, wording):
    with pytest.raises(ArgumentError) as caught:
        kind.from_dict(document)
    assert wording in str(caught.value)
    assert "to_dict()" in str(caught.value)


def test_null_is_refused_where_a_value_of_several_kinds_is_wanted():
    with pytest.raises(ValueError, match="got NoneType where int is wanted"):
        decode(str | int, None)


SCHEMAS = [
    ("jitwarmup.report/2", "update jitwarmup to read it"),
    ("jitwarmup.report/12", "update jitwarmup to read it"),
    ("jitwarmup.warmup/1", "give the dict that Report.to_dict() wrote"),
    ("jitwarmup.report/1.5", "give the dict that Report.to_dict() wrote"),
    ("hyperfine", "give the dict that Report.to_dict() wrote"),
    (None, "NoneType"),
    ("x" * 500, "schema str"),
    (["jitwarmup.report/1"], "schema list"),
]


@pytest.mark.parametrize(("schema", "wording"), SCHEMAS)
def test_a_foreign_or_newer_schema_is_refused_before_anything_is_read(schema, wording):
    with pytest.raises(ArgumentError) as caught:
        Report.from_dict({"schema": schema, "runs": "nonsense"})
    assert wording in str(caught.value)
    assert "wanted 'jitwarmup.report/1'" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_an_error_of_reading_is_one_of_ours_and_a_type_error():
    with pytest.raises(JitwarmupError):
        Report.from_dict({})
    with pytest.raises(TypeError):
        Report.from_dict({})


# ------------------------------------------------------------------------------------------------ no trust


def test_unknown_keys_are_ignored():
    run = Run.from_dict(minimal())
    assert Run.from_dict(minimal(invented="x", work=[], device={"tomorrow": 1})).device == DeviceReading()
    assert Run.from_dict(minimal(invented={"deep": [1]})) == run


def test_nothing_that_is_loaded_executes_code(monkeypatch):
    """Once the annotations are known, reading evaluates, compiles and imports nothing, whatever the document says."""
    hostile = "__import__('os').abort()"
    document = minimal(
        error_type=hostile,
        work=[{"kind": hostile, "__class__": hostile, "__reduce__": [hostile]}],
        device={"missing": {hostile: hostile}, "__init__": hostile},
        __class__=hostile,
    )
    Run.from_dict(document)

    def refuse(*_, **__):
        raise AssertionError("loading must not do this")

    for name in ("eval", "exec", "compile", "__import__"):
        monkeypatch.setattr(builtins, name, refuse)
    back = Run.from_dict(document)
    monkeypatch.undo()
    assert (back.error_type, back.work[0].kind, dict(back.device.missing)) == (hostile, hostile, {hostile: hostile})
