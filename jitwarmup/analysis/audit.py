"""
The audit of a whole measurement, when it is over: from its runs to a Verdict.

It asks two independent witnesses, the causes (was one-time work seen?) and the clock (did the times come to rest?), and
says so where they disagree: *flat but not cause-clean*, *cause-clean but drifting*. Neither alone is proof: eager code
warms up without any cause that a probe could see, and compiled code that was given up is as flat as can be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from jitwarmup.analysis.classify import SHORTEST, Classification, classify
from jitwarmup.analysis.recurrence import learn_recurrence, one_time_of
from jitwarmup.analysis.rest import FALLING, CleanTail, fall_per_run
from jitwarmup.analysis.stats import CONTENDED
from jitwarmup.analysis.stops import KIND as STOPPED
from jitwarmup.records.runs import OneTimeWork, Phase, Run
from jitwarmup.records.verdict import Reason, Verdict, VerdictState

GIVEN_UP = ("eager_fallback", "recompile_limit", "not_compiled", "skip_limit", "rerecord_limit")
NEVER = "not_compiled"  # asked for and never begun, as against given up
FEW = 3  # measured runs below which nothing is said of "every run"
EARLY = 0.1  # share of the measured runs that may still be warm-up without making the median worthless


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason and the state that it alone would give; None where it is only worth knowing."""

    state: VerdictState | None
    reason: Reason

    @classmethod
    def of(cls, state: VerdictState | None, kind: str, subject: str | None = None, /, **numbers: float) -> Finding:
        """A finding with its numbers by name."""
        return cls(state, Reason(kind=kind, numbers=numbers, subject=subject))


LIGHTEST_FIRST: tuple[VerdictState, ...] = ("steady", "undecided", "unsteady", "contaminated", "degraded", "invalid")
WEIGHT: Mapping[VerdictState, int] = {state: weight for weight, state in enumerate(LIGHTEST_FIRST)}


def audit(
    runs: Sequence[Run],
    *,
    watched: Sequence[str] = (),
    unwatched: Mapping[str, str] | None = None,
    failure: Reason | None = None,
    cut_short: Reason | None = None,
    asked: str | None = None,
) -> Verdict:
    """
    The verdict over all runs of all phases, the oldest first.

    ``watched`` and ``unwatched`` say which probes could look; ``failure`` makes the verdict ``invalid``; ``cut_short``
    (a loop that was left, a spent budget) makes it at best ``undecided``; ``asked``: how compiled code was asked for. Pure.
    """
    labelled = learn_recurrence(runs)
    measured = _finished(labelled, Phase.MEASURE)
    stretch = CleanTail.of(measured)
    series = classify(stretch.corrected_s)
    findings = [Finding("invalid", failure)] if failure else []
    findings += [Finding("undecided", cut_short)] if cut_short else []
    findings += [
        *_given_up(labelled, asked),
        *_causes(measured, series),
        *_times(measured, stretch, series, watched=bool(watched)),
    ]
    findings += _stopped(measured)
    findings.sort(key=lambda finding: -WEIGHT[finding.state or "steady"])
    whole = classify(CleanTail.of(_finished(labelled, Phase.WARM, Phase.MEASURE)).corrected_s)
    return Verdict(
        state=next((finding.state for finding in findings if finding.state), "steady"),
        reasons=tuple(finding.reason for finding in findings),
        watched=tuple(watched),
        unwatched=dict(unwatched or {}),
        label=whole.label,
        tolerance=whole.tolerance,
    )


def _finished(runs: Sequence[Run], *phases: Phase) -> list[Run]:
    return [run for run in runs if run.phase in phases and run.outcome == "ok" and not run.discarded]


# ------------------------------------------------------------------ the causes


def _given_up(runs: Sequence[Run], asked: str | None) -> list[Finding]:
    """Compiled code that was given up stays given up, and makes no further event: seen once is seen for good."""
    works = (work for run in runs for work in run.work if work.scope != "foreign")
    seen = [work for work in works if any(part in work.kind for part in GIVEN_UP)]
    refused = [work for work in seen if work.kind.endswith(NEVER)]
    given_up = [work for work in seen if not work.kind.endswith(NEVER)]
    reasons = [*_by_kind(NEVER, refused), *_by_kind("compiled_code_given_up", given_up)]
    reasons += [never] if (never := never_compiled(runs, asked)) is not None else []
    return [Finding("degraded", reason) for reason in reasons]


