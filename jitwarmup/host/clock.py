"""
The clock and its fence.

A fence waits for device work that user code started, so that a timed region ends when the work does, as
``torch.utils.benchmark`` does it (``torch/utils/benchmark/utils/timer.py``: synchronise, then read). torch is looked
up, never imported, and no device is touched that this process does not use already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any


class SystemClock:
    """
    ``perf_counter_ns`` and a fence.

    Args:
        every_stream: fence all work of every device in use (measurements), not only each device's current stream
            (plain calls of a service, where other streams are other people's work).

    """

    def __init__(self, *, every_stream: bool = True) -> None:
        self.every_stream = every_stream

    now = staticmethod(time.perf_counter_ns)

    def fence(self) -> None:
        """Wait for started device work; nothing where torch is not loaded or no device is in use."""
        torch = sys.modules.get("torch")
        if torch is None:
            return
        built = BUILT.get(id(torch))  # of a build for the CPU none, at no further cost
        for backend in built_backends(torch) if built is None else built:
            module = getattr(torch, backend)
            if backend == "mps":
                # Where this process has put anything on it; asking first would create its context.
                if torch.backends.mps.is_available() and module.current_allocated_memory() > 0:
                    module.synchronize()
            elif module.is_initialized():
                for index in devices_in_use(torch, backend):
                    if self.every_stream:
                        module.synchronize(index)
                    else:
                        module.current_stream(index).synchronize()


BUILT: dict[int, tuple[str, ...]] = {}  # by the identity of the torch module, which is loaded once


def built_backends(torch: Any) -> tuple[str, ...]:
    """Device backends that this build of torch has; asked once, since the answer is part of every timed call."""
    found = BUILT.get(id(torch))
    half = getattr(getattr(torch, "__spec__", None), "_initializing", False)  # another thread is importing it
    if found is None and not half and hasattr(torch, "backends"):
        found = BUILT[id(torch)] = tuple(name for name in ("cuda", "xpu", "mps") if is_built(torch, name))
    return found or ()


def is_built(torch: Any, backend: str) -> bool:
    """Whether a backend was compiled in; where torch does not tell, it is asked at each fence."""
    module = getattr(torch.backends, backend, None) or getattr(torch, backend, None)
    asks = getattr(module, "is_built", None) or getattr(module, "_is_compiled", None)
    return module is not None and (asks is None or bool(asks()))


def devices_in_use(torch: Any, backend: str) -> Iterator[int]:
    """Indices of the devices of an initialised backend on which this process holds a context."""
    module = getattr(torch, backend)
    has_context = getattr(torch._C, f"_{backend}_hasPrimaryContext", None)
    for index in range(module.device_count()):
        if has_context(index) if has_context else module.memory_reserved(index) > 0:
            yield index
