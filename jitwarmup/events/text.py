"""
An event as one short line for people: its name, the function, and the two or three numbers that matter.

Pure text over the fields of ``build``; used on stderr in a bare script and as the message of standard logging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jitwarmup.events import schema as s
from jitwarmup.records.text import one_line
from jitwarmup.records.units import span

Fields = Mapping[str, Any]


def short_line(event: str, fields: Fields) -> str:
    """One line that begins with the event's name; an event it does not know gets its name and function."""
    words = _WORDS.get(event)
    label, key = fields.get("label"), fields.get("key")
    which = f"({key})" if key and key != "default" and event != s.COVERAGE_MISSED else None
    parts = (event, fields.get("callable"), which, f"[{label}]" if label else None, words and words(fields))
    return one_line(" ".join(str(part) for part in parts if part))


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _plural(count: int | None, noun: str) -> str | None:
    return None if count is None else f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(fields: Fields, key: str, word: str) -> str | None:
    entries = fields.get(key)
    return f"{word} {', '.join(entries)}" if entries else None


def _timed(word: str, seconds: float | None) -> str | None:
    return None if seconds is None else f"{word} {span(seconds)}"


def _failure(fields: Fields) -> str:
    return f"{fields.get('error_type', 'an error')} in phase {fields.get('phase', '?')}"


def _call(fields: Fields) -> str:
    outcome, error = fields.get("outcome", "ok"), fields.get("error_type")
    return _join(
        span(fields.get("duration_s")),
        None if outcome == "ok" else f"{outcome} ({error})" if error else outcome,
        _timed("first item", fields.get("first_item_s")),
        _plural(fields.get("items"), "item"),
        (_listed(fields, "work", "paid") or "contaminated") if fields.get("contaminated") else None,
    )


def _costs(fields: Fields, stem: str) -> str | None:
    """The three largest causes of one-time work, with their seconds."""
    ordinary = (f"{stem}_run_s", f"{stem}_unexplained_s")
    costs = {name: spent for name, spent in fields.items() if name.startswith(f"{stem}_") and name not in ordinary}
    largest = sorted(costs.items(), key=lambda each: -each[1])[:3]
    listed = ", ".join(f"{name.removeprefix(f'{stem}_').removesuffix('_s')} {span(spent)}" for name, spent in largest)
    return f"paid {listed}" if listed else None


def _validation(fields: Fields) -> str:
    left, left_s = fields.get("runs_left"), fields.get("left_s")
    to_come = None if not left else f"{left} more silent run{'' if left == 1 else 's'}"
    return _join(
        span(fields.get("duration_s")), to_come and (f"{to_come}, about {span(left_s, 2)}" if left_s else to_come)
    )


def _warmup(fields: Fields) -> str:
    cold, last = fields.get("cold_s"), fields.get("last_s")
    if skipped := fields.get("skipped"):
        return f"skipped: {skipped}"
    return _join(
        f"{_plural(fields.get('iterations'), 'run')} in {span(fields.get('duration_s'))}",
        None if cold is None or last is None else f"{span(cold)} cold, {span(last)} at the end",
        _costs(fields, "ledger"),
    )


def _steady(fields: Fields) -> str:
    runs, median = _plural(fields.get("iterations"), "run"), _timed("median", fields.get("median_s"))
    return _join(runs, fields.get("path"), median, fields.get("reason"), _factor(fields))


def _lost(fields: Fields) -> str:
    used, limit = fields.get("used"), fields.get("limit")
    budget = None if used is None or limit is None else f"{used} of {limit} recompiles used"
    paid = _costs(fields, "paid") or _listed(fields, "work", "paid")
    return _join(fields.get("reason"), _factor(fields), paid, budget, fields.get("advice"))


def _factor(fields: Fields) -> str | None:
    factor = fields.get("factor")
    return None if factor is None else f"{factor:.2f} times as long"


def _summary(fields: Fields) -> str:
    return _join(
        f"{_plural(fields.get('count'), 'call')} in {span(fields.get('sum_s'))}",
        _timed("median", fields.get("median_s")),
        _timed("max", fields.get("max_s")),
        _plural(fields.get("errors") or None, "error"),
    )


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


_WORDS: Final[Mapping[str, Callable[[Fields], str]]] = {
    s.VALIDATION_COMPLETED: _validation,
    s.VALIDATION_FAILED: _failure,
    s.WARMUP_COMPLETED: _warmup,
    s.WARMUP_FAILED: lambda fields: f"{_failure(fields)} after {_plural(fields.get('iterations', 0), 'run')}",
    s.STEADY_STATE_REACHED: _steady,
    s.STEADY_STATE_NOT_REACHED: _steady,
    s.STEADY_STATE_LOST: _lost,
    s.CALL: _call,
    s.SUMMARY: _summary,
    s.COVERAGE_MISSED: lambda fields: _join(
        fields.get("key"), fields.get("reason"), _plural(fields.get("missed_count"), "call")
    ),
    s.MONITOR_DEGRADED: lambda fields: f"{fields.get('metric')}: {fields.get('reason')}",
    s.MEASUREMENT_COMPLETED: _measurement,
    s.MEASUREMENT_FAILED: lambda fields: _join(_failure(fields), _plural(fields.get("clean_runs"), "clean run")),
    s.BLOCK_COMPLETED: _call,
    s.BLOCK_FAILED: _call,
}
