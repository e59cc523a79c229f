"""
Key functions: what a warm-up is good for. ``@warmed(key=by_shape)``, ``@warmed(key=by_bucket([64, 256, 1024]))``.

A compiled function is warm for the shapes it has met. Keys hold shapes, dtypes, devices and lengths, never a value, and
under which modes of torch (no_grad, inference mode, autocast) they were met: programs are guarded on those as well.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jitwarmup.host.arguments.signatures import lengths, looks
from jitwarmup.records.checks import checking, is_whole
from jitwarmup.records.errors import ArgumentError

LABEL = 120  # characters that an event keeps of a key
UNDER = " under "
AUTOCAST = ("cpu", "cuda", "xpu", "mps")  # devices that are asked for their dtype


class ShapeKey(str):
    """A key made of shapes and places. A keyword is a digest in it, since in ``**kwargs`` it may be anybody's data."""

    __slots__ = ()

    def label(self, declared: Iterable[str]) -> str:
        """
        The key in words, at most 120 characters, with the keywords that the function declares; others stay digests.

        Different keys have different labels.
        """
        text = str(self)
        for name in declared:
            text = text.replace(digest(name), name)
        return text if len(text) <= LABEL else f"{text[: LABEL - 12]}... {digest(self)[1:]}"


def digest(text: str) -> str:
    """What stands for a text: a star and eight digits."""
    return f"*{hashlib.blake2s(text.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"


def hidden(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments by the digests of their names."""
    return {digest(name): value for name, value in kwargs.items()}


def declared_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters, as far as it shows them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)


def modes() -> str:
    """The modes of torch in this thread, as a key ends with them: `` under no_grad``; nothing where gradients are kept."""
    torch = sys.modules.get("torch")
    grad = getattr(torch, "is_grad_enabled", None)
    if torch is None or grad is None:  # not loaded, or being loaded
        return ""
    found = ["inference_mode"] if torch.is_inference_mode_enabled() else [] if grad() else ["no_grad"]
    if getattr(torch._C, "_is_any_autocast_enabled", lambda: True)():
        dtypes = {device: torch.get_autocast_dtype(device) for device in AUTOCAST if torch.is_autocast_enabled(device)}
        found += [f"autocast {device} {str(dtype).removeprefix('torch.')}" for device, dtype in dtypes.items()]
    return f"{UNDER}{', '.join(found)}" if found else ""


def by_shape(*args: Any, **kwargs: Any) -> ShapeKey:
    """
    One key for each combination of shapes, dtypes and devices of the tensors and numpy arrays among the arguments, and of
    the modes of torch (no_grad, inference mode, autocast) that the call is made under.

    Nested lists, tuples and mappings are looked into, four deep and 10,000 items of an argument. ``f(x)`` and ``f(x=x)`` are different keys: a key
    function does not know the names of positional arguments.
    """
    return ShapeKey(("; ".join(looks(args, hidden(kwargs))) or "no tensors") + modes())


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
        kwargs = hidden(kwargs)
        sizes = "; ".join((*looks(args, kwargs, bucket), *lengths(args, kwargs, bucket))) or "no sizes"
        return ShapeKey(sizes + modes())

    return by_size
