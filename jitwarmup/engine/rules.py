"""
When is it enough? Rules are pure: the runs so far in, a Decision out. Nothing is kept between two questions.

    Rule
    ├── Fixed(count)      spent after so many finished warm-up runs
    ├── Budget(seconds)   spent when validation and warm-up took so long
    ├── UntilSteady(...)  proven when the newest stretch has come to rest; made by ``until_steady``
    ├── Both(a & b)       more until both have decided
    └── Either(a | b)     the first that decides

A decision is never "steady", only "steady so far, for the inputs seen": 99 % of the published series without a steady
state were once claimed steady by every rule that was tried (steady-state.md, section 4.5). Hence the re-arm: the engine
asks again as soon as one-time work shows itself while measuring, and once where code that never compiled became faster
among the measured runs: a plateau longer than the window that proved rest is seen by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from jitwarmup.analysis.classify import classify
from jitwarmup.analysis.recurrence import RecurringWork, learn_recurrence, one_time_of
from jitwarmup.analysis.rest import NORMAL, STRICT, CleanTail, Rest, find_rest, rest_start, waited_s
from jitwarmup.analysis.stats import cov
from jitwarmup.records.checks import checking, flag, shown, whole
from jitwarmup.records.checks import seconds as check_seconds
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import Decision, Phase, Run

RuleLike = Callable[[Sequence[Run]], Decision]


@dataclass(frozen=True, slots=True)
class Rule:
    """Base of our rules: gives ``&`` and ``|``. Any function from runs to a Decision may stand on the other side."""

    def __call__(self, runs: Sequence[Run]) -> Decision:
        """What to do after these runs: all runs of all phases so far, the oldest first."""
        raise NotImplementedError

    def with_hooks(self, live: bool) -> Self:  # noqa: ARG002 - most rules do not care whether causes are watched
        """The same rule, knowing whether probes are armed that would see one-time work."""
        return self

    @property
    def seeks_proof(self) -> bool:
        """Whether it looks for a proof: one-time work while measuring then voids what was measured."""
        return False

    def __and__(self, other: object) -> Both:
        return Both(self, other) if callable(other) else NotImplemented

    def __or__(self, other: object) -> Either:
        return Either(self, other) if callable(other) else NotImplemented


@dataclass(frozen=True, slots=True)
class Fixed(Rule):
    """Spent after ``count`` warm-up runs that finished and were kept; the validation run is not one of them."""

    count: int

    def __post_init__(self) -> None:
        whole("count", self.count, at_least=0, way_out="give Fixed(5), or until_steady() to have it found out")

    def __call__(self, runs: Sequence[Run]) -> Decision:
        seen = len(_warm(runs))
        return Decision(state="spent" if seen >= self.count else "more", path="count", numbers={"n": seen})


@dataclass(frozen=True, slots=True)
class Budget(Rule):
    """Spent when the runs that validated and warmed up have taken ``seconds`` together."""

    seconds: float

    def __post_init__(self) -> None:
        check_seconds("seconds", self.seconds, optional=False)

    def __call__(self, runs: Sequence[Run]) -> Decision:
        spent_s = _preparing_s(runs)
        return Decision(
            state="spent" if spent_s >= self.seconds else "more", path="budget", numbers={"spent_s": spent_s}
        )


@dataclass(frozen=True, slots=True)
class _Pair(Rule):
    one: RuleLike
    two: RuleLike

    def with_hooks(self, live: bool) -> Self:
        return replace(self, one=_hooked(self.one, live), two=_hooked(self.two, live))

    @property
    def seeks_proof(self) -> bool:
        return seeks_proof(self.one) or seeks_proof(self.two)


class Both(_Pair):
    """More until both have decided; then what either proved, else what ran out."""

    __slots__ = ()

    def __call__(self, runs: Sequence[Run]) -> Decision:
        decisions = self.one(runs), self.two(runs)
        waiting = [decision for decision in decisions if decision.state == "more"]
        return waiting[0] if waiting else _strongest(decisions)


class Either(_Pair):
    """The first that decides; of two at once, the one that proved something."""

    __slots__ = ()

    def __call__(self, runs: Sequence[Run]) -> Decision:
        decisions = self.one(runs), self.two(runs)
        decided = [decision for decision in decisions if decision.state != "more"]
        return _strongest(decided) if decided else decisions[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilSteady(Rule):
    """
    The cause-aware steady-tail rule (steady-state.md, section 4.5). Made by ``until_steady``.

    Asked after any run; looks only at the stretch since the last one-time work, so that after a re-arm the discarded
    runs before it neither help nor hinder. Work that comes back on every run is learnt and ends no stretch.

    The decision's numbers: ``n`` warm-up runs, ``clean`` runs since the last one-time work, ``contention_share`` of
    their time, ``cov`` of the window, ``warmup_end``: position in ``runs`` at which the steady part began, found by walking
    back from the window that proved rest, or from the newest five runs where none did.
    """

    at_least: int = 2
    at_most: int = 30
    budget_s: float | None = None
    strict: bool = False
    causes_watched: bool = False

    def __post_init__(self) -> None:
        whole("at_least", self.at_least, at_least=0, way_out="give until_steady(at_least=2)")
        whole("at_most", self.at_most, at_least=1, way_out="give until_steady(at_most=30)")
        if self.at_most < self.at_least:
            raise ArgumentError(
                f"at_most got {shown(self.at_most)}, below at_least={shown(self.at_least)}; wanted at_least <= at_most; "
                f"give at_most={shown(self.at_least)} or more"
            )
        check_seconds("budget_s", self.budget_s)

    def __call__(self, runs: Sequence[Run]) -> Decision:
        return self.decide(GrowingTail.of(runs))

    def find_rest(self, stretch: GrowingTail) -> Rest | None:
        """Whether the times of a stretch have come to rest, however few the warm-up runs."""
        causes_known = self.causes_watched and stretch.compiled
        return find_rest(stretch.tail(), STRICT if self.strict else NORMAL, causes_known=causes_known)

    def decide(self, stretch: GrowingTail) -> Decision:
        """What to do after the runs that a stretch was fed."""
        warm = len(_warm(stretch.runs))
        rest = self.find_rest(stretch)
        numbers = _numbers(stretch, rest)
        if rest and warm >= self.at_least:
            return Decision(state="proven", path=rest.path, numbers=numbers)
        out_of_time = self.budget_s is not None and _preparing_s(stretch.runs) >= self.budget_s
        state: Literal["spent", "more"] = "spent" if out_of_time or warm >= self.at_most else "more"
        return Decision(state=state, path="budget" if state == "spent" else "", numbers=numbers)

    def with_hooks(self, live: bool) -> Self:
        return replace(self, causes_watched=live)

    @property
    def seeks_proof(self) -> bool:
        return True


def until_steady(
    *, at_least: int = 2, at_most: int = 30, budget_s: float | None = None, strict: bool = False
) -> UntilSteady:
    """
    Warm up until steady state is proven: between ``at_least`` and ``at_most`` warm-up runs, ``budget_s`` seconds at most.

    ``strict`` asks for longer windows (5 and 8 runs in place of 3 and 5). Decision paths: ``quiet``, ``stable``,
    ``cause``, ``noise_floor``, or ``budget`` where nothing was proven. Raises ArgumentError for what cannot work.
    """
    with checking("until_steady"):
        flag("strict", strict)
        return UntilSteady(at_least=at_least, at_most=at_most, budget_s=budget_s, strict=strict)


def seeks_proof(rule: RuleLike) -> bool:
    """Whether a rule, ours or the user's, looks for a proof of steady state."""
    return isinstance(rule, Rule) and rule.seeks_proof


