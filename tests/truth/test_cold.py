"""Cold is the first run that this process made of a key, whenever that was; where nobody timed it, there is no speed-up."""

import pytest
import torch

from jitwarmup import Report, by_shape, steady_state, warmed
from jitwarmup.analysis.compare import compare
from jitwarmup.analysis.gates import judge, parse_gates
from jitwarmup.analysis.sides import side_of
from jitwarmup.testing import FakeClock, capture_events

FIRST_NS, LATER_NS = 1_000_000_000, 10_000_000


pytestmark = pytest.mark.usefixtures("fresh_programs")


@pytest.fixture
def clock():
    return FakeClock()


def slow_at_first(clock):
    """A function whose first run for each number takes a second, any other 10 ms."""
    met = set()

    def serve(x=0):
        number = len(x) if hasattr(x, "shape") else x
        clock.ns += LATER_NS if number in met else FIRST_NS
        met.add(number)

    return serve


def measured(function, clock, *args, iterations=2):
    with capture_events() as events, steady_state(iterations=iterations, measurements=5, clock=clock) as steady:
        report = steady.measure(function, *args)
    (line,) = (event for event in events if event["event"] == "jitwarmup.measurement.completed")
    assert (line.get("cold_s"), line.get("speedup")) == (report.cold_s, report.speedup)
    return report


def test_a_warm_function_was_cold_when_it_was_first_called(clock):
    serve = warmed(iterations=2)(slow_at_first(clock))
    with steady_state(clock=clock), capture_events():
        serve()
    report = measured(serve, clock)
    assert (report.cold_s, report.speedup) == (1.0, pytest.approx(100))
    assert report.validation.duration_s == 0.01
    assert "earlier" in report.explain()
    assert Report.from_dict(report.to_dict()).cold_s == 1.0


@pytest.mark.parametrize("way", ["again", "by hand and decorated", "after a reset", "a bound method"])
def test_whoever_wrapped_it(clock, way):
    class Model:
        def __init__(self):
            self.run = slow_at_first(clock)

        def serve(self):
            self.run()

    model, serve = Model(), slow_at_first(clock)
    decorated = warmed(iterations=2)(serve)
    first, second = {
        "again": (serve, serve),
        "by hand and decorated": (serve, decorated),
        "after a reset": (decorated, decorated),
        "a bound method": (
            warmed(iterations=1, reusable=(Model,))(model.serve),
            warmed(reusable=(Model,))(model.serve),
        ),
    }[way]
    assert measured(first, clock).speedup == pytest.approx(100)
    decorated.reset()
    report = measured(second, clock)
    assert (report.cold_s, report.speedup) == (1.0, pytest.approx(100))


def test_each_key_was_cold_for_itself(clock):
    serve = warmed(iterations=1, key=by_shape)(slow_at_first(clock))
    for size in (2, 3):
        assert measured(serve, clock, torch.ones(size)).cold_s == 1.0
    assert measured(serve, clock, torch.ones(2)).cold_s == 1.0


def test_a_call_that_was_passed_through_was_the_first_run(clock):
    serve = warmed(iterations=1, on_new_key="pass")(slow_at_first(clock))
    with steady_state(clock=clock), capture_events():
        serve()
    assert measured(serve, clock).cold_s == 1.0


def test_a_first_run_that_failed_was_the_cold_one_and_has_no_time(clock):
    serve = slow_at_first(clock)

    def fails_first():
        serve()
        if clock.ns == FIRST_NS:
            raise ValueError

    with capture_events(), steady_state(clock=clock) as steady:
        assert steady.measure(fails_first).cold_s is None
    assert measured(fails_first, clock).cold_s is None


def caller_of(program):
    return lambda x: program(x)


PROGRAMS = {
    "function": lambda: torch.compile(lambda x: x + 1, backend="eager"),
    "module": lambda: torch.compile(torch.nn.Linear(2, 2), backend="eager"),
    "called by": lambda: caller_of(torch.compile(lambda x: x - 1, backend="eager")),
}


@pytest.mark.parametrize("iterations", [0, 2])
@pytest.mark.parametrize("which", PROGRAMS)
def test_programs_that_were_there_before(which, iterations, clock):
    function, x = PROGRAMS[which](), torch.ones(2)
    function(x)
    report = measured(function, clock, x, iterations=iterations)
    if which == "called by" and not iterations:
        return  # without a warm-up run nobody looks whether compiled code serves
    assert (report.warm_before, report.cold_s, report.speedup) == (True, None, None)
    assert "was warm before" in report.explain()
    assert measured(function, clock, x, iterations=iterations).speedup is None  # known from then on


@pytest.mark.parametrize("iterations", [0, 2])
@pytest.mark.parametrize("which", PROGRAMS)
def test_programs_that_the_first_run_makes(which, iterations, clock):
    report = measured(PROGRAMS[which](), FakeClock(1_000), torch.ones(2), iterations=iterations)
    assert not report.warm_before
    assert report.speedup is not None
    assert "was warm before" not in report.explain()


def test_a_service_that_was_warm_before_says_so_in_its_events(clock):
    program = torch.compile(lambda x: x * 2, backend="eager")
    program(torch.ones(2))
    serve = warmed(iterations=1)(lambda x: program(x))
    with capture_events() as events:
        serve(torch.ones(2))
    (line,) = (event for event in events if event["event"] == "jitwarmup.warmup.completed")
    assert "cold_s" not in line


def test_a_gate_on_cold_passes_nothing_that_nobody_timed(clock):
    program = torch.compile(lambda x: x / 2, backend="eager")
    known = measured(program, clock, torch.ones(2))
    unknown = measured(warmed(iterations=2)(lambda x: program(x)), clock, torch.ones(2))
    (judged,) = judge(compare(side_of([known]), side_of([unknown])), parse_gates("cold:900%"))
    assert judged.undecided
    assert "cannot be judged" in judged.words
