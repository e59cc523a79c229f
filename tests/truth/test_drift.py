"""Clean calls of a warm key that become slower for good: announced once, and once more when that is over; chance is not."""

import math
import random

import pytest

from jitwarmup import MeasurementFailed, OneTimeWork, State, steady_state, warmed
from jitwarmup.analysis.drift import LASTING_S, LEARN, Drift
from jitwarmup.keys.state import UNREAD
from jitwarmup.records.protocols import ArmState
from jitwarmup.testing import FakeClock, capture_events

LOST, REACHED = "jitwarmup.steady_state.lost", "jitwarmup.steady_state.reached"
CALLS = 1_000  # of each series, after those that show its level


def jvm_like(chance, spread, calls):
    """Neighbours resemble each other (0.3), and 3 of 100 calls are some 15 % slower."""
    state, seconds = chance.gauss(0, 1), []
    for _ in range(calls):
        spike = 1 + chance.expovariate(1 / 0.15) if chance.random() < 0.03 else 1.0
        seconds.append(math.exp(spread * state) * spike)
        state = 0.3 * state + math.sqrt(1 - 0.3 * 0.3) * chance.gauss(0, 1)
    return seconds


def in_batches(drift, seconds):
    """Feed calls as the engine does: after how many of them what was found."""
    for first in range(0, len(seconds), UNREAD):
        batch = seconds[first : first + UNREAD]
        if (moved := drift.observe(batch)) is not None:
            yield first + len(batch), moved


def alarms_of(series):
    """False alarms of so many series without drift."""
    alarms = 0
    for seed in range(series):
        chance = random.Random(seed)
        seconds = jvm_like(chance, chance.uniform(0.02, 0.20), LEARN + CALLS)
        alarms += sum(moved.state == "drifted" for _, moved in in_batches(Drift(), seconds))
    return alarms


def delays_of(series, factor=1.5):
    """After how many calls a step is announced, and with which factor."""
    found = []
    for seed in range(series):
        chance, drift = random.Random(seed), Drift()
        spread, before = chance.uniform(0.02, 0.20), LEARN + chance.randrange(200)
        slow = [factor * one for one in jvm_like(chance, spread, 300)]
        moves = list(in_batches(drift, jvm_like(chance, spread, before) + slow))
        found.append((moves[0][0] - before, moves[0][1].factor) if moves else (CALLS, 0))
    return found


def within(found, calls=200):
    return sum(at <= calls for at, _ in found) / len(found)


def test_series_without_drift_give_no_alarm():
    assert alarms_of(60) <= 60 * CALLS / 100_000 * 5


@pytest.mark.slow
def test_a_thousand_series_without_drift_give_five_alarms_in_100_000_calls_at_most():
    assert alarms_of(1_000) <= 1_000 * CALLS / 100_000 * 5


def test_a_step_of_half_is_found_within_200_calls_with_its_factor():
    found = delays_of(60)
    assert within(found) >= 0.95
    assert sorted(factor for _, factor in found)[30] == pytest.approx(1.5, abs=0.05)


@pytest.mark.slow
def test_a_thousand_steps_of_half_are_found_within_200_calls():
    assert within(delays_of(1_000)) >= 0.95


def test_a_few_stalls_are_no_drift():
    drift = Drift()
    drift.observe([1.0] * LEARN)
    assert not any(drift.observe([1.0] * 5 + [100.0]) for _ in range(200))


def test_what_is_over_in_a_moment_is_not_for_good():
    drift = Drift()
    drift.observe([1e-5] * LEARN)
    slow = [1.5e-5] * UNREAD
    calls = next(UNREAD * count for count in range(1, 1_000) if drift.observe(slow) is not None)
    assert calls * 1.5e-5 == pytest.approx(LASTING_S, rel=0.01)


def test_times_that_the_clock_could_not_see_are_passed_over():
    drift = Drift()
    assert drift.observe([0.0, math.nan, math.inf, -1.0] * LEARN) is None
    drift.observe([1.0] * LEARN)
    assert drift.observe([0.0, math.nan, 2.0] * 100).state == "drifted"


# ------------------------------------------------------------------ in service


class Recompiles:
    """A probe that sees the recompiles that are made."""

    name = "dynamo"

    def __init__(self):
        self.made = 0

    def make(self):
        self.made += 1

    def arm(self):
        return ArmState("armed")

    def snapshot(self):
        return self.made

    def delta(self, before, after):
        return (OneTimeWork(kind="dynamo.recompile"),) if after > before else ()

    def disarm(self): ...


