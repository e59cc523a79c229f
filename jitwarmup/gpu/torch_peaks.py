"""
Torch's allocated memory within a window, where this process uses torch's CUDA; imports and initialises nothing.

Torch has one peak since its last reset, and the reset is the user's: so a window's peak is known only when it is higher
than all before.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from jitwarmup.gpu.devices import Device
from jitwarmup.records.runs import DeviceReading


def cuda_in_use() -> Any:
    """``torch.cuda`` where this process has initialised it, else None."""
    torch = sys.modules.get("torch")
    try:
        return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
    except Exception:  # noqa: BLE001 - a torch that is only half imported
        return None


def peaks_of(devices: list[Device]) -> dict[int, int]:
    """The peaks so far in bytes, by torch's index."""
    cuda = cuda_in_use()
    indices = [device.torch_index for device in devices if device.torch_index is not None]
    return {index: int(cuda.max_memory_allocated(index)) for index in indices} if cuda else {}


def with_peak(reading: DeviceReading, before: dict[int, int], index: int | None) -> DeviceReading:
    """A reading with the bytes of the window's peak, from the peaks before it; or with why they are not known."""
    cuda = cuda_in_use()
    why = "torch has no CUDA in use on this device"
    if cuda is not None and index is not None and index in before:
        peak = int(cuda.max_memory_allocated(index))
        if peak > before[index]:
            return replace(reading, memory_peak_bytes=peak)
        why = "no higher than an earlier peak, which torch.cuda.reset_peak_memory_stats() before the run would reset"
    return replace(reading, missing={**reading.missing, "memory_peak_bytes": why})
