"""What an operator asks, as SQL over real events in duckdb; each answer is what the process knew."""

import json
import sys

import pytest

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def asked(backends, tmp_path_factory):
    """The answers, and what the process knew."""
    file = tmp_path_factory.mktemp("questions") / "events.jsonl"
    known = json.loads(backends.script(sys.executable, "asked.py", file))
    python = backends.installed("duckdb") / "bin" / "python"
    return json.loads(backends.script(python, "query_questions.py", file, backends.examples / "questions.sql")), known


def test_which_function_is_cold(asked):
    answers, known = asked
    assert [row[:2] for row in answers["cold"]] == known["missed"]


def test_what_the_last_warm_up_cost_and_why(asked):
    answers, known = asked
    costs = {cause: seconds for name, _, cause, seconds in answers["cost"] if name.endswith("served")}
    assert costs == pytest.approx(known["ledger"])


def test_which_live_calls_recompiled_and_why(asked):
    answers, known = asked
    rows = answers["recompiled"]
    assert sum(row[3] for row in rows) == known["recompiled"]
    assert all("size of" in row[2] for row in rows)


def test_how_much_traffic_pays_for_one_time_work(asked):
    answers, known = asked
    (row,) = [row for row in answers["traffic"] if row[0].endswith("served")]
    assert row[1:] == [known["calls"], known["recompiled"]]


def test_whether_anything_is_degraded(asked):
    answers, _ = asked
    found = {(event.removeprefix("jitwarmup."), reason) for event, _, reason in answers["degraded"]}
    assert ("validation.failed", "ValueError") in found
    assert any(event == "monitor.degraded" for event, _ in found)
