"""The facts of the machine and of loaded libraries that a reader of a report needs. Nothing is imported for it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jitwarmup.host.interrupts import Contained

LIBRARIES = ("torch", "transformers", "numpy", "triton", "structlog")


FACTS: Mapping[str, Callable[[], str | int | float]] = {
    "python": platform.python_version,
    "implementation": platform.python_implementation,
    "platform": platform.platform,
    "machine": platform.machine,
    "cpu_count": lambda: os.cpu_count() or 1,
    "pid": os.getpid,
    "cpu_usable": lambda: len(os.sched_getaffinity(0)),
    "load_1min": lambda: os.getloadavg()[0],
}


def environment() -> dict[str, str | int | float]:
    """Versions, cores, threads and devices, as far as they are known in this process."""
    facts: dict[str, str | int | float] = {}
    for name, ask in FACTS.items():
        with Contained():  # not on this system; in a subinterpreter, where platform may start no process
            facts[name] = ask()
    for name in LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            facts[name] = str(version)
    with Contained():
        facts |= torch_facts(sys.modules.get("torch"))
    return facts


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
