"""
The signature of a call: shapes, types and lengths of its arguments, never a value.

In places of nested values only keywords are names: keys of a nested dict may be anybody's data, so its entries go by
position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jitwarmup.host.arguments.loaded import is_array, is_tensor

DEPTH = 4  # nested containers looked into: {"inputs": [{"ids": tensor}]} is as deep as callers go
WIDTH = 10_000  # items looked at in one container

SIZED = (str, bytes, bytearray, list, tuple)
ORDERED = (list, tuple, Mapping)  # what has positions that are the same in every call
Place = tuple[int, ...]
Bucket = Callable[[int], str]


def walk(value: Any, depth: int = DEPTH, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The value, then what is in ordered containers, depth first; each with the positions that lead to it."""
    yield place, value
    if depth and isinstance(value, ORDERED) and len(value) <= WIDTH:
        for index, item in enumerate(tuple(value.values() if isinstance(value, Mapping) else value)):
            if isinstance(item, ORDERED):
                yield from walk(item, depth - 1, (*place, index))
            else:
                yield (*place, index), item


def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each argument with its place: its position, or its keyword in the order of the alphabet."""
    yield from ((str(place), value) for place, value in enumerate(args))
    yield from sorted(kwargs.items(), key=lambda item: item[0])


def looks(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket = str) -> Iterator[str]:
    """Every tensor and array of a call with its place, as ``inputs.0.1 float32[1,8] cpu``."""
    for name, value in named(args, kwargs):
        for place, leaf in walk(value):
            if is_tensor(leaf) or is_array(leaf):
                yield f"{'.'.join(map(str, (name, *place)))} {look_of(leaf, bucket)}"


def look_of(array: Any, bucket: Bucket = str) -> str:
    """One tensor or array: ``float32[1,8] cpu``."""
    device = getattr(array, "device", None)
    dtype = str(array.dtype).removeprefix("torch.")
    # a ragged size is a symbol that torch counts up for each tensor: equal batches shall have equal looks
    sizes = ",".join(bucket(size) if isinstance(size, int) else "j" for size in array.shape)
    return f"{dtype}[{sizes}] {device if device is not None else 'cpu'}"


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
