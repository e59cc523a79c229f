"""The same measurement in fresh processes, real ones; what happens where they end badly: tests/hostile/test_children.py."""

import asyncio
import importlib
import operator
import sys
from pathlib import Path

import pytest

from jitwarmup import ArgumentError, MeasurementFailed, steady_state
from jitwarmup.testing import capture_events

USERS = """
import asyncio, multiprocessing, os

def first_process():
    return multiprocessing.parent_process() is None

def noted(file, value):
    # a line for each run: of the first process or of another, and its number
    with open(file, "a") as lines:
        lines.write(f"{'first' if first_process() else 'other'} {os.getpid()}\\n")
    return value

async def noted_later(file, value):
    await asyncio.sleep(0)
    return noted(file, value)

def in_the_first(value):
    return first_process()

def fails(file):
    noted(file, 1)
    raise ValueError
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of the user's own, which every process can import."""
    (tmp_path / "users_processes.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("users_processes")
    del sys.modules["users_processes"]


@pytest.fixture
def runs(tmp_path):
    """The file of runs, and how many were made in each process, the first one's first."""

    class Runs:
        file = str(tmp_path / "runs")

        def __call__(self):
            made = Path(self.file).read_text().splitlines()
            assert made == sorted(made, key=lambda line: not line.startswith("first"))
            return [made.count(line) for line in dict.fromkeys(made)]

    return Runs()


def test_a_measurement_is_repeated_in_fresh_processes_one_by_one_and_in_silence(users, runs, capfd):
    with capture_events() as events, steady_state(processes=3, iterations=1, measurements=2) as steady:
        report = steady.measure(users.noted, runs.file, 3)
    assert (report.processes.n, report.processes.scope, len(report.measured)) == (3, "processes", 2)
    assert report.processes.min_s <= report.latency_s <= report.processes.max_s
    assert steady.reports == (report,)
    assert runs() == [4, 4, 4]  # validated, warmed up once, measured twice: the plan travels
    assert len(events.named("jitwarmup.measurement.completed")) == 1
    assert capfd.readouterr() == ("", "")


def test_by_default_no_process_is_started(users, runs):
    with capture_events(), steady_state(iterations=0, measurements=2) as steady:
        assert steady.measure(users.noted, runs.file, 3).processes is None
    assert runs() == [3]


def test_an_async_function_is_repeated_too(users, runs):
    async def main():
        async with steady_state(processes=2, iterations=0, measurements=1) as steady:
            return await steady.measure(users.noted_later, runs.file, 1)

    with capture_events():
        report = asyncio.run(main())
    assert report.processes.n == 2
    assert runs() == [2, 2]


def test_a_failed_measurement_is_not_repeated(users, runs):
    with capture_events(), steady_state(processes=3, iterations=0) as steady:
        report = steady.measure(users.fails, runs.file)
    assert (report.failure.type, report.processes) == ("ValueError", None)
    assert runs() == [1]


def test_what_a_value_must_be_travels_and_its_refusal_is_a_reason(users):
    settings = {"iterations": 0, "measurements": 2, "name": "x", "monitor": None, "accept": users.in_the_first}
    with capture_events(), steady_state(processes=2, **settings) as steady:
        report = steady.measure(operator.mul, 2, 3)
    assert report.processes.n == 1
    assert "NotAccepted" in [reason.subject for reason in report.verdict.reasons]


def test_what_cannot_be_sent_is_refused_before_anything_runs():
    made = []

    def local():
        made.append(1)

    for function in (local, lambda: made.append(1)):
        with capture_events(), steady_state(processes=2) as steady:
            with pytest.raises(
                ArgumentError, match=r"processes= got .* cannot be sent to another process .*wanted a function"
            ):
                steady.measure(function)
    assert made == []


def test_a_refused_value_is_a_failure_like_any_other(users, runs):
    with capture_events(), steady_state(processes=2, accept=callable) as steady:
        report = steady.measure(users.noted, runs.file, 3)
    assert runs() == [1]
    with pytest.raises(MeasurementFailed, match="accept= refused"):
        report.raise_for_failure()
