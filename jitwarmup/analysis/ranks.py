"""
Several ranks, one decision: what each says of a run, and the one run that all of them decide on.

Decisions agree because their *inputs* do: every rank gets the reports of all and makes the same run of it, with the slowest
rank's time, the one-time work of all, and any failure. (Zeus reduces durations by their maximum, Lightning the decision
itself; ``zeus/optimizer/pipeline_frequency``, ``lightning/fabric/utilities/spike.py``.) Pure: no rank is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from jitwarmup.analysis.audit import WEIGHT
from jitwarmup.records.codec import decode, encode, field_types
from jitwarmup.records.runs import OneTimeWork, Phase, Run
from jitwarmup.records.verdict import Reason, Verdict

RankEnding = Literal["ok", "failed", "refused", "mutated"]
TEXT = 8_000  # characters of a remote traceback that are worth carrying; the last ones, where the error stands
OF_RUN = ("phase", "index", "duration_ns", "cpu_s", "wait_s", "switches", "process_cpu_s", "work")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteError:
    """What a rank says of an exception: for reports only, never for events."""

    type: str
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """
    What one rank says of one run.

    ``ending`` is how it stands with the plan on that rank after the run: ``failed`` in user code, ``refused`` by
    ``accept=``, ``mutated``: the run changed its arguments. ``watched``: whether its probes could see one-time work.
    """

    phase: Phase
    index: int
    duration_ns: int
    ending: RankEnding = "ok"
    watched: bool = False
    cpu_s: float | None = None
    wait_s: float | None = None
    switches: int | None = None
    process_cpu_s: float | None = None
    work: tuple[OneTimeWork, ...] = ()
    words: RemoteError | None = None

    @classmethod
    def of(cls, run: Run, *, ending: RankEnding, watched: bool, words: RemoteError | None = None) -> Self:
        """What to say of a run of one's own."""
        read = {name: getattr(run, name) for name in OF_RUN}
        return cls(**read, ending=ending, watched=watched, words=words)

    def to_bytes(self) -> bytes:
        """Compact JSON, without names; a quiet run fits into one small message."""
        return json.dumps(list(encode(self).values()), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Self:
        """The inverse of ``to_bytes``; ValueError for what is none."""
        kinds: dict[str, Any] = field_types(cls)  # type: ignore[arg-type]  # a class is hashable
        values = zip(kinds.items(), json.loads(message), strict=True)
        return cls(**{name: decode(kind, value) for (name, kind), value in values})


def slowest(reports: Sequence[RankReport]) -> int:
    """Position of the slowest rank; of equals, the first."""
    return max(range(len(reports)), key=lambda at: (reports[at].duration_ns, -at))


def agreed(run: Run, reports: Sequence[RankReport], members: Sequence[int]) -> Run:
    """The run that all members (ranks) decide on by their reports, with the items and device reading of one's own run."""
    last = reports[slowest(reports)]
    failed = first_failed(reports)
    work = tuple(replace(one, rank=rank) for rank, report in zip(members, reports, strict=True) for one in report.work)
    outcome, error_type = run.outcome, run.error_type
    if failed is not None and outcome == "ok":
        words = reports[failed].words
        outcome, error_type = "error", words.type if words is not None else None
    return replace(
        run,
        duration_ns=last.duration_ns,
        cpu_s=last.cpu_s,
        wait_s=last.wait_s,
        switches=last.switches,
        process_cpu_s=last.process_cpu_s,
        work=work,
        outcome=outcome,
        error_type=error_type,
        rank_durations_ns=tuple(report.duration_ns for report in reports),
    )


def first_failed(reports: Sequence[RankReport]) -> int | None:
    """Position of the first rank whose run failed or was refused; None where all went well."""
    return next((at for at, report in enumerate(reports) if report.ending in ("failed", "refused")), None)


def of_rank(runs: Sequence[Run], rank: int) -> tuple[Run, ...]:
    """The runs with the work of one rank only: what that rank pays, as against what all pay together."""
    return tuple(replace(run, work=tuple(one for one in run.work if one.rank in (None, rank))) for run in runs)


def one_verdict(verdicts: Sequence[Verdict], members: Sequence[int]) -> Verdict:
    """
    The verdict that all ranks give: the weightiest state, every reason once, and only probes that all could use.

    Ranks hear the same runs, so they differ only in what each sees of its own machine (its GPU's clocks, its memory, its
    probes); a reason that not all found says in ``rank`` which one did.
    """
    worst = max(verdicts, key=lambda verdict: WEIGHT[verdict.state])
    unwatched = {name: why for verdict in verdicts for name, why in verdict.unwatched.items()}
    return replace(
        worst,
        reasons=tuple(_all_reasons(verdicts, members)),
        watched=tuple(name for name in worst.watched if all(name in verdict.watched for verdict in verdicts)),
        unwatched={name: unwatched[name] for name in sorted(unwatched)},
    )


def _all_reasons(verdicts: Sequence[Verdict], members: Sequence[int]) -> list[Reason]:
    """What all found, the weightiest first as each has it, then what single ranks found."""
    common = [reason for reason in verdicts[0].reasons if all(reason in verdict.reasons for verdict in verdicts)]
    single = [
        replace(reason, numbers={**reason.numbers, "rank": float(rank)})
        for rank, verdict in zip(members, verdicts, strict=True)
        for reason in verdict.reasons
        if reason not in common
    ]
    return common + single
