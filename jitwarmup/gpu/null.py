"""The monitor that meets no device: what stands in where nobody gave one."""

from __future__ import annotations

from typing import Self


class NullWindow:
    """A window over nothing: its reading is None, and it says why."""

    __slots__ = ()
    reading = None
    reason = "no monitor"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""


class NullMonitor:
    """Has every method of a monitor, and none does anything; ``running`` is True, so that nobody starts or stops it."""

    running = True

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def pause(self) -> None:
        """Nothing to pause."""

    def resume(self) -> None:
        """Nothing to resume."""

    def window(self, name: str) -> NullWindow:  # noqa: ARG002 - the protocol names it
        """A window whose reading is None."""
        return NullWindow()
