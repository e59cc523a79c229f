"""
Which GPUs: from torch's UUIDs, or from what CUDA_VISIBLE_DEVICES leaves, to NVML handles.

CUDA counts devices fastest first and after CUDA_VISIBLE_DEVICES, NVML by bus and all of them, so an index of one is no
index of the other; only UUIDs mean the same in both. `wanted` says what to look for (no NVML call); `resolve` finds it
(NVML calls only). Torch is looked at only where it is loaded, and its CUDA state is never initialised by us. Where this
process is one of several on its host only its own devices are looked for, unless others are named: torchrun, and
accelerate over it, give every process LOCAL_RANK and LOCAL_WORLD_SIZE (docs.pytorch.org, "torchrun"). Until a process has
used a device, its place among the others says which it will use; then torch tells. A context alone is weak evidence:
ranks other than 0 often hold one on device 0 by accident (pytorch #135279, #49481), so memory that torch has reserved
there counts for more.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar

from jitwarmup.gpu.binding import LOST, Binding, Refused, Unavailable
from jitwarmup.records.checks import shown
from jitwarmup.records.errors import ArgumentError

T = TypeVar("T")

FULL_UUID = len("GPU-00000000-0000-0000-0000-000000000000")
SM_CLOCK = 1  # NVML_CLOCK_SM
POWER_LIMIT_FIELD = 190  # NVML_FI_DEV_POWER_CURRENT_LIMIT, milliwatts


class Place(NamedTuple):
    """One process among the ``world`` processes of a job on this host; ``rank`` counts from 0."""

    rank: int
    world: int


@dataclass(frozen=True, slots=True)
class Want:
    """One device: by (the start of) its UUID, or by NVML's index; ``torch_index`` where torch has it."""

    uuid: str | None = None
    index: int | None = None
    torch_index: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What to look for. ``wants`` None means every device; ``ordered`` that its indices were counted by CUDA.

    ``provisional``: worth asking again later. Torch has not initialised CUDA yet, so that its UUIDs are not known, or
    this is one of several processes, which may come to use other devices. ``place``: only that process's share.
    """

    wants: tuple[Want, ...] | None
    ordered: bool = False
    provisional: bool = False
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU (or MIG instance, with its parent's ``handle``) as NVML knows it, and what of it never changes."""

    handle: Any
    uuid: str
    name: str
    torch_index: int | None = None
    mig_handle: Any = None
    mig_instance: int | None = None
    shared: bool = False
    sm_clock_max_mhz: int | None = None
    power_limit_w: float | None = None


def checked(devices: object) -> tuple[object, ...] | None:
    """The ``devices`` argument of `GPUMonitor` as a tuple; `ArgumentError` for what names no NVIDIA device."""
    if devices is None:
        return None
    several = isinstance(devices, Iterable) and not isinstance(devices, str)
    chosen = tuple(devices) if several else (devices,)  # type: ignore[arg-type]  # several says so
    for device in chosen:
        _index_or_uuid(device)
    return chosen


def _index_or_uuid(device: object) -> int | str:
    """A visible index (-1: torch's current device) or a UUID."""
    if getattr(device, "type", None) == "cuda":
        index = getattr(device, "index", None)
        return -1 if index is None else int(index)
    if isinstance(device, int) and not isinstance(device, bool) and device >= 0:
        return device
    if isinstance(device, str):
        kind, _, index = device.partition(":")
        if kind == "cuda" and (index.isdecimal() or not index):
            return int(index) if index else -1
        if device.startswith(("GPU-", "MIG-")):
            return device
    raise ArgumentError(
        f"devices: got {type(device).__name__} {shown(device)}, wanted an index, a CUDA torch.device, 'cuda:0', or a "
        "UUID like 'GPU-...'; leave it out for every visible GPU"
    )


def visible(value: str | None) -> tuple[int | str, ...] | None:
    """
    What CUDA_VISIBLE_DEVICES leaves, as CUDA reads it; None when it is not set.

    The first entry says whether all are UUIDs or numbers. An entry of another kind or a negative one ends the list, one
    given twice makes it empty, and ``1gpu2`` reads as 1.
    """
    if value is None:
        return None
    kind = value[:4] if value.startswith(("GPU-", "MIG-")) else ""
    kept: list[int | str] = []
    for entry in value.split(","):
        number = re.match(r"\s*[+-]?\d+", entry)
        read = entry if kind else int(number.group()) if number else -1
        if (isinstance(read, int) and read < 0) or (isinstance(read, str) and not read.startswith(kind)):
            break
        if read in kept:
            return ()
        kept.append(read)
    return tuple(kept)


def cuda_in_use() -> Any:
    """``torch.cuda`` where this process has initialised it, else None; imports and initialises nothing."""
    torch = sys.modules.get("torch")
    try:
        return torch.cuda if torch is not None and torch.version.cuda and torch.cuda.is_initialized() else None
    except Exception:  # noqa: BLE001 - a torch that is only half imported
        return None


