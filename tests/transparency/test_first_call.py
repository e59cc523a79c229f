"""Whatever a function does and whatever it is given, a first call cannot be told from a plain call."""

import asyncio
import random
import signal
import warnings

import numpy as np
import pytest
import torch
from argument_kinds import ARGUMENTS, AROUND, placed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitwarmup import ArgumentError, warmed
from jitwarmup.testing import capture_events

KINDS = ("def", "async def", "generator", "async generator")
ACTIONS = ("use", "use", "item", "pause", "random", "numpy", "torch", "interrupt", "nothing")
ENDINGS = ("return", "return", "return", "ValueError", "LookupError", "SystemExit", "nothing was said")
STEPS = st.lists(st.sampled_from(ACTIONS), max_size=6)


def draw(action):
    """A number from one of the process's streams."""
    return {"random": random.random, "numpy": np.random.random, "torch": lambda: torch.rand(1).item()}[action]()


def end_of(ending, seen):
    """How a run ends."""
    if ending == "ValueError":
        raise ValueError("words", len(seen))
    if ending == "LookupError":
        try:
            {}["cause"]
        except KeyError as error:
            raise LookupError("words") from error
    if ending == "SystemExit":
        raise SystemExit(3)
    return seen if ending == "return" else None


def program(kind, argument, actions, ending, answers):
    """A function of the kind that does all that, and counts its runs."""

    def step(action, value, seen):
        if action == "use":
            seen.append(argument.use(value))
        elif action in ("random", "numpy", "torch"):
            seen.append(draw(action))
        elif action == "item":
            seen.append("item")

    def interrupted(seen):
        """Ctrl-C in the middle of a run, which the function answers, or not."""
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not answers:
                raise
        return [*seen, "stopped early"]

    async def cancelled(seen):
        """A cancellation in the middle of a run, which the function answers, or not."""
        asyncio.current_task().cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not answers:
                raise
        return [*seen, "stopped early"]

    def plain(value):
        program.runs += 1
        seen = []
        for action in actions:
            step(action, value, seen)
            if action == "interrupt":
                return interrupted(seen)
        return end_of(ending, seen)

    async def coroutine(value):
        program.runs += 1
        seen = []
        for action in actions:
            step(action, value, seen)
            if action == "pause":
                await asyncio.sleep(0)
            if action == "interrupt":
                return await cancelled(seen)
        return end_of(ending, seen)

    def generator(value):
        program.runs += 1
        seen = []
        for action in actions:
            step(action, value, seen)
            if action == "item":
                yield len(seen)
            if action == "interrupt":
                return interrupted(seen)
        return end_of(ending, seen)

    async def stream(value):
        program.runs += 1
        seen = []
        for action in actions:
            step(action, value, seen)
            if action == "item":
                yield len(seen)
            if action == "pause":
                await asyncio.sleep(0)
            if action == "interrupt":
                yield await cancelled(seen)
                return
        end_of(ending, seen)

    program.runs = 0
    return dict(zip(KINDS, (plain, coroutine, generator, stream), strict=True))[kind]


def taken(stream, items):
    """Take each item as a consumer does, and what the stream returns."""
    while True:
        try:
            items.append(next(stream))
        except StopIteration as end:
            items.append(("value", end.value))
            return


def consumed(kind, function, value, items):
    """Call it and take all that comes, into a list that an exception leaves as far as it got."""
    if kind == "def":
        items.append(("value", function(value)))
    elif kind == "generator":
        taken(function(value), items)
    else:

        async def main():
            try:
                if kind == "async def":
                    items.append(("value", await function(value)))
                else:
                    async for item in function(value):
                        items.append(item)
            finally:
                items.append(("cancelling", asyncio.current_task().cancelling()))

        asyncio.run(main())


def seen_of(kind, function, argument, seed):
    """Everything that a caller can see of one call: items, value, exception, argument, random streams."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the process's stream is what is looked at
    torch.default_generator.manual_seed(seed)
    items, raised, value = [], None, argument.make()
    try:
        consumed(kind, function, value, items)
    except BaseException as error:
        if isinstance(error, pytest.fail.Exception):
            raise
        raised = error
    cause = raised and raised.__cause__
    return (
        items,
        (type(raised), raised.args if raised else (), type(cause)),
        argument.look(value),
        (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),  # noqa: NPY002
    ), raised


def no_difference(
    *,
    kind,
    name,
    around="itself",
    actions=("use", "item", "random", "use"),
    ending="return",
    answers=False,
    iterations=2,
):
    """A first call beside a plain call; a refusal is right only for what one run uses up, and before anything ran."""
    argument = placed(name, around)
    rng = None if kind in ("def", "generator") else "restore"  # elsewhere the process's streams are everybody's
    with capture_events(), warnings.catch_warnings():
        plain, _ = seen_of(kind, program(kind, argument, actions, ending, answers), argument, 7)
        function = program(kind, argument, actions, ending, answers)
        first, raised = seen_of(kind, warmed(iterations=iterations, rng=rng)(function), argument, 7)
    if isinstance(raised, ArgumentError):
        assert argument.once_only, f"{name} was refused: {raised}"
        assert program.runs == 0, "it was refused after it had run"
        return
    if isinstance(raised, KeyboardInterrupt | asyncio.CancelledError):
        first, plain = at_once(first, plain)
    for what, ours, theirs in zip(("items", "exception", "argument", "random streams"), first, plain, strict=True):
        assert ours == theirs, f"{what} differ after {program.runs} runs"


def at_once(first, plain):
    """An interrupt is not held back until the consumer has taken the items: the first of them may have come, or none."""
    ours, theirs = ([item for item in seen[0] if not isinstance(item, tuple)] for seen in (first, plain))
    return (ours, *first[1:]), (theirs[: len(ours)], *plain[1:])


DRAWN = given(
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(sorted(ARGUMENTS)),
    around=st.sampled_from(sorted(AROUND)),
    actions=STEPS,
    ending=st.sampled_from(ENDINGS),
    answers=st.booleans(),
    iterations=st.integers(0, 3),
)
SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@settings(max_examples=150, **SETTINGS)
@DRAWN
def test_a_first_call_cannot_be_told_from_a_plain_call(guard, **drawn):
    with guard():
        no_difference(**drawn)


@pytest.mark.slow
def test_a_first_call_cannot_be_told_from_a_plain_call_over_2000_examples(guard):
    @settings(max_examples=2_000, **SETTINGS)
    @DRAWN
    def search(**drawn):
        with guard():
            no_difference(**drawn)

    search()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_each_argument_in_each_kind_of_function(kind, name):
    no_difference(kind=kind, name=name)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_each_argument_in_each_place(name, around):
    no_difference(kind="def", name=name, around=around)
