"""
NVIDIA's own Python binding (the distribution ``nvidia-ml-py``, the module ``pynvml``), met so that nothing surprises.

Every call goes through `Binding.ask`, which counts it and turns whatever happens into a `Refused` with the name of the
NVML error. The module is imported when a monitor starts, never before. The clocks that a driver may stamp its samples with
are here too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

INSTALL = "pip install nvidia-ml-py"
REPLACE = "pip uninstall pynvml && pip install --force-reinstall nvidia-ml-py"

MOST_SAMPLES, MOST_PROCESSES = 1024, 256  # the driver keeps about 120

# These stay as they are however often one asks; the metric is not asked for again.
LASTING = "NOT_SUPPORTED NO_PERMISSION FUNCTION_NOT_FOUND INVALID_ARGUMENT ARGUMENT_VERSION_MISMATCH DEPRECATED"
LOST = frozenset({"GPU_IS_LOST", "RESET_REQUIRED", "GPU_NOT_FOUND"})

_START_REASONS = {
    "LIBRARY_NOT_FOUND": "no NVIDIA driver here (libnvidia-ml.so.1 was not found)",
    "DRIVER_NOT_LOADED": "the NVIDIA driver is installed but not loaded",
    "LIB_RM_VERSION_MISMATCH": "the NVIDIA driver was updated but not reloaded (library and kernel module differ)",
    "NO_PERMISSION": "no permission to use the NVIDIA driver",
}


class Unavailable(Exception):  # noqa: N818 - a state, expressed by raising
    """There is nothing to read here; ``status`` is a status of `DeviceReading`, ``reason`` says why and the way out."""

    def __init__(self, reason: str, status: str = "unavailable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Refused(Exception):  # noqa: N818 - an answer, expressed by raising
    """NVML's answer to one call was an error; ``code`` is its name without ``NVML_ERROR_``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def load() -> ModuleType:
    """Import the binding; `Unavailable` when it is missing, too old, or another package has taken its name."""
    try:
        module = importlib.import_module("pynvml")
    except ImportError:
        raise Unavailable(f"nvidia-ml-py is not installed: {INSTALL}") from None
    except Exception as failure:  # noqa: BLE001 - the deprecated package warns on import, and a warning may be an error
        raise Unavailable(f"importing pynvml raised {type(failure).__name__}: {REPLACE}") from None
    if hasattr(module, "__path__") or not hasattr(module, "_nvmlGetFunctionPointer"):
        raise Unavailable(f"the deprecated package pynvml hides NVIDIA's module of that name: {REPLACE}")
    if not hasattr(module, "nvmlDeviceGetFieldValues"):
        raise Unavailable(f"this nvidia-ml-py is too old: {INSTALL} --upgrade")
    return module


def conflict() -> str | None:
    """Why the installation of the binding should be mended although it works, if so."""
    try:
        importlib.metadata.distribution("pynvml")
    except importlib.metadata.PackageNotFoundError:
        return None
    return "the deprecated package pynvml is installed beside nvidia-ml-py: pip uninstall pynvml"


class _Process(ctypes.Structure):
    """What nvmlDeviceGetComputeRunningProcesses_v3 fills in; releases of the binding name it differently."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used_memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Binding:
    """NVML as one function to ask; counts its ``calls``, and makes none once ``silent`` says that nobody waits."""

    def __init__(self, module: ModuleType, silent: Callable[[], bool] = bool) -> None:
        self.module = module
        self.calls = 0
        self._silent = silent
        self._codes = {
            value: name.removeprefix("NVML_ERROR_")
            for name, value in vars(module).items()
            if name.startswith("NVML_ERROR_") and isinstance(value, int)
        }
        self._error: type[BaseException] = module.NVMLError
        # The binding asks twice for a list, for its size and for itself; nobody could stop it in between.
        self._lists: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetSamples": self._samples,
            "nvmlDeviceGetComputeRunningProcesses": self._processes,
        }

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call an NVML function by its name in the binding; `Refused` with the error's name when it fails."""
        try:
            return self.function(name)(*arguments)
        except Exception as failure:  # noqa: BLE001 - as `refusal` says
            raise self.refusal(failure) from None

    def function(self, name: str) -> Callable[..., Any]:
        """A function of NVML that is called now; what it raises, `refusal` explains."""
        if self._silent():
            raise Refused("CANCELLED")
        self.calls += 1
        return self._lists.get(name) or getattr(self.module, name)

    def refusal(self, failure: Exception) -> Refused:
        """What the driver or the binding meant by raising this."""
        if isinstance(failure, Refused):
            return failure
        if isinstance(failure, self._error):
            return Refused(self.code(getattr(failure, "value", -1)))
        if isinstance(failure, AttributeError):  # this release of the binding does not have the function
            return Refused("FUNCTION_NOT_FOUND")
        return Refused(type(failure).__name__)  # a struct of another version, an undecodable name, and the like

    def code(self, number: int) -> str:
        """The name of an error number, as single fields of a batched call carry it."""
        return self._codes.get(number, "UNKNOWN")

    def _samples(self, handle: Any, kind: int, after_us: int) -> tuple[int, list[Any]]:
        """The driver's samples that are newer than ``after_us``: the type of their values, and stamped values."""
        kept = (self.module.c_nvmlSample_t * MOST_SAMPLES)()
        value_type, count = ctypes.c_uint(), ctypes.c_uint(MOST_SAMPLES)
        arguments = ctypes.c_uint(kind), ctypes.c_ulonglong(after_us), ctypes.byref(value_type), ctypes.byref(count)
        if failed := self.module._nvmlGetFunctionPointer("nvmlDeviceGetSamples")(handle, *arguments, kept):
            raise Refused(self.code(failed))
        return value_type.value, kept[: count.value]

    def _processes(self, handle: Any) -> list[Any]:
        """The processes that compute on a device."""
        kept, count = (_Process * MOST_PROCESSES)(), ctypes.c_uint(MOST_PROCESSES)
        function = self.module._nvmlGetFunctionPointer("nvmlDeviceGetComputeRunningProcesses_v3")
        if failed := function(handle, ctypes.byref(count), kept):
            raise Refused(self.code(failed))
        return list(kept[: count.value])

    def init(self) -> None:
        """Initialise NVML; `Unavailable` with the reason and the way out when that fails."""
        try:
            self.ask("nvmlInit")
        except Refused as refused:
            reason = _START_REASONS.get(refused.code, f"nvmlInit failed: {refused.code}")
            raise Unavailable(reason, "no_permission" if refused.code == "NO_PERMISSION" else "unavailable") from None

    def shutdown(self) -> None:
        """Give our initialisation back; somebody else may have done so already."""
        with contextlib.suppress(Refused):
            self.ask("nvmlShutdown")


class Clocks:
    """What the monitor asks for time: the clocks of this machine."""

    def now_ns(self) -> int:
        """`time.perf_counter_ns`, which is CLOCK_MONOTONIC on Linux and so the same in every process."""
        return time.perf_counter_ns()

    def stamps_ns(self) -> dict[str, int]:
        """Realtime and, where they exist, boottime and monotonic."""
        stamps = {"realtime": time.time_ns(), "monotonic": time.monotonic_ns()}
        if hasattr(time, "CLOCK_BOOTTIME"):
            stamps["boottime"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return stamps

    def sleep(self, seconds: float) -> None:
        """`time.sleep`."""
        time.sleep(seconds)