def torch_uuids() -> list[str] | None:
    """The UUIDs of torch's CUDA devices in torch's order; None where CUDA is not initialised or torch cannot tell."""
    cuda = cuda_in_use()
    try:
        return cuda and [f"GPU-{cuda.get_device_properties(i).uuid}" for i in range(cuda.device_count())]
    except Exception:  # noqa: BLE001 - an old torch without UUIDs, or a CUDA that is failing: CUDA_VISIBLE_DEVICES then
        return None


def peaks_of(devices: Iterable[Device]) -> dict[str, int]:
    """The most bytes that torch had allocated so far, by UUID, where this process uses its CUDA."""
    cuda = cuda_in_use()
    known = [device for device in devices if cuda and device.torch_index is not None]
    return {device.uuid: int(cuda.max_memory_allocated(device.torch_index)) for device in known}


def place_of(environ: Mapping[str, str]) -> Place | None:
    """What the launcher said; None where it said nothing, nothing sensible, or that this process is alone."""
    try:
        rank, world = int(environ["LOCAL_RANK"]), int(environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return Place(rank, world) if world > 1 and 0 <= rank < world else None


def share(count: int, place: Place) -> range:
    """The equal, contiguous part of ``count`` devices that belongs to one process (as in torch's DDP tutorial)."""
    if count < place.world:  # one, in turn: several share it, or each process was shown only its own
        return range(place.rank % count, place.rank % count + 1) if count else range(0)
    each = count // place.world
    return range(place.rank * each, (place.rank + 1) * each)


def in_use(torch: Any, count: int, place: Place) -> Sequence[int]:
    """
    Torch's indices of the devices that this process uses, those of its share first; CUDA must be initialised.

    Those on which torch's allocator holds memory; else those of its share with a context; else any with a context; else
    the current one, if it is not the first (as it is until somebody sets it); else the share. Creates no context.
    """
    own = share(count, place)

    def reserves(index: int) -> bool:
        return bool(torch.cuda.memory_reserved(index) > 0)

    has_context = getattr(getattr(torch, "_C", None), "_cuda_hasPrimaryContext", reserves)
    held = [index for index in range(count) if _attempt(has_context, index, otherwise=False)]
    used = [index for index in held if _attempt(reserves, index, otherwise=False)]
    if not used:
        current = _attempt(lambda: int(torch.cuda.current_device()), otherwise=0)
        used = [index for index in held if index in own] or held or ([current] if current > 0 else list(own))
    return sorted(used, key=lambda index: index not in own)


def _attempt(ask: Callable[..., T], *arguments: object, otherwise: T) -> T:
    """What torch tells; or else, where its CUDA is failing, or an allocator that was plugged in keeps no count."""
    try:
        return ask(*arguments)
    except Exception:  # noqa: BLE001 - as said
        return otherwise


def wanted(devices: Sequence[object] | None, environ: Mapping[str, str]) -> Wanted:
    """What to look for, from the (checked) ``devices`` argument, torch and the environment; makes no NVML call."""
    torch = sys.modules.get("torch")
    known = torch_uuids()
    ordered = environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    if known is None:
        left = visible(environ.get("CUDA_VISIBLE_DEVICES"))
        seen = None
        if left is not None:
            seen = tuple(Want(index=entry) if isinstance(entry, int) else Want(uuid=entry) for entry in left)
    else:
        seen = tuple(Want(uuid=uuid, torch_index=index) for index, uuid in enumerate(known))
    among = place_of(environ) if devices is None else None
    if among and known is not None and seen is not None:
        own = tuple(seen[index] for index in in_use(torch, len(seen), among))
        return Wanted(own, ordered=ordered, provisional=True)
    wants = seen if devices is None else tuple(_chosen(device, seen, torch) for device in devices)
    provisional = known is None and (torch is None or bool(torch.version.cuda))
    return Wanted(wants, ordered=ordered, provisional=provisional, place=among)


def _chosen(device: object, seen: tuple[Want, ...] | None, torch: Any) -> Want:
    """One of the devices that were asked for, among those that are visible (None: all are)."""
    named = _index_or_uuid(device)
    if isinstance(named, str):
        return next((want for want in seen or () if want.uuid == named), Want(uuid=named))
    if named < 0:  # torch's current device, or the first while CUDA is not initialised
        named = int(torch.cuda.current_device()) if torch_uuids() else 0
    if seen is None:
        return Want(index=named)
    if named >= len(seen):
        raise Unavailable(f"device {named} is not visible: CUDA_VISIBLE_DEVICES leaves {len(seen)}")
    return seen[named]


def resolve(binding: Binding, wanted: Wanted) -> list[Device]:
    """The devices, each once, up to an entry that names none (as in CUDA); `Unavailable` when none can be told."""
    count = int(_asked(binding, "nvmlDeviceGetCount"))
    wants = tuple(Want(index=index) for index in range(count)) if wanted.wants is None else wanted.wants
    chosen = wanted.wants is not None or wanted.place is not None
    if wanted.ordered and chosen and any(want.index is not None for want in wants):
        _refuse_a_mixed_machine(binding, count)
    if wanted.place is not None:  # its share of those that are there; NVML is asked for no handle of the others

        def is_there(want: Want) -> bool:
            return want.index < count if want.index is not None else _handle(binding, want, count) is not None

        there = list(takewhile(is_there, wants))
        wants = tuple(there[index] for index in share(len(there), wanted.place))
    found: dict[str, Device] = {}
    for want in wants:
        handle = _handle(binding, want, count)
        if handle is None:
            break
        device = _describe(binding, handle, want.torch_index)
        found.setdefault(device.uuid, device)
    if not found:
        raise Unavailable(f"no NVIDIA GPU is visible{_and_what_is_there(binding, wants, count)}")
    return list(found.values())


def _and_what_is_there(binding: Binding, wants: tuple[Want, ...], count: int) -> str:
    """What was asked for by name, and what the driver knows of."""
    asked = [str(want.uuid if want.index is None else want.index) for want in wants]
    if not count or not asked:
        return "" if count else " (the driver knows of none)"
    known = [_answer(binding, "nvmlDeviceGetUUID", _handle(binding, Want(index=i), count)) for i in range(count)]
    there = ", ".join(f"{index} {uuid}" if uuid else str(index) for index, uuid in enumerate(known))
    return f": asked for was {', '.join(asked)}, and there is {there}"


def _asked(binding: Binding, function: str, *arguments: Any) -> Any:
    """An answer without which there is nothing to read."""
    try:
        return binding.ask(function, *arguments)
    except Refused as refused:
        status = "gpu_lost" if refused.code in LOST else "unavailable"
        raise Unavailable(f"{function} failed: {refused.code}", status) from None


def _refuse_a_mixed_machine(binding: Binding, count: int) -> None:
    """CUDA counts the fastest GPU first: on a machine with different ones, its indices say nothing to NVML."""
    names = {_answer(binding, "nvmlDeviceGetName", _handle(binding, Want(index=i), count)) for i in range(count)}
    if len(names) > 1:
        raise Unavailable(
            "indices cannot be told between different GPUs: set CUDA_DEVICE_ORDER=PCI_BUS_ID, give UUIDs, or start the "
            "monitor after torch.cuda.init()"
        )


def _answer(binding: Binding, function: str, *arguments: Any) -> Any:
    """An answer, or None."""
    try:
        return binding.ask(function, *arguments)
    except Refused:
        return None


def _handle(binding: Binding, want: Want, count: int) -> Any:
    """The handle of a device; None when there is no such device."""
    if want.index is not None:
        return _asked(binding, "nvmlDeviceGetHandleByIndex", want.index) if want.index < count else None
    uuid = want.uuid or ""
    if len(uuid) >= FULL_UUID:  # what torch calls GPU-... may be an instance
        handle = _answer(binding, "nvmlDeviceGetHandleByUUID", uuid.encode())
        return handle or _answer(binding, "nvmlDeviceGetHandleByUUID", uuid.replace("GPU-", "MIG-", 1).encode())
    for index in range(count):
        handle = _answer(binding, "nvmlDeviceGetHandleByIndex", index)
        if str(_answer(binding, "nvmlDeviceGetUUID", handle)).startswith(uuid):
            return handle
    return None


def _describe(binding: Binding, handle: Any, torch_index: int | None) -> Device:
    """What of a device never changes, and of an instance also its parent, which alone knows power and clocks."""
    parent = instance = None
    if getattr(_answer(binding, "nvmlDeviceIsMigDeviceHandle", handle), "value", 0):
        parent = _answer(binding, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        instance = _answer(binding, "nvmlDeviceGetGpuInstanceId", handle)
    whole = parent or handle
    mode = _answer(binding, "nvmlDeviceGetMigMode", whole)
    fields = _answer(binding, "nvmlDeviceGetFieldValues", whole, [(POWER_LIMIT_FIELD, 0)])
    limit_mw = fields[0].value.uiVal if fields and not fields[0].nvmlReturn else None
    return Device(
        handle=whole,
        uuid=_answer(binding, "nvmlDeviceGetUUID", handle) or "",
        name=_answer(binding, "nvmlDeviceGetName", handle) or "",
        torch_index=torch_index,
        mig_handle=handle if parent else None,
        mig_instance=instance,
        shared=bool(mode and mode[0]),
        sm_clock_max_mhz=_answer(binding, "nvmlDeviceGetMaxClockInfo", whole, SM_CLOCK),
        power_limit_w=limit_mw / 1e3 if limit_mw else None,
    )
