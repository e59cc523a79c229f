"""
An event as one short line for people: its name, the function, and the two or three numbers that matter.

Pure text over the fields of ``build``; used on stderr in a bare script and as the message of standard logging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jitwarmup.events import schema as s
from jitwarmup.events.sanitize import one_line
from jitwarmup.records.units import span

Fields = Mapping[str, Any]


def short_line(event: str, fields: Fields) -> str:
    """One line that begins with the event's name; an event it does not know gets its name and function."""
    words = _WORDS.get(event)
    label = fields.get("label")
    parts = (event, fields.get("callable"), f"[{label}]" if label else None, words and words(fields))
    return one_line(" ".join(str(part) for part in parts if part))


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _plural(count: int | None, noun: str) -> str | None:
    return None if count is None else f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(fields: Fields, key: str, word: str) -> str | None:
    entries = fields.get(key)
    return f"{word} {', '.join(entries)}" if entries else None


def _failure(fields: Fields) -> str:
    return f"{fields.get('error_type', 'an error')} in phase {fields.get('phase', '?')}"


def _duration(fields: Fields) -> str:
    return span(fields.get("duration_s"))


def _call(fields: Fields) -> str:
    outcome, error = fields.get("outcome", "ok"), fields.get("error_type")
    first = fields.get("first_item_s")
    return _join(
        _duration(fields),
        None if outcome == "ok" else f"{outcome} ({error})" if error else outcome,
        None if first is None else f"first item {span(first)}",
        _plural(fields.get("items"), "item"),
        (_listed(fields, "work", "paid") or "contaminated") if fields.get("contaminated") else None,
    )


def _warmup(fields: Fields) -> str:
    cold, last = fields.get("cold_s"), fields.get("last_s")
    if skipped := fields.get("skipped"):
        return f"skipped: {skipped}"
    return _join(
        f"{_plural(fields.get('iterations'), 'run')} in {_duration(fields)}",
        None if cold is None or last is None else f"{span(cold)} cold, {span(last)} at the end",
    )


def _warmup_failed(fields: Fields) -> str:
    return f"{_failure(fields)} after {_plural(fields.get('iterations', 0), 'run')}"


def _steady(fields: Fields) -> str:
    median = fields.get("median_s")
    return _join(
        _plural(fields.get("iterations"), "run"),
        fields.get("path"),
        None if median is None else f"median {span(median)}",
        fields.get("reason"),
    )


def _lost(fields: Fields) -> str:
    used, limit = fields.get("used"), fields.get("limit")
    budget = None if used is None or limit is None else f"{used} of {limit} recompiles used"
    return _join(fields.get("reason"), _listed(fields, "work", "paid"), budget)


def _summary(fields: Fields) -> str:
    median = fields.get("median_s")
    return _join(
        f"{_plural(fields.get('count'), 'call')} in {span(fields.get('sum_s'))}",
        None if median is None else f"median {span(median)}",
        f"max {span(fields['max_s'])}" if "max_s" in fields else None,
        _plural(fields.get("errors"), "error") if fields.get("errors") else None,
    )


def _missed(fields: Fields) -> str:
    return _join(fields.get("key"), fields.get("reason"), _plural(fields.get("missed_count"), "call"))


def _degraded(fields: Fields) -> str:
    return f"{fields.get('metric')}: {fields.get('reason')}"


def _measurement(fields: Fields) -> str:
    low, high = fields.get("ci_low_s"), fields.get("ci_high_s")
    speedup = fields.get("speedup")
    return _join(
        f"median {span(fields.get('median_s', fields.get('latency_s')))}",
        None if low is None or high is None else f"{span(low)} to {span(high)}",
        _plural(fields.get("clean_runs"), "clean run"),
        fields.get("verdict"),
        f"{speedup:{'.0f' if speedup >= 99.95 else '.3g'}}x faster than cold" if speedup and speedup > 1 else None,
    )


def _measurement_failed(fields: Fields) -> str:
    return _join(_failure(fields), _plural(fields.get("clean_runs"), "clean run"))


_WORDS: Final[Mapping[str, Callable[[Fields], str]]] = {
    s.VALIDATION_COMPLETED: _duration,
    s.VALIDATION_FAILED: _failure,
    s.WARMUP_COMPLETED: _warmup,
    s.WARMUP_FAILED: _warmup_failed,
    s.STEADY_STATE_REACHED: _steady,
    s.STEADY_STATE_NOT_REACHED: _steady,
    s.STEADY_STATE_LOST: _lost,
    s.CALL: _call,
    s.SUMMARY: _summary,
    s.COVERAGE_MISSED: _missed,
    s.MONITOR_DEGRADED: _degraded,
    s.MEASUREMENT_COMPLETED: _measurement,
    s.MEASUREMENT_FAILED: _measurement_failed,
    s.BLOCK_COMPLETED: _call,
    s.BLOCK_FAILED: _call,
}
