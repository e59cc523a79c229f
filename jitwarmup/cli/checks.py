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

from jitwarmup.records.codec import Record

State = Literal["ok", "absent", "warn"]
SYS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Record):
    """One thing that was looked at."""

    area: str
    name: str
    state: State
    detail: str = ""
    way_out: str = ""


Check = Callable[[], Iterator[Finding]]


def package(name: str, why: str, extra: str = "") -> Finding:
    """Whether a package is installed; it is not imported for the answer."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        way = f"pip install {extra or name}"
        return Finding(area="software", name=name, state="absent", detail=why, way_out=way)
    return Finding(area="software", name=name, state="ok", detail=version)


def software() -> Iterator[Finding]:
    """The libraries that are watched, drawn with and logged through."""
    yield Finding(area="software", name="python", state="ok", detail=sys.version.split()[0])
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
        detail = f"NVML cannot be used ({type(error).__name__})"
        yield Finding(area="device", name="driver", state="absent", detail=detail, way_out=way)
        return
    with suppress(Exception):  # a driver that fails in the middle has been told of as far as it went
        yield Finding(area="device", name="driver", state="ok", detail=text_of(pynvml.nvmlSystemGetDriverVersion()))
        for index in range(pynvml.nvmlDeviceGetCount()):
            yield from gpu(pynvml, index)
    with suppress(Exception):  # nothing is owed to a library that cannot be left
        pynvml.nvmlShutdown()


def text_of(value: Any) -> str:
    """Older bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def torch_device() -> Iterator[Finding]:
    """Whether torch has and sees an accelerator. This imports torch."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield Finding(area="device", name="torch CUDA", state="ok", detail=f"{torch.cuda.device_count()} devices")
        return
    built = torch.version.cuda
    detail = "built with CUDA, but sees no device" if built else "a build for the CPU"
    way = "check the driver and CUDA_VISIBLE_DEVICES" if built else "install a CUDA build of torch to use a GPU"
    yield Finding(area="device", name="torch CUDA", state="absent", detail=detail, way_out=way)


def gpu(nvml: Any, index: int) -> Iterator[Finding]:
    """One GPU: its clocks, and who else uses it."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = f"GPU {index}"
    yield Finding(area="device", name=name, state="ok", detail=text_of(nvml.nvmlDeviceGetName(handle)))
    with suppress(nvml.NVMLError):
        now = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        most = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
        yield Finding(area="device", name=f"{name} clocks", state="ok", detail=f"SM {now} of {most} MHz")
    with suppress(nvml.NVMLError):
        others = [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid != os.getpid()]
        if others:
            yield Finding(
                area="device",
                name=f"{name} shared",
                state="warn",
                detail=f"{len(others)} other processes compute on it",
                way_out="stop them, or choose another device with CUDA_VISIBLE_DEVICES",
            )


def host() -> Iterator[Finding]:
    """Cores, load, governor, frequency boost, limits of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    few = cores < 4
    yield Finding(
        area="host",
        name="cores",
        state="warn" if few else "ok",
        detail=f"{cores} usable of {os.cpu_count()}",
        way_out="other work meets yours on so few cores: compare side by side, jitwarmup measure --against"
        if few
        else "",
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > 0.5 * cores
    way = "wait until it is quiet, or compare side by side: jitwarmup measure --against" if busy else ""
    yield Finding(
        area="host", name="load", state="warn" if busy else "ok", detail=f"{load:.2f} in a minute", way_out=way
    )
    yield governor(SYS / "cpu0/cpufreq/scaling_governor")
    yield quota(Path("/sys/fs/cgroup/cpu.max"))


def line_of(path: Path) -> str | None:
    """The first line of a small file; None where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def governor(path: Path) -> Finding:
    """How the kernel chooses the CPU's clock."""
    found = line_of(path)
    if found is None:
        way = "nothing to do in a container or virtual machine: the host decides; compare side by side"
        detail = "cannot be read, so clocks may change unseen"
        return Finding(area="host", name="CPU governor", state="absent", detail=detail, way_out=way)
    good = found == "performance"
    way = "" if good else "sudo cpupower frequency-set -g performance"
    return Finding(area="host", name="CPU governor", state="ok" if good else "warn", detail=found, way_out=way)


def quota(path: Path) -> Finding:
    """A container's allowance of processor time: beyond it everything stands still until the next period."""
    found = (line_of(path) or "max").split()
    if found[0] == "max" or len(found) < 2:
        return Finding(area="host", name="CPU quota", state="ok", detail="none")
    cpus = int(found[0]) / int(found[1])
    way = "give the container whole cores (cpuset), or a larger quota"
    return Finding(area="host", name="CPU quota", state="warn", detail=f"{cpus:g} CPUs a period", way_out=way)


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
            yield Finding(area="process", name=name, state="warn", detail=why, way_out=f"unset {name}")
    if sys.gettrace() is not None or sys.getprofile() is not None:
        way = "run without the debugger, profiler or coverage"
        yield Finding(area="process", name="tracing", state="warn", detail="every line is traced", way_out=way)
    if os.environ.get("JITWARMUP", "").lower() == "off":
        way = "unset JITWARMUP"
        yield Finding(
            area="process", name="JITWARMUP", state="warn", detail="decorated calls are plain calls", way_out=way
        )


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
        detail = f"{place}: {count} entries" if count else f"{place}: empty"
        way = f"for an honest cold time point {variable} to an empty folder" if count else ""
        yield Finding(area="caches", name=name, state="warn" if count else "ok", detail=detail, way_out=way)


def logging() -> Iterator[Finding]:
    """Which way events go out of this process."""
    from jitwarmup.events import emit

    structlog = sys.modules.get("structlog")
    if emit.SILENT:
        way = "unset JITWARMUP_LOG"
        yield Finding(area="logging", name="events", state="warn", detail="silenced by JITWARMUP_LOG=off", way_out=way)
    elif structlog is not None and emit.structlog_is_configured(structlog):
        yield Finding(area="logging", name="events", state="ok", detail="to structlog, as configured")
    elif emit.configured_logger() is not None:
        yield Finding(area="logging", name="events", state="ok", detail="to the standard logger 'jitwarmup'")
    else:
        way = "configure structlog, or call jitwarmup.configure_json() in a script"
        yield Finding(area="logging", name="events", state="ok", detail=f"short lines on stderr; to change: {way}")


def probes() -> Iterator[Finding]:
    """What each probe can watch, with torch loaded where it is installed."""
    from jitwarmup.probes import probe_set_of

    watch = probe_set_of(None)
    watch.arm()
    for name, state in watch.states().items():
        if state.state == "armed":
            yield Finding(area="probes", name=name, state="ok", detail="watches")
        elif state.state == "dormant":
            yield Finding(area="probes", name=name, state="ok", detail=f"will watch when needed ({state.reason})")
        else:
            way = "what it would see is reported as unwatched, never as absent"
            yield Finding(area="probes", name=name, state="absent", detail=state.reason or "", way_out=way)


CHECKS: tuple[Check, ...] = (software, device, host, process, caches, logging, probes)
