"""The service behind the driver's thread: it answers within ``timeout_s`` or raises `Stalled`, and is silent ever after."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import Any

from jitwarmup.gpu.clocks import Clocks
from jitwarmup.gpu.driver_thread import DriverThread, Stalled
from jitwarmup.gpu.service import Answer, Service


class Local:
    """The service behind a guard thread of this process."""

    def __init__(self, clocks: Clocks, timeout_s: float) -> None:
        self._guard = DriverThread(timeout_s)
        self._service = Service(clocks, timeout_s, os.getpid())

    def ask(self, verb: str, **arguments: Any) -> Answer:
        """The service's answer to a verb."""
        try:
            return self._guard.call(partial(self._service.do, verb, arguments))
        except Stalled:
            self._service.silence()
            raise

    def close(self) -> None:
        """Close the service within the time-out, and let go of its thread."""
        with suppress(Stalled):
            self.ask("close")
        self._guard.end()

    def abandon(self) -> None:
        """Let go without waiting: for finalizers."""
        self._guard.post(partial(self._service.do, "close", {}))
        self._guard.end()

    def orphan(self) -> None:
        """In a forked child the thread is not there."""
        self._guard.stalled = True
