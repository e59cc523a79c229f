"""
Looking at a call's arguments: what can be consumed once, what a run changed, streamers, and their shapes and lengths.

Nothing is imported for it: a class of a library that is not loaded cannot be among the arguments. Values are looked at,
never kept and never shown. In places of nested values only keywords are names: keys of a nested dict may be anybody's
data, so its entries go by position.
"""

from __future__ import annotations

import io
import sys
from collections import UserDict, UserList, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from itertools import islice
from typing import Any

MAPPINGS = (dict, UserDict)  # transformers' BatchEncoding is a UserDict; other Mappings may compute what they hold
CONTAINERS = (list, tuple, set, frozenset, deque, UserList, *MAPPINGS)
DEPTH = 4  # nested containers looked into: {"inputs": [{"ids": tensor}]} is as deep as callers go
WIDTH = 10_000  # items looked at in one container; longer ones are compared by their length
SAMPLE = 4_096  # bytes of a tensor compared one by one; all of them enter a sum
MOST = 20_000  # values looked at in one argument: a batch of token lists must not take longer to look at than to run

SIZED = (str, bytes, bytearray, list, tuple)
ORDERED = (list, tuple, Mapping)  # what has positions that are the same in every call
Kinds = tuple[type[Any], ...]
Place = tuple[int, ...]
Bucket = Callable[[int], str]


def walk(
    value: Any, containers: Kinds = CONTAINERS, depth: int = DEPTH, place: Place = ()
) -> Iterator[tuple[Place, Any]]:
    """The value, then what is in containers of these kinds, depth first; each with the positions that lead to it."""
    yield place, value
    if depth and isinstance(value, containers) and len(value) <= WIDTH:
        for index, item in enumerate(tuple(value.values() if isinstance(value, Mapping) else value)):
            if isinstance(item, containers):
                yield from walk(item, containers, depth - 1, (*place, index))
            else:
                yield (*place, index), item


def leaves(value: Any) -> Iterator[Any]:
    """The value and what is in it; the first ``MOST`` of all that."""
    return (leaf for _, leaf in islice(walk(value), MOST))


