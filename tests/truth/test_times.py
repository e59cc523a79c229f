"""Wall time, own time and CPU time: what each is, and that no time is waited for that was not there."""

import asyncio
import hashlib
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from jitwarmup import Phase, Run, steady_state
from jitwarmup.probes.contention import within
from jitwarmup.testing import FakeClock

SCHEDSTAT = pathlib.Path("/proc/thread-self/schedstat")
linux = pytest.mark.skipif(not SCHEDSTAT.exists(), reason="this system has no schedstat")


def run(wall_s, *, cpu_s=None, wait_s=None, process_s=None):
    read = {"cpu_s": cpu_s, "wait_s": wait_s, "process_cpu_s": process_s}
    return Run(phase=Phase.MEASURE, index=0, started_at=0.0, duration_ns=round(wall_s * 1e9), **read)


# ------------------------------------------------------------------ readings, as numbers


@pytest.mark.parametrize(
    ("wall_s", "read", "kept"),
    [
        pytest.param(1.0, (0.4, 0.5), (0.4, 0.5), id="fits"),
        pytest.param(1.0, (0.4, 0.7), (0.4, 0.6), id="waited outside"),
        pytest.param(0.001, (0.0009, 0.107), (0.0009, 0.0001), id="taken off its core before the clock was read"),
        pytest.param(0.001, (0.0014, 0.002), (0.001, 0.0), id="ran for longer than the run took"),
        pytest.param(1.0, (None, 3.0), (None, 1.0), id="CPU seconds not counted"),
        pytest.param(1.0, (0.4, None), (0.4, None), id="waits not told"),
        pytest.param(0.0, (1e-6, 1e-3), (0.0, 0.0), id="a clock that stands still"),
        pytest.param(1.0, (None, None), (None, None), id="nothing told"),
    ],
)
def test_a_wait_is_never_longer_than_the_wall_time_less_the_cpu_seconds(wall_s, read, kept):
    cpu_s, wait_s, switches, process_s = within(wall_s, (*read, 3, None))
    assert (cpu_s, wait_s) == pytest.approx(kept) if None not in kept else (cpu_s, wait_s) == kept
    assert (switches, process_s) == (3, None)


@pytest.mark.parametrize("process_s", [0.0014, 0.0024, 0.0104])
def test_what_other_threads_ran_is_left_as_it_is(process_s):
    cpu_s, _, _, kept = within(0.001, (0.0014, 0.0, 0, process_s))
    assert kept - cpu_s == pytest.approx(process_s - 0.0014)


@pytest.mark.parametrize(
    ("found", "own_s", "why"),
    [
        ({"cpu_s": 1.0, "wait_s": 2.0, "process_s": 1.0}, 1.0, "others held the CPU"),
        ({"cpu_s": 1.0, "wait_s": 2.0, "process_s": 3.0}, 3.0, "its own threads did"),
        ({"cpu_s": 1.0, "wait_s": 2.0, "process_s": 9.0}, 3.0, "many of its own threads did"),
        ({"cpu_s": 1.0, "wait_s": 2.0, "process_s": 1.5}, 1.5, "its own threads for a part of it"),
        ({"cpu_s": 1.0, "wait_s": 9.0, "process_s": 1.0}, 1.0, "never less than its CPU seconds"),
        ({"cpu_s": 1.0, "wait_s": 0.0, "process_s": 9.0}, 3.0, "waited for nobody"),
        ({"cpu_s": 1.0, "wait_s": 2.0}, 1.0, "of the other threads nothing is known"),
        ({"wait_s": 2.0}, 1.0, "no CPU seconds"),
        ({"wait_s": float("nan")}, None, "no number"),
        ({"cpu_s": 1.0}, None, "the system does not tell"),
    ],
)
def test_own_time_is_wall_time_less_what_others_held(found, own_s, why):
    assert run(3.0, **found).own_time_s == (own_s if own_s is None else pytest.approx(own_s)), why


def test_a_report_names_wall_time_own_time_and_cpu_time(make_report):
    known = {"cpu_s": 0.006, "wait_s": 0.01, "process_cpu_s": 0.009}
    report = make_report(**known)
    walls = sorted(one.duration_s for one in report.measured)
    assert report.latency.median_s == pytest.approx((walls[9] + walls[10]) / 2)
    assert report.own_time.median_s == pytest.approx(report.latency.median_s - 0.007)
    assert report.cpu.median_s == pytest.approx(0.009)
    assert type(report).from_dict(report.to_dict()) == report


