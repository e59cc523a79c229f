"""What an operator asks, as SQL over real events in three data bases; each answer is what the process knew."""

import importlib.util
import json
import sys

import pytest

pytestmark = pytest.mark.backends

WHEELS = ("duckdb", "chdb")


@pytest.fixture(scope="module")
def written(backends, tmp_path_factory):
    """The file of a process's events, and what that process knew."""
    file = tmp_path_factory.mktemp("questions") / "events.jsonl"
    return file, json.loads(backends.script(sys.executable, "asked.py", file))


def by_postgresql(backends, database, file):
    """The answers of PostgreSQL, by the name of the question."""
    spec = importlib.util.spec_from_file_location("query_questions", backends.here / "query_questions.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    sql, _ = database
    sql(rf"\copy events from '{file}' with (format csv, quote e'\x01', delimiter e'\x02')")
    for statement in reader.views("postgresql", backends.examples, "events"):
        sql(statement)
    return {
        name: [json.loads(row) for row in sql(f"select row_to_json(answer) from ({question}) as answer")]  # noqa: S608
        for name, question in reader.questions(backends.examples).items()
    }


@pytest.fixture(scope="module", params=[*WHEELS, "postgresql"])
def asked(request, backends, written):
    """The answers, and what the process knew."""
    file, known = written
    engine = request.param
    if engine == "postgresql":
        return by_postgresql(backends, request.getfixturevalue("database"), file), known
    python = backends.installed(engine) / "bin" / "python"
    return json.loads(backends.script(python, "query_questions.py", engine, file, backends.examples)), known


def test_every_question_has_an_answer(asked):
    answers, _ = asked
    assert [*answers] == ["cold", "cost", "recompiled", "traffic", "degraded"]
    assert all(answers.values())


def test_which_function_is_cold_and_why(asked):
    answers, known = asked
    assert [[row["callable"], row["key"]] for row in answers["cold"]] == known["cold"]
    reasons = {row["callable"]: row["why"] for row in answers["cold"]}
    assert reasons["__main__.cold"] == "never warmed up"
    assert reasons["__main__.fails"] == "ValueError"


def test_what_the_last_warm_up_cost_and_why(asked):
    answers, known = asked
    costs: dict[str, dict[str, float]] = {}
    for row in answers["cost"]:
        costs.setdefault(row["callable"], {})[row["cause"]] = row["seconds"]
    assert len(answers["cost"]) == sum(len(ledger) for ledger in known["ledgers"].values())  # of the last one alone
    assert costs == {name: pytest.approx(ledger) for name, ledger in known["ledgers"].items()}


def test_which_live_calls_recompiled_and_why(asked):
    answers, known = asked
    assert sum(row["recompiles"] for row in answers["recompiled"]) == known["recompiled"]
    reasons = {(row["callable"], row["reason"].partition(": ")[2]) for row in answers["recompiled"]}
    assert reasons == {
        ("__main__.recovered", "expected 3, got 4"),
        ("__main__.served", "expected 3, got 5"),
        ("__main__.served", "expected 5, got 6"),
    }
    assert all(row["duration_s"] > 0 for row in answers["recompiled"])


def test_how_much_traffic_meets_a_warm_key(asked):
    answers, known = asked
    found = {row["callable"]: [row["calls"], row["warm"]] for row in answers["traffic"]}
    known = dict(known["traffic"])
    known["__main__.summed_cold"][1] = None  # summaries do not count misses, and one key was missed
    del known["__main__.fails"]  # its only call ended in its own validation, which is no timed call
    assert found == known
    assert sum(row["paid"] for row in answers["traffic"]) == 3


def test_whether_anything_is_degraded(asked):
    answers, known = asked
    found: dict[str, list[list[str]]] = {}
    for row in answers["degraded"]:
        found.setdefault(row["event"], []).append([row["metric"] or row["callable"], row["why"]])
    assert found.pop("jitwarmup.steady_state.lost") == known["degraded"]
    assert [name for name, _ in found.pop("jitwarmup.validation.failed")] == known["failed"]
    assert found.pop("jitwarmup.monitor.degraded", []) == known["unread"]
    assert not found