def engaged(rule: RuleLike, *, budget_s: float | None, causes_watched: bool) -> RuleLike:
    """The rule as the engine uses it: within the budget, and told whether causes are watched."""
    hooked = _hooked(rule, causes_watched)
    return hooked if budget_s is None else Either(hooked, Budget(budget_s))


def would_have_said(runs: Sequence[Run]) -> Decision:
    """
    What ``until_steady()`` would have decided on runs that a fixed count ended.

    The first proof that still holds (no one-time work since), with ``n`` the warm-up runs it would have needed; else
    the rule's decision on all runs.
    """
    rule = until_steady(at_most=max(30, len(runs) + 1))
    since = max((at + 1 for at, run in enumerate(learn_recurrence(runs)) if _ends_stretch(run)), default=0)
    stretch, warm = GrowingTail(), 0
    for count, run in enumerate(runs, 1):
        stretch.add(run)
        warm += len(_warm([run]))
        if since < count < len(runs) and warm >= rule.at_least and rule.find_rest(stretch):
            break
    return rule.decide(stretch)


def still_warming(runs: Sequence[Run], measured: int) -> bool:
    """
    Whether the newest runs, so many ``measured``, show that warm-up had not ended: they became faster, and stayed so.

    Asked only of code that never compiled: where the causes are known, what moves later is the host.
    """
    window = runs[len(runs) - measured :]
    if any(run.outcome != "ok" for run in window) or any(map(_compiles, runs)):
        return False
    return classify(CleanTail.of(window).corrected_s).label == "warmup"