@pytest.mark.parametrize(
    ("known", "own", "cpu"),
    [({"cpu_s": 0.006}, False, True), ({"wait_s": 0.001}, True, False), ({}, False, False)],
)
def test_a_time_that_is_not_known_is_absent(make_report, known, own, cpu):
    report = make_report(**known)
    assert (report.own_time is not None, report.cpu is not None) == (own, cpu)


# ------------------------------------------------------------------ real runs


def spin(seconds=0.0005):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def burn(cpu_s):
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


def in_threads():
    threads = [threading.Thread(target=spin) for _ in range(4)]
    for thread in threads:
        thread.start()
    spin()
    for thread in threads:
        thread.join()


async def asleep():
    await asyncio.sleep(0.0005)
    spin()


def stream():
    for _ in range(3):
        spin(0.0002)
        yield 1


@pytest.mark.parametrize("function", [spin, in_threads, lambda: time.sleep(0.001), lambda: None, asleep, stream])
def test_what_a_run_ran_and_waited_fits_into_its_wall_time(function):
    with steady_state(iterations=2, measurements=8) as steady:
        report = steady.measure(function)
        report = asyncio.run(report) if asyncio.iscoroutine(report) else report
    for one in report.runs:
        cpu_s, wait_s = one.cpu_s or 0.0, one.wait_s or 0.0
        assert 0 <= cpu_s <= one.duration_s
        assert 0 <= wait_s <= one.duration_s - cpu_s + 1e-12
        assert one.process_cpu_s is None or one.process_cpu_s >= cpu_s - 1e-3
        assert one.own_time_s is None or cpu_s - 1e-12 <= one.own_time_s <= one.duration_s


def test_a_clock_that_was_given_bounds_them_too():
    clock = FakeClock()
    with steady_state(clock=clock, iterations=1, measurements=4) as steady:
        report = steady.measure(lambda: (burn(0.002), clock.advance(0.001)))
    assert [one.cpu_s for one in report.measured] == [0.001] * 4
    assert {one.wait_s for one in report.measured} <= {0.0, None}


def test_a_report_holds_what_the_timing_itself_adds():
    with steady_state(iterations=2, measurements=100) as steady:
        nothing, longer = steady.measure(lambda: None), steady.measure(spin)
    assert 0 < nothing.overhead_s == longer.overhead_s  # once in a process
    assert nothing.latency.min_s < 50 * nothing.overhead_s
    assert "the timing itself adds" in nothing.explain()
    with steady_state(clock=FakeClock(), iterations=0, measurements=1) as steady:
        assert steady.measure(lambda: None).overhead_s is None


def test_cpu_seconds_are_of_all_threads_of_the_process():
    buffer = b"x" * 1_000_000  # hashed without the interpreter's lock

    def beside():
        thread = threading.Thread(target=lambda: hashlib.sha256(buffer * 20).digest())
        thread.start()
        thread.join()

    with steady_state(iterations=1, measurements=5) as steady:
        report = steady.measure(beside)
    assert all(one.process_cpu_s > 3 * one.cpu_s for one in report.measured)
    assert report.cpu.median_s > 3 * max(one.cpu_s for one in report.measured)


# ------------------------------------------------------------------ beside busy neighbours


@pytest.fixture
def three_busy_loops():
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@linux
@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.usefixtures("three_busy_loops")
def test_beside_three_busy_loops_the_share_of_waiting_is_the_threads_own():
    inside = []

    def one_ms():
        before, began = waited(), time.perf_counter()
        spin(0.001)
        inside.append(((waited() - before) / 1e9, time.perf_counter() - began))

    def waited():
        return int(os.pread(descriptor, 64, 0).split()[1])

    descriptor = os.open(SCHEDSTAT, os.O_RDONLY)
    try:
        with steady_state(iterations=20, measurements=400) as steady:
            report = steady.measure(one_ms)
    finally:
        os.close(descriptor)
    # a run that lost its core between our clock and the function's own look waited where the function cannot see it
    seen = [
        (one, wait_s)
        for one, (wait_s, took_s) in zip(report.measured, inside[-400:], strict=True)
        if one.duration_s < took_s + 0.0005
    ]
    wall_s = sum(one.duration_s for one, _ in seen)
    share, true = sum(one.wait_s for one, _ in seen) / wall_s, sum(wait_s for _, wait_s in seen) / wall_s
    print(f"{len(seen)} runs: share of waiting {share:.3f}, true {true:.3f}; {report.latency}; {report.own_time}")
    assert len(seen) > 350
    assert share == pytest.approx(true, abs=0.05)
    assert report.own_time.ci_low_s >= 0.85 * report.own_time.median_s
    assert report.own_time.ci_high_s <= 1.15 * report.own_time.median_s
