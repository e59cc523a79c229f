"""Readiness and status: honest, versioned, and never waiting for a warm-up."""

import gc
import json
import threading

import pytest

from jitwarmup import ArgumentError, OneTimeWork, readiness, steady_state, until_steady, warmed
from jitwarmup.keys import registry as ledger_module
from jitwarmup.probes import Observation
from jitwarmup.testing import FakeClock, inactive

KEYS = {"schema", "callable", "state", "phase", "ready", "progress", "eta_s", "last_reason", "keys", "keys_cut"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No function of another test is registered."""
    import weakref

    fresh = weakref.WeakSet()
    monkeypatch.setattr(ledger_module, "REGISTRIES", fresh)
    monkeypatch.setattr("jitwarmup.keys.status.REGISTRIES", fresh)


def test_the_status_of_a_cold_function() -> None:
    document = warmed(iterations=4)(len).status()
    assert set(document) == KEYS
    assert document["schema"] == "jitwarmup.status/1"
    assert document["callable"] == "builtins.len"
    assert (document["state"], document["phase"], document["ready"]) == ("cold", None, False)
    assert document["progress"] == {"done": 0, "planned": None}
    assert document["eta_s"] is None


def test_the_status_tells_phase_progress_and_eta_from_inside() -> None:
    clock = FakeClock()
    seen = []

    @warmed(iterations=3)
    def function():
        seen.append(function.status())
        clock.advance(2.0)

    with steady_state(clock=clock):
        function.warm()
    assert [document["phase"] for document in seen] == ["validate", "warm", "warm", "warm"]
    assert [document["progress"] for document in seen] == [{"done": n, "planned": 4} for n in range(4)]
    assert [document["eta_s"] for document in seen] == [None, None, 4.0, 2.0]
    after = function.status()
    assert (after["state"], after["ready"], after["eta_s"]) == ("warm", True, 0.0)
    assert after["progress"] == {"done": 4, "planned": 4}
    json.dumps(seen, allow_nan=False)


def test_keys_that_have_not_begun_are_predicted_from_those_that_are_done() -> None:
    clock = FakeClock()
    seen = []

    @warmed(iterations=0, key=lambda x: x)
    def function(x):
        seen.append(function.status()["eta_s"])
        clock.advance(2.0)

    with steady_state(clock=clock):
        function.warm_all([1, 2, 3])
    assert seen == [None, 4.0, 2.0]


def test_with_a_rule_nobody_knows_how_many_runs_are_planned() -> None:
    seen = []

    @warmed(iterations=until_steady(at_most=3))
    def function():
        seen.append(function.status()["progress"])

    function.warm()
    assert seen[0] == {"done": 0, "planned": None}


def test_a_failure_tells_its_type_and_never_its_message() -> None:
    def fail():
        raise ValueError("secret")

    function = warmed()(fail)
    with pytest.raises(ValueError):
        function.warm()
    document = function.status()
    assert document["last_reason"] == "failed: ValueError"
    assert "secret" not in json.dumps(document)


def test_a_status_never_waits_even_while_the_ledger_is_held() -> None:
    function = warmed(iterations=0)(lambda: None)
    function.warm()
    held, release = threading.Event(), threading.Event()

    def hold():
        with function._core.registry.lock:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        answers = []
        asker = threading.Thread(target=lambda: answers.append((function.status(), function.ready, function.state)))
        asker.start()
        asker.join(30)
        assert len(answers) == 1
    finally:
        release.set()
        thread.join()


def test_a_document_stays_small_with_many_keys() -> None:
    function = warmed(iterations=0, key=lambda x: x)(lambda x: None)
    function.warm_all(list(range(100)))
    document = function.status()
    assert 0 < len(document["keys"]) < 100
    assert document["keys_cut"] == 100 - len(document["keys"])
    assert len(json.dumps(document)) < 10_000


def test_readiness_with_nothing_asked_to_warm_is_not_ready() -> None:
    warmed(iterations=0)(lambda: None)()
    assert not readiness()
    assert readiness().status()["functions"] == []


def test_readiness_speaks_of_all_that_were_asked() -> None:
    one, two = (warmed(iterations=0, name=name)(lambda: None) for name in "ab")
    one.warm()
    assert readiness()
    found = readiness(one, two)
    assert not found
    two.warm()
    assert found
    assert found.status()["ready"]
    assert {document["callable"] for document in readiness().status()["functions"]} == {"a", "b"}


def test_readiness_latches_against_functions_that_are_asked_later() -> None:
    one, two = warmed(iterations=0)(lambda: None), warmed(iterations=0)(lambda: 1 / 0)
    one.warm()
    found = readiness()
    assert found.ready
    with pytest.raises(ZeroDivisionError):
        two.warm()
    assert found.ready
    assert not readiness().ready


def test_readiness_is_taken_back_by_on_loss_unready(watch) -> None:
    one = warmed(iterations=0, on_loss="unready")(lambda: None)
    one.warm()
    found = readiness()
    assert found
    watch.seen = [Observation(work=(OneTimeWork(kind="dynamo.recompile"),))]
    one()
    assert not found
    one.warm()
    assert found


def test_functions_that_are_gone_are_forgotten() -> None:
    function = warmed(iterations=0)(lambda: None)
    function.warm()
    assert len(readiness().status()["functions"]) == 1
    del function
    gc.collect()
    assert readiness().status()["functions"] == []


def test_switched_off_everything_is_ready() -> None:
    with inactive():
        assert readiness()
        assert readiness(warmed()(len)).status()["ready"]


def test_what_is_no_warmed_function_is_refused() -> None:
    with pytest.raises(ArgumentError, match="readiness got a builtin_function_or_method"):
        readiness(len)
