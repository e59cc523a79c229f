"""The findings of a verdict in words, each with the way out."""

from __future__ import annotations

from collections.abc import Mapping

from jitwarmup.model.verdict import Reason
from jitwarmup.views.text import span

# kind -> what was found (numbers by name, {subject}), and what to do next
WORDS: Mapping[str, tuple[str, str]] = {
    "compiled_code_given_up": (
        "compiled code was given up ({subject}): the rest ran uncompiled",
        "use fewer shapes, torch.compile(dynamic=True), or raise torch._dynamo.config.recompile_limit",
    ),
    "recompiles_every_run": (
        "every measured run compiles again ({subject})",
        "find what changes from run to run with TORCH_LOGS=recompiles, and keep it the same",
    ),
    "one_time_work": (
        "measured runs paid one-time work: {subject}",
        "warm up with the same inputs, for longer: --until-steady, or more --iterations",
    ),
    "flat_but_not_cause_clean": (
        "the times are flat, yet {contaminated_runs:.0f} of {runs:.0f} runs paid one-time work",
        "the median is of the clean runs; look at the marked runs before you trust it",
    ),
    "still_falling": (
        "the times still fall by {share_per_run:.1%} a run",
        "warm up for longer: --until-steady, or more --iterations",
    ),
    "not_flat": (
        "the measured runs are not flat ({subject})",
        "warm up for longer; if it stays, look for growing state or a clock that changes",
    ),
    "cause_clean_but_drifting": (
        "no cause was seen, and yet the times move",
        "the host or the device may be at it: run `jitwarmup doctor`",
    ),
    "too_few_runs": ("{runs:.0f} measured runs are too few to tell ({wanted:.0f} wanted)", "ask for more measurements"),
    "too_noisy": (
        "too noisy to tell: only a change of {detectable_share:.0%} would show",
        "quieten the host, or ask for more measurements",
    ),
    "contended": (
        "{contention_share:.0%} of the time was spent waiting for a processor",
        "stop what else runs here, or compare side by side in one process: --against",
    ),
    "host_disagrees": (
        "by the wall clock, waits included, the runs would be called {subject}",
        "judge by the corrected times, and quieten the host",
    ),
    "causes_not_watched": (
        "no probe could look for one-time work",
        "run `jitwarmup doctor` to see why; what nobody looked for is not absent",
    ),
    "interrupted": ("the measurement was interrupted", "what was finished is kept; run it again for a verdict"),
    "left_early": ("the loop was left early", "let the loop run to its end for a verdict"),
    "arguments_mutated": (
        "the first run changed its arguments, so nothing more was run",
        "give fresh=, which makes the arguments of every run (--fresh)",
    ),
}


def words(reason: Reason) -> tuple[str, str]:
    """What was found, and what to do next; the kind itself where it is not known here."""
    if reason.kind.startswith("failed_in_"):
        said = f"{reason.kind.removeprefix('failed_in_')} run {reason.numbers.get('index', 0):.0f} failed"
        return f"{said} with {reason.subject}", "the report's failure holds the message and the traceback"
    found, way_out = WORDS.get(reason.kind, (reason.kind.replace("_", " "), ""))
    try:
        found = found.format(subject=reason.subject or "?", **reason.numbers)
    except (KeyError, IndexError, ValueError):  # a report of another version may lack a number
        found = reason.kind.replace("_", " ")
    seconds = reason.numbers.get("duration_s")
    count = reason.numbers.get("count")
    found += f", {count:.0f} times" if count and count > 1 else ""
    return (f"{found}, {span(seconds)}" if seconds else found), way_out
