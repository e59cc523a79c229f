"""Checks of arguments: each refuses in the same words what was got, what was wanted, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Any

from jitwarmup.records.errors import ArgumentError, JitwarmupError
from jitwarmup.records.text import shortened

SHOWN = 80  # characters of a value
LONGEST_S = 1e9  # that a thread can be made to wait
SMALLEST, LARGEST = 1e-100, 1e100  # of numbers that are given: sums, products and ratios of a few stay finite


@contextmanager
def checking(function: str) -> Iterator[None]:
    """Around the checks of a function's arguments: an object that raises on being looked at is refused too."""
    try:
        yield
    except JitwarmupError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{function} got an object that raised {type(error).__name__:.60} on being looked at; wanted plain values, "
            "and objects that tell what they are"
        ) from error


def shown(value: Any) -> str:
    """A setting in an error message: plain values as they are, cut where they are long; anything else by its type."""
    if type(value) not in (str, int, float, bool, NoneType):
        return f"a {type(value).__name__:.60}"
    if isinstance(value, int) and value.bit_length() > SHOWN * 4:
        return f"a number of {value.bit_length()} bits"
    return shortened(repr(value), SHOWN)


def is_whole(value: Any, at_least: int) -> bool:
    """Whether it is a whole number of at least ``at_least``; True is no number here."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def is_number(value: Any) -> bool:
    """Whether it is a number that can be computed with: finite, not huge, not next to nothing; True is no number here."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


def whole(name: str, value: Any, *, at_least: int, way_out: str = "") -> None:
    """Refuse what is not a whole number of at least ``at_least``."""
    if not is_whole(value, at_least):
        hint = f"; {way_out}" if way_out else ""
        raise ArgumentError(f"{name} got {shown(value)}; wanted a whole number, {at_least} or more{hint}")


def seconds(name: str, value: Any, *, optional: bool = True) -> None:
    """Refuse what is no positive finite number of seconds; None passes where it is ``optional``."""
    if (value is None and optional) or (is_number(value) and 0 < value <= LONGEST_S):
        return
    bound = f", {LONGEST_S:g} at most" if is_number(value) and value > 0 else ""
    raise ArgumentError(
        f"{name} got {shown(value)}; wanted seconds as a positive number{bound}"
        f"{', or None for no limit' if optional else ''}"
    )


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that is none of the allowed ones."""
    if not isinstance(value, str | None) or value not in allowed:
        raise ArgumentError(f"{name} got {shown(value)}; wanted one of {', '.join(map(repr, allowed))}")


def flag(name: str, value: Any) -> None:
    """Refuse what is not True or False."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} got {shown(value)}; wanted True or False")


def callable_or_none(name: str, value: Any) -> None:
    """Refuse what cannot be called."""
    if value is not None and not callable(value):
        raise ArgumentError(f"{name} got {shown(value)}; wanted a callable, or None")
