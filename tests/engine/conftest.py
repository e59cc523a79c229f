"""The engine is tested without probes (they have rooms of their own): a watch that sees what a test tells it to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from jitwarmup.edges.events.recorder import Recorder
from jitwarmup.edges.probes import Seen
from jitwarmup.engine import plan, session
from jitwarmup.testing import FakeClock, RecordingMonitor


class ScriptedWatch:
    """Has the face of a `Watch`. ``seen`` holds what the next windows shall see; ``open_now`` counts open windows."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.open_now = 0
        self.suspended = 0

    def arm(self) -> None: ...

    def disarm(self) -> None: ...

    def watched(self) -> tuple[str, ...]:
        return ("scripted",)

    def unwatched(self) -> Mapping[str, str]:
        return {"absent": "not loaded"}

    def open(self, *, cpu: bool = True) -> object:
        self.open_now += 1
        return object()

    def close(self, token: object) -> Seen:
        self.open_now -= 1
        return self.seen.pop(0) if self.seen else Seen()

    def suspend(self, token: object) -> None:
        self.suspended += 1

    def resume(self, token: object) -> None:
        self.suspended -= 1


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedWatch]:
    scripted = ScriptedWatch()
    monkeypatch.setattr(session, "watch_of", lambda probes: scripted)
    monkeypatch.setattr(plan, "watch_of", lambda probes: scripted)
    yield scripted
    assert scripted.open_now == 0, "a window was opened and never closed"


@pytest.fixture(autouse=True)
def _quiet(events: Recorder) -> None:
    """Every test of the engine captures events, whether it looks at them or not."""


class Log(list[str]):
    """One list that a clock, a monitor and the user's function write into."""

    def clock(self, step_ns: int = 1000) -> FakeClock:
        return FakeClock(step_ns=step_ns, log=self)

    def monitor(self, **options: Any) -> RecordingMonitor:
        return RecordingMonitor(log=self, **options)

    def text(self) -> str:
        return " ".join(self)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def names(events: Recorder) -> Callable[[], list[str]]:
    """The names of the events so far, without their common beginning."""
    return lambda: [entry["event"].removeprefix("jitwarmup.") for entry in events]
