"""
What ``jitwarmup doctor`` looks at: each check is a function that gives findings, and none of them raises.

    ok      it is there and good
    absent  it is not there, and what that costs
    warn    it would spoil a measurement here

Each finding that is not ok has a way out.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jitwarmup.host.environment import CPU_MAX, GOVERNOR, cpu_limit, line_of
from jitwarmup.records.codec import Record

State = Literal["ok", "absent", "warn"]


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """One thing that was looked at; its area is the check that found it."""

    name: str
    state: State
    detail: str = ""
    way_out: str = ""
    area: str = ""


Check = Callable[[], Iterator[Finding]]


def checked(name: str, detail: str, way_out: str = "", *, bad: bool) -> Finding:
    """A finding that is good, or would spoil a measurement and then has a way out."""
    return Finding(name, "warn", detail, way_out) if bad else Finding(name, "ok", detail)


def package(name: str, why: str, extra: str = "") -> Finding:
    """Whether a package is installed; it is not imported for the answer."""
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "absent", why, f"pip install {extra or name}")


def software() -> Iterator[Finding]:
    """The libraries that are watched, drawn with and logged through."""
    yield Finding("python", "ok", sys.version.split()[0])
    yield package("torch", "no compile, graph or allocator can be watched; other functions can be measured")
    yield package("transformers", "no generate() can be watched")
    yield package("structlog", "events go to standard logging or to stderr")
    yield package("nvidia-ml-py", "no GPU can be read")
    yield package("jinja2", "reports are text and Markdown, no pages", "'jitwarmup[report]'")
    yield package("matplotlib", "reports have tables and no figures", "'jitwarmup[report]'")


def device() -> Iterator[Finding]:
    """Torch's build, the driver, and each GPU as NVML tells it."""
    yield from torch_device()
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - no driver, no library, no permission: NVML has an exception for each
        way = "install the NVIDIA driver; without a GPU leave monitor= out, everything else works"
        yield Finding("driver", "absent", f"NVML cannot be used ({type(error).__name__})", way)
        return
    with suppress(Exception):  # a driver that fails in the middle has been told of as far as it went
        yield Finding("driver", "ok", str(pynvml.nvmlSystemGetDriverVersion()))
        for index in range(pynvml.nvmlDeviceGetCount()):
            yield from gpu(pynvml, index)
    with suppress(Exception):  # nothing is owed to a library that cannot be left
        pynvml.nvmlShutdown()


def torch_device() -> Iterator[Finding]:
    """Whether torch has and sees an accelerator. This imports torch."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("torch CUDA", "ok", f"{torch.cuda.device_count()} devices")
    elif torch.version.cuda:
        way = "check the driver and CUDA_VISIBLE_DEVICES"
        yield Finding("torch CUDA", "absent", "built with CUDA, but sees no device", way)
    else:
        yield Finding("torch CUDA", "absent", "a build for the CPU", "install a CUDA build of torch to use a GPU")


def gpu(nvml: Any, index: int) -> Iterator[Finding]:
    """One GPU: its clocks, and who else uses it."""
    handle, name = nvml.nvmlDeviceGetHandleByIndex(index), f"GPU {index}"
    yield Finding(name, "ok", str(nvml.nvmlDeviceGetName(handle)))
    with suppress(nvml.NVMLError):
        now = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        most = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield Finding(f"{name} clocks", "ok", f"SM {now} of {most} MHz")
    with suppress(nvml.NVMLError):
        others = [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid != os.getpid()]
        if others:
            way = "stop them, or choose another device with CUDA_VISIBLE_DEVICES"
            yield Finding(f"{name} shared", "warn", f"{len(others)} other processes compute on it", way)


def host() -> Iterator[Finding]:
    """Cores, load, governor, frequency boost, limits of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    way = "other work meets yours on so few cores: compare side by side, jitwarmup measure --against"
    yield checked("cores", f"{cores} usable of {os.cpu_count()}", way, bad=cores < 4)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    way = "wait until it is quiet, or compare side by side: jitwarmup measure --against"
    yield checked("load", f"{load:.2f} in a minute", way, bad=load > 0.5 * cores)
    yield governor(GOVERNOR)
    yield quota(CPU_MAX)


