from __future__ import annotations

import json
import statistics
from collections import Counter

import pytest

from jitwarmup.events import processors, schema
from jitwarmup.integrations.opentelemetry import SEVERITY
from jitwarmup.records.runs import State

KINDS = {str: "string", int: "int", float: "double", bool: "bool"}


@pytest.fixture(scope="module")
def received(backends, thousand, tmp_path_factory):
    """What came out behind a rotel that was sent the thousand events: (log records, metric points)."""

    def enough(found: list[dict[str, object]]) -> bool:
        return sum("event" in entry for entry in found) >= 1000 and any("metric" in entry for entry in found)

    with backends.rotel(tmp_path_factory.mktemp("rotel")) as (python, endpoint, wait):
        backends.script(python, "otlp_send.py", endpoint)
        found = wait(enough)
    return [entry for entry in found if "event" in entry], [entry for entry in found if "metric" in entry]


def attribute(value: object) -> list[object]:
    """A value as OTLP must carry it."""
    if isinstance(value, list):
        return ["array", [attribute(entry) for entry in value]]
    return [KINDS[type(value)], value]


def test_every_event_arrives_as_a_record_with_its_name_and_every_value_with_its_kind(received, thousand):
    records, _ = received
    by_id = {record["attributes"]["jitwarmup.report_id"][1]: record for record in records}
    assert len(records) == len(by_id) == 1000
    for event, level, fields in thousand.make():
        record = by_id[fields["report_id"]]
        assert (record["event"], record["severity"]) == (event, SEVERITY[level])
        assert record["body"].startswith(event)
        names = processors.to_otel(None, level, fields)
        expected = {name: attribute(value) for name, value in names.items()}
        got = record["attributes"]
        assert got == expected
        assert all(type(got[name][1]) is type(expected[name][1]) for name in got)


def test_the_median_of_what_arrived_is_the_true_one(received, thousand):
    records, points = received
    events = thousand.make()
    durations = [r["attributes"]["jitwarmup.duration_s"][1] for r in records if r["event"] == schema.CALL]
    assert statistics.median(durations) == pytest.approx(thousand.median(events), rel=1e-3)
    (median,) = [point for point in points if point["metric"] == "jitwarmup.call.duration.median"]
    assert median["value"] == pytest.approx(thousand.median(events), rel=1e-3)
    assert median["attributes"] == {"code.function.name": ["string", "module.generate"]}


def test_the_metrics_count_every_call(received, thousand):
    _, points = received
    kinds = Counter(event for event, _, _ in thousand.make())
    (calls,) = [point for point in points if point["metric"] == "jitwarmup.call.duration"]
    assert (calls["kind"], calls["unit"], calls["count"]) == ("histogram", "s", kinds[schema.CALL])
    (lost,) = [point for point in points if point["metric"] == "jitwarmup.steady_state.lost"]
    assert lost["value"] == kinds[schema.STEADY_STATE_LOST]


def test_state_and_ready_are_those_of_the_warmed_function_that_lives(received):
    _, points = received
    states = {
        point["attributes"]["jitwarmup.state"][1]: point["value"]
        for point in points
        if point["metric"] == "jitwarmup.state"
    }
    assert states.keys() == {state.value for state in State}
    assert [state for state, value in states.items() if value == 1] == ["warm"]
    (ready,) = [point for point in points if point["metric"] == "jitwarmup.ready"]
    assert ready["value"] == 1
    assert ready["attributes"] == {"code.function.name": ["string", "module.generate"]}


def test_every_name_of_the_mapping_table_is_one_of_the_conventions(backends):
    python = backends.installed("rotel") / "bin" / "python"
    known = set(json.loads(backends.script(python, "semconv_names.py")))
    ours = {*processors.OTEL_NAMES.values(), *processors.GEN_AI_NAMES.values(), *processors.GenAI(model="m").added}
    assert len(known) > 500
    assert ours - known == set()
