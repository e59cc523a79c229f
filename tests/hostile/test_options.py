"""Every option is checked at once: whatever is given, it is accepted or an ArgumentError, before anything runs."""

from __future__ import annotations

import decimal
import fractions
import functools
import inspect
import math
import threading

import pytest

from jitwarmup import ArgumentError, GPUMonitor, by_bucket, steady_state, until_steady, warmed
from jitwarmup.distributed import RankGroup

HUGE = "x" * 100_000


class Evil:
    """Raises whatever it is asked."""

    def __getattr__(self, name):
        raise RuntimeError("asked for an attribute")

    def _raises(self, *_):
        raise RuntimeError("asked for something")

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __eq__ = __lt__ = __index__ = __float__ = __contains__ = (
        _raises
    )
    __hash__ = object.__hash__


class Text(str):
    """A text that cannot be shown."""

    __slots__ = ()

    def __repr__(self):
        raise RuntimeError


class Count(int):
    """A number that cannot be shown."""

    def __repr__(self):
        raise RuntimeError


NASTY = [
    *(None, True, False, ..., NotImplemented),
    *(-1, 0, 1, 2, 2**31, 2**63, 10**400, -(10**400), 10**5000, Count(-3)),
    *(0.0, -0.0, 0.5, 1e-320, 1e10, 1e308, math.nan, math.inf, -math.inf, 1j),
    *(decimal.Decimal(3), decimal.Decimal("nan"), fractions.Fraction(1, 3)),
    *("", "x", "5", "calls", HUGE, "\x1b[31m\n", "\ud800", Text("x"), b"", b"x", bytearray(3), memoryview(b"x")),
    *(
        [],
        [1],
        [None],
        [[]],
        [HUGE],
        (),
        (1, 2),
        {},
        {"x": 1},
        set(),
        frozenset([1]),
        range(3),
        range(10**12),
        iter([]),
    ),
    *(object(), Evil(), [Evil()], int, type, Evil, ValueError(HUGE), threading, threading.Lock()),
    *(lambda: None, lambda *_, **__: Evil(), len, functools.partial(int, "x"), (each for each in ())),
]


def used(x):
    """Counts its runs."""
    used.runs += 1
    return x


def short(refused):
    """The message, which shows no value whole."""
    message = str(refused)
    assert len(message) < 500
    return message


used.runs = 0
FUNCTION = warmed(iterations=0)(used)
CHECKED = {
    "warmed": warmed,
    "steady_state": steady_state,
    "until_steady": until_steady,
    "GPUMonitor": GPUMonitor,
    "RankGroup": RankGroup,
    "by_bucket": by_bucket,
    "warm_all": functools.partial(FUNCTION.warm_all, [1]),
}
OPTIONS = [
    (name, each.name)
    for name, function in CHECKED.items()
    for each in inspect.signature(function).parameters.values()
    if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
]


def test_the_options_were_found():
    assert len(OPTIONS) >= 45
    assert {"key", "reusable", "timeout_s", "weights", "at_most", "devices", "sizes"} <= {name for _, name in OPTIONS}


@pytest.mark.parametrize(("function", "name"), OPTIONS)
def test_an_option_is_accepted_or_refused_in_one_way_before_anything_runs(function, name, events):
    for value in NASTY:
        used.runs = 0
        FUNCTION.reset()
        try:
            CHECKED[function](**{name: value})
        except ArgumentError as refused:
            message = short(refused)
            assert used.runs == 0
            assert name in message or function in message


@pytest.mark.parametrize("value", NASTY, ids=lambda value: type(value).__name__)
def test_what_is_given_as_inputs_is_run_or_refused(value, events):
    FUNCTION.reset()
    try:
        FUNCTION.warm_all(value)
    except ArgumentError as refused:
        short(refused)


@pytest.mark.parametrize("value", NASTY, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("function", [warmed, steady_state])
def test_what_is_given_as_the_function_is_taken_or_refused(function, value):
    try:
        function(value)
    except ArgumentError as refused:
        short(refused)


@pytest.mark.parametrize("seconds", [1e-9, 3600.0, 1e9])
def test_seconds_that_were_accepted_can_be_waited_for(seconds, events):
    assert warmed(iterations=1, budget_s=seconds)(lambda x: x)(3) == 3
    with GPUMonitor(timeout_s=seconds) as monitor, steady_state(monitor=monitor, budget_s=seconds):
        pass
