"""
What classes are, told from what they can do and what they are made of; no list of classes.

A class delivers, grows, or is shared by the names that its kind has everywhere (``read``, ``recv``, ``state_dict``); and
its instances can be taken apart where every part of them is an attribute that can be read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MemberDescriptorType
from typing import Any

# What a class can do that makes it deliver or take, and what that is in words.
DELIVERS: tuple[tuple[str, str], ...] = (
    ("cr_frame", "a coroutine, which can be awaited once"),
    ("receive", "a channel or request, which delivers once"),
    ("recv", "a connection, which delivers once"),
    ("fetchone", "a cursor, which a run reads to its end"),
    ("read", "an open file or stream, which a run reads to its end"),
    ("fileno", "an open file or stream, which a run reads to its end"),
    ("__next__", "an iterator, which a run uses up"),
    ("__anext__", "an iterator, which a run uses up"),
)
GROWS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("update", "get_seq_length"), "a cache, which grows by every run"),
    (("cursor", "commit"), "a database connection, which a run changes"),
)
SHARED: tuple[tuple[str, ...], ...] = (
    ("encode", "decode"),  # tokenizers, processors
    ("debug", "info", "warning", "error"),  # loggers
    ("submit", "shutdown"),  # executors
)
POINTER = object.__basicsize__ // 2
MODULE = ("state_dict", "parameters")


def can(cls: type[Any], *names: str) -> bool:
    """Whether a class, not an instance's ``__getattr__``, has all of these."""
    return all(any(name in vars(base) for base in cls.__mro__) for name in names)


def once_only(cls: type[Any]) -> str | None:
    """What makes values of a class unfit for a second run (in words), or None where they are fit."""
    if can(cls, *MODULE):
        return None
    return delivers(cls) or next((words for names, words in GROWS if can(cls, *names)), None)


def delivers(cls: type[Any]) -> str | None:
    """What a class delivers once, in words; None where it delivers nothing."""
    for name, words in DELIVERS:
        if can(cls, name) and not (name == "read" and issubclass(cls, Mapping)):  # a ConfigParser reads into itself
            return words
    if can(cls, "get", "put") and needs_nothing(cls.get):  # a store's get wants a key
        return "a queue, which a run takes from"
    return None


def needs_nothing(method: Any) -> bool:
    """Whether a method can be called without arguments; where nobody knows, it is taken for one that can."""
    try:
        wanted = list(inspect.signature(method).parameters.values())[1:]
    except (TypeError, ValueError):
        return True
    return all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in wanted
    )


def is_shared(cls: type[Any]) -> bool:
    """Whether values of a class are shared by design: what they keep is not the call's."""
    return can(cls, *MODULE) or any(can(cls, *names) for names in SHARED)


def slots_of(cls: type[Any]) -> dict[str, Any]:
    """The descriptors of a class's ``__slots__``, its bases' too."""
    own = (vars(base) for base in cls.__mro__ if "__slots__" in vars(base))
    return {name: each for names in own for name, each in names.items() if isinstance(each, MemberDescriptorType)}


def hides(cls: type[Any]) -> bool:
    """Whether instances have a part that no attribute shows: one that a library in C keeps."""
    shown = len(slots_of(cls)) + (cls.__weakrefoffset__ > 0) + (cls.__dictoffset__ > 0)
    return cls.__basicsize__ > object.__basicsize__ + POINTER * shown or cls.__itemsize__ > 0


def attributes(cls: type[Any]) -> Callable[[Any], dict[str, Any]] | None:
    """What reads the attributes of a class's instances, from ``__dict__`` and ``__slots__``; None where it has neither."""
    slots = slots_of(cls)
    if not cls.__dictoffset__ and not slots:
        return None

    def read(value: Any) -> dict[str, Any]:
        found = dict(object.__getattribute__(value, "__dict__")) if cls.__dictoffset__ else {}
        for name, slot in slots.items():
            try:
                found[name] = slot.__get__(value)
            except AttributeError:  # not set yet
                continue
        return found

    return read


def all_attributes(cls: type[Any]) -> Callable[[Any], tuple[Any, ...]] | None:
    """What reads ``__dict__`` and all slots of a class's instances at once; None where a class may answer otherwise."""
    slots = list(slots_of(cls))
    plain = inspect.getattr_static(cls, "__getattribute__") is vars(object)["__getattribute__"]
    if not cls.__dictoffset__ or not plain or any(each.startswith("__") and not each.endswith("__") for each in slots):
        return None
    return attrgetter("__dict__", *(slots or ["__module__"]))