class GrowingTail:
    """The finished runs since the last one-time work, by their places in ``runs``; grows run by run."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.places: list[int] = []
        self.compiled = False  # whether any of the runs made code: the causes that are watched are then this function's
        self._learner = RecurringWork()
        self._usual: dict[str, int] = {}
        self._wall_s: list[float] = []
        self._wait_s: list[float] = []

    @classmethod
    def of(cls, runs: Iterable[Run]) -> GrowingTail:
        """The stretch that ends with the newest of these runs."""
        stretch = cls()
        for run in runs:
            stretch.add(run)
        return stretch

    def add(self, run: Run) -> None:
        """Note the next run. Only where it changes what is usual are earlier runs looked at again."""
        self.runs.append(run)
        self.compiled = self.compiled or _compiles(run)
        labelled = self._learner.observe(run)
        usual = {kind: work.count for kind, work in self._learner.usual().items()}
        if usual != self._usual:
            self._usual = usual
            self._clear()
            first = len(self.runs)
            while first and not _ends_stretch(self._learner.label(self.runs[first - 1])):
                first -= 1
            for place in range(first, len(self.runs)):
                self._append(place)
        elif _ends_stretch(labelled):
            self._clear()
        else:
            self._append(len(self.runs) - 1)

    def tail(self) -> CleanTail:
        return CleanTail(wall_s=tuple(self._wall_s), wait_s=tuple(self._wait_s))

    def _clear(self) -> None:
        self.places, self._wall_s, self._wait_s = [], [], []

    def _append(self, place: int) -> None:
        run = self.runs[place]
        if run.outcome == "ok" and math.isfinite(run.duration_ns):
            self.places.append(place)
            self._wall_s.append(run.duration_s)
            self._wait_s.append(waited_s(run))


def _warm(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.phase is Phase.WARM and run.outcome == "ok" and not run.discarded]


def _preparing_s(runs: Sequence[Run]) -> float:
    return math.fsum(run.duration_s for run in runs if run.phase is not Phase.MEASURE)


def _ends_stretch(run: Run) -> bool:
    """
    One-time work does, and so does compiling, however often it comes back: there is no rest while code is being made.

    A validation run always does, since what it paid first is never the steady cost.
    """
    return run.phase is Phase.VALIDATE or _compiles(run) or bool(one_time_of(run))


def _compiles(run: Run) -> bool:
    return any(work.charged and work.compiles for work in run.work)


def _numbers(stretch: GrowingTail, rest: Rest | None) -> dict[str, float]:
    tail = stretch.tail()
    numbers = {
        "n": float(len(_warm(stretch.runs))),
        "clean": float(len(stretch.places)),
        "contention_share": tail.contention_share,
    }
    if stretch.places:
        window = rest.window if rest else NORMAL.stable
        numbers["warmup_end"] = float(stretch.places[rest_start(tail.corrected_s, window)])
        numbers["cov"] = cov(tail.corrected_s[-window:])
    return numbers


def _strongest(decisions: Sequence[Decision]) -> Decision:
    """A proof before an exhausted budget, that before a count that was reached."""
    return min(decisions, key=lambda decision: (decision.state != "proven", decision.path != "budget"))


def _hooked(rule: RuleLike, live: bool) -> RuleLike:
    return rule.with_hooks(live) if isinstance(rule, Rule) else rule