class Service:
    """A warmed function whose call takes so many hours of a clock that nothing else moves: real waits are as nothing."""

    def __init__(self, probes=(), **options):
        self.hours, self.clock, self.probes, self.during = 1.0, FakeClock(), probes, None
        self.function = warmed(iterations=1, **options)(self.run)

    def run(self):
        self.clock.advance(3600 * self.hours)
        if self.during is not None:
            self.during()

    def block(self):
        return steady_state(clock=self.clock, probes=self.probes)

    def calls(self, count, hours, during=None):
        self.hours, self.during = hours, during
        with self.block():
            for _ in range(count):
                self.function()


def of_kind(events, event):
    return [{name: each.get(name) for name in ("reason", "factor")} for each in events if each["event"] == event]


@pytest.mark.parametrize("emit", ["calls", "summary"])
def test_drift_is_announced_once_with_its_factor_and_once_more_when_it_is_over(emit):
    service = Service(emit=emit)
    with capture_events() as events:
        service.calls(LEARN + 100, 1.0)
        assert of_kind(events, LOST) == []
        service.calls(200, 1.5)
        assert of_kind(events, LOST) == [{"reason": "drift", "factor": pytest.approx(1.5, abs=0.01)}]
        assert service.function.state is State.DEGRADED
        assert service.function.status()["last_reason"] == "drift"
        assert service.function.ready
        service.calls(400, 1.5)
        assert len(of_kind(events, LOST)) == 1
        service.calls(200 + UNREAD, 1.0)
        assert of_kind(events, REACHED) == [{"reason": "drift is over", "factor": pytest.approx(1.0, abs=0.01)}]
        assert service.function.state is State.WARM
        service.calls(150, 1.5)
        assert len(of_kind(events, LOST)) == 1, "a second one needs more evidence"
        service.calls(200, 1.5)
        assert len(of_kind(events, LOST)) == 2


def test_calls_that_are_not_announced_are_not_watched():
    service = Service(emit="off")
    with capture_events() as events:
        service.calls(LEARN, 1.0)
        service.calls(400, 2.0)
    assert of_kind(events, LOST) == []
    assert service.function.state is State.WARM


def test_faster_calls_are_no_drift():
    service = Service()
    with capture_events() as events:
        service.calls(LEARN, 1.0)
        service.calls(400, 0.5)
    assert of_kind(events, LOST) == []


def test_unready_takes_readiness_back_until_the_key_is_warmed_again():
    service = Service(on_loss="unready")
    with capture_events():
        service.calls(LEARN + 10, 1.0)
        service.calls(200, 2.0)
        assert not service.function.ready
        service.calls(400, 1.0)
        assert not service.function.ready
        with service.block():
            service.function.warm()
        assert service.function.ready


def test_rewarm_warms_up_again_and_learns_the_level_anew():
    service = Service(on_loss="rewarm")
    with capture_events() as events:
        service.calls(LEARN + 10, 1.0)
        service.calls(600, 2.0)
        warmed_up = [event for event in events if event["event"] == "jitwarmup.warmup.completed"]
        assert len(warmed_up) == 2
        assert len(of_kind(events, LOST)) == 1
        assert service.function.state is State.WARM
        service.calls(200, 4.0)
    assert [lost["factor"] for lost in of_kind(events, LOST)] == pytest.approx([2.0, 2.0], abs=0.01)


def test_raise_raises_on_the_call_that_shows_it():
    service = Service(on_loss="raise")
    with capture_events():
        service.calls(LEARN + 10, 1.0)
        with pytest.raises(MeasurementFailed, match=r"2\.00 times as long"):
            service.calls(200, 2.0)
        service.calls(100, 2.0)


def test_a_recompile_in_a_drift_leaves_the_key_degraded_until_the_drift_is_over():
    service = Service(probes=[recompiles := Recompiles()])
    with capture_events() as events:
        service.calls(LEARN + 10, 1.0)
        service.calls(200, 2.0)
        service.calls(1, 2.0, during=recompiles.make)
        service.calls(10, 2.0)
        assert [lost["reason"] for lost in of_kind(events, LOST)] == ["drift", "dynamo.recompile"]
        assert service.function.status()["last_reason"] == "drift"
        service.calls(300, 1.0)
        assert service.function.state is State.WARM
