"""
How values are looked at, one function a kind: each gives the mark of a value, which is equal to what it was exactly where
no change was seen.
"""

from __future__ import annotations

import copyreg
import marshal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from types import ModuleType
from typing import Any, Protocol

from jitwarmup.host.arguments import contents
from jitwarmup.host.arguments.loaded import is_tensor
from jitwarmup.host.arguments.structure import attributes, can, delivers, is_shared, once_only

WIDTH = 100_000  # members compared one by one; of longer containers every n-th
ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes))
HASHED = ATOMS | {set, frozenset}
CONTAINERS: tuple[type[Any], ...] = (list, tuple, dict, set, frozenset, deque)
Mark = Any


class Walk(Protocol):
    """The walk that a mark is made in: a `Survey`."""

    generators: list[Any]
    proxy: type[Any] | None
    reusable: Callable[[Any], bool] | None

    def how(self, value: Any) -> How: ...
    def look(self, value: Any, depth: int) -> Mark: ...
    def refuse(self, cls: type[Any], why: str) -> None: ...
    def nothing_known(self, cls: type[Any]) -> None: ...
    def inside(self, cls: type[Any], look: Callable[[], Mark]) -> Mark: ...


How = Callable[[Walk, Any, int], Mark]


def nothing(_survey: Walk, _value: Any, _depth: int) -> Mark:
    """Of what cannot change, or is shared by design."""
    return None


def once(survey: Walk, value: Any, _depth: int) -> Mark:
    """Of what delivers or takes."""
    survey.refuse(type(value), once_only(type(value)) or "")


def generator(survey: Walk, value: Any, _depth: int) -> Mark:
    """Of a generator of random numbers."""
    survey.generators.append(value)


def tensor(survey: Walk, value: Any, depth: int) -> Mark:
    """Its version and contents, and its gradient, which runs add to."""
    held = contents.of_tensor(value)
    if held == (None,):
        survey.nothing_known(type(value))
    grad = value.grad if value.is_leaf and value.requires_grad else None
    return held, id(grad), survey.look(grad, depth)


def numpy_array(survey: Walk, value: Any, depth: int) -> Mark:
    """Its contents; of an array of objects, those. A user's or library's subclass has attributes, such as a mask."""
    held = own_attributes(survey, value, depth)
    if not value.dtype.hasobject:
        return contents.of_array(value), held
    found = [None if type(each) is float and each != each else each for each in value.ravel().tolist()]  # noqa: PLR0124 - NaN
    return value.shape, members(list, None)(survey, found, depth), held


def own_attributes(survey: Walk, value: Any, depth: int) -> Mark:
    """The attributes that a subclass in Python gives to its instances, but for the memory (a mapped file) that it shows."""
    read = attributes(type(value))
    memory = contents.memory_of(value)
    state = {} if read is None else {name: each for name, each in read(value).items() if id(each) not in memory}
    return state and Attributes(state, {name: survey.look(each, depth - 1) for name, each in state.items()}, lazy=False)


def buffer(_survey: Walk, value: Any, _depth: int) -> Mark:
    """The bytes of a bytearray, a memoryview, an array, a ctypes structure."""
    return contents.of_buffer(value)


def pointer(survey: Walk, value: Any, depth: int) -> Mark:
    """Of a pointer of ctypes: what it leads to."""
    return survey.look(value.contents, depth - 1) if value else False


def table(survey: Walk, value: Any, depth: int) -> Mark:
    """Of a frame, a series or an image: what it holds as an array, and its labels."""
    held = contents.as_arrays(value)
    return nowhere(survey, value, depth) if held is None else [survey.look(each, depth) for each in held]


def lock(_survey: Walk, value: Any, _depth: int) -> Mark:
    """Of a lock of the interpreter's: whether it is held, which only its text says of all kinds."""
    return repr(value)


def cell(survey: Walk, value: Any, depth: int) -> Mark:
    """Of a context variable: what is in it."""
    found = value.get(None)
    return id(found), survey.look(found, depth - 1)


def receiver(survey: Walk, value: Any, depth: int) -> Mark:
    """Of a bound method: the object that it belongs to."""
    return survey.look(value.__self__, depth)


def nowhere(survey: Walk, value: Any, _depth: int) -> Mark:
    """Of what cannot be taken apart: a function of a library's, what copies as itself since it never changes, or a handle."""
    if not callable(value) and not (can(type(value), "__copy__") and value.__copy__() is value):
        survey.nothing_known(type(value))


def are_numbers(items: list[Any]) -> bool:
    """Whether a list holds nothing but numbers, by adding them up: many times faster than item by item."""
    first = type(items[0]) if items else None
    try:
        return first in (int, float) and type(sum(items)) is first
    except Exception:  # noqa: BLE001 - something in it cannot be added
        return False


