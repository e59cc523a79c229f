"""
One plan carried out by several ranks in step: what they exchange, and when.

    begin     is everybody here, with the same plan?            before the first run
    after     slowest time, one-time work, failures             after every run, outside of its window
    verdict   what each rank sees of its own machine            when the runs are over

Every rank hears the same and so decides the same: same number of runs, same phases, same verdict. Within a window
nothing is sent. A rank that is interrupted leaves with a notice, and waits for nobody.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jitwarmup.analysis.ranks import RankReport, RemoteError, agreed, first_failed, one_verdict
from jitwarmup.engine.options import Options
from jitwarmup.engine.rules import Both, Either, Rule, RuleLike
from jitwarmup.host.scope import current, note_divergence
from jitwarmup.keys.single_flight import Wait
from jitwarmup.records.codec import decode_record, encode
from jitwarmup.records.errors import ArgumentError, RankFailed
from jitwarmup.records.failure import Failure
from jitwarmup.records.protocols import Exchanged, Ranks
from jitwarmup.records.runs import Run
from jitwarmup.records.verdict import Verdict

Gathering = Generator[Wait, Exchanged, Any]
Moment = Literal["begin", "after", "verdict"]
SHOWN = 8  # ranks that a message names
MOMENTS: dict[str, str] = {
    "begin": "begins a measurement",
    "after": "is after a run, or at the end of a block",
    "verdict": "ends a measurement",
}


@dataclass(slots=True, eq=False)
class AllGather(Wait):
    """A request for what every rank reports; answered with what was exchanged."""

    ranks: Ranks
    report: bytes

    def block(self) -> Exchanged:
        return self.ranks.exchange(self.report).block()

    async def sleep(self) -> Exchanged:
        return await self.ranks.exchange(self.report).sleep()


@dataclass(slots=True)
class AgreedRun:
    """What all ranks know of a run: the run itself, and how it stands with the plan after it."""

    run: Run
    elsewhere: RankFailed | None = None  # the run went wrong on another rank
    words: RemoteError | None = None  # as that rank reports it
    mutated: bool = False


class RankAgreement:
    """The ranks of one plan. ``lost`` is set as soon as they cannot go on together."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.rank = ranks.rank
        self.members = ranks.members
        self.watched = False
        self.lost: RankFailed | None = None
        self.left = False
        self.context = current()
        self.diverged_before = len(self.context.diverged) if self.context is not None else 0

    def gather(self, moment: Moment, report: bytes) -> Gathering:
        """What every member reports at this moment, in their order; None where somebody is lost."""
        if self.lost is not None:
            return None
        exchanged = yield AllGather(self.ranks, f"{moment} ".encode() + report)
        if exchanged.lost is not None:
            return self.lose(
                exchanged.lost if isinstance(exchanged.lost, RankFailed) else RankFailed(str(exchanged.lost))
            )
        moments, reports = zip(*(each.split(b" ", 1) for each in exchanged.messages), strict=True)
        if len(set(moments)) > 1:
            return self.lose(out_of_step([MOMENTS[each.decode()] for each in moments], self.members))
        return reports

    def lose(self, error: RankFailed) -> None:
        """They cannot go on together."""
        note_divergence(self.members)
        self.lost = error

    def leave(self, reason: str) -> None:
        """Go one's own way, with one notice to the others: of functions side by side the first that leaves gives it."""
        reports = self.context is not None and self.members in self.context.diverged[self.diverged_before :]
        if not self.left and self.lost is None and not reports:
            self.ranks.leave(reason)
            note_divergence(self.members)
            self.left = True  # last: interrupted before it, the notice is given once more

    # ------------------------------------------------------------------ the three agreements

    def begin(self, name: str, options: Options, *, finished: int) -> Gathering:
        """
        Meet, and return the number of earlier runs that all have.

        RankFailed where somebody did not come; the same ArgumentError on every rank where the plans differ.
        """
        exchanged = yield from self.gather("begin", plan_of(name, options, finished))
        if exchanged is None:
            assert self.lost is not None  # noqa: S101 - gather() noted why
            raise self.lost
        plans = [json.loads(report) for report in exchanged]
        earlier = [plan.pop("finished") for plan in plans]
        check_same(plans, self.members)
        return min(earlier)

    def after(self, run: Run, report: RankReport) -> Generator[Wait, Exchanged, AgreedRun]:
        """What all ranks know of the run that each has just made."""
        exchanged = yield from self.gather("after", report.to_bytes())
        if exchanged is None:
            return AgreedRun(run, elsewhere=self.lost)
        reports = [RankReport.from_bytes(each) for each in exchanged]
        if len({(each.phase, each.index) for each in reports}) > 1:
            self.lose(out_of_step([f"after {each.phase} run {each.index}" for each in reports], self.members))
            return AgreedRun(run, elsewhere=self.lost)
        self.watched = all(each.watched for each in reports)
        agreed_run = AgreedRun(
            agreed(run, reports, self.members), mutated=any(each.ending == "mutated" for each in reports)
        )
        at = first_failed(reports)
        if at is not None and report.ending in ("ok", "mutated"):
            agreed_run.words = reports[at].words
            agreed_run.elsewhere = failed_elsewhere(self.members[at], reports[at])
        return agreed_run

    def verdict(self, own: Verdict) -> Gathering:
        """The verdict of all; None where somebody was lost meanwhile."""
        exchanged = yield from self.gather("verdict", json.dumps(encode(own)).encode())
        if exchanged is None:
            return None
        return one_verdict([decode_record(Verdict, json.loads(each)) for each in exchanged], self.members)


