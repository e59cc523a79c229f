"""A proof of steady state that came too early is taken back; what never settles is never called steady."""

from jitwarmup import OneTimeWork, steady_state, until_steady
from jitwarmup.records.protocols import ArmState
from jitwarmup.testing import FakeClock, capture_events


def measured(seconds, captures=None, **options):
    """The report of a function whose runs take so many hours, the last one for ever: real waits are as nothing."""
    clock, left = FakeClock(), list(seconds)

    def function():
        clock.advance(3600 * (left.pop(0) if len(left) > 1 else left[0]))
        if captures is not None:
            captures.made = 1

    with (
        capture_events(),
        steady_state(clock=clock, iterations=until_steady(), measurements=20, **options) as steady,
    ):
        return steady.measure(function)


def test_a_plateau_longer_than_the_window_is_no_steady_state():
    report = measured([5.0] + [2.0] * 12 + [1.0])
    assert {run.duration_s for run in report.measured} == {3600.0}
    assert report.verdict.state == "steady"
    assert report.warmup[-1].duration_s == 3600.0
    assert sum(run.discarded for run in report.runs) == 20
    assert report.latency.n == 20


def test_runs_that_become_slower_are_no_reason_to_try_again_until_they_are_flat():
    report = measured([5.0] + [1.0] * 12 + [2.0])
    assert not any(run.discarded for run in report.runs)
    assert report.verdict.state == "unsteady"


def test_it_is_tried_again_once():
    report = measured([2.0**-step for step in range(12) for _ in range(8)])
    assert sum(run.discarded for run in report.runs) == 20
    assert report.verdict.state == "unsteady"


def test_a_fixed_count_is_what_was_asked_for():
    clock, seconds = FakeClock(), iter([2.0] * 12 + [1.0] * 100)
    with capture_events(), steady_state(clock=clock, iterations=5, measurements=20) as steady:
        report = steady.measure(lambda: clock.advance(3600 * next(seconds)))
    assert len(report.runs) == 26


class Captures:
    """A probe that sees one capture: in the run that makes it."""

    name = "dynamo"

    def __init__(self):
        self.made = 0

    def arm(self):
        return ArmState("armed")

    def snapshot(self):
        return self.made

    def delta(self, before, after):
        return (OneTimeWork(kind="dynamo.capture", duration_s=1.0),) if after > before else ()

    def disarm(self): ...


def test_where_the_causes_are_known_what_moves_is_the_host():
    captures = Captures()
    report = measured([5.0] + [2.0] * 12 + [1.0], captures, probes=[captures])
    assert [work.kind for work in report.validation.work] == ["dynamo.capture"]
    assert not any(run.discarded for run in report.runs)
    assert report.verdict.state == "unsteady"
