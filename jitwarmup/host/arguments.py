"""
What a call's arguments allow, known by their structure and never by a list of their types.

One walk over the values of a call finds out what a run may change (their marks), what a run would use up (once-only), and
what nothing can be said of (unknown). Nothing is imported for it: a class of a library that is not loaded cannot be among
the arguments. Values are looked at, never kept after the call and never shown.

How a value is looked at is decided once for its class, by what the class can do:

- *immutable*: numbers, text, None, enums, ranges: no mark. What is hashable by value counts as frozen: attributes
  that it lacked before (a cached hash, a cached property) are no change;
- *observable*: containers, tensors, arrays, buffers, frames, images, and objects whose attributes can be read: their
  lengths, members, versions and, where a change leaves no version, their contents (a checksum, or a sample of large ones);
- *opaque but shared*: modules, tokenizers, functions, classes, locks, loggers, executors: not looked into, since they are
  shared by design and what they keep is behind the function;
- *once-only*: whatever delivers or takes;
- *unknown*: what cannot be taken apart, or holds something that delivers.
"""

from __future__ import annotations

import copyreg
from array import array
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from numbers import Number
from types import FunctionType, ModuleType
from typing import Any

from jitwarmup.host import contents
from jitwarmup.host.loaded import is_array, is_tensor
from jitwarmup.host.random_streams import generator_kinds
from jitwarmup.host.streamers import is_streamer
from jitwarmup.host.structure import attributes, can, delivers, hides, is_shared, once_only

DEPTH = 6  # a chat is messages -> message -> parts -> part -> picture -> bytes
WIDTH = 100_000  # members compared one by one; of longer containers every n-th
MOST = 20_000  # values looked at in one call: a batch of token lists must not take longer to look at than to run
KNOWN = 1_024  # classes of which it is remembered how they are looked at

ATOMS = (type(None), bool, int, float, complex, str, bytes)
IMMUTABLE = (*ATOMS, Number, Enum, range, slice, type(...), type(NotImplemented))
SHARED_KINDS = (*IMMUTABLE, type, ModuleType, FunctionType)
CONTAINERS: tuple[type[Any], ...] = (list, tuple, dict, set, frozenset, deque)
NUMERIC = {int: "q", float: "d"}  # lists of these are compared as arrays, many times faster than item by item

EQUALS = ("__eq__", "__hash__")
Mark = Any
How = Callable[["Survey", Any, int], Mark]


class Survey:
    """
    One walk over the values of a call.

    Args:
        values: each with the place that an error names.
        reusable: classes, or a predicate, of values that several runs may share whatever they look like.

    """

    __slots__ = ("generators", "left", "marks", "nested", "place", "proxy", "refused", "reusable", "seen", "unknown")

    def __init__(
        self,
        values: Sequence[tuple[Any, Any]] = (),
        *,
        reusable: Callable[[Any], bool] | None = None,
    ) -> None:
        self.reusable = reusable
        self.left = MOST
        self.nested: list[type[Any]] = []  # classes of the objects around the value that is looked at
        self.proxy: type[Any] | None = None  # of the object that hands on what is looked at
        self.seen: dict[int, Any] = {}  # by identity; holding them keeps an identity from being used twice
        self.refused: tuple[Any, type[Any], str] | None = None  # place, class, why
        self.unknown: type[Any] | None = None
        self.generators: list[Any] = []  # of random numbers: their state is put back before each run
        self.marks: list[Mark] = []
        self.place: Any = None
        for self.place, value in values:
            self.marks.append(self.look(value, DEPTH))

    def look(self, value: Any, depth: int) -> Mark:
        """The mark of one value: equal to what it was exactly where no change was seen."""
        cls = type(value)
        if cls in ATOMS or not depth or self.left <= 0 or id(value) in self.seen:
            return None
        self.left -= 1
        self.seen[id(value)] = value
        if self.reusable is not None and self.reusable(value):
            return None
        try:
            return self.how(cls, value)(self, value, depth)
        except Exception:  # noqa: BLE001 - whatever an object answers to being looked at: nothing is known of it
            self.nothing_known(cls)
            return None

    def how(self, cls: type[Any], value: Any) -> How:
        """How values of a class are looked at, decided once."""
        found = HOW.get(cls)
        if found is None:
            if len(HOW) >= KNOWN:
                HOW.clear()
            found = HOW[cls] = how_of(value)
        return found

    def refuse(self, cls: type[Any], why: str) -> None:
        """A value delivers or takes; an object that holds such a one is a handle, of which nothing is known."""
        if self.nested:
            self.nothing_known(cls)
        elif self.refused is None:
            self.refused = (self.place, self.proxy or cls, why)

    def nothing_known(self, cls: type[Any]) -> None:
        """A value cannot be taken apart: what a run does to it, or to the object around it, will not be seen."""
        self.unknown = self.unknown or (self.nested[0] if self.nested else cls)

    def inside(self, cls: type[Any], look: Callable[[], Mark]) -> Mark:
        """Look at what an object of this class holds."""
        self.nested.append(cls)
        try:
            return look()
        finally:
            self.nested.pop()

    def same(self, earlier: Survey) -> bool:
        """Whether no change was seen since an earlier walk over the same values."""
        return alike(earlier.marks, self.marks)


