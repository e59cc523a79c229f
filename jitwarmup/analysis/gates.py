"""
Gates: what fails a build. ``steady:5%,cpu:3%,cold:20%,recompiles:0``.

A gate on a time fails where B is slower by more than its limit *and* the difference is called. It passes where B is
known not to be slower by more than that: where the one-sided 95 % interval ends below the limit (a test of
non-inferiority). Everything else is ``undecided``: too few runs or processes, one process, noise wider than the limit,
wall and own time that disagree, environments that differ, what was not measured on one side. Times are wall times: no
gate passes on a time that was corrected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jitwarmup.analysis.compare import METRICS, PAIRS, Comparison, Ratio
from jitwarmup.analysis.resampling import RUNS
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError

RECOMPILES = "recompiles"
GATED = (*(metric for metric in METRICS if metric != "own_time"), RECOMPILES)
WAY_OUT = "wanted for example steady:5%,cold:20%,recompiles:0"
Outcome = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Record):
    """One limit: a share for a time (0.05 for 5 %), a count for ``recompiles``."""

    metric: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Record):
    """What came of a gate, in one sentence; ``failed`` and ``undecided`` are never both."""

    gate: Gate
    failed: bool
    words: str
    undecided: bool = False

    @property
    def outcome(self) -> Outcome:
        """The answer in one word."""
        return "failed" if self.failed else "undecided" if self.undecided else "passed"


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Gates from the command line. Raises ArgumentError where a metric or a limit is not one."""
    return tuple(parse_gate(part.strip()) for part in text.split(",") if part.strip())


def parse_gate(text: str) -> Gate:
    """One gate."""
    metric, _, limit = text.partition(":")
    if metric not in GATED:
        raise ArgumentError(f"got the gate {text!r}; wanted one of {', '.join(GATED)}; {WAY_OUT}")
    counts = metric == RECOMPILES
    number = re.fullmatch(r"(\d+)" if counts else r"(\d+(?:\.\d+)?)%", limit)
    if number is None:
        kind = "a whole number" if counts else "a percentage"
        raise ArgumentError(f"got the gate {text!r}; wanted {kind} after {metric}:; {WAY_OUT}")
    return Gate(metric=metric, limit=float(number[1]) / (1 if counts else 100))


def judge(comparison: Comparison, gates: Sequence[Gate]) -> list[Judged]:
    """What comes of each gate."""
    found = []
    for gate in gates:
        outcome, words = (recompiles if gate.metric == RECOMPILES else time)(comparison, gate)
        failed, undecided = outcome == "failed", outcome == "undecided"
        found.append(Judged(gate=gate, failed=failed, undecided=undecided, words=f"{gate.metric}: {words}"))
    return found


def time(comparison: Comparison, gate: Gate) -> tuple[Outcome, str]:
    """What comes of a gate on a time, and why."""
    found, limit = comparison.of(gate.metric), f"limit {percent(1 + gate.limit)}"
    if comparison.failed[1]:
        return "failed", f"the measurement of {comparison.b} failed"
    if found.ratio is None or not math.isfinite(found.ratio):
        return "undecided", "cannot be judged, one side has no value"
    size = found.size or found.ratio
    words = percent(size) + (
        f" ({percent(found.low)} to {percent(found.high)})" if size == found.ratio and found.low else ""
    )
    if found.verdict == "undecided" and found.why != "noise":
        return "undecided", f"{words}, {limit}; {because(found, comparison.processes)}"
    if found.verdict == "slower" and size > 1 + gate.limit:
        return "failed", f"{words}, {limit}"
    if found.most is not None and found.most <= 1 + gate.limit:
        return "passed", f"{words}, {limit}"
    return "undecided", f"{words}, {limit}; it may be {percent(found.most)}, and only more runs can tell"


def because(ratio: Ratio, processes: tuple[int, int]) -> str:
    """Why nothing is called, in words, with what is wanted."""
    few = f"{ratio.n} processes on a side" if ratio.method == "processes" else f"{ratio.n} runs on a side"
    wanted = PAIRS if ratio.method == "pairs" else RUNS
    return {
        "absent": "one side has no value",
        "single": f"one run on a side has no interval; wanted {RUNS} processes on each",
        "few": f"too few: {few}, wanted {wanted}",
        "alike": "each run is like the one before it, so they count as few: measure longer",
        "processes": f"{' and '.join(map(str, processes))} processes: others may differ by as much; wanted {RUNS} a side",
        "noise": "the noise hides even a large difference",
        "busy": "a side waited for a CPU for more than a tenth of its time, so its times are the machine's",
        "disagree": "wall time and own time disagree, so it may be the machine, or the function's own threads",
        "own_time": "the wall times are too noisy alone, and own time shows the difference",
        "environment": "the environments differ",
        "": "",
    }[ratio.why]


def recompiles(comparison: Comparison, gate: Gate) -> tuple[Outcome, str]:
    """Whether B makes more compiles of one kind than it may."""
    if comparison.failed[1]:
        return "failed", f"the measurement of {comparison.b} failed"
    if comparison.compiles is None:
        return "undecided", "cannot be judged, compiles were not watched on one side"
    if comparison.refused:
        return "undecided", "the environments differ"
    grown = {kind: (was, now) for kind, (was, now) in comparison.compiles.items() if now - was > gate.limit}
    more = ", ".join(f"{kind} {was} -> {now}" for kind, (was, now) in grown.items())
    return ("failed" if grown else "passed"), more or "no more than before"


def percent(ratio: float | None) -> str:
    """A ratio as a signed change."""
    return "-" if ratio is None else f"{(ratio - 1) * 100:+.1f}%"
