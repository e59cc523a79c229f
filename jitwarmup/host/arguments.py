"""
Looking at a call's arguments without knowing their libraries: what can be consumed once, what a run changed, streamers.

Nothing is imported for it: a class of a library that is not loaded cannot be among the arguments. Values are looked at,
never kept and never shown.
"""

from __future__ import annotations

import io
import sys
from collections import UserDict, UserList, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any

MAPPINGS = (dict, UserDict)  # transformers' BatchEncoding is a UserDict; other Mappings may compute what they hold
CONTAINERS = (list, tuple, set, frozenset, deque, UserList, *MAPPINGS)
DEPTH = 4  # nested containers looked into: {"inputs": [{"ids": tensor}]} is as deep as callers go
WIDTH = 10_000  # items looked at in one container; longer ones are compared by their length
SAMPLE = 4_096  # bytes of a tensor compared one by one; all of them enter a sum
MOST = 20_000  # values looked at in one argument: a batch of token lists must not take longer to look at than to run


def leaves(value: Any) -> Iterator[Any]:
    """The value and, for builtin containers, what is in it; the first ``MOST`` of all that."""
    return islice(walk(value, DEPTH), MOST)


def walk(value: Any, depth: int) -> Iterator[Any]:
    """The value, then what is in it, depth first."""
    yield value
    if depth and isinstance(value, CONTAINERS) and len(value) <= WIDTH:
        for item in tuple(value.values() if isinstance(value, MAPPINGS) else value):
            yield from walk(item, depth - 1)


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
