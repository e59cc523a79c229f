"""What the process keeps of each run: told as a finding where it goes on and on, in a measurement and over warm-ups."""

import os
from itertools import count

import pytest

from jitwarmup import steady_state, warmed
from jitwarmup.host import process_size
from jitwarmup.host.process_size import Size


def planted(monkeypatch, **series):
    """The process has these sizes, one after the other."""
    number = count()

    def read():
        at = next(number)
        return Size(**{name: values(at) for name, values in series.items()})

    monkeypatch.setattr(process_size, "read", read)


def reasons(report):
    return {reason.kind: dict(reason.numbers) for reason in report.verdict.reasons}


def test_a_measurement_tells_of_memory_that_each_run_keeps(monkeypatch, events) -> None:
    planted(monkeypatch, memory_bytes=lambda at: 10**9 + at * 10**6, descriptors=lambda at: 9)
    report = warmed(iterations=2)(lambda: None).measure()
    assert reasons(report)["memory_grows"] == {"bytes_per_run": 1e6, "runs": 20.0}
    assert events[-1]["memory_grows_bytes"] == 1e6
    assert "memory_grows" in events[-1]["verdict_reasons"]
    assert "descriptors_grow" not in events[-1]


def test_flat_sizes_say_nothing(monkeypatch, events) -> None:
    planted(monkeypatch, memory_bytes=lambda at: 10**9, descriptors=lambda at: 9, graphs=lambda at: 3)
    report = warmed(iterations=2)(lambda: None).measure()
    assert not {"memory_grows", "graphs_grow", "descriptors_grow"} & set(reasons(report))
    assert "memory_grows_bytes" not in events[-1]


def test_growth_in_the_warm_up_alone_is_no_leak(monkeypatch) -> None:
    planted(monkeypatch, memory_bytes=lambda at: 10**9 + min(at, 6) * 10**7)
    assert "memory_grows" not in reasons(warmed(iterations=5)(lambda: None).measure())


def test_what_cannot_be_read_is_not_guessed_at(monkeypatch) -> None:
    planted(monkeypatch, memory_bytes=lambda at: None)
    assert "memory_grows" not in reasons(warmed(iterations=1)(lambda: None).measure())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here")  # noqa: PTH112 - a mark
def test_real_descriptors_left_open_are_found() -> None:
    opened = []
    with steady_state(iterations=1, measurements=12) as steady:
        report = steady.measure(lambda: opened.append(os.open("/dev/null", os.O_RDONLY)))
    for descriptor in opened:
        os.close(descriptor)
    assert reasons(report)["descriptors_grow"]["descriptors_per_run"] == 1.0


def test_growth_over_warm_ups_is_told_with_the_warm_up(monkeypatch, events) -> None:
    """Two runs each; a graph stays of every run."""
    planted(monkeypatch, graphs=lambda at: at)
    function = warmed(iterations=1, key=lambda x: x)(lambda x: None)
    function.warm_all(list(range(10)))
    growth = [event.get("graphs_grow") for event in events if event["event"] == "jitwarmup.warmup.completed"]
    assert growth == [None] * 7 + [2.0] * 3
