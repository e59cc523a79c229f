"""The facts of the machine and of loaded libraries that a reader of a report needs. Nothing is imported for it."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

LIBRARIES = ("torch", "transformers", "numpy", "triton", "structlog")


def environment() -> dict[str, str | int | float]:
    """Versions, cores, threads and devices, as far as they are known in this process."""
    facts: dict[str, str | int | float] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count() or 1,
        "pid": os.getpid(),
    }
    if hasattr(os, "sched_getaffinity"):
        facts["cpu_usable"] = len(os.sched_getaffinity(0))
    if hasattr(os, "getloadavg"):
        facts["load_1min"] = os.getloadavg()[0]
    for name in LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            facts[name] = str(version)
    return facts | torch_facts(sys.modules.get("torch"))


def torch_facts(torch: Any) -> dict[str, str | int | float]:
    """Threads and devices as torch sees them; asks no device that is not in use."""
    if torch is None or not hasattr(torch, "get_num_threads"):
        return {}
    facts: dict[str, str | int | float] = {"torch_threads": torch.get_num_threads()}
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        facts["device"] = str(cuda.get_device_name())
        facts["cuda"] = str(torch.version.cuda)
    return facts
