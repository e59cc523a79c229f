"""The peak of torch's allocator within a window, looked at only where torch has CUDA in use already."""

from __future__ import annotations

import sys
from typing import Any


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
