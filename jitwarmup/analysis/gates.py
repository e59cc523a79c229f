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

from jitwarmup.analysis.compare import METRICS, Comparison, Ratio
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError

RECOMPILES = "recompiles"
WAY_OUT = "wanted for example steady:5%,cold:20%,recompiles:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Record):
    """One limit: a share for a time (0.05 for 5 %), a count for ``recompiles``."""

    metric: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric}:{self.limit:g}" if self.metric == RECOMPILES else f"{self.metric}:{self.limit:.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Record):
    """What came of a gate, in one sentence."""

    gate: Gate
    failed: bool
    words: str


def parse_gates(text: str) -> tuple[Gate, ...]:
    """
    Gates from the command line.

    Raises:
        ArgumentError: a metric or a limit is not one.

    """
    return tuple(parse_gate(part.strip()) for part in text.split(",") if part.strip())


def parse_gate(text: str) -> Gate:
    """One gate."""
    metric, _, limit = text.partition(":")
    if metric == RECOMPILES and limit.isdigit():
        return Gate(metric=metric, limit=float(limit))
    number = re.fullmatch(r"(\d+(?:\.\d+)?)%", limit)
    if metric in METRICS and number is not None:
        return Gate(metric=metric, limit=float(number[1]) / 100)
    if metric not in (*METRICS, RECOMPILES):
        raise ArgumentError(f"got the gate {text!r}; wanted one of {', '.join((*METRICS, RECOMPILES))}; {WAY_OUT}")
    kind = "a whole number" if metric == RECOMPILES else "a percentage"
    raise ArgumentError(f"got the gate {text!r}; wanted {kind} after {metric}:; {WAY_OUT}")


def judge(comparison: Comparison, gates: Sequence[Gate]) -> list[Judged]:
    """What comes of each gate."""
    return [recompiles(comparison, gate) if gate.metric == RECOMPILES else time(comparison, gate) for gate in gates]


def time(comparison: Comparison, gate: Gate) -> Judged:
    """A gate on a time."""
    found = comparison.of(gate.metric)
    if comparison.failed[1]:
        return Judged(gate=gate, failed=True, words=f"{gate.metric}: the measurement of {comparison.b} failed")
    if found.ratio is None or not math.isfinite(found.ratio):
        return Judged(gate=gate, failed=True, words=f"{gate.metric}: cannot be judged, one side has no value")
    over = found.ratio > 1 + gate.limit
    if found.verdict == "unknown":
        return unknown(gate, found, over=over)
    words = f"{gate.metric}: {percent(found.ratio)} ({percent(found.low)} to {percent(found.high)})"
    failed = over and found.verdict == "slower"
    if over and not failed:
        return Judged(gate=gate, failed=False, words=f"{words} is within the noise")
    return Judged(gate=gate, failed=failed, words=f"{words}, limit {percent(1 + gate.limit)}")


def unknown(gate: Gate, found: Ratio, *, over: bool) -> Judged:
    """A gate over values too few for an interval: one of each is held to the limit, a few runs are not enough."""
    words = f"{gate.metric}: {percent(found.ratio)}, limit {percent(1 + gate.limit)}"
    if found.method in ("single", "processes"):
        return Judged(gate=gate, failed=over, words=f"{words}; {found.n} on a side, so the noise is not known")
    return Judged(gate=gate, failed=True, words=f"{words}; cannot be judged with {found.n} runs on a side")


def recompiles(comparison: Comparison, gate: Gate) -> Judged:
    """How many more compiles of one kind B makes."""
    if comparison.compiles is None:
        words = "recompiles: cannot be judged, compiles were not watched on one side"
        return Judged(gate=gate, failed=True, words=words)
    grown = {kind: (was, now) for kind, (was, now) in comparison.compiles.items() if now - was > gate.limit}
    more = ", ".join(f"{kind} {was} -> {now}" for kind, (was, now) in grown.items())
    return Judged(gate=gate, failed=bool(grown), words=f"recompiles: {more or 'no more than before'}")


def percent(ratio: float | None) -> str:
    """A ratio as a signed change."""
    return "-" if ratio is None else f"{(ratio - 1) * 100:+.1f}%"
