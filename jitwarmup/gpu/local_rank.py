"""
Which of the visible devices belong to this process, where a launcher started several on this host.

torchrun, and accelerate over it, give every process LOCAL_RANK and LOCAL_WORLD_SIZE (docs.pytorch.org, "torchrun",
environment variables). Until a process has used a device, its place among the others says which it will use; then torch
tells. A context alone is weak evidence: ranks other than 0 often hold one on device 0 by accident (pytorch #135279,
#49481), so memory that torch has reserved there counts for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Place(NamedTuple):
    """One process among the ``world`` processes of a job on this host; ``rank`` counts from 0."""

    rank: int
    world: int


def place_of(environ: Mapping[str, str]) -> Place | None:
    """What the launcher said; None where it said nothing, nothing sensible, or that this process is alone."""
    try:
        rank, world = int(environ["LOCAL_RANK"]), int(environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        return None
    return Place(rank, world) if world > 1 and 0 <= rank < world else None


def share(count: int, place: Place) -> range:
    """
    The part of ``count`` visible devices that belongs to one process, as indices.

    An equal, contiguous part, as in torch's DDP tutorial (rank r of those with two devices has 2r and 2r + 1). Where
    there are fewer devices than processes, one, in turn: several share it, or each process was shown only its own.
    """
    if count < place.world:
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
    held = [index for index in range(count) if _has_context(torch, index)]
    used = [index for index in held if _reserved(torch, index)]
    if not used:
        used = [index for index in held if index in own] or held or _current(torch) or list(own)
    return sorted(used, key=lambda index: index not in own)


def _has_context(torch: Any, index: int) -> bool:
    """Whether this process holds a context on a device; asks without making one."""
    asks = getattr(getattr(torch, "_C", None), "_cuda_hasPrimaryContext", None)
    try:
        return bool(asks(index)) if asks else _reserved(torch, index)
    except Exception:  # noqa: BLE001 - a CUDA that is failing: nothing is known of this device
        return False


def _reserved(torch: Any, index: int) -> bool:
    """Whether torch's allocator holds memory on a device."""
    try:
        return bool(torch.cuda.memory_reserved(index) > 0)
    except Exception:  # noqa: BLE001 - an allocator that was plugged in may keep no count
        return False


def _current(torch: Any) -> list[int]:
    """The current device, where somebody set it to another than the first."""
    try:
        return [index] if (index := int(torch.cuda.current_device())) > 0 else []
    except Exception:  # noqa: BLE001 - a CUDA that is failing: the share will do
        return []