def governor(path: Path) -> Finding:
    """How the kernel chooses the CPU's clock."""
    found = line_of(path)
    if found is None:
        way = "nothing to do in a container or virtual machine: the host decides; compare side by side"
        return Finding("CPU governor", "absent", "cannot be read, so clocks may change unseen", way)
    return checked("CPU governor", found, "sudo cpupower frequency-set -g performance", bad=found != "performance")


def quota(path: Path) -> Finding:
    """A container's allowance of processor time: beyond it everything stands still until the next period."""
    limit = cpu_limit(path)
    if limit is None:
        return Finding("CPU quota", "ok", "none")
    return Finding(
        "CPU quota", "warn", f"{limit:g} CPUs a period", "give the container whole cores (cpuset), or a larger quota"
    )


SPOILERS = {
    "CUDA_LAUNCH_BLOCKING": "every kernel is waited for",
    "TORCH_COMPILE_DISABLE": "torch.compile does nothing",
    "TORCHDYNAMO_DISABLE": "torch.compile does nothing",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "every allocation goes to the driver",
    "PYTHONPROFILEIMPORTTIME": "imports are timed and told",
    "PYTHONDEVMODE": "Python checks itself at every step",
    "PYTHONTRACEMALLOC": "every allocation is traced",
}


def process() -> Iterator[Finding]:
    """What in this process would slow or change what is measured."""
    for name, why in SPOILERS.items():
        if os.environ.get(name, "0") not in ("", "0"):
            yield Finding(name, "warn", why, f"unset {name}")
    if sys.gettrace() is not None or sys.getprofile() is not None:
        yield Finding("tracing", "warn", "every line is traced", "run without the debugger, profiler or coverage")
    if os.environ.get("JITWARMUP", "").lower() == "off":
        yield Finding("JITWARMUP", "warn", "decorated calls are plain calls", "unset JITWARMUP")


def caches() -> Iterator[Finding]:
    """Compile caches: a full one makes a cold run look cheap."""
    user = os.environ.get("USER") or "root"
    places = {
        "inductor cache": ("TORCHINDUCTOR_CACHE_DIR", f"/tmp/torchinductor_{user}"),  # noqa: S108 - torch's own default
        "triton cache": ("TRITON_CACHE_DIR", str(Path.home() / ".triton/cache")),
    }
    for name, (variable, default) in places.items():
        place = Path(os.environ.get(variable, default))
        count = sum(1 for _ in place.iterdir()) if place.is_dir() else 0
        way = f"for an honest cold time point {variable} to an empty folder"
        yield checked(name, f"{place}: {f'{count} entries' if count else 'empty'}", way, bad=count > 0)


def logging() -> Iterator[Finding]:
    """Which way events go out of this process."""
    from jitwarmup.events import emit

    structlog = sys.modules.get("structlog")
    if emit.SILENT:
        yield Finding("events", "warn", "silenced by JITWARMUP_LOG=off", "unset JITWARMUP_LOG")
    elif structlog is not None and emit.structlog_is_configured(structlog):
        yield Finding("events", "ok", "to structlog, as configured")
    elif emit.configured_logger() is not None:
        yield Finding("events", "ok", "to the standard logger 'jitwarmup'")
    else:
        way = "configure structlog, or call jitwarmup.configure_json() in a script"
        yield Finding("events", "ok", f"short lines on stderr; to change: {way}")


def probes() -> Iterator[Finding]:
    """What each probe can watch, with torch loaded where it is installed."""
    from jitwarmup.probes import probe_set_of

    watch = probe_set_of(None)
    watch.arm()
    for name, state in watch.states().items():
        looks = {"armed": "watches", "dormant": f"will watch when needed ({state.reason})"}.get(state.state)
        way = "what it would see is reported as unwatched, never as absent"
        yield Finding(name, "ok", looks) if looks else Finding(name, "absent", state.reason or "", way)


CHECKS: tuple[Check, ...] = (software, device, host, process, caches, logging, probes)
