"""
Fakes for the package's own tests and for those of users.

``inactive()`` switches decorated functions off, ``capture_events()`` collects what would be logged, `FakeClock` and
`RecordingMonitor` stand in for time and device. ``from jitwarmup.testing import nvmlsim`` in a conftest gives the fixture
of a simulated NVIDIA driver over which the real nvidia-ml-py runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, Self

from jitwarmup.events import emit
from jitwarmup.events.sinks import Recorder
from jitwarmup.host.switch import SWITCH
from jitwarmup.records.runs import DeviceReading


class _Testing(ModuleType):
    """A module whose ``nvmlsim`` is the fixture, although an import of the subpackage of that name sets it too."""

    @property
    def nvmlsim(self) -> Any:
        """The pytest fixture of a simulated NVIDIA driver; found late, since it needs pytest."""
        from jitwarmup.testing.nvmlsim.fixture import nvmlsim

        return nvmlsim

    @nvmlsim.setter
    def nvmlsim(self, _subpackage: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Testing


def inactive() -> AbstractContextManager[None]:
    """Inside the block every decorated call is the plain call, and nothing is emitted."""
    return SWITCH.inactive()


@contextmanager
def capture_events() -> Iterator[Recorder]:
    """
    Collect every event that would go out of the default way, as whole dicts, instead of sending it.

        with capture_events() as events:
            generate("hi")
        assert [event["event"] for event in events] == [...]
    """
    recorder = Recorder()
    with emit.captured(recorder):
        yield recorder


class FakeClock:
    """
    A clock that moves only when told: ``tick`` seconds by ``advance``, and ``step_ns`` at each reading.

    Args:
        step_ns: nanoseconds that pass at each ``now()``.
        log: a list that gets ``"now"`` and ``"fence"`` as they are asked, to be shared with other fakes.

    """

    def __init__(self, step_ns: int = 0, log: list[str] | None = None) -> None:
        self.ns = 0
        self.step_ns = step_ns
        self.log = log if log is not None else []

    def now(self) -> int:
        """Nanoseconds; moves on by ``step_ns``."""
        self.log.append("now")
        self.ns += self.step_ns
        return self.ns

    def fence(self) -> None:
        """Only noted."""
        self.log.append("fence")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += round(seconds * 1e9)


class RecordingMonitor:
    """
    A monitor that notes what it is asked: ``start``, ``stop``, ``pause``, ``resume``, ``window+``, ``window-``.

    Args:
        log: the list to note into, to be shared with other fakes.
        reading: what each window reads.
        fail: called with each note; may raise, to play a broken monitor.

    """

    def __init__(
        self,
        log: list[str] | None = None,
        *,
        running: bool = True,
        reading: DeviceReading | None = None,
        fail: Callable[[str], None] | None = None,
    ) -> None:
        self.log = log if log is not None else []
        self.running = running
        self.paused = 0
        self._reading = reading if reading is not None else DeviceReading(uuid="fake", name="recording")
        self._fail = fail

    def note(self, what: str) -> None:
        """Write down what was asked, and fail if that is what the test wants."""
        self.log.append(what)
        if self._fail is not None:
            self._fail(what)

    def start(self) -> None:
        """Begin to run."""
        self.note("start")
        self.running = True

    def stop(self) -> None:
        """Run no more."""
        self.note("stop")
        self.running = False

    def pause(self) -> None:
        """Count a pause."""
        self.note("pause")
        self.paused += 1

    def resume(self) -> None:
        """Give a pause back."""
        self.note("resume")
        self.paused -= 1

    def window(self, name: str) -> RecordingWindow:
        """A window that notes its edges."""
        return RecordingWindow(self, name)


class RecordingWindow:
    """A window of a `RecordingMonitor`."""

    def __init__(self, monitor: RecordingMonitor, name: str) -> None:
        self._monitor = monitor
        self.name = name
        self.reading: Any = None

    def __enter__(self) -> Self:
        self._monitor.note("window+")
        return self

    def __exit__(self, *_: object) -> None:
        self._monitor.note("window-")
        self.reading = self._monitor._reading
