"""A sink that keeps every event, for tests; ``jitwarmup.testing.capture_events`` hands it to users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jitwarmup.host.fork_safe import Locked


class Recorder(Locked):
    """
    Keeps each event as one whole dict: its fields, with ``event`` and ``level`` first. Threads may share it.

    Iterates and indexes as the list of these dicts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Keep a copy of the event."""
        with self._lock:
            self.events.append({"event": event, "level": level, **fields})

    def named(self, event: str) -> list[dict[str, Any]]:
        """The events of one name, in the order they came."""
        return [entry for entry in list(self.events) if entry["event"] == event]

    def clear(self) -> None:
        """Forget all events."""
        with self._lock:
            self.events.clear()

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(list(self.events))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.events[index]
