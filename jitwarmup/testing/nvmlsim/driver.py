"""
Scenarios for the simulated NVML driver: what the GPUs do, how the driver tells it, what fails, and who called.

    sim = Simulation(build(directory), directory / "machine")
    sim.gpus(2)                                    a fresh machine of two GPUs, manual clock
    sim.set("power_w", 300); sim.advance(0.1)      GPU 0 draws 300 W for 0.1 s
    sim.fault("nvmlDeviceGetSamples", "GPU_IS_LOST", first=1)
    sim.calls()                                    every NVML call of every process, in order

Loading the library makes ``libnvidia-ml.so.1`` mean the simulation for the rest of this process (glibc finds a loaded
library by its SONAME), so the real nvidia-ml-py runs over it as it is; child processes need `environment`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jitwarmup.gpu.binding import Clocks

SOURCE = Path(__file__).with_name("nvmlsim.c")
M = TypeVar("M")
SONAME = "libnvidia-ml.so.1"
ALWAYS = 2**31 - 1

_QUANTITIES = """
    power_w sm_mhz temperature_c memory_used_bytes idle
    limit_power limit_thermal limit_sync_boost limit_board limit_low_utilization limit_reliability
    sm_active_pct tensor_active_pct dram_active_pct
"""
_SETTINGS = """
    energy_step_us limit_step_us power_average_us counters_since_ns energy_base_mj
    ring_period_us ring_depth ring_offset_us ring_kind ring_idle
    migs gpm sm_mhz_max memory_total_bytes power_limit_mw
"""
QUANTITIES, SETTINGS = _QUANTITIES.split(), _SETTINGS.split()  # in the order of nvmlsim.c
RING_KINDS = {"mean": 0, "averaged": 1, "duty": 2}

RESTING: Mapping[str, float] = {"power_w": 100.0, "sm_mhz": 1980, "temperature_c": 40, "memory_used_bytes": 2**30}
USUAL: Mapping[str, int] = {
    "energy_step_us": 100_000,
    "limit_step_us": 100_000,
    "power_average_us": 1_000_000,
    "energy_base_mj": 123_456_789,
    "ring_period_us": 20_000,
    "ring_depth": 119,
    "gpm": 1,
    "sm_mhz_max": 1980,
    "memory_total_bytes": 80 * 2**30,
    "power_limit_mw": 700_000,
}
ERRORS = {
    "UNINITIALIZED": 1,
    "INVALID_ARGUMENT": 2,
    "NOT_SUPPORTED": 3,
    "NO_PERMISSION": 4,
    "NOT_FOUND": 6,
    "INSUFFICIENT_SIZE": 7,
    "DRIVER_NOT_LOADED": 9,
    "TIMEOUT": 10,
    "LIBRARY_NOT_FOUND": 12,
    "FUNCTION_NOT_FOUND": 13,
    "GPU_IS_LOST": 15,
    "RESET_REQUIRED": 16,
    "OPERATING_SYSTEM": 17,
    "LIB_RM_VERSION_MISMATCH": 18,
    "IN_USE": 19,
    "NO_DATA": 21,
    "UNKNOWN": 999,
}


class NoCompiler(RuntimeError):  # noqa: N818 - it says what is missing
    """There is no C compiler here, or this is not Linux; the message says which."""


class Call(NamedTuple):
    """One NVML call: host monotonic nanoseconds (``took_ns`` is -1 while it runs), whose it was, what it returned."""

    at_ns: int
    took_ns: int
    pid: int
    tid: int
    returned: int
    gpu: int
    function: str


class _Call(ctypes.Structure):
    _fields_ = (
        ("at_ns", ctypes.c_int64),
        ("took_ns", ctypes.c_int64),
        ("pid", ctypes.c_int32),
        ("tid", ctypes.c_int32),
        ("returned", ctypes.c_int32),
        ("gpu", ctypes.c_int32),
        ("function", ctypes.c_char * 48),
    )

    def taken(self) -> Call:
        return Call(self.at_ns, self.took_ns, self.pid, self.tid, self.returned, self.gpu, self.function.decode())


@dataclass(frozen=True, slots=True)
class SimulatedClocks(Clocks):
    """The clocks of a machine whose time the test turns; what the monitor asks instead of the host's."""

    simulation: Simulation
    realtime_offset_ns: int = 1_700_000_000 * 10**9
    boottime_offset_ns: int = 3_600 * 10**9

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return self.simulation.now_ns

    def stamps_ns(self) -> dict[str, int]:
        """What each clock that a driver may stamp with says now."""
        now = self.simulation.now_ns
        return {
            "realtime": now + self.realtime_offset_ns,
            "boottime": now + self.boottime_offset_ns,
            "monotonic": now,
        }

    def sleep(self, seconds: float) -> None:
        """Turn the clock on."""
        self.simulation.advance(seconds)


