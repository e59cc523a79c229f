"""The same measurement in fresh processes. One test starts a real one; elsewhere a pool of this process stands in."""

import asyncio
import math
import operator
from types import SimpleNamespace

import pytest

from jitwarmup import ArgumentError, steady_state
from jitwarmup.api import processes
from jitwarmup.api import steady as steady_module
from jitwarmup.engine.options import BlockSettings
from jitwarmup.engine.rules import Fixed
from jitwarmup.records.errors import MeasurementFailed
from jitwarmup.testing import capture_events


class Pool:
    """Runs the work here: what travels is pickled all the same."""

    started = 0

    def __init__(self, size):
        assert size == 1
        Pool.started += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def join(self):
        pass

    def apply(self, function, args):
        return function(*args)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(Pool, "started", 0)
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda how: SimpleNamespace(Pool=Pool))
    return Pool


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


def test_an_async_function_is_repeated_too(monkeypatch):
    sent = []
    monkeypatch.setattr(processes, "repeat", lambda report, work, wanted, _: sent.append((work, wanted)) or report)
    monkeypatch.setattr(processes, "packed", lambda call, settings: call)

    async def main():
        async with steady_state(processes=3, iterations=0, measurements=1) as steady:
            await steady.measure(later, 1)

    with capture_events():
        asyncio.run(main())
    assert sent == [((later, (1,), {}), 3)]


def test_a_failed_measurement_is_not_repeated(here):
    with capture_events(), steady_state(processes=3, iterations=0) as steady:
        report = steady.measure(math.sqrt, -1)
    assert (report.failure.type, report.processes, here.started) == ("ValueError", None, 0)


def test_settings_travel_except_those_of_this_process(here):
    taken = []

    def refuse(work):
        taken.append(processes.pickle.loads(work))
        return 1.0

    processes_before = steady_module.measure_packed
    try:
        steady_module.measure_packed = refuse
        with (
            capture_events(),
            steady_state(processes=2, iterations=0, measurements=2, name="x", monitor=None) as block,
        ):
            block.measure(operator.mul, 2, 3)
    finally:
        steady_module.measure_packed = processes_before
    assert taken == [((operator.mul, (2, 3), {}), {"iterations": Fixed(0), "measurements": 2, "name": "x"})]


def test_the_other_process_measures_in_silence_and_gives_its_median():
    work = processes.packed((operator.mul, (2, 3), {}), BlockSettings(iterations=Fixed(0), measurements=2))
    with capture_events() as events:
        assert steady_module.measure_packed(work) > 0
    assert list(events) == []


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


def test_a_process_that_failed_is_left_out(here, monkeypatch):
    medians = iter([-1.0, None, 2.0])
    monkeypatch.setattr(steady_module, "measure_packed", lambda work: next(medians))
    with capture_events(), steady_state(processes=4, iterations=0, measurements=1) as steady:
        assert steady.measure(operator.mul, 2, 3).processes.n == 2


def test_a_refused_value_is_a_failure_like_any_other(here):
    with capture_events(), steady_state(processes=2, accept=callable) as steady:
        report = steady.measure(operator.mul, 2, 3)
    assert here.started == 0
    with pytest.raises(MeasurementFailed, match="accept= refused"):
        report.raise_for_failure()
