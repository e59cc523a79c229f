"""Gates: what fails a build, and what must not."""

import pytest

from jitwarmup import ArgumentError
from jitwarmup.analysis.compare import Comparison, Ratio, compare
from jitwarmup.analysis.gates import Gate, judge, parse_gates
from jitwarmup.analysis.sides import side_of


def judged(gates, *ratios, **more):
    found = Comparison(a="old", b="new", ratios=ratios, interleaved=False, **more)
    return [one.outcome for one in judge(found, parse_gates(gates))]


def ratio(metric, value, *, low=None, high=None, verdict="undecided", method="runs", why="few"):
    known = {"low": low, "high": high, "most": high, "verdict": verdict, "method": method, "why": why}
    return Ratio(metric=metric, a_s=1, b_s=value, ratio=value, n=20, **known)


def test_gates_are_read_from_the_command_line():
    found = parse_gates("steady:5%, cold:20%,recompiles:0")
    assert found == (
        Gate(metric="steady", limit=0.05),
        Gate(metric="cold", limit=0.2),
        Gate(metric="recompiles", limit=0.0),
    )


@pytest.mark.parametrize("text", ["steady", "steady:5", "steady:-5%", "speed:5%", "recompiles:1%", "recompiles:-1"])
def test_a_gate_that_is_none_says_what_was_wanted(text):
    with pytest.raises(ArgumentError, match=r"wanted .*steady:5%,cold:20%,recompiles:0"):
        parse_gates(text)


def test_slower_by_more_than_the_limit_and_outside_the_noise_fails():
    assert judged("steady:5%", ratio("steady", 1.2, low=1.1, high=1.3, verdict="slower")) == ["failed"]


def test_within_the_limit_passes_however_sure():
    assert judged("steady:5%", ratio("steady", 1.04, low=1.03, high=1.05, verdict="slower")) == ["passed"]


@pytest.mark.parametrize(("value", "low"), [(1.2, 0.9), (1.0, 0.9), (1.04, 1.01)])
def test_noise_wider_than_the_limit_is_undecided(value, low):
    found = ratio("steady", value, low=low, high=1.5, verdict="slower" if low > 1 else "same")
    assert judged("steady:5%", found) == ["undecided"]
    assert judged("steady:50%", found) == ["passed"]


def test_faster_never_fails():
    assert judged("steady:0%", ratio("steady", 0.8, low=0.7, high=0.9, verdict="faster")) == ["passed"]


def test_single_cold_runs_have_no_interval_and_are_undecided():
    assert judged("cold:20%", ratio("cold", 1.3, method="single", why="single")) == ["undecided"]
    assert judged("cold:20%", ratio("cold", 1.1, method="single", why="single")) == ["undecided"]


def test_a_gate_that_cannot_look_never_passes():
    assert judged("cold:20%") == ["undecided"]
    assert judged("steady:5%", ratio("steady", 1.0)) == ["undecided"]  # a few runs, no interval
    assert judged("recompiles:0", compiles=None) == ["undecided"]
    assert judged("steady:5%", ratio("steady", 1.0, low=0.9, high=1.1, verdict="same"), failed=(0, 1)) == ["failed"]


def test_a_change_in_compile_count_alone_fails_its_gate_and_no_other(make_report):
    found = compare(side_of([make_report(compiles=1)]), side_of([make_report(compiles=3)]))
    by_gate = {one.gate.metric: one for one in judge(found, parse_gates("steady:5%,cold:20%,first:20%,recompiles:0"))}
    assert {name for name, one in by_gate.items() if one.failed} == {"recompiles"}
    assert "dynamo.recompile 1 -> 3" in by_gate["recompiles"].words
    assert not judge(found, parse_gates("recompiles:2"))[0].failed
    assert judge(found, parse_gates("recompiles:1"))[0].failed
