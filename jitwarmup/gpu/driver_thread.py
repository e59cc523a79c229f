"""
The one thread behind which a driver may hang.

Every NVML call of a monitor is made by its driver thread, so a driver that never returns costs its caller one time-out
and nothing after that: the thread is then *stalled* for good, and further calls are refused without waiting. The thread
is a daemon and ctypes lets go of the GIL, so neither a running program nor its exit waits for the driver.

One hand-over and back costs about 20 us; a whole edge (all its NVML calls) is one hand-over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from jitwarmup.host.fork_safe import Locked

T = TypeVar("T")
Answer = tuple[bool, object]  # (returned, value) or (False, the exception)
Job = tuple[Callable[[], object], "SimpleQueue[Answer]"]


class Stalled(Exception):  # noqa: N818 - a state, expressed by raising
    """The driver did not return within the time-out, now or earlier; nothing more is asked of it."""


def _serve(jobs: SimpleQueue[Job | None]) -> None:
    """One job after another until it is told to end. It knows no monitor, so it keeps none alive."""
    while (job := jobs.get()) is not None:
        work, answers = job
        try:
            answers.put((True, work()))
        except BaseException as failure:  # noqa: BLE001 - carried to the caller, who waits for it
            answers.put((False, failure))
        del job, work, answers


class DriverThread:
    """Runs jobs in a thread of its own, each for ``timeout_s`` seconds at most."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.stalled = False
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, job: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """The job's value or exception; `Stalled` when it does not return in time, and ever after."""
        if self.stalled:
            raise Stalled
        self._start()
        answers: SimpleQueue[Answer] = SimpleQueue()  # its own, so that a late answer finds nobody to mislead
        self._jobs.put((job, answers))
        try:
            returned, value = answers.get(timeout=self.timeout_s if timeout_s is None else timeout_s)
        except Empty:
            self.stalled = True
            raise Stalled from None
        if not returned:
            raise value  # type: ignore[misc]  # a job that did not return raised
        return value  # type: ignore[return-value]  # it is what the job returned

    def end(self) -> None:
        """Let the thread end after the jobs it has; waits for nothing, and takes no more."""
        self.stalled = True
        self._jobs.put(None)

    def post(self, job: Callable[[], object]) -> None:
        """Do this some time, for nobody: for finalizers, which must not wait."""
        if not self.stalled and self._thread is not None:
            self._jobs.put((job, SimpleQueue()))

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._jobs,), name="jitwarmup-nvml", daemon=True)
            self._thread.start()


class Turn(Locked):
    """Whose turn it is to call a monitor or its driver; reentrant, never waited for for ever, free in a forked child."""

    def take(self, timeout_s: float) -> bool:
        """Wait for the turn; whether it came."""
        return self._lock.acquire(timeout=timeout_s)

    def give_back(self) -> None:
        """Let the next one have it."""
        with suppress(RuntimeError):  # not ours: in a child that was forked while it was, or after an interrupt
            self._lock.release()
