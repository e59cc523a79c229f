"""
Whether somebody is recording a program just now: torch tracing (Dynamo, export) or CUDA-graph capture.

A clock read, a log line or a device synchronisation inside such a recording would break it or be recorded, so a warmed
function is the plain call there.
"""

from __future__ import annotations

import sys
from typing import Any


def ask_torch() -> bool:
    """``torch.compiler.is_compiling()`` where torch is loaded; Dynamo can trace through this function."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "compiler") and bool(torch.compiler.is_compiling())


def traced_here() -> bool:
    """
    Whether it is this thread's program that torch records; Dynamo can trace through this function.

    Since 2.13 ``torch.compiler.is_compiling()`` is true in every thread while any of them compiles, and threads that
    compile at once may leave it true for good. What a thread itself compiles or traces is in torch's thread-local guards.
    """
    torch: Any = sys.modules["torch"]
    if torch.compiler.is_dynamo_compiling() or torch.compiler.is_exporting():
        return True
    guards = torch._guards
    return guards.CompileContext.try_get() is not None or guards.TracingContext.try_get() is not None


def cuda_capturing() -> bool:
    """Whether the current CUDA stream is recording a graph; asked only where CUDA is in use already."""
    cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
    return bool(cuda is not None and cuda.is_initialized() and cuda.is_current_stream_capturing())


class Tracing:
    """Holds the cheapest way to ask: torch's own question as soon as torch is loaded."""

    first_look = staticmethod(ask_torch)
    compiling = staticmethod(ask_torch)
    capturing = staticmethod(lambda: False)  # torch is not loaded, so nobody records a CUDA graph
    here = staticmethod(traced_here)  # asked only where `compiling` says yes

    @classmethod
    def look(cls) -> None:
        """Ask torch directly from now on, once it is loaded."""
        torch: Any = sys.modules.get("torch")
        asks = getattr(getattr(torch, "compiler", None), "is_compiling", None)
        if asks is not None:
            cls.compiling = staticmethod(asks)
            cls.capturing = staticmethod(cuda_capturing)