def every_leaf(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """All values of a call."""
    for value in (*args, *kwargs.values()):
        yield from leaves(value)


def loaded_class(module: str, name: str) -> type[Any] | None:
    """A class of a module that is loaded already, else None."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def is_streamer(value: Any) -> bool:
    """Whether a value is a transformers streamer."""
    kind = loaded_class("transformers.generation.streamers", "BaseStreamer")
    return kind is not None and isinstance(value, kind)


def once_only(value: Any) -> str | None:
    """What makes a value unfit for a second run (in words), or None where it is fit."""
    if is_streamer(value):
        return None
    wrapper = loaded_class("tempfile", "_TemporaryFileWrapper")
    if isinstance(value, io.IOBase) or (wrapper is not None and isinstance(value, wrapper)):
        return "an open file, which a run reads to its end"
    cache = loaded_class("transformers.cache_utils", "Cache")
    if cache is not None and isinstance(value, cache):
        return "a transformers Cache, which grows by every run"
    if isinstance(value, Iterator | AsyncIterator):
        return "an iterator, which a run uses up"
    return None


def fingerprint(args: tuple[Any, ...], kwargs: Mapping[str, Any], *, contents: bool = False) -> tuple[Any, ...]:
    """
    What changes when a run changes its arguments in place: a tensor's version counter, a container's length and members.

    ``contents`` looks at what tensors hold, too: collectives (``all_reduce``, ``broadcast``, ``recv``) change a tensor and
    leave its version as it was. Inference tensors keep no version, so without it a change of theirs is not seen.
    """
    marks = (mark for value in every_leaf(args, kwargs) if (mark := mark_of(value)) is not None)
    if not contents:
        return tuple(marks)
    return (*marks, *(held for value in every_leaf(args, kwargs) if (held := contents_of(value)) is not None))


def mark_of(value: Any) -> tuple[Any, ...] | None:
    """The part of a fingerprint that one value contributes."""
    if isinstance(value, bytearray):
        return (id(value), len(value))
    if isinstance(value, CONTAINERS) and not isinstance(value, tuple | frozenset):
        if len(value) > WIDTH:
            return (id(value), len(value))
        return (id(value), len(value), tuple(map(id, value.values() if isinstance(value, MAPPINGS) else value)))
    tensor = loaded_class("torch", "Tensor")
    if tensor is not None and isinstance(value, tensor) and not value.is_inference():
        return (id(value), value._version)
    return None


def contents_of(value: Any) -> tuple[int, int] | None:
    """The sum of a tensor's bytes, and a hash of some; of a DTensor the local ones. Waits for the device, asks no rank."""
    torch, tensor = sys.modules.get("torch"), loaded_class("torch", "Tensor")
    if torch is None or tensor is None or not isinstance(value, tensor):
        return None
    local = getattr(value, "_local_tensor", value)
    if type(local) not in (tensor, loaded_class("torch.nn", "Parameter")):
        return None  # what another subclass does when it is summed up is not for us to try
    try:
        held = local.detach().reshape(-1).view(torch.uint8)
        sample = held[:: max(1, len(held) // SAMPLE)]
        return int(held.sum(dtype=torch.int64)), hash(tuple(sample.tolist()))
    except (RuntimeError, NotImplementedError, TypeError):  # on the meta device, sparse, under a transform
        return None


def silent_streamer() -> Any:
    """A stand-in for a streamer that delivers nothing, an instance of transformers' BaseStreamer where that is loaded."""
    base = loaded_class("transformers.generation.streamers", "BaseStreamer")
    return type("SilentStreamer", (Silent, base), {})() if base is not None else Silent()


class Silent:
    """Answers a streamer's methods, and any other, with nothing."""

    def put(self, value: Any) -> None:
        """Deliver nothing."""

    def end(self) -> None:
        """Deliver nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each argument with its place: its position, or its keyword in the order of the alphabet."""
    yield from ((str(place), value) for place, value in enumerate(args))
    yield from sorted(kwargs.items(), key=lambda item: item[0])


def looks(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket = str) -> Iterator[str]:
    """Every tensor and array of a call with its place, as ``inputs.0.1 float32[1,8] cpu``."""
    found = (loaded_class("torch", "Tensor"), loaded_class("numpy", "ndarray"))
    kinds = tuple(kind for kind in found if kind is not None)
    for name, value in named(args, kwargs):
        for place, leaf in walk(value, ORDERED):
            if isinstance(leaf, kinds):
                yield f"{'.'.join(map(str, (name, *place)))} {look_of(leaf, bucket)}"


def look_of(array: Any, bucket: Bucket = str) -> str:
    """One tensor or array: ``float32[1,8] cpu``."""
    device = getattr(array, "device", None)
    dtype = str(array.dtype).removeprefix("torch.")
    return f"{dtype}[{','.join(map(bucket, array.shape))}] {device if device is not None else 'cpu'}"


def lengths(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket) -> Iterator[str]:
    """The length of every text or list that stands among the arguments: ``prompt str[16]``, ``0 list[8,16]``."""
    for place, value in named(args, kwargs):
        if isinstance(value, SIZED):
            yield f"{place} {type(value).__name__}[{','.join(map(bucket, extent(value)))}]"


def extent(value: Any, depth: int = DEPTH) -> tuple[int, ...]:
    """Its length and, of a list, the largest extent of what is in it: a batch of prompts is (prompts, longest prompt)."""
    if not isinstance(value, list | tuple) or not depth:
        return (len(value),)
    inner = [extent(item, depth - 1) for item in value if isinstance(item, SIZED)]
    deepest = max(map(len, inner), default=0)
    return (len(value), *(max(e[level] for e in inner if len(e) > level) for level in range(deepest)))
