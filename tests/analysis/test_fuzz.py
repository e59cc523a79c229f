"""Ten thousand random series through everything that judges one: no exception, and nothing falling is ever called steady."""

import math
import random

import pytest

from jitwarmup import OneTimeWork, Phase, Run, classify, until_steady
from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.stats import across_processes, summarize
from jitwarmup.engine.rules import would_have_said

RULES = [until_steady(), until_steady(strict=True), until_steady(at_least=0).with_hooks(True)]
WORK = OneTimeWork(kind="dynamo.recompile")


def random_series(chance):
    """Zeros, NaN, one value, constants, ramps, steps, noise; 1e-9 to 1e9."""
    size = chance.choice([0, 1, 2, 3, 5, 8, 13, 21, 30])
    scale = 10 ** chance.uniform(-9, 9)
    kind = chance.choice(["constant", "zeros", "wide", "noise", "step", "ramp", "ticks"])
    make = {
        "constant": lambda at: 1.0,
        "zeros": lambda at: chance.choice([0.0, 1.0]),
        "wide": lambda at: 10 ** chance.uniform(-9, 9) / scale,
        "noise": lambda at: abs(chance.gauss(1, 0.2)),
        "step": lambda at: 1.0 if at < size // 2 else 0.3,
        "ramp": lambda at: 1 + at / 3,
        "ticks": lambda at: float(chance.randint(0, 3)),
    }[kind]
    series = [make(at) * scale for at in range(size)]
    for at in range(size):
        if chance.random() < 0.03:
            series[at] = chance.choice([math.nan, math.inf, 0.0])
    return series


def falling_series(chance):
    """Each value below the one before by more than 5 %, with a little jitter, and never below what a clock can tell."""
    factor, scale = chance.uniform(0.2, 0.93), 10 ** chance.uniform(-6, 5)
    series = [scale * factor**at * chance.uniform(0.995, 1.005) for at in range(chance.randint(1, 30))]
    return [value for value in series if value > 1e-7]


def runs_of(series, chance, waits=True):
    runs = []
    for at, seconds in enumerate(series):
        phase = Phase.VALIDATE if at == 0 else chance.choice([Phase.WARM, Phase.MEASURE])
        ns = round(seconds * 1e9) if math.isfinite(seconds) else seconds
        wait_s = chance.choice([None, 0.0, seconds * chance.random(), seconds * 2]) if waits else None
        work = (WORK,) if waits and chance.random() < 0.1 else ()
        runs.append(Run(phase=phase, index=at, started_at=0.0, duration_ns=ns, wait_s=wait_s, work=work))
    return runs


def judge(series, runs):
    for rule in RULES:
        decision = rule(runs)
        assert decision.state in ("more", "proven", "spent")
        assert all(math.isfinite(number) or number == math.inf for number in decision.numbers.values())
        assert 0 <= decision.numbers.get("warmup_end", 0) <= len(runs)
    would_have_said(runs)
    audit(runs, watched=("dynamo",))
    found = classify(series)
    assert found.start is None or 0 <= found.start < len(series)
    for summary in (summarize(series), across_processes(series)):
        assert summary.ci_low_s is None or summary.ci_low_s <= summary.median_s <= summary.ci_high_s


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_series_is_too_strange(part):
    chance = random.Random(part)
    for _ in range(1750):
        series = random_series(chance)
        judge(series, runs_of(series, chance))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_nothing_that_still_falls_by_more_than_five_percent_a_run_is_called_steady(part):
    chance = random.Random(100 + part)
    for _ in range(1000):
        series = falling_series(chance)
        runs = runs_of(series, chance, waits=False)
        judge(series, runs)
        measured = [
            *runs[:1],
            *(Run(phase=Phase.MEASURE, index=0, started_at=0.0, duration_ns=r.duration_ns) for r in runs[1:]),
        ]
        assert all(rule(runs).state != "proven" for rule in RULES), series
        assert audit(runs).state != "steady", series
        assert audit(measured, watched=("dynamo",)).state in ("unsteady", "undecided"), series
        assert classify(series).label in ("no_steady_state", "inconclusive"), series


def test_the_waits_of_a_busy_host_cannot_make_a_falling_series_steady():
    chance = random.Random(200)
    for _ in range(500):
        series = falling_series(chance)
        runs = [
            Run(
                phase=Phase.WARM if at else Phase.VALIDATE,
                index=at,
                started_at=0.0,
                duration_ns=round(seconds * 1e9),
                wait_s=seconds * chance.uniform(0, 1.2),
            )
            for at, seconds in enumerate(series)
        ]
        assert all(rule(runs).state != "proven" for rule in RULES), series


def test_no_decision_of_the_practical_profile_depends_on_the_unit():
    chance = random.Random(300)
    for _ in range(1000):
        series = random_series(chance)
        unit = 10 ** chance.uniform(-6, 6)
        one, other = classify(series), classify([value * unit for value in series])
        assert (one.label, one.start, one.changepoints) == (other.label, other.start, other.changepoints), (
            series,
            unit,
        )