def never_compiled(runs: Sequence[Run], asked: str | None = None) -> Reason | None:
    """
    Why compiled code did not run, by the audited run; None where it did, or nobody asked for it.

    Calls that asked for it ran without, all or some of them, though nothing was being compiled; or no call was served by it,
    and it was ``asked`` for (in words), or failed.
    """
    audited = next((run for run in runs if run.compiled_calls is not None), None)
    if audited is None:
        return None
    if audited.uncompiled_calls and not any(work.compiles for work in audited.work):
        return Reason(kind=NEVER, numbers={"calls": float(audited.uncompiled_calls)})
    kinds = {work.kind for run in runs for work in run.work if work.charged and work.compiles}
    why = "dynamo.failed" if kinds == {"dynamo.failed"} else None if kinds else asked
    return Reason(kind=NEVER, subject=why) if why is not None and not audited.compiled_calls else None


def _causes(measured: Sequence[Run], series: Classification) -> list[Finding]:
    paying = [run for run in measured if run.contaminated]
    works = [work for run in paying for work in one_time_of(run)]
    found = [Finding("contaminated", reason) for reason in _by_kind("one_time_work", works)]
    if paying and series.label == "flat":
        numbers = {"contaminated_runs": float(len(paying)), "runs": float(len(measured))}
        found.append(Finding.of("contaminated", "flat_but_not_cause_clean", **numbers))
    return [*_compiles_every_run(measured), *found]


def _compiles_every_run(measured: Sequence[Run]) -> list[Finding]:
    compiles = [[work for work in run.work if work.charged and work.compiles] for run in measured]
    if len(measured) < FEW or not all(compiles):
        return []
    return [Finding("degraded", reason) for reason in _by_kind("recompiles_every_run", list(chain(*compiles)))[:1]]


def _by_kind(finding: str, works: Sequence[OneTimeWork]) -> list[Reason]:
    """One reason for each kind of work, the dearest first."""
    counts: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for work in works:
        counts[work.kind] += work.count
        seconds[work.kind] += work.duration_s or 0.0
    dearest = sorted(counts, key=lambda kind: (-seconds[kind], -counts[kind], kind))
    return [
        Reason(
            kind=finding,
            numbers={"count": float(counts[kind])} | ({"duration_s": seconds[kind]} if seconds[kind] else {}),
            subject=kind,
        )
        for kind in dearest
    ]


def _stopped(measured: Sequence[Run]) -> list[Finding]:
    """Worth knowing: the median does not feel it, the mean and the longest do."""
    seconds = [work.duration_s or 0.0 for run in measured for work in run.work if work.kind == STOPPED]
    numbers = {"runs": float(len(seconds)), "duration_s": sum(seconds)}
    return [Finding.of(None, "process_stopped", **numbers)] if seconds else []


# ------------------------------------------------------------------ the clock


def _times(measured: Sequence[Run], stretch: CleanTail, series: Classification, *, watched: bool) -> list[Finding]:
    moving = [*_falling(stretch), *_not_flat(series)]
    if watched and any(finding.state for finding in moving) and not any(run.contaminated for run in measured):
        moving.append(Finding.of("unsteady", "cause_clean_but_drifting", runs=float(len(measured))))
    found = [*moving, *_undecided(series), *_host(stretch, series)]
    return found if watched else [*found, Finding.of(None, "causes_not_watched")]


def _falling(stretch: CleanTail) -> list[Finding]:
    share = max(fall_per_run(stretch.wall_s), fall_per_run(stretch.corrected_s))
    return [Finding.of("unsteady", "still_falling", share_per_run=share)] if share > FALLING else []


def _not_flat(series: Classification) -> list[Finding]:
    """A slow first run or two of twenty are told but forgiven: the median does not feel them."""
    if series.label in ("flat", "inconclusive"):
        return []
    start = {} if series.start is None else {"start": float(series.start)}
    forgiven = series.label == "warmup" and (series.start or 0) <= EARLY * series.n
    state: VerdictState | None = None if forgiven else "unsteady"
    return [Finding.of(state, "not_flat", series.label, tolerance=series.tolerance, **start)]


def _undecided(series: Classification) -> list[Finding]:
    if series.n < SHORTEST:
        return [Finding.of("undecided", "too_few_runs", runs=float(series.n), wanted=float(SHORTEST))]
    if series.label == "inconclusive":
        known = {} if series.detectable is None else {"detectable_share": series.detectable}
        return [Finding.of("undecided", "too_noisy", **known, tolerance=series.tolerance)]
    return []


def _host(stretch: CleanTail, series: Classification) -> list[Finding]:
    """What the host added: a share of waiting worth knowing, and a class that only the waits explain."""
    share = stretch.contention_share
    if share <= CONTENDED:
        return []
    wall = classify(stretch.wall_s).label
    differs = [Finding.of(None, "host_disagrees", wall)] if wall != series.label else []
    return [Finding.of(None, "contended", contention_share=share), *differs]