def alike(before: Mark, now: Mark) -> bool:
    """Whether two marks are equal."""
    try:
        return bool(before == now)
    except Exception:  # noqa: BLE001 - a member was replaced by one whose __eq__ raises, or has no truth: it is another
        return False


HOW: dict[type[Any], How] = {}


def how_of(value: Any) -> How:
    """How values of this one's class are looked at: the first row of the table that is true of it."""
    cls = type(value)
    base = next((base for base in CONTAINERS if isinstance(value, base)), None)
    if base is not None:
        return members(base, attributes(cls))
    rows: tuple[tuple[Callable[[], Any], How], ...] = (
        (lambda: isinstance(value, SHARED_KINDS) or is_streamer(value), nothing),
        (lambda: can(cls, "mock_calls"), lengths),  # a mock can do everything; that it was called is what changes
        (lambda: isinstance(value, tuple(generator_kinds())), generator),
        (lambda: is_tensor(value), tensor),
        (lambda: is_array(value), numpy_array),
        (lambda: once_only(cls), once),
        (lambda: can(cls, "__self__", "__call__"), receiver),
        (lambda: is_shared(cls), nothing),
        (lambda: can(cls, "acquire", "release") and attributes(cls) is None, lock),
        (lambda: can(cls, "get", "set", "reset"), cell),
        (lambda: contents.is_buffer(value), buffer),
        (lambda: can(cls, "__array__") or can(cls, "__array_interface__"), table),
    )
    return next((how for is_so, how in rows if is_so()), None) or object_of(value)


def object_of(value: Any) -> How:
    """How an object is looked at that is nothing but an object."""
    cls = type(value)
    if callable(value) and isinstance(getattr(cls, "__call__", None), FunctionType):  # noqa: B004 - the class's own
        return lengths
    read = attributes(cls)
    if read is not None and not hides(cls):
        by_value = isinstance(value, Hashable) and not {vars(object)[name] for name in EQUALS} & {
            getattr(cls, name) for name in EQUALS
        }
        return parts(read, lazy=by_value, hands_on=can(cls, "__getattr__"))
    return collection if isinstance(value, Collection) else reduced


def nothing(_survey: Survey, _value: Any, _depth: int) -> Mark:
    """Of what cannot change, or is shared by design."""
    return None


def once(survey: Survey, value: Any, _depth: int) -> Mark:
    """Of what delivers or takes."""
    survey.refuse(type(value), once_only(type(value)) or "")


def generator(survey: Survey, value: Any, _depth: int) -> Mark:
    """Of a generator of random numbers."""
    survey.generators.append(value)


