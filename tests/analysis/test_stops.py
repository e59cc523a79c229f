"""Which runs the process was stopped in, decided from seconds alone."""

import pytest

from jitwarmup import OneTimeWork, Phase, Reason, Run
from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.stops import mark_stops, stopped_s


@pytest.mark.parametrize(
    ("still_s", "stopped"),
    [
        ([], []),
        ([0.0, 0.0, 2.0, 0.0], [0] * 4),  # too few neighbours
        ([0.0, 0.0, 2.0, 0.0, 0.0], [0, 0, 2, 0, 0]),
        ([0.0] * 17 + [2.0, 3.0, 0.0], [0] * 17 + [2, 3, 0]),
        ([0.001, 0.002, 0.001, 0.05, 0.001], [0] * 5),  # too short to be one
        ([0.02, 0.021, 1.02, 0.019, 0.02], [0, 0, 1, 0, 0]),  # a function that sleeps, and was stopped
        ([0.02, 0.021, 0.15, 0.019, 0.02], [0] * 5),  # and one whose wait is longer now and then
        ([1.0, 1.0, 3.0, 1.0, 1.0], [0] * 5),
        ([2.0, 2.0, 0.0, 2.0, 2.0], [0] * 5),  # the odd one out did not wait
        ([0.3, 0.8, 1.5, 0.2, 2.9, 0.4, 0.1, 1.1], [0] * 8),  # a network
        ([2.0, 2.0, 2.0, 0.0, 0.0], [0] * 5),  # most of them: that is how it is
    ],
)
def test_a_stop_is_far_longer_than_what_is_usual(still_s, stopped):
    assert stopped_s(still_s) == pytest.approx(stopped, abs=0.025)


def run(wall_s, cpu_s=0.01, wait_s=0.0, phase=Phase.MEASURE, **more):
    return Run(
        phase=phase, index=0, started_at=0.0, duration_ns=round(wall_s * 1e9), cpu_s=cpu_s, wait_s=wait_s, **more
    )


IMPORT = OneTimeWork(kind="import")
USUAL = [run(0.01) for _ in range(8)]


def stops(runs):
    return [round(sum(w.duration_s for w in r.work if w.kind == "process.stopped"), 6) for r in mark_stops(runs)]


@pytest.mark.parametrize(
    ("one", "stopped"),
    [
        (run(2.01), 2.0),
        (run(2.01, phase=Phase.WARM), 2.0),
        (run(2.01, wait_s=2.0), 0),  # it waited for a processor
        (run(2.01, cpu_s=2.01), 0),  # it was busy
        (run(2.01, cpu_s=4.0), 0),
        (run(2.01, cpu_s=None), 0),  # not known
        (run(2.01, wait_s=None), 0),
        (run(2.01, phase=Phase.VALIDATE), 0),  # the first one waits for much
        (run(2.01, outcome="error"), 0),
        (run(2.01, work=(IMPORT,)), 0),  # it has its cause
    ],
)
def test_what_was_neither_computing_nor_waiting_is_the_stop(one, stopped):
    assert stops([*USUAL[:4], one, *USUAL[4:]]) == [0] * 4 + [stopped] + [0] * 4


def test_a_stop_is_ambient_and_leaves_the_run_clean():
    runs = mark_stops([*USUAL, run(2.01)])
    (work,) = runs[-1].work
    assert (work.recurrence, runs[-1].clean) == ("ambient", True)
    verdict = audit(runs, watched=("dynamo",))
    assert verdict.state == "steady"
    assert verdict.reasons == (Reason(kind="process_stopped", numbers={"runs": 1.0, "duration_s": pytest.approx(2.0)}),)


def test_a_stop_in_the_warm_up_is_no_finding_of_the_measured_runs():
    runs = mark_stops([run(2.01, phase=Phase.WARM), *USUAL])
    assert audit(runs, watched=("dynamo",)).reasons == ()
