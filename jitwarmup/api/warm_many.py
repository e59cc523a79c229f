"""
``warm_all``: many inputs, the likeliest first, within a budget.

As everywhere: a procedure decides which input is next and never runs anything; the drivers do the warming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from jitwarmup.api.driven import Driven
from jitwarmup.engine.commands import CallResult, Procedure, key_of
from jitwarmup.engine.function import WarmedFunction
from jitwarmup.engine.options import BlockSettings
from jitwarmup.host.switch import SWITCH
from jitwarmup.keys.single_flight import Wait
from jitwarmup.keys.state import BUDGET_SPENT, KeyState
from jitwarmup.records.checks import checking, is_number, one_of, seconds, shown
from jitwarmup.records.errors import ArgumentError, MeasurementFailed
from jitwarmup.records.runs import Preparation, Warmup

POLICIES = ("ready", "degraded", "fail")
WORTH = 0.5  # share of the predicted cost of a key that must be left of the budget to begin with it


@dataclass(frozen=True, slots=True)
class Item:
    """One input: its arguments, its weight, and its key's entry (None beyond the bound on keys)."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    weight: float
    entry: KeyState | None
    was_asked: bool


class WarmAll(TypedDict, total=False):
    """The options of ``warm_all``, whose docstring says what they mean."""

    weights: Sequence[float] | None
    budget_s: float | None
    policy: str


@dataclass(frozen=True, slots=True)
class WarmInput(Wait):
    """The request to warm one input up; answered with its Warmup."""

    warmed: Driven
    item: Item
    settings: BlockSettings | None

    def block(self) -> Any:
        return self.warmed._warm(self.item.args, self.item.kwargs, self.settings)

    async def sleep(self) -> Warmup:
        return await self.warmed._awarm(self.item.args, self.item.kwargs, self.settings)


def items_of(warmed: Driven, inputs: Sequence[Any], weights: Sequence[float] | None) -> list[Item]:
    """The inputs in the order of their weight, each key once; ArgumentError where they are no list."""
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Sequence):
        raise ArgumentError(
            f"warm_all got {shown(inputs)}; wanted a list of inputs: a tuple of positional arguments, a dict of keyword "
            "arguments, or a single argument each"
        )
    prefix, _ = warmed._split(())
    found: list[Item] = []
    for given, weight in zip(inputs, checked_weights(weights, len(inputs)), strict=True):
        args, kwargs = arguments_of(given)
        entry = warmed._core.entry(prefix, args, kwargs)
        found.append(Item(args, kwargs, weight, entry, entry is not None and entry.requested))
    found.sort(key=lambda item: -item.weight)  # stable: as given where weights are equal
    return list({id(item) if item.entry is None else id(item.entry): item for item in reversed(found)}.values())[::-1]


def arguments_of(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tuple is positional arguments, a dict with text keys keyword arguments, anything else one argument."""
    if isinstance(given, tuple):
        return given, {}
    if isinstance(given, dict) and all(isinstance(name, str) for name in given):
        return (), given
    return (given,), {}


def checked_weights(weights: Sequence[float] | None, count: int) -> Sequence[float]:
    """One weight for each input; equal ones where none were given."""
    if weights is None:
        with checking("warm_all"):
            return [1.0] * count
    with checking("warm_all"):
        given = list(weights)
        fit = all(is_number(weight) and weight >= 0 for weight in given)
    if len(given) != count or not fit:
        raise ArgumentError(
            f"warm_all got {len(given)} weights for {count} inputs; wanted one finite number, 0 or more, for each"
        )
    return given


def preparing(
    warmed: Driven, inputs: Sequence[Any], weights: Sequence[float] | None, budget_s: float | None, policy: str
) -> Callable[[], Procedure]:
    """What makes the procedure of ``warm_all``, once its arguments are checked; where jitwarmup is off, of no input."""
    with checking("warm_all"):
        seconds("budget_s", budget_s)
        one_of("policy", policy, POLICIES)
    items = [] if SWITCH.reasons else items_of(warmed, inputs, weights)
    return lambda: in_turn(warmed, items, budget_s, policy)


def in_turn(warmed: Driven, items: Sequence[Item], budget_s: float | None, policy: str) -> Procedure:
    """
    Decide what is warmed next; the result is what came of it all.

    A key is begun while at least half of its predicted cost (the mean of those before) is left of the budget, and is
    then given what is left or what was predicted, whichever is more; its runs are not cut, only not begun.
    """
    core = warmed._core
    done: list[Warmup] = []
    known: list[str] = []
    left = list(items)
    for item in items:
        if item.entry is not None:
            item.entry.requested = True
    while left and worth_it(done, budget_s):
        item = left[0]
        if item.entry is not None and item.entry.is_warm and not item.entry.unready:
            known.append(key_of(item.entry))
        else:
            done.append((yield WarmInput(warmed, item, budget(core, done, budget_s))))
        left.pop(0)
    finish_left(core, left, policy)
    return CallResult(
        Preparation(
            callable=core.name,
            done=tuple(done),
            known=tuple(known),
            left=tuple(key_of(item.entry) for item in left),
            duration_s=spent_s(done),
            budget_s=budget_s,
        )
    )


def spent_s(done: Sequence[Warmup]) -> float:
    """Seconds of the warm-ups so far, by the clock that timed their runs."""
    return math.fsum(warmup.duration_s for warmup in done)


def worth_it(done: Sequence[Warmup], budget_s: float | None) -> bool:
    """Whether enough of the budget is left to begin with another key."""
    return budget_s is None or not done or budget_s - spent_s(done) >= WORTH * spent_s(done) / len(done)


def budget(core: WarmedFunction, done: Sequence[Warmup], budget_s: float | None) -> BlockSettings | None:
    """The budget of the next key as a setting: the smaller of what it is given and the decorator's own."""
    given = [] if core.options.budget_s is None else [core.options.budget_s]
    if budget_s is not None:
        predicted = spent_s(done) / len(done) if done else 0.0
        given.append(max(budget_s - spent_s(done), predicted))
    return BlockSettings(budget_s=min(given)) if given else None


def finish_left(core: WarmedFunction, left: Sequence[Item], policy: str) -> None:
    """What the keys mean that the budget did not reach: nothing (``ready``), a mark, or an error."""
    if left and policy == "fail":
        raise MeasurementFailed(
            f"the budget of warm_all was spent before {len(left)} of the keys of {core.name} were warm: "
            f"{', '.join(key_of(item.entry) for item in left[:8])}; give more budget_s, fewer inputs, or policy='degraded'"
        )
    with core.registry.lock:
        for item in left:
            if item.entry is None or item.entry.is_warm or item.entry.in_flight is not None:
                continue
            item.entry.requested = item.was_asked
            if policy == "degraded":
                item.entry.reason = BUDGET_SPENT
