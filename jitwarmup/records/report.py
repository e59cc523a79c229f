"""
Everything seen of one measurement: every run of every phase, nothing thrown away.

    validate ─ warm ─ warm ─ warm ─ warm ─ warm ─┬─ measure ─ measure ─ ... ─ measure
    `validation`   `warmup`, silent               `measured`; `latency` over its clean runs, `latency_all` over all
"""

from __future__ import annotations

import json
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from jitwarmup.records.checks import whole
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError, MeasurementFailed
from jitwarmup.records.failure import Failure
from jitwarmup.records.files import parse_json, read_text, save_text
from jitwarmup.records.first_run import FirstRun
from jitwarmup.records.runs import Decision, DeviceReading, Phase, Run
from jitwarmup.records.verdict import Reason, Verdict

SENTINEL_S = -1.0  # "no valid latency", as in HuggingFace's benchmark framework, where the check could never fire


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    Figures over a sample of ``n`` timings, in seconds. What the sample is too small for is None.

    Fields:
        median_s: the median; ``ci_low_s`` and ``ci_high_s`` are the ends of its interval.
        ci_level: the level that the interval really achieves (five values cannot give 0.95, but 0.9375 at most).
        mean_s: arithmetic mean; ``min_s`` and ``max_s`` are the shortest and the longest.
        stdev_s: sample standard deviation (divides by n - 1).
        mad_s: median absolute deviation from the median, unscaled.
        p90_s: 90th percentile, as ``p95_s`` and ``p99_s``.
        scope: ``process``: what holds within this process; or ``processes``: the timings are medians of processes.
    """

    n: int
    median_s: float | None = None
    ci_low_s: float | None = None
    ci_high_s: float | None = None
    ci_level: float | None = None
    mean_s: float | None = None
    stdev_s: float | None = None
    mad_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    p90_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    scope: str = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTimes(Record):
    """
    How the ranks of a measurement compare, over its finished measured runs.

    ``rank`` is the rank that made the report, ``members`` all that measured in step, ``median_s`` the median seconds of
    each in that order. ``straggler`` is the rank that was the slowest most often (of equals the one with the longer
    median), ``straggler_share`` in how many of the runs; ``skew_s`` the median over the runs of the slowest rank's time
    minus the fastest's. A rank that the others wait for in a collective of the function itself looks no slower than they
    do: they were waiting, and that is their time, too.
    """

    rank: int
    members: tuple[int, ...]
    median_s: tuple[float, ...] = ()
    straggler: int | None = None
    straggler_share: float | None = None
    skew_s: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Run], *, rank: int, members: tuple[int, ...]) -> Self:
        """The comparison; times are absent where no run was measured."""
        times = [run.rank_durations_ns for run in runs if run.rank_durations_ns is not None]
        if not times:
            return cls(rank=rank, members=members)
        medians = tuple(statistics.median(column) / 1e9 for column in zip(*times, strict=True))
        worst = Counter(max(range(len(row)), key=row.__getitem__) for row in times)
        at = max(worst, key=lambda place: (worst[place], medians[place]))
        return cls(
            rank=rank,
            members=members,
            median_s=medians,
            straggler=members[at],
            straggler_share=worst[at] / len(times),
            skew_s=statistics.median(max(row) - min(row) for row in times) / 1e9,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """
    One measurement.

    Fields:
        callable: module and qualified name of what was measured, never a ``repr``.
        report_id: the same on every event of this measurement.
        started_at: seconds since the epoch.
        duration_s: wall seconds of all of it, our own work included.
        runs: every run of every phase in order, those discarded by a re-arm included.
        latency_s: median seconds of the clean measured runs; -1.0 exactly when ``failure`` is set and no clean run
            exists; the median of all when all are contaminated; None when nothing was to be measured.
        latency: wall seconds of the clean measured runs.
        own_time: their wall seconds less the time that each waited for a CPU that others held (``Run.own_time_s``); None
            where the system does not tell of waiting.
        cpu: their CPU seconds, on all threads of the process; None where they are not counted.
        latency_all: seconds of all finished measured runs, contaminated ones included.
        verdict: whether the measured runs show the steady state, and why.
        ledger: cause -> seconds of validation and warm-up, ``run`` (the steady cost of those runs) and ``unexplained``
            included; the parts sum to the wall time of these runs.
        decision: the warm-up rule's last answer; None where no warm-up was made.
        would_have_said: what ``until_steady()`` would have answered for the same runs.
        skipped: why extra runs were left out, such as ``arguments_mutated``; None where they were made.
        rng_restored: whether the process's random streams were rewound for every run and left as found.
        failure: what ended the measurement early, else None.
        first_run: the first run that this process made of the key, where an earlier call or measurement made it.
        warm_before: whether compiled programs were there before the key's first run: it was not cold, nobody timed that.
        environment: name -> value of what timings depend on: versions, CPU, threads.
        device: the monitor's reading over the measured runs; None without a monitor.
        first_item: seconds to the first item of the measured streams; None where the function is no stream.
        item_gap: seconds between items of the measured streams.
        items_per_s: items a second over the measured streams.
        processes: the medians of several processes, in seconds, where the measurement was repeated in them.
        ranks: how the ranks that measured in step compare (times are then the slowest rank's); None for one process.
        overhead_s: seconds that the timing itself adds to a run: the median of a function that does nothing, timed in
            the same way once in this process; None with a clock that was given.
        facts: name -> value of what is known of the runs (generation: tokens, batch, whether decode was compiled).
        advice: fixes for what was found, as data.
        schema: name and version of this form of a report.
    """

    callable: str
    report_id: str
    started_at: float
    duration_s: float
    runs: tuple[Run, ...]
    latency_s: float | None
    latency: Summary
    latency_all: Summary
    verdict: Verdict
    ledger: Mapping[str, float] = field(default_factory=dict)
    own_time: Summary | None = None
    cpu: Summary | None = None
    overhead_s: float | None = None
    decision: Decision | None = None
    would_have_said: Decision | None = None
    skipped: str | None = None
    rng_restored: bool = False
    failure: Failure | None = None
    first_run: Run | None = None
    warm_before: bool = False
    environment: Mapping[str, str | int | float] = field(default_factory=dict)
    device: DeviceReading | None = None
    first_item: Summary | None = None
    item_gap: Summary | None = None
    items_per_s: float | None = None
    processes: Summary | None = None
    ranks: RankTimes | None = None
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    advice: tuple[Reason, ...] = ()
    schema: str = "jitwarmup.report/1"

    @property
    def validation(self) -> Run | None:
        """The validation run (the last one, where a first attempt was interrupted)."""
        found = self.of_phase(Phase.VALIDATE)
        return found[-1] if found else None

    @property
    def cold_s(self) -> float | None:
        """Seconds of the first run that this process made of the key; None where it failed, or was warm before."""
        first = self.first_run or self.validation
        return None if first is None else FirstRun(first, self.warm_before).cold_s

    @property
    def speedup(self) -> float | None:
        """The cold run by the steady median; None where one of them is not known."""
        return self.cold_s / self.latency.median_s if self.cold_s is not None and self.latency.median_s else None

    @property
    def warmup(self) -> tuple[Run, ...]:
        """The warm-up runs, in order."""
        return self.of_phase(Phase.WARM)

    @property
    def measured(self) -> tuple[Run, ...]:
        """The measured runs that were kept, contaminated and failed ones included."""
        return tuple(run for run in self.of_phase(Phase.MEASURE) if not run.discarded)

    @property
    def contended_share(self) -> float | None:
        """Share of the measured wall time in which the calling thread waited for a CPU; None where nobody tells."""
        known = [run for run in self.measured if run.wait_s is not None]
        wall = sum(run.duration_s for run in known)
        return min(1.0, sum(run.wait_s or 0.0 for run in known) / wall) if wall > 0 else None

    def of_phase(self, phase: Phase) -> tuple[Run, ...]:
        """The runs of one phase, in order, discarded ones included."""
        return tuple(run for run in self.runs if run.phase is phase)

    def amortised(self, n: int) -> float | None:
        """
        Mean seconds per call over ``n`` calls, the cold cost included; None where no steady time is known.

        The cold cost is what validation and warm-up took beyond the same number of steady runs.

        Raises:
            ArgumentError: ``n`` is not a positive whole number.

        """
        whole("amortised()", n, at_least=1)
        if self.latency_s is None or self.latency_s < 0:
            return None
        cold = sum(seconds for cause, seconds in self.ledger.items() if cause != "run")
        return self.latency_s + cold / n

    def raise_for_failure(self) -> None:
        """
        Do nothing where the measurement went well.

        Raises:
            BaseException: the user's original exception, in the process where it happened.
            MeasurementFailed: the report was loaded, so the original is not at hand.

        """
        if self.failure is None:
            return
        if self.failure.exception is not None:
            raise self.failure.exception
        raise MeasurementFailed(
            f"{self.callable} failed in phase {self.failure.phase} run {self.failure.index} with "
            f"{self.failure.type}: {self.failure.message}; report.failure.traceback holds the original traceback"
        )

    def without_messages(self) -> Report:
        """The same report without what an exception's message and traceback say, which may be values of the user's."""
        return replace(self, failure=self.failure and replace(self.failure, message="", traceback=""))

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write it to a file as a line of JSON, in place of what is there (by a temporary file and a rename).

        Raises:
            ArgumentError: the file cannot be written; what was there is left.

        """
        save_text(path, json.dumps(self.to_dict()) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """
        Read what ``save``, or ``jitwarmup measure --save`` of one report, wrote.

        Raises:
            ArgumentError: the file cannot be read, or holds no report.

        """
        try:
            return cls.from_dict(parse_json(read_text(path)))
        except ValueError as error:
            raise ArgumentError(
                f"{path} is no JSON ({error}); wanted the one report that Report.save() wrote"
            ) from error

    def __str__(self) -> str:
        return self.explain()

    def __repr__(self) -> str:
        from jitwarmup.views import report_line

        return f"<Report {report_line(self)}>"

    def explain(self) -> str:
        """Plain text: what the time went into, biggest cause first, and what to do next."""
        from jitwarmup.views import report_text

        return report_text(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the same figures as ``jitwarmup report``; None (the text) where jinja2 is missing."""
        from jitwarmup.views import report_html

        return report_html(self)
