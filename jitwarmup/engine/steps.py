"""
The one order of things: validate, warm up until the rule is content, measure.

Pure: it is sent each run that came of the step it asked for, and nothing else. The caller does the running.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from jitwarmup.engine.rules import still_warming
from jitwarmup.records.protocols import Rule
from jitwarmup.records.runs import Decision, Phase, Run

REDO_AT_MOST = 3  # re-entries into warm-up; a function that pays one-time work for ever must not be run for ever


@dataclass(frozen=True, slots=True)
class Step:
    """One run that is wanted. ``rearm`` says that the measured runs so far are void: warm-up is entered again."""

    phase: Phase
    index: int
    rearm: bool = False


Steps = Generator[Step, Run, Decision | None]


def plan_steps(
    rule: Rule, measurements: int, *, history: Sequence[Run] = (), redo: bool = False, proof: bool = False
) -> Steps:
    """
    Yield the steps of a measurement; return the warm-up rule's decision, or None where validation failed.

    Args:
        rule: decides over all runs so far whether warm-up goes on.
        measurements: measured runs wanted; 0 to stop when warm.
        history: runs finished by an earlier, interrupted warm-up, which count.
        redo: a measured run with one-time work of its own voids the measured runs and re-enters warm-up.
        proof: so do, once, measured runs that show that a proof of steady state came too early.

    """
    runs = list(history)
    if not any(run.phase is Phase.VALIDATE for run in runs):
        runs.append((yield Step(Phase.VALIDATE, 0)))
        if runs[-1].outcome != "ok":
            return None
    attempt = 0
    while True:
        decision = yield from warm(rule, runs, rearm=attempt > 0)
        again = redo and attempt < REDO_AT_MOST
        if decision is None:
            return decision
        if not (yield from measure(measurements, runs, redo=again)):
            proof = proof and again and decision.state == "proven"
            if not proof or not still_warming(runs, measurements):
                return decision
            proof = False  # once: trying again until it looks steady would prove nothing
        attempt += 1


def warm(rule: Rule, runs: list[Run], *, rearm: bool) -> Generator[Step, Run, Decision | None]:
    """Warm up until the rule decides; None where a run failed."""
    decision = rule(runs)
    while decision.state == "more" or rearm:  # a re-entry makes one run at least, or it would re-enter nothing
        index = sum(run.phase is Phase.WARM for run in runs)
        runs.append((yield Step(Phase.WARM, index, rearm=rearm)))
        if runs[-1].outcome != "ok":
            return None
        rearm = False
        decision = rule(runs)
    return decision


def measure(wanted: int, runs: list[Run], *, redo: bool) -> Generator[Step, Run, bool]:
    """Make the measured runs; True where warm-up has to be entered again."""
    first = sum(run.phase is Phase.MEASURE for run in runs)
    for index in range(first, first + wanted):
        runs.append((yield Step(Phase.MEASURE, index)))
        if runs[-1].outcome != "ok":
            return False
        if redo and runs[-1].contaminated:
            return True
    return False