def members(base: type[Any], read: Callable[[Any], dict[str, Any]] | None) -> How:
    """Of a container: who is in it, and their own marks; ``read`` gives the attributes of a user's subclass."""

    def look(survey: Walk, value: Any, depth: int) -> Mark:
        length = int(base.__len__(value))
        step = 1 + length // WIDTH
        each = dict.values(value) if base is dict else base.__iter__(value)
        if step == 1 and base is list and are_numbers(value):
            return list.copy(value)
        found = list(islice(each, 0, None, step))
        if base is list and (written := records(survey, found)) is not None:
            return found, written
        keys = list(islice(value, 0, None, step)) if base is dict else None
        marks = [survey.look(item, depth - 1) for item in found if type(item) not in ATOMS]
        return length, found, keys, marks, None if read is None else own_attributes(survey, value, depth)

    return look


class Attributes:
    """The attributes of an object: equal where those that were there before are the same, if new ones are only caches."""

    __slots__ = ("lazy", "marks", "state")

    def __init__(self, state: dict[str, Any], marks: dict[str, Mark], *, lazy: bool) -> None:
        self.state = state
        self.marks = marks
        self.lazy = lazy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attributes):
            return False
        if not self.lazy:
            return self.state == other.state and self.marks == other.marks
        kept = {name: other.state[name] for name in self.state if name in other.state}
        return kept == self.state and all(other.marks.get(name) == mark for name, mark in self.marks.items())

    __hash__ = None  # type: ignore[assignment]


def parts(
    read: Callable[[Any], dict[str, Any]], together: Callable[[Any], Any] | None, *, lazy: bool, hands_on: bool
) -> How:
    """
    Of an object: its attributes, and their own marks. One that hands on what it holds counts as what it holds.

    ``together`` reads all attributes at once: see `records`.
    """

    def look(survey: Walk, value: Any, depth: int) -> Mark:
        state = read(value)
        held = [(name, each) for name, each in state.items() if type(each) not in ATOMS]

        def look_inside() -> Mark:
            return {name: survey.look(each, depth - 1) for name, each in held}

        if not hands_on:
            return Attributes(state, survey.inside(type(value), look_inside), lazy=lazy)
        survey.proxy, outer = survey.proxy or type(value), survey.proxy
        try:
            return Attributes(state, look_inside(), lazy=lazy)
        finally:
            survey.proxy = outer

    look.all_attributes = together  # type: ignore[attr-defined]
    return look


def records(survey: Walk, items: list[Any]) -> Mark:
    """
    Of a list of objects of one class that hold nothing but numbers and text, such as a chat of messages: all at once.

    Returns:
        What the interpreter writes down of them; None where they are anything else.

    """
    cls = type(items[0]) if items else None
    if cls is None or survey.reusable is not None or len(set(map(type, items))) > 1:
        return None
    how = survey.how(items[0])
    read = getattr(how, "all_attributes", None)
    if read is None:
        return None
    try:
        held = list(map(read, items))
        values = chain.from_iterable(dict.values(each[0]) for each in held)
        slots = chain.from_iterable(each[1:] for each in held)
        if ATOMS.issuperset(map(type, values)) and HASHED.issuperset(map(type, slots)):
            return marshal.dumps(held, 2)
    except (ValueError, AttributeError):  # a set holds something else, or an attribute is not set
        pass
    return None


def collection(survey: Walk, value: Any, depth: int) -> Mark:
    """Of a library's read-only view or row: what is in it."""
    return survey.look(list(value.items() if isinstance(value, Mapping) else value), depth)


def reduced(survey: Walk, value: Any, depth: int) -> Mark:
    """Of an object of a library's that shows no attributes: the parts of which ``copy`` and ``pickle`` would make it."""
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        made_of = value.__reduce_ex__(4) if reducer is None else reducer(value)
    except Exception:  # noqa: BLE001 - it cannot be taken apart: whatever it says, it is a handle
        return nowhere(survey, value, depth)
    if isinstance(made_of, str):  # a name that leads to it
        return None
    held: list[Any] = [list(islice(each, WIDTH)) if isinstance(each, Iterator) else each for each in made_of]
    return held, survey.inside(type(value), lambda: [survey.look(part, depth) for part in held])


def lengths(survey: Walk, value: Any, _depth: int) -> Mark:
    """Of a callable object: how much it holds, one level deep. One that holds what delivers may deliver itself."""
    read = attributes(type(value))
    state = {} if read is None else read(value)
    if any(delivers(type(each)) for each in state.values()):
        survey.nothing_known(type(value))
    return sizes(state)


def sizes(state: dict[str, Any]) -> Mark:
    """Lengths and versions of what an object holds; what is new may be a cache."""
    return Attributes(
        {name: size for name, each in state.items() if (size := size_of(each)) is not None}, {}, lazy=True
    )


def size_of(value: Any) -> int | None:
    """A container's length, a tensor's version; None of anything else."""
    if isinstance(value, (*CONTAINERS, bytearray)):
        return len(value)  # type: ignore[arg-type]
    return contents.version_of(value) if is_tensor(value) else None


def of_receiver(value: Any) -> Mark:
    """The mark of the object that a method belongs to: members of a container, lengths and versions of anything else."""
    cls = type(value)
    if isinstance(value, type | ModuleType) or is_shared(cls):
        return None
    if isinstance(value, CONTAINERS):
        return list(value)
    read = attributes(cls)
    return None if read is None else sizes(read(value))
