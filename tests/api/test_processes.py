"""The same measurement in fresh processes. One test starts a real one; elsewhere a pool of this process stands in."""

import asyncio
import math
import multiprocessing
import operator
import pickle
from types import SimpleNamespace

import pytest

from jitwarmup import ArgumentError, MeasurementFailed, steady_state
from jitwarmup.testing import capture_events


class Processes:
    """Stands in the place of multiprocessing: the work is done here; what travels is pickled all the same."""

    def __init__(self):
        self.sent = []  # the bytes that each process got
        self.medians = None  # what the processes give, instead of measuring

    @property
    def started(self):
        return len(self.sent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def join(self):
        pass

    def apply(self, function, args):
        self.sent.append(args[0])
        if self.medians is not None:
            return next(self.medians)
        with capture_events() as events:
            median = function(*args)
        assert list(events) == []  # it measures in silence
        return median


@pytest.fixture
def here(monkeypatch):
    processes = Processes()

    def pool(size):
        assert size == 1
        return processes

    monkeypatch.setattr(multiprocessing, "get_context", lambda how: SimpleNamespace(Pool=pool))
    return processes


def test_a_measurement_is_repeated_in_a_fresh_process():
    with capture_events(), steady_state(processes=2, iterations=1, measurements=3) as steady:
        report = steady.measure(math.factorial, 2000)
    assert report.processes.n == 2
    assert report.processes.scope == "processes"
    assert report.processes.min_s <= report.latency_s <= report.processes.max_s
    assert steady.reports == (report,)


def test_each_further_process_gives_one_median(here):
    with capture_events() as events, steady_state(processes=4, iterations=0, measurements=2) as steady:
        report = steady.measure(operator.mul, 2, 3)
    assert (here.started, report.processes.n, len(report.measured)) == (3, 4, 2)
    assert len(events.named("jitwarmup.measurement.completed")) == 1  # the others are silent


def test_by_default_no_process_is_started(here):
    with capture_events(), steady_state(iterations=0, measurements=2) as steady:
        assert steady.measure(operator.mul, 2, 3).processes is None
    assert here.started == 0


async def later(x):
    await asyncio.sleep(0)
    return x


def test_an_async_function_is_repeated_too(here):
    here.medians = iter([1.0, 2.0])

    async def main():
        async with steady_state(processes=3, iterations=0, measurements=1) as steady:
            return await steady.measure(later, 1)

    with capture_events():
        report = asyncio.run(main())
    assert [pickle.loads(work)[0] for work in here.sent] == [(later, (1,), {})] * 2  # noqa: S301 - our own
    assert report.processes.n == 3


def test_a_failed_measurement_is_not_repeated(here):
    with capture_events(), steady_state(processes=3, iterations=0) as steady:
        report = steady.measure(math.sqrt, -1)
    assert (report.failure.type, report.processes, here.started) == ("ValueError", None, 0)


def test_settings_travel_except_those_of_this_process(here):
    here.medians = iter([1.0])
    settings = {"iterations": 0, "measurements": 2, "name": "x", "monitor": None, "accept": bool}
    with capture_events(), steady_state(processes=2, **settings) as block:
        block.measure(operator.mul, 2, 3)
    ((call, travelled),) = map(pickle.loads, here.sent)
    assert call == (operator.mul, (2, 3), {})
    assert set(travelled) == {"iterations", "measurements", "name", "accept"}


def test_what_cannot_be_sent_is_refused_before_anything_runs(here):
    runs = []

    def local():
        runs.append(1)

    for function in (local, lambda: runs.append(1)):
        with capture_events(), steady_state(processes=2) as steady:
            with pytest.raises(
                ArgumentError, match=r"processes= got .* cannot be sent to another process .*wanted a function"
            ):
                steady.measure(function)
    assert (runs, here.started) == ([], 0)


def test_a_process_that_failed_is_left_out(here):
    here.medians = iter([-1.0, None, 2.0])
    with capture_events(), steady_state(processes=4, iterations=0, measurements=1) as steady:
        assert steady.measure(operator.mul, 2, 3).processes.n == 2


def test_a_refused_value_is_a_failure_like_any_other(here):
    with capture_events(), steady_state(processes=2, accept=callable) as steady:
        report = steady.measure(operator.mul, 2, 3)
    assert here.started == 0
    with pytest.raises(MeasurementFailed, match="accept= refused"):
        report.raise_for_failure()
