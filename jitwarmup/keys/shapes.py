"""
Key functions: what a warm-up is good for. ``@warmed(key=by_shape)``, ``@warmed(key=by_bucket([64, 256, 1024]))``.

A compiled function is warm for the shapes it has met. Keys hold shapes, dtypes, devices and lengths, never a value.
"""

from __future__ import annotations

import hashlib
import inspect
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from typing import Any

from jitwarmup.host.arguments.signatures import lengths, looks
from jitwarmup.records.checks import is_whole
from jitwarmup.records.errors import ArgumentError

LABEL = 120  # characters that an event keeps of a key


class ShapeKey(str):
    """A key made of shapes and places; the ``names`` among the places are the keywords of the call."""

    __slots__ = ("names", "parts")

    names: tuple[str, ...]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, parts: Iterable[str], names: Iterable[str], nothing: str) -> ShapeKey:
        """The key of these parts, or of ``nothing``."""
        parts = tuple(parts)
        key = cls("; ".join(parts) or nothing)
        key.parts, key.names = parts or (nothing,), tuple(names)
        return key

    def label(self, declared: Collection[str]) -> str:
        """
        The key in words, at most 120 characters; different keys have different labels.

        A keyword that the function does not declare (``**kwargs``) may be anybody's data: it reads as a digest.
        """
        text = "; ".join(self._public(part, declared) for part in self.parts)
        return text if len(text) <= LABEL else f"{text[: LABEL - 12]}... {digest(self)}"

    def _public(self, part: str, declared: Collection[str]) -> str:
        name = max((name for name in self.names if part.startswith((f"{name} ", f"{name}."))), key=len, default="")
        return part if name in ("", *declared) else f"*{digest(name)}{part[len(name) :]}"


def digest(text: str) -> str:
    """Eight digits that stand for a text."""
    return hashlib.blake2s(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()


def declared_names(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's parameters, as far as it shows them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)


def by_shape(*args: Any, **kwargs: Any) -> ShapeKey:
    """
    One key for each combination of shapes, dtypes and devices of the tensors and numpy arrays among the arguments.

    Nested lists, tuples and mappings are looked into, four deep. ``f(x)`` and ``f(x=x)`` are different keys: a key
    function does not know the names of positional arguments.
    """
    return ShapeKey.of(looks(args, kwargs), kwargs, "no tensors")


def by_bucket(sizes: Iterable[int]) -> Callable[..., ShapeKey]:
    """
    A key function for inputs that are padded to a few sizes.

    Each dimension of a tensor, and the length of each str, bytes, list and tuple among the arguments, counts as the next
    larger size; what is larger than all sizes counts as ``>`` the largest.

    Raises:
        ArgumentError: the sizes are no positive whole numbers, or there is none.

    """
    given = list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str | bytes) else []
    if not given or not all(is_whole(size, 1) for size in given):
        raise ArgumentError(
            "by_bucket got sizes that are not positive whole numbers, or none; wanted a list such as [64, 256, 1024]"
        )
    steps = sorted(set(given))

    def bucket(size: int) -> str:
        at = bisect_left(steps, size)
        return str(steps[at]) if at < len(steps) else f">{steps[-1]}"

    def by_size(*args: Any, **kwargs: Any) -> ShapeKey:
        return ShapeKey.of((*looks(args, kwargs, bucket), *lengths(args, kwargs, bucket)), kwargs, "no sizes")

    return by_size
