"""The facts of the machine and of loaded libraries that a reader of a report needs. Nothing is imported for it."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jitwarmup.host.interrupts import Contained

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
VARIABLES = re.compile(
    r"(OMP|MKL|OPENBLAS|KMP|GOMP|BLIS|ATEN|TORCH|TORCHINDUCTOR|TORCHDYNAMO|PYTORCH|TRITON|CUDA|CUBLAS|CUDNN|NCCL|MALLOC)_"
    r"|NVIDIA_TF32_OVERRIDE$|LD_PRELOAD$|PYTHON(_?GIL|_?JIT|DEVMODE|MALLOC|OPTIMIZE|TRACEMALLOC)$"
)
"""Environment variables that move times: threads, compilers, allocators, devices."""
ELSEWHERE = re.compile(r"(DIR|PATH|HOME|FILE|ROOT|VERSION|LOGS|VISIBLE_DEVICES)S?$|TOKEN|KEY|SECRET")
"""Of these, what says where things are, or is a secret."""
LIBRARIES = ("torch", "transformers", "numpy", "triton", "structlog")


def environment() -> dict[str, str | int | float]:
    """Versions, cores, threads, devices and settings that times depend on, as far as they are known in this process."""
    facts: dict[str, str | int | float] = {}
    for name, ask in FACTS.items():
        with Contained():  # not on this system; in a subinterpreter, where platform may start no process
            if (found := ask()) is not None:
                facts[name] = found
    for name in LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            facts[name] = str(version)
    facts |= {f"env.{name}": value for name, value in sorted(os.environ.items()) if moves_times(name)}
    with Contained():
        facts |= torch_facts(sys.modules.get("torch"))
    return facts


def moves_times(variable: str) -> bool:
    """Whether an environment variable is one of those that times depend on."""
    return VARIABLES.match(variable) is not None and ELSEWHERE.search(variable) is None


@cache
def cpu_model() -> str | None:
    """The CPU's name by the kernel."""
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    except OSError:
        return platform.processor() or None


def cpu_limit(path: Path) -> float | None:
    """CPUs that a container may use in each period; None for no limit."""
    found = (line_of(path) or "max").split()
    return int(found[0]) / int(found[1]) if len(found) > 1 and found[0] != "max" else None


def line_of(path: Path) -> str | None:
    """A small file's text; None where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


FACTS: Mapping[str, Callable[[], str | int | float | None]] = {
    "python": platform.python_version,
    "implementation": platform.python_implementation,
    "platform": platform.platform,
    "machine": platform.machine,
    "cpu_count": lambda: os.cpu_count() or 1,
    "pid": os.getpid,
    "cpu_usable": lambda: len(os.sched_getaffinity(0)),
    "load_1min": lambda: os.getloadavg()[0],
    "cpu_model": cpu_model,
    "cpu_governor": lambda: line_of(GOVERNOR),  # how the CPU's clock is chosen
    "cpu_limit": lambda: cpu_limit(CPU_MAX),
}
"""What asks for each fact; None, or a failure, leaves it out."""


def torch_facts(torch: Any) -> dict[str, str | int | float]:
    """Threads and devices as torch sees them; asks no device that is not in use."""
    if torch is None or not hasattr(torch, "get_num_threads"):
        return {}
    facts: dict[str, str | int | float] = {"torch_threads": torch.get_num_threads()}
    cpu = getattr(getattr(torch, "backends", None), "cpu", None)
    if (capability := getattr(cpu, "get_cpu_capability", None)) is not None:
        facts["cpu_capability"] = str(capability())
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        facts["device"] = str(cuda.get_device_name())
        facts["cuda"] = str(torch.version.cuda)
        if (driver := line_of(Path("/proc/driver/nvidia/version"))) is not None:
            facts["driver"] = re.sub(r".*?(\d+(?:\.\d+)+).*", r"\1", driver.splitlines()[0])
    return facts
