"""
The signature of a call: shapes, types and lengths of its arguments, never a value.

In places of nested values only keywords are names: keys of a nested dict may be anybody's data, so its entries go by
position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jitwarmup.host.arguments.loaded import loaded_class

DEPTH = 4  # nested containers looked into: {"inputs": [{"ids": tensor}]} is as deep as callers go
WIDTH = 10_000  # items looked at in one argument: a key is asked for at every call, which it must not hold up

SIZED = (str, bytes, bytearray, list, tuple)
ORDERED = (list, tuple, Mapping)  # what has positions that are the same in every call
Place = tuple[int, ...]
Bucket = Callable[[int], str]


def walk(value: Any) -> Iterator[tuple[Place, Any]]:
    """
    The value, then what is in ordered containers, depth first; each with the positions that lead to it.

    A container that holds more items than may still be looked at is passed over, and its neighbours are not.
    """
    left = WIDTH
    ordered: dict[type[Any], bool] = {}  # by class: an abstract one is slow to ask for every item

    def inside(value: Any, depth: int, place: Place) -> Iterator[tuple[Place, Any]]:
        nonlocal left
        yield place, value
        if not depth or len(value) > left:
            return
        left -= len(value)
        for index, item in enumerate(tuple(value.values() if isinstance(value, Mapping) else value)):
            kind = type(item)
            if kind not in ordered:
                ordered[kind] = issubclass(kind, ORDERED)
            if ordered[kind]:
                yield from inside(item, depth - 1, (*place, index))
            else:
                yield (*place, index), item

    return inside(value, DEPTH if isinstance(value, ORDERED) else 0, ())


def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each argument with its place: its position, or its keyword in the order of the alphabet."""
    yield from ((str(place), value) for place, value in enumerate(args))
    yield from sorted(kwargs.items(), key=lambda item: item[0])


def looks(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket = str) -> Iterator[str]:
    """Every tensor and array of a call with its place, as ``inputs.0.1 float32[1,8] cpu``."""
    known = loaded_class("torch", "Tensor"), loaded_class("numpy", "ndarray")
    kinds = tuple(kind for kind in known if kind is not None)
    for name, value in named(args, kwargs):
        for place, leaf in walk(value):
            if isinstance(leaf, kinds):
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


def extent(value: Any) -> tuple[int, ...]:
    """Its length and, of a list, the largest extent of what is in it: a batch of prompts is (prompts, longest prompt)."""
    found, level = [len(value)], [value]
    for _ in range(DEPTH):
        containers = [each for each in level if isinstance(each, list | tuple)]
        if sum(map(len, containers)) > WIDTH:
            break
        level = [item for each in containers for item in each if isinstance(item, SIZED)]
        if not level:
            break
        found.append(max(map(len, level)))
    return tuple(found)