def build(directory: Path) -> Path:
    """Compile the driver into ``directory`` (0.6 s); raises `NoCompiler` where that cannot be done."""
    if not sys.platform.startswith("linux"):
        raise NoCompiler(f"the simulated NVML driver is for Linux, this is {sys.platform}")
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise NoCompiler("no C compiler (cc, gcc or clang) to build the simulated NVML driver with")
    library = directory / SONAME
    if not library.exists():
        fresh = library.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O1", f"-Wl,-soname,{SONAME}", "-o", str(fresh), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the compiler of this machine
        fresh.replace(library)
    return library


class Simulation:
    """One simulated machine. ``gpu=`` names a GPU by its place; times are seconds, the clock starts at 1,000 s."""

    def __init__(self, library: Path, control: Path) -> None:
        self.library = library
        self.control = control
        self._so = ctypes.CDLL(str(library))
        self._declare()
        self._so.nvmlsim_attach(str(control).encode())
        self.gpus(1)

    def _declare(self) -> None:
        i32, i64, text = ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
        for name, arguments in {
            "set_clock": (i32, i64),
            "setting": (i32, i32, i64),
            "name": (i32, text),
            "pid": (i32, i32, ctypes.c_uint),
            "area": (i32, i32, i64, i64),
            "step": (i32, i32, i64, ctypes.c_double),
            "fault": (text, i32, i32, i32, i32, i64, i32),
            "reset": (i32, i64),
        }.items():
            getattr(self._so, f"nvmlsim_{name}").argtypes = arguments
        self._so.nvmlsim_now.restype = i64
        self._so.nvmlsim_area.restype = ctypes.c_double
        self._so.nvmlsim_calls.restype = ctypes.c_uint64
        self._so.nvmlsim_log_size.restype = ctypes.c_uint64
        self._so.nvmlsim_log.restype = ctypes.POINTER(_Call)

    # ---- the machine

    def gpus(self, count: int, *, at_s: float = 1_000.0) -> None:
        """A fresh machine of ``count`` GPUs at rest, on the manual clock; faults and the log are gone."""
        self._so.nvmlsim_reset(count, round(at_s * 1e9))
        for gpu in range(count):
            self._so.nvmlsim_name(gpu, b"NVIDIA H100 80GB SIM")
            self.settings(gpu=gpu, **USUAL)
            for quantity in QUANTITIES:
                self.set(quantity, RESTING.get(quantity, 0.0), gpu=gpu, at_s=0.0)

    def settings(self, *, gpu: int = 0, **values: int | str) -> None:
        """How this GPU's driver tells things: any of `SETTINGS`; ``ring_kind`` is ``mean``, ``averaged`` or ``duty``."""
        for name, value in values.items():
            number = RING_KINDS[value] if isinstance(value, str) else value
            self._so.nvmlsim_setting(gpu, SETTINGS.index(name), number)

    def name(self, name: str, *, gpu: int = 0) -> None:
        """The product name of a GPU."""
        self._so.nvmlsim_name(gpu, name.encode())

    def processes(self, *pids: int, gpu: int = 0) -> None:
        """The processes that compute on a GPU (8 at most)."""
        for place in range(8):
            self._so.nvmlsim_pid(gpu, place, pids[place] if place < len(pids) else 0)

    def uuid(self, gpu: int = 0, mig: int | None = None) -> str:
        """The UUID of a GPU, or of one of its MIG instances."""
        group = f"{0x11111111 * (gpu + 1):08x}"
        if mig is None:
            return f"GPU-{group}-51b0-4000-8000-000000000000"
        return f"MIG-{group}-51b0-5000-8000-{mig + 1:012x}"

    # ---- time

    @property
    def now_ns(self) -> int:
        """The machine's clock."""
        return int(self._so.nvmlsim_now())

    @property
    def now_s(self) -> float:
        """The machine's clock, in seconds."""
        return self.now_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Turn the manual clock forward."""
        self._so.nvmlsim_set_clock(1, self.now_ns + round(seconds * 1e9))

    def host_clock(self) -> None:
        """Let time be the host's monotonic clock from here on (needed where other processes keep time)."""
        self._so.nvmlsim_set_clock(0, 0)

    def clocks(self) -> SimulatedClocks:
        """The machine's clocks."""
        return SimulatedClocks(self)

    def adopt(self, monitor: M) -> M:
        """Let a `GPUMonitor` that is not started yet live in simulated time; needed under the manual clock."""
        vars(monitor)["_clocks"] = self.clocks()
        return monitor

    # ---- what the GPUs do

    def set(self, quantity: str, value: float, *, gpu: int = 0, at_s: float | None = None) -> None:
        """From ``at_s`` (or now) on, this quantity of the GPU has this value."""
        at_ns = self.now_ns if at_s is None else round(at_s * 1e9)
        raw = value * 1e3 if quantity == "power_w" else value
        if problem := self._so.nvmlsim_step(gpu, QUANTITIES.index(quantity), at_ns, raw):
            raise ValueError(
                f"{quantity} of GPU {gpu}: {'too many steps' if problem == -1 else 'time goes forward only'}"
            )

    def reload_driver(self, *, gpu: int = 0) -> None:
        """The driver is loaded anew: every counter starts again at 0."""
        self.settings(gpu=gpu, counters_since_ns=self.now_ns, energy_base_mj=0)

    def integral(self, quantity: str, from_s: float, until_s: float, *, gpu: int = 0) -> float:
        """The truth: the integral over seconds (of ``power_w``: joules; of a limit: seconds under it)."""
        raw = self._so.nvmlsim_area(gpu, QUANTITIES.index(quantity), round(from_s * 1e9), round(until_s * 1e9))
        return float(raw) / (1e3 if quantity == "power_w" else 1)

    # ---- faults

    def fault(
        self,
        function: str = "*",
        error: str | None = None,
        *,
        gpu: int = -1,
        first: int = 0,
        last: int = ALWAYS,
        delay_s: float = 0.0,
        hang: bool = False,
    ) -> None:
        """
        From its ``first``-th matching call until before its ``last``-th, ``function`` is slow, hangs or fails.

        ``"*"`` is every function, ``"field 83"`` one field of nvmlDeviceGetFieldValues; errors are the names of
        `ERRORS`. A call that hangs returns when the faults are lifted by `heal`.
        """
        code = ERRORS[error] if error else 0
        if self._so.nvmlsim_fault(function.encode(), gpu, code, first, last, round(delay_s * 1e9), int(hang)):
            raise ValueError("too many faults in one scenario")

    def heal(self) -> None:
        """Lift every fault; calls that hang return now."""
        self._so.nvmlsim_heal()

    # ---- the log

    def count(self) -> int:
        """How many NVML calls were started so far, by all processes."""
        return int(self._so.nvmlsim_calls())

    def calls(self, *, since: int = 0) -> list[Call]:
        """The calls so far in the order they started; refuses to answer when the log ran over."""
        count = self.count()
        if count > self._so.nvmlsim_log_size():
            raise OverflowError(f"{count} calls do not fit the log; use forget_calls() between the parts of a test")
        log = self._so.nvmlsim_log()
        return [log[place].taken() for place in range(since, count)]

    def calls_between(self, from_ns: int, until_ns: int) -> list[Call]:
        """The calls that started between two readings of the host's monotonic clock (`time.perf_counter_ns`)."""
        return [call for call in self.calls() if from_ns <= call.at_ns <= until_ns]

    def forget_calls(self) -> None:
        """Empty the log."""
        self._so.nvmlsim_forget_calls()

    @property
    def initialised(self) -> int:
        """How many nvmlInit of this process have not been answered by an nvmlShutdown."""
        return int(self._so.nvmlsim_initialised())

    # ---- processes

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment in which a child process meets this machine."""
        environment = dict(os.environ if base is None else base)
        paths = [str(self.library.parent), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
        environment["NVMLSIM_CTL"] = str(self.control)
        return environment

    def bind(self, pynvml: Any) -> None:
        """Make an imported nvidia-ml-py use this library, and prove that it does."""
        pynvml.nvmlLib = None
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
        if not str(version).endswith("-SIM"):
            raise RuntimeError(f"libnvidia-ml.so.1 is not the simulation but a real driver, version {version}")
        self.forget_calls()


def host_ns() -> int:
    """The clock of `Call.at_ns`."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