def level_of(agreement: RankAgreement | None) -> str | None:
    """The level at which this rank emits an event: the first member at the event's own (None), the others at debug."""
    return None if agreement is None or agreement.rank == agreement.members[0] else "debug"


def plan_of(name: str, options: Options, finished: int) -> bytes:
    """A plan in words that are the same on all ranks."""
    plan = {
        "callable": name,
        "iterations": rule_in_words(options.rule),
        "measurements": options.measurements,
        "budget_s": options.budget_s,
        "on_contamination": options.on_contamination,
        "finished": finished,
    }
    return json.dumps(plan).encode()


def rule_in_words(rule: RuleLike) -> str:
    """A rule of the user's own is named by its class: its ``repr`` may hold an address, which no two processes share."""
    if isinstance(rule, Both | Either):
        return f"{type(rule).__name__}({rule_in_words(rule.one)}, {rule_in_words(rule.two)})"
    return repr(rule) if isinstance(rule, Rule) else type(rule).__qualname__


def check_same(plans: Sequence[dict[str, Any]], members: Sequence[int]) -> None:
    """Refuse plans that differ: their ranks would wait for each other's runs in vain."""
    for rank, plan in zip(members, plans, strict=True):
        for name, value in plan.items():
            if value != plans[0][name]:
                also = ", functions that belong together (stages of a pipeline) one name=" if name == "callable" else ""
                raise ArgumentError(
                    f"rank {rank} got {name}={value!r} and rank {members[0]} {name}={plans[0][name]!r}; wanted the same "
                    f"plan on every rank: give all the same{also}, or measure each rank by itself with ranks=None"
                )


def out_of_step(doing: Sequence[str], members: Sequence[int]) -> RankFailed:
    """The error where ranks are at different places: their programs differ."""
    first = dict(reversed(tuple(zip(doing, members, strict=True))))  # of many ranks that do the same one is enough
    where = ", ".join(sorted(f"rank {rank} {what}" for what, rank in first.items())[:SHOWN])
    return RankFailed(
        f"the ranks are out of step ({where}); wanted the same measurements in the same order on every rank, from one "
        "thread; or opt out with ranks=None"
    )


def failed_elsewhere(rank: int, report: RankReport) -> RankFailed:
    """The error that a rank gets whose own run went well."""
    kind = report.words.type if report.words is not None else "an error"
    return RankFailed(
        f"rank {rank} failed in {report.phase} run {report.index} with {kind}; the other ranks stopped with it. Its own "
        "report holds the exception, and report.failure of the others its message and traceback",
        (rank,),
    )


def failure_elsewhere(run: Run, error: BaseException | None, words: RemoteError | None) -> Failure:
    """The failure of a measurement whose last run went well here: as the rank that failed reports it."""
    ranks = error.ranks if isinstance(error, RankFailed) else ()
    return Failure(
        phase=run.phase,
        index=run.index,
        type=words.type if words is not None else type(error).__name__,
        message=words.message if words is not None else str(error),
        traceback=words.traceback if words is not None else "",
        rank=ranks[0] if ranks else None,
        exception=error,
    )
