"""
Gates: what fails a build. ``steady:5%,cold:20%,recompiles:0``.

A gate on a time fails where B is slower by more than its limit *and* the difference is outside the noise. Where there is
one value on each side there is no noise to know, so the limit alone decides, and the words say so. A gate that cannot look
fails too: nothing seen by nobody is not "no work".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jitwarmup.analysis.compare import METRICS, Comparison
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError

RECOMPILES = "recompiles"
WAY_OUT = "wanted for example steady:5%,cold:20%,recompiles:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Record):
    """One limit: a share for a time (0.05 for 5 %), a count for ``recompiles``."""

    metric: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Record):
    """What came of a gate, in one sentence."""

    gate: Gate
    failed: bool
    words: str


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Gates from the command line. Raises ArgumentError where a metric or a limit is not one."""
    return tuple(parse_gate(part.strip()) for part in text.split(",") if part.strip())


def parse_gate(text: str) -> Gate:
    """One gate."""
    metric, _, limit = text.partition(":")
    if metric not in (*METRICS, RECOMPILES):
        raise ArgumentError(f"got the gate {text!r}; wanted one of {', '.join((*METRICS, RECOMPILES))}; {WAY_OUT}")
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
        failed, words = (recompiles if gate.metric == RECOMPILES else time)(comparison, gate)
        found.append(Judged(gate=gate, failed=failed, words=f"{gate.metric}: {words}"))
    return found


def time(comparison: Comparison, gate: Gate) -> tuple[bool, str]:
    """
    Whether a gate on a time fails, and why.

    Of values too few for an interval, one on a side is held to the limit; a few runs are not enough to tell.
    """
    found, limit = comparison.of(gate.metric), f"limit {percent(1 + gate.limit)}"
    if comparison.failed[1]:
        return True, f"the measurement of {comparison.b} failed"
    if found.ratio is None or not math.isfinite(found.ratio):
        return True, "cannot be judged, one side has no value"
    over, words = found.ratio > 1 + gate.limit, percent(found.ratio)
    if found.verdict == "unknown" and found.method in ("single", "processes"):
        return over, f"{words}, {limit}; {found.n} on a side, so the noise is not known"
    if found.verdict == "unknown":
        return True, f"{words}, {limit}; cannot be judged with {found.n} runs on a side"
    words += f" ({percent(found.low)} to {percent(found.high)})"
    if over and found.verdict != "slower":
        return False, f"{words} is within the noise"
    return over, f"{words}, {limit}"


def recompiles(comparison: Comparison, gate: Gate) -> tuple[bool, str]:
    """Whether B makes more compiles of one kind than it may."""
    if comparison.compiles is None:
        return True, "cannot be judged, compiles were not watched on one side"
    grown = {kind: (was, now) for kind, (was, now) in comparison.compiles.items() if now - was > gate.limit}
    more = ", ".join(f"{kind} {was} -> {now}" for kind, (was, now) in grown.items())
    return bool(grown), more or "no more than before"


def percent(ratio: float | None) -> str:
    """A ratio as a signed change."""
    return "-" if ratio is None else f"{(ratio - 1) * 100:+.1f}%"
