"""
What a CUDA device does once: device memory taken from the driver, CUDA graphs recorded, recorded again, or skipped.

Two probes, since graphs are announced by torch's compiler and memory by its allocator. Neither starts CUDA: until the
process has used it, they are dormant. Read in torch 2.8 to 2.15; the readers are arguments, so that tests without a
device drive them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jitwarmup.probes import dynamo_records
from jitwarmup.probes.base import ARMED, DORMANT, ChainedHook, ReadingProbe, absent, loaded, risen
from jitwarmup.probes.compile_callbacks import CALLBACKS, RECORDING
from jitwarmup.probes.run_table import RUNS
from jitwarmup.records.protocols import ArmState
from jitwarmup.records.runs import OneTimeWork

Stats = Mapping[str, Any]
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Device:
    """The allocator's counters of one device; they only rise (except over ``reset_accumulated_memory_stats``)."""

    index: int
    allocations: int
    retries: int
    reserved_bytes: int


def _torch_stats(index: int) -> Stats:
    stats: Stats = loaded("torch.cuda").memory_stats_as_nested_dict(index)  # type: ignore[union-attr]
    return stats


def _torch_devices() -> Sequence[int]:
    cuda = loaded("torch.cuda")
    return range(cuda.device_count()) if cuda is not None and cuda.is_initialized() else ()


def _torch_state() -> ArmState:
    torch = loaded("torch")
    if torch is None:
        return absent("torch")
    if getattr(torch.version, "cuda", None) is None and getattr(torch.version, "hip", None) is None:
        return ArmState("unavailable", "torch was built without CUDA")
    return ARMED if _torch_devices() else ArmState("dormant", "CUDA is not initialised")


class Allocator(ReadingProbe):
    """
    Kinds: ``allocator.grow`` (``cudaMalloc``, new segments) and ``allocator.retry`` (memory was freed and asked again).

    ``memory_stats_as_nested_dict`` is one C call; ``memory_stats()`` flattens it for 141 us and is not used.
    """

    name = "allocator"

    def __init__(
        self,
        read: Callable[[int], Stats] = _torch_stats,
        devices: Callable[[], Sequence[int]] = _torch_devices,
        state: Callable[[], ArmState] = _torch_state,
    ) -> None:
        self._read, self._devices, self._ask = read, devices, state
        self._state = DORMANT

    def arm(self) -> ArmState:
        """Dormant until CUDA is used; the self-test is one reading of each device."""
        self._state = self._ask()
        if self._state is ARMED and any(_device(0, self._read(index)) is None for index in self._devices()):
            self._state = ArmState("unavailable", "memory_stats_as_nested_dict has no num_device_alloc")
        return self._state

    def stamp(self) -> object:
        """The counters themselves; while dormant, whether CUDA has come to life (an attribute look-up)."""
        if self._state is ARMED:
            return self.snapshot()
        return len(self._devices()) if self._state.state == "dormant" else 0

    def snapshot(self) -> tuple[Device, ...]:
        """The counters of every device of this process."""
        if self._state is not ARMED:
            return ()
        readings = (_device(index, self._read(index)) for index in self._devices())
        return tuple(device for device in readings if device is not None)

    def delta(self, before: Sequence[Device], after: Sequence[Device]) -> Sequence[OneTimeWork]:
        """Growth and retries by device; a device that was not there before started from zero."""
        earlier = {device.index: device for device in before}
        nothing = Device(0, 0, 0, 0)
        return [work for device in after for work in _growth(earlier.get(device.index, nothing), device)]


def _device(index: int, stats: Stats) -> Device | None:
    try:
        reserved = stats.get("reserved_bytes", {}).get("all", {}).get("allocated", 0)
        return Device(index, stats["num_device_alloc"], stats["num_alloc_retries"], reserved)
    except (KeyError, AttributeError, TypeError):
        return None


def _growth(before: Device, after: Device) -> list[OneTimeWork]:
    taken = risen(before.reserved_bytes, after.reserved_bytes)
    # Expandable segments map memory without a new allocation: the bytes tell.
    grown = risen(before.allocations, after.allocations) or (1 if taken else 0)
    retried = risen(before.retries, after.retries)
    where = f"cuda:{after.index}"
    reason = f"{taken / MIB:.1f} MiB on {where}" if taken else f"on {where}"
    work = [OneTimeWork(kind="allocator.grow", count=grown, reason=reason)] if grown else []
    return work + ([OneTimeWork(kind="allocator.retry", count=retried, reason=f"on {where}")] if retried else [])


def _torch_graph_class() -> Any:
    return getattr(loaded("torch.cuda.graphs"), "CUDAGraph", None) if _torch_devices() else None


class CudaGraphs:
    """
    Kinds: ``cudagraph.record``, ``cudagraph.rerecord``, ``cudagraph.skip``.

    Recordings of compiled code are announced by torch's callbacks; those of user code (``torch.cuda.graph``) by a hook
    in ``CUDAGraph.capture_begin``.
    """

    name = "cudagraph"

    def __init__(self, graph_class: Callable[[], Any] = _torch_graph_class) -> None:
        self._graph_class = graph_class
        self._utils: Any = None
        self._hook: ChainedHook | None = None

    def arm(self) -> ArmState:
        """Armed as soon as either the compiler or CUDA itself is loaded."""
        graph = self._graph_class()
        if self._hook is None and hasattr(graph, "capture_begin"):
            self._hook = ChainedHook(graph, "capture_begin", _captured)
        self._utils = dynamo_records.utils()
        if self._utils is None:
            return ARMED if self._hook else DORMANT
        lost = CALLBACKS.ensure(self.name)
        return ArmState("armed", f"recordings of compiled code not seen: {lost}") if lost else ARMED

    def stamp(self) -> int:
        """Skips at run time, which only a device makes; others come with a record, recordings are pushed."""
        return 0 if self._hook is None else self.snapshot()

    def snapshot(self) -> int:
        """The skips that torch has counted."""
        if self._utils is None:
            return 0
        return int(self._utils.counters.get("inductor", {}).get("cudagraph_skips", 0))

    def delta(self, before: int, after: int) -> Sequence[OneTimeWork]:
        """New skips: a graph that runs without CUDA graphs from here on."""
        skipped = risen(before, after)
        return [OneTimeWork(kind="cudagraph.skip", count=skipped)] if skipped else []

    def disarm(self) -> None:
        """Takes the hook out, if it is still ours, and the callbacks, unless another probe holds them."""
        if self._hook:
            self._hook.leave()
        self._hook = self._utils = None
        CALLBACKS.release(self.name)


def _captured(*_args: Any, **_kwargs: Any) -> None:
    if not any(compiled.trigger == RECORDING for compiled in RUNS.open):
        RUNS.push("cudagraph", OneTimeWork(kind="cudagraph.record", reason="captured by user code"))
