"""A window of the GPU monitor, which windows enclose it, torch's peak within it, and what becomes of its readings."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jitwarmup.gpu.connection import Failure
from jitwarmup.host.scope import RunContext, ancestors, current
from jitwarmup.records.runs import DeviceReading

MEASURE = "measure"  # windows of this name list processes, and may be followed by a short wait
OVERLAP = Failure("another run on these devices overlapped this one", "unavailable")
BUSY = Failure("a call to the driver by another thread had not ended", "unavailable")
STOPPED = Failure("the monitor was stopped within the window", "unavailable")
STILL_PAUSED = Failure("the monitor was paused within the window, and is so still", "unavailable")
FOREIGN = Failure("this process was forked from the one that the monitor runs in", "unavailable")
OF_THE_WINDOW = (OVERLAP, BUSY, STOPPED, STILL_PAUSED)
INTERRUPTED = "interrupted by a pause or by another run"


def cuda_in_use() -> Any:
    """``torch.cuda`` where this process has initialised it, else None; imports and initialises nothing."""
    torch = sys.modules.get("torch")
    try:
        return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
    except Exception:  # noqa: BLE001 - a torch that is only half imported
        return None


class TorchPeaks:
    """
    The allocator's peaks at the begin of a window, to be compared with those at its end.

    Torch has one peak since its last reset, and the reset is the user's: without one, a window's peak is known only
    when it is higher than all before.
    """

    def __init__(self, *, reset: bool) -> None:
        self._reset = reset
        self._before: dict[int, int] = {}

    def begin(self, indices: list[int]) -> None:
        """Before the window."""
        cuda = cuda_in_use()
        for index in indices if cuda else ():
            if self._reset:
                cuda.reset_peak_memory_stats(index)
            self._before[index] = -1 if self._reset else cuda.max_memory_allocated(index)

    def end(self, index: int | None) -> int | str:
        """After the window: the bytes of its peak on one device, or why they are not known."""
        cuda = cuda_in_use()
        if cuda is None or index is None or index not in self._before:
            return "torch has no CUDA in use on this device"
        peak = int(cuda.max_memory_allocated(index))
        if peak > self._before[index]:
            return peak
        return "no higher than an earlier peak, which GPUMonitor(reset_peak=True) would reset"


class GPUWindow:
    """
    One window of a `GPUMonitor`; ``reading`` is there after the exit.

    ``enter`` and ``leave`` are the monitor's: they read the edges where that disturbs no other run.
    """

    def __init__(
        self,
        enter: Callable[[GPUWindow], None],
        leave: Callable[[GPUWindow], DeviceReading | None],
        name: str,
        *,
        reset_peak: bool = False,
    ) -> None:
        self.name = name
        self.measured = name == MEASURE
        self.reading: DeviceReading | None = None
        self.context = RunContext(window=weakref.ref(self))  # encloses what is entered while this window is open
        self.session = -1
        self.unread: Failure | None = None  # why there is no first edge
        self.interrupted = False  # a pause or another run came between
        self.peaks = TorchPeaks(reset=reset_peak)
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> Self:
        self.context.parent = current()
        self._enter(self)
        self.context.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.leave()
        self.reading = self._leave(self)

    def is_within(self, other: GPUWindow) -> bool:
        """Whether ``other`` encloses this window on purpose: it was open where this one was entered."""
        around = ancestors(self.context.parent)
        return any(context.window is not None and context.window() is other for context in around)

    def finished(self, reading: DeviceReading, torch_index: int | None) -> DeviceReading:
        """A reading with what only this process knows: torch's peak, and whether the window was interrupted."""
        missing, status = dict(reading.missing), reading.status
        peak = self.peaks.end(torch_index)
        if isinstance(peak, str):
            missing["memory_peak_bytes"] = peak
        if self.interrupted:
            missing["window"] = INTERRUPTED
            status = "partial" if status == "ok" else status
        known = peak if isinstance(peak, int) else None
        return replace(reading, status=status, missing=missing, memory_peak_bytes=known)
