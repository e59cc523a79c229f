"""
Key functions: what a warm-up is good for. ``@warmed(key=by_shape)``, ``@warmed(key=by_bucket([64, 256, 1024]))``.

A compiled function is warm for the shapes it has met. Keys hold shapes, dtypes, devices and lengths, never a value.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from jitwarmup.host.arguments.signatures import lengths, looks
from jitwarmup.records.checks import checking, is_whole
from jitwarmup.records.errors import ArgumentError

LABEL = 120  # characters that an event keeps of a key


class ShapeKey(str):
    """A key that can be shown as it is. ``label`` is itself; cut, with a digest of the whole, where it is very long."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """The key in words, at most 120 characters; different keys have different labels."""
        if len(self) <= LABEL:
            return str(self)
        digest = hashlib.blake2s(self.encode(), digest_size=4).hexdigest()
        return f"{self[: LABEL - 12]}... {digest}"


def by_shape(*args: Any, **kwargs: Any) -> ShapeKey:
    """
    One key for each combination of shapes, dtypes and devices of the tensors and numpy arrays among the arguments.

    Nested lists, tuples and mappings are looked into, four deep. ``f(x)`` and ``f(x=x)`` are different keys: a key
    function does not know the names of positional arguments.
    """
    return ShapeKey("; ".join(looks(args, kwargs)) or "no tensors")


def by_bucket(sizes: Iterable[int]) -> Callable[..., ShapeKey]:
    """
    A key function for inputs that are padded to a few sizes.

    Each dimension of a tensor, and the length of each str, bytes, list and tuple among the arguments, counts as the next
    larger size; what is larger than all sizes counts as ``>`` the largest.

    Raises:
        ArgumentError: the sizes are no positive whole numbers, or there is none.

    """
    with checking("by_bucket"):
        given = list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str | bytes) else []
        fit = bool(given) and all(is_whole(size, 1) for size in given)
    if not fit:
        raise ArgumentError(
            "by_bucket got sizes that are not positive whole numbers, or none; wanted a list such as [64, 256, 1024]"
        )
    steps = sorted(set(given))

    def bucket(size: int) -> str:
        at = bisect_left(steps, size)
        return str(steps[at]) if at < len(steps) else f">{steps[-1]}"

    def by_size(*args: Any, **kwargs: Any) -> ShapeKey:
        return ShapeKey("; ".join((*looks(args, kwargs, bucket), *lengths(args, kwargs, bucket))) or "no sizes")

    return by_size
