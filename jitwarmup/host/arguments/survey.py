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

from collections.abc import Callable, Collection, Hashable, Sequence
from enum import Enum
from numbers import Number
from types import FunctionType, ModuleType
from typing import Any

from jitwarmup.host.arguments import contents, marks
from jitwarmup.host.arguments.loaded import is_array, is_tensor
from jitwarmup.host.arguments.marks import ATOMS, CONTAINERS, How, Mark
from jitwarmup.host.arguments.streamers import is_streamer
from jitwarmup.host.arguments.structure import all_attributes, attributes, can, hides, is_shared, once_only
from jitwarmup.host.random_streams import generator_kinds

DEPTH = 32  # objects and containers in each other; a tool's schema is a dozen deep, a linked list is unknown
MOST = 20_000  # values looked at in one call: a batch of token lists must not take longer to look at than to run
KNOWN = 1_024  # classes of which it is remembered how they are looked at

IMMUTABLE: tuple[type[Any], ...] = (*ATOMS, Number, Enum, range, slice, type(...), type(NotImplemented))
SHARED_KINDS = (*IMMUTABLE, type, ModuleType, FunctionType)
EQUALS = ("__eq__", "__hash__")


class Survey:
    """
    One walk over the values of a call.

    Args:
        values: each with the place that an error names.
        reusable: classes, or a predicate, of values that several runs may share whatever they look like.

    """

    __slots__ = (
        "changeable",
        "generators",
        "left",
        "marks",
        "nested",
        "place",
        "proxy",
        "refused",
        "reusable",
        "seen",
        "unknown",
    )

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
        self.changeable = False  # whether a value was seen that a run could change in place
        self.generators: list[Any] = []  # of random numbers: their state is put back before each run
        self.marks: list[Mark] = []
        self.place: Any = None
        for self.place, value in values:
            self.marks.append(self.look(value, DEPTH))

    def look(self, value: Any, depth: int) -> Mark:
        """The mark of one value: equal to what it was exactly where no change was seen."""
        cls = type(value)
        if cls in ATOMS or self.left <= 0 or id(value) in self.seen:
            return None
        if not depth:
            if not isinstance(value, SHARED_KINDS):
                self.nothing_known(cls)
            return None
        self.left -= 1
        self.seen[id(value)] = value
        if self.reusable is not None and self.reusable(value):
            return None
        try:
            mark = self.how(value)(self, value, depth)
        except Exception:  # noqa: BLE001 - whatever an object answers to being looked at: nothing is known of it
            self.nothing_known(cls)
            return None
        self.changeable = self.changeable or (mark is not None and not is_fixed(value))
        return mark

    def how(self, value: Any) -> How:
        """How values of this one's class are looked at: found out for the first one, and remembered."""
        found = HOW.get(type(value))
        if found is None:
            if len(HOW) >= KNOWN:
                HOW.clear()
            found = HOW[type(value)] = how_of(value)
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
        return marks.members(base, attributes(cls))
    rows: tuple[tuple[Callable[[], Any], How], ...] = (
        (lambda: isinstance(value, SHARED_KINDS) or is_streamer(value), marks.nothing),
        (lambda: can(cls, "mock_calls"), marks.lengths),  # a mock can do everything; that it was called is what changes
        (lambda: isinstance(value, tuple(generator_kinds())), marks.generator),
        (lambda: is_tensor(value), marks.tensor),
        (lambda: is_array(value), marks.numpy_array),
        (lambda: once_only(cls), marks.once),
        (lambda: can(cls, "__self__", "__call__"), marks.receiver),
        (lambda: is_shared(cls), marks.nothing),
        (lambda: can(cls, "acquire", "release") and attributes(cls) is None, marks.lock),
        (lambda: can(cls, "get", "set", "reset"), marks.cell),
        (lambda: can(cls, "contents", "_type_"), marks.pointer),
        (lambda: contents.is_buffer(value), marks.buffer),
        (lambda: can(cls, "__array__") or can(cls, "__array_interface__"), marks.table),
    )
    return next((how for is_so, how in rows if is_so()), None) or object_of(value)


def object_of(value: Any) -> How:
    """How an object is looked at that is nothing but an object."""
    cls = type(value)
    if callable(value) and isinstance(getattr(cls, "__call__", None), FunctionType):  # noqa: B004 - the class's own
        return marks.lengths
    read = attributes(cls)
    if read is not None and not hides(cls):
        by_value = is_by_value(value)
        together = None if by_value else all_attributes(cls)
        return marks.parts(read, together, lazy=by_value, hands_on=can(cls, "__getattr__"))
    return marks.collection if isinstance(value, Collection) else marks.reduced


def is_by_value(value: Any) -> bool:
    """Whether a value's class hashes and compares by what its values are, not by which they are."""
    own = {getattr(type(value), name) for name in EQUALS}
    return isinstance(value, Hashable) and not {vars(object)[name] for name in EQUALS} & own


def is_fixed(value: Any) -> bool:
    """Whether nobody can change a value in place, but for its members: a tuple, a frozen dataclass, a date."""
    cls = type(value)
    if cls.__hash__ is None or not is_by_value(value) or is_tensor(value):  # a tensor's hash is its identity's
        return False
    try:
        hash(value)
    except Exception:  # noqa: BLE001 - it cannot be hashed after all, as a frame: it may change
        return False
    return attributes(cls) is None or any("__setattr__" in vars(base) for base in cls.__mro__[:-1])  # that refuses it
