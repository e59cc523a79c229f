"""Arguments that several runs may share: what cannot change, what nobody changes, and what is only read."""

import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import json
import logging
import pathlib
import queue
import random
import re
import types
import uuid

import pytest


class Level(enum.Enum):
    LOW = 1


def plain(value):
    return value


IMMUTABLE = [
    1, 1.5, True, 2j, "text", b"bytes", None, ..., range(3), slice(1, 2), (1, "a"), frozenset("ab"), float("nan"),
    decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7), re.compile("a+"), pathlib.Path("a"), Level.LOW,
    pathlib.PurePosixPath("a"), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.date(2020, 1, 1),
    dt.time(1), dt.timedelta(1), dt.UTC, ipaddress.ip_address("10.0.0.1"), types.MappingProxyType({}),
    re.match("a", "a"), NotImplemented,
]  # fmt: skip


@pytest.mark.parametrize("value", IMMUTABLE, ids=lambda value: type(value).__name__)
def test_what_cannot_change_is_warmed_as_ever(check, value):
    assert check(lambda: value, lambda one: [repr(one)], "warmed").skipped == [None]


OPAQUE = [
    ("function", plain), ("lambda", lambda: 0), ("builtin", len), ("class", io.BytesIO), ("queue class", queue.Queue),
    ("module", json), ("partial", functools.partial(int, base=2)), ("bound builtin", "text".upper),
    ("bound method", pathlib.Path("a").with_suffix), ("logger", logging.getLogger("a")), ("generic alias", list[int]),
]  # fmt: skip


@pytest.mark.parametrize("value", [row[1] for row in OPAQUE], ids=[row[0] for row in OPAQUE])
def test_what_is_shared_by_all_runs_is_warmed_as_ever(check, value):
    assert check(lambda: value, lambda one: type(one).__name__, "warmed").skipped == [None]


READ = [
    ("list", lambda: [1, [2]], str), ("dict", lambda: {"a": {1}}, str), ("bytearray", lambda: bytearray(9), sum),
    ("array", lambda: array.array("d", [1, float("nan")]), len), ("deque", lambda: collections.deque("ab"), str),
    ("Counter", lambda: collections.Counter("ab"), str), ("namespace", lambda: types.SimpleNamespace(n=1), str),
    ("memoryview", lambda: memoryview(b"abc"), bytes), ("defaultdict", lambda: collections.defaultdict(list, a=[1]), str),
    ("random", lambda: random.Random(3), lambda stream: stream.random()),
]  # fmt: skip


@pytest.mark.parametrize(("maker", "function"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_what_is_only_read_is_warmed_as_ever(check, maker, function):
    assert check(maker, function, "warmed").skipped == [None]
