"""What an exception says stays out of events unless it was asked for; a hook may span the silent warm-up."""

from contextlib import contextmanager

import pytest

from jitwarmup import steady_state, warmed
from jitwarmup.testing import capture_events

WORDS = "the prompt was canary-51b2"


def failing():
    raise ValueError(WORDS)


@pytest.mark.parametrize("asked", [False, True])
def test_a_message_is_told_only_where_it_was_asked_for(asked):
    with capture_events() as events, steady_state(log_messages=asked) as steady:
        report = steady.measure(failing)
    failed = [event for event in events if event["event"].endswith(".failed")]
    assert [event["error_type"] for event in failed] == ["ValueError", "ValueError"]
    assert [event.get("error_message") for event in failed] == ([WORDS] * 2 if asked else [None] * 2)
    assert report.failure.message == WORDS


def test_a_failing_call_tells_its_message_only_where_it_was_asked_for():
    calls = iter([1, 1, 1])

    @warmed(iterations=1, log_messages=True)
    def speak():
        if next(calls, None) is None:
            raise ValueError(WORDS)

    speak()
    with capture_events() as events, pytest.raises(ValueError, match="canary"):
        speak()
    assert [event["error_message"] for event in events] == [WORDS]


def test_a_hook_spans_validation_and_warm_up_and_ends_before_what_is_measured():
    order = []

    class Spanning:
        def emit(self, event, level, fields):
            order.append(event.removeprefix("jitwarmup."))

        @contextmanager
        def warming(self, fields):
            order.append("begins")
            yield
            order.append("ends")

    with steady_state(log=Spanning(), iterations=2, measurements=2) as steady:
        steady.measure(lambda: order.append("run"))
    inner = ["begins", "run", "validation.completed", "run", "run", "ends", "warmup.completed"]
    assert order == [*inner, "run", "run", "measurement.completed", "block.completed"]
