"""What no probe can see is named, so that "no cause was seen" says no more than that."""

import pytest
import torch

from jitwarmup import Report, steady_state
from jitwarmup.testing import FakeClock, capture_events

NAMES = {"thread_pool", "first_touch", "native_libraries", "lazy_parameters", "torchscript"}


LAZY = torch.nn.LazyLinear(2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "function",
    [torch.jit.script(torch.nn.Linear(3, 2)), lambda x: LAZY(x), lambda x: torch.ones(10, 10) @ torch.ones(10, 10)],
)
def test_what_makes_no_event_is_named(function):
    with capture_events() as events, steady_state(iterations=1, measurements=6, clock=FakeClock(1_000)) as steady:
        report = steady.measure(function, torch.ones(1, 3))
    assert set(report.verdict.unwatched) >= NAMES
    assert not set(report.verdict.watched) & NAMES
    assert all(name in " ".join(report.explain().split()) for name in NAMES)
    assert set(Report.from_dict(report.to_dict()).verdict.unwatched) >= NAMES
    (line,) = (event for event in events if event["event"] == "jitwarmup.measurement.completed")
    assert set(line["unwatched"]) >= NAMES
