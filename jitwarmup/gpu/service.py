"""The reader as a handful of verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jitwarmup.gpu.binding import Unavailable
from jitwarmup.gpu.clocks import Clocks
from jitwarmup.gpu.devices import Device, Wanted
from jitwarmup.gpu.reader import Reader

Answer = dict[str, Any]


class Service:
    """
    Does what a verb says: ``open``, ``find``, ``begin``, ``end``, ``drop``, ``mark``, ``close``.

    An answer may hold ``devices``, ``readings``, ``notes`` (what degraded), or ``unavailable`` with ``status``.
    """

    def __init__(self, clocks: Clocks, timeout_s: float, own_pid: int) -> None:
        self._reader = Reader(clocks, timeout_s, own_pid)

    def do(self, verb: str, arguments: Mapping[str, Any]) -> Answer:
        """One verb's answer; never raises for what the driver does."""
        try:
            answer: Answer = getattr(self, f"_{verb}")(**arguments)
        except Unavailable as gone:
            answer = {"unavailable": gone.reason, "status": gone.status}
        notes = self._reader.take_notes()
        return answer | {"notes": notes} if notes else answer

    def silence(self) -> None:
        """Ask the driver nothing more; for another thread, when it does not wait any longer."""
        self._reader.silent = True

    def _open(self, wanted: Wanted) -> Answer:
        return _facts(self._reader.open(wanted))

    def _find(self, wanted: Wanted) -> Answer:
        return _facts(self._reader.find(wanted))

    def _begin(self, key: int, *, pids: bool) -> Answer:
        self._reader.begin(key, pids=pids)
        return {}

    def _end(self, key: int, *, pids: bool, listed: bool) -> Answer:
        return {"readings": self._reader.end(key, pids=pids, listed=listed)}

    def _drop(self, key: int) -> Answer:
        self._reader.drop(key)
        return {}

    def _mark(self) -> Answer:
        self._reader.mark()
        return {}

    def _close(self) -> Answer:
        self._reader.close()
        return {}


def _facts(devices: list[Device]) -> Answer:
    return {"devices": [[device.uuid, device.name, device.torch_index] for device in devices]}