def tensor(survey: Survey, value: Any, depth: int) -> Mark:
    """Its version and contents, and its gradient, which runs add to."""
    held = contents.of_tensor(value)
    if held == (None,):
        survey.nothing_known(type(value))
    grad = value.grad if value.is_leaf and value.requires_grad else None
    return held, id(grad), survey.look(grad, depth)


def numpy_array(survey: Survey, value: Any, depth: int) -> Mark:
    """Its contents; of an array of objects, those. A user's or library's subclass has attributes, such as a mask."""
    held = own_attributes(survey, value, depth)
    if not value.dtype.hasobject:
        return contents.of_array(value), held
    found = [None if type(each) is float and each != each else each for each in value.ravel().tolist()]  # noqa: PLR0124 - NaN
    return value.shape, members(list, None)(survey, found, depth), held


def own_attributes(survey: Survey, value: Any, depth: int) -> Mark:
    """The attributes that a subclass in Python gives to its instances."""
    read = attributes(type(value))
    state = {} if read is None else read(value)
    return state and Attributes(state, {name: survey.look(each, depth - 1) for name, each in state.items()}, lazy=False)


def buffer(_survey: Survey, value: Any, _depth: int) -> Mark:
    """The bytes of a bytearray, a memoryview, an array, a ctypes structure."""
    return contents.of_buffer(value)


def table(survey: Survey, value: Any, depth: int) -> Mark:
    """Of a frame, a series or an image: what it holds as an array, and its labels."""
    held = contents.as_arrays(value)
    return nowhere(survey, value, depth) if held is None else [survey.look(each, depth) for each in held]


def lock(_survey: Survey, value: Any, _depth: int) -> Mark:
    """Of a lock of the interpreter's: whether it is held, which only its text says of all kinds."""
    return repr(value)


def cell(survey: Survey, value: Any, depth: int) -> Mark:
    """Of a context variable: what is in it."""
    found = value.get(None)
    return id(found), survey.look(found, depth - 1)


def receiver(survey: Survey, value: Any, depth: int) -> Mark:
    """Of a bound method: the object that it belongs to."""
    return survey.look(value.__self__, depth)


def nowhere(survey: Survey, value: Any, _depth: int) -> Mark:
    """Of what cannot be taken apart: a function of a library's, what copies as itself since it never changes, or a handle."""
    if not callable(value) and not (can(type(value), "__copy__") and value.__copy__() is value):
        survey.nothing_known(type(value))


def members(base: type[Any], read: Callable[[Any], dict[str, Any]] | None) -> How:
    """Of a container: who is in it, and their own marks; ``read`` gives the attributes of a user's subclass."""

    def look(survey: Survey, value: Any, depth: int) -> Mark:
        length = int(base.__len__(value))
        step = 1 + length // WIDTH
        each = dict.values(value) if base is dict else base.__iter__(value)
        if length and base in (list, tuple) and (code := NUMERIC.get(type(base.__getitem__(value, 0)))):
            try:
                return length, array(code, value if step == 1 else value[::step])
            except (TypeError, OverflowError, ValueError):  # not all of them are numbers of this kind
                pass
        found = list(islice(each, 0, None, step))
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


def parts(read: Callable[[Any], dict[str, Any]], *, lazy: bool, hands_on: bool) -> How:
    """Of an object: its attributes, and their own marks. One that hands on what it holds counts as what it holds."""

    def look(survey: Survey, value: Any, depth: int) -> Mark:
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

    return look


def collection(survey: Survey, value: Any, depth: int) -> Mark:
    """Of a library's read-only view or row: what is in it."""
    return survey.look(list(value.items() if isinstance(value, Mapping) else value), depth)


def reduced(survey: Survey, value: Any, depth: int) -> Mark:
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


def lengths(survey: Survey, value: Any, _depth: int) -> Mark:
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
    if isinstance(value, list | tuple | dict | set | frozenset | deque | bytearray):
        return len(value)
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
