"""
What a call's arguments look like from outside: shapes, dtypes and devices of tensors and arrays, lengths of texts.

Libraries are looked up, never imported; values are never read. Names are the keywords at the top level only: keys of a
nested dict may be anybody's data, so its entries go by position.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

DEPTH = 4  # as deep as callers nest inputs: {"inputs": [{"ids": tensor}]}
LISTS = (list, tuple)
SIZED = (str, bytes, bytearray, list, tuple)
Bucket = Callable[[int], str]


def array_classes() -> tuple[type[Any], ...]:
    """``torch.Tensor`` and ``numpy.ndarray``, as far as their libraries are loaded."""
    found = (getattr(sys.modules.get("torch"), "Tensor", None), getattr(sys.modules.get("numpy"), "ndarray", None))
    return tuple(kind for kind in found if isinstance(kind, type))


def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each argument with its place: its position, or its keyword in the order of the alphabet."""
    return chain(
        ((str(place), value) for place, value in enumerate(args)), sorted(kwargs.items(), key=lambda it: it[0])
    )


def arrays_in(place: str, value: Any, kinds: tuple[type[Any], ...], depth: int = DEPTH) -> Iterator[tuple[str, Any]]:
    """The tensors and arrays in a value, each with its place (``inputs.0.1``)."""
    if isinstance(value, kinds):
        yield place, value
    elif depth and isinstance(value, (*LISTS, Mapping)):
        for index, item in enumerate(value.values() if isinstance(value, Mapping) else value):
            yield from arrays_in(f"{place}.{index}", item, kinds, depth - 1)


def look_of(array: Any, bucket: Bucket = str) -> str:
    """One tensor or array: ``float32[1,8] cpu``."""
    device = getattr(array, "device", None)
    dtype = str(array.dtype).removeprefix("torch.")
    return f"{dtype}[{','.join(map(bucket, array.shape))}] {device if device is not None else 'cpu'}"


def looks(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket = str) -> Iterator[str]:
    """Every tensor and array of a call, with its place."""
    kinds = array_classes()
    for place, value in named(args, kwargs):
        for where, array in arrays_in(place, value, kinds):
            yield f"{where} {look_of(array, bucket)}"


def lengths(args: tuple[Any, ...], kwargs: Mapping[str, Any], bucket: Bucket) -> Iterator[str]:
    """The length of every text or list that stands among the arguments: ``prompt str[16]``, ``0 list[8,16]``."""
    for place, value in named(args, kwargs):
        if isinstance(value, SIZED):
            yield f"{place} {type(value).__name__}[{','.join(map(bucket, extent(value)))}]"


def extent(value: Any, depth: int = DEPTH) -> tuple[int, ...]:
    """Its length and, of a list, the largest extent of what is in it: a batch of prompts is (prompts, longest prompt)."""
    if not isinstance(value, LISTS) or not depth:
        return (len(value),)
    inner = [extent(item, depth - 1) for item in value if isinstance(item, SIZED)]
    deepest = max(map(len, inner), default=0)
    return (len(value), *(max(e[level] for e in inner if len(e) > level) for level in range(deepest)))
