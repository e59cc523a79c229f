"""The findings of a verdict in words, each with the way out."""

from __future__ import annotations

from collections.abc import Mapping

from jitwarmup.records.verdict import Reason
from jitwarmup.views.advice import about_finding, about_work
from jitwarmup.views.text import span

# kind -> what was found; numbers by name, {subject}
WORDS: Mapping[str, str] = {
    "compiled_code_given_up": "compiled code was given up ({subject}): the rest ran uncompiled",
    "not_compiled": "the function ran uncompiled ({subject})",
    "recompiles_every_run": "every measured run compiles again ({subject})",
    "one_time_work": "measured runs paid one-time work: {subject}",
    "flat_but_not_cause_clean": (
        "the times are flat, yet {contaminated_runs:.0f} of {runs:.0f} runs paid one-time work"
    ),
    "still_falling": "the times still fall by {share_per_run:.1%} a run",
    "not_flat": "the measured runs are not flat ({subject})",
    "cause_clean_but_drifting": "no cause was seen, and yet the times move",
    "too_few_runs": "{runs:.0f} measured runs are too few to tell ({wanted:.0f} wanted)",
    "too_noisy": "too noisy to tell: only a change of {detectable_share:.0%} would show",
    "contended": "{contention_share:.0%} of the time was spent waiting for a processor",
    "host_disagrees": "by the wall clock, waits included, the runs would be called {subject}",
    "causes_not_watched": "no probe could look for one-time work",
    "interrupted": "the measurement was interrupted",
    "left_early": "the loop was left early",
    "arguments_mutated": "the first run changed its arguments, so nothing more was run",
}


def words(reason: Reason) -> tuple[str, str]:
    """What was found, and what to do next; the kind itself where it is not known here."""
    if reason.kind.startswith("failed_in_"):
        said = f"{reason.kind.removeprefix('failed_in_')} run {reason.numbers.get('index', 0) + 1:.0f} failed"
        return f"{said} with {reason.subject}", "the report's failure holds the message and the traceback"
    unknown = reason.kind.replace("_", " ")
    try:
        found = WORDS.get(reason.kind, unknown).format(subject=reason.subject or "?", **reason.numbers)
    except (KeyError, IndexError, ValueError):  # a report of another version may lack a number
        found = unknown
    count, seconds = reason.numbers.get("count"), reason.numbers.get("duration_s")
    found += f", {count:.0f} times" if count and count > 1 else ""
    return (f"{found}, {span(seconds)}" if seconds else found), way_out(reason)


def way_out(reason: Reason) -> str:
    """What to do next: about the kind of work where the finding is about one, else about the finding."""
    about = about_work(reason.subject) if reason.kind == "one_time_work" and reason.subject else None
    return about or about_finding(reason.kind) or ""
