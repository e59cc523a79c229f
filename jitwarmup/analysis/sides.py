"""
What two measurements are compared by: the series of one function, taken from saved reports or from events.

A file holds one JSON document (a report, a list of them, or a document with ``report`` or ``reports`` in it) or JSON
lines (reports, or the events ``jitwarmup/1`` of a log). Lines of other programs are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from statistics import median_high
from typing import Any

from jitwarmup.analysis.compose import timed
from jitwarmup.records.checks import is_number
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import parse_json
from jitwarmup.records.report import Report
from jitwarmup.records.runs import Run

REPORT = "jitwarmup.report/"
EVENT = "jitwarmup/"
COMPILERS = ("dynamo", "inductor", "triton", "cudagraph")  # probes whose silence means that nothing was compiled
PASSING = frozenset({"pid", "load_1min", "structlog"})  # of the environment: what no steady time depends on
OPTIONAL = frozenset({"torch", "transformers", "numpy", "triton", "device", "cuda", "driver", "cpu_limit"})
VARIABLE = "env."  # names of environment variables begin with it
NOT_LOADED = "not loaded"  # why a probe does not look where its module, and so its work, cannot be


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Record):
    """
    Steady seconds of one process, in order; ``started_at`` (epoch seconds) of each, and its place in the plan.

    ``seconds`` are wall times, ``own`` the own times and ``cpu`` the CPU seconds of the same runs; empty where the system
    does not tell them. Contaminated runs are left out, unless all are.
    """

    seconds: tuple[float, ...]
    own: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    places: tuple[int, ...] = ()
    started_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Record):
    """
    One function as it was measured, in one process or several.

    ``cold_s`` holds the validation runs, ``first_s`` the first runs after ready, one for each process. ``compiles`` are
    compiling works by kind over all phases, the most that one process made; None where nobody could look. ``failed``
    counts measurements that ended with an exception. ``contended`` is the share of the wall time that was waiting for a
    CPU, the most of any process; ``environment`` what times depend on, None where it was not recorded.
    """

    name: str
    processes: int = 1
    cold_s: tuple[float, ...] = ()
    first_s: tuple[float, ...] = ()
    steady: tuple[Series, ...] = ()
    first_item: tuple[Series, ...] = ()
    item_gap: tuple[Series, ...] = ()
    compiles: Mapping[str, int] | None = None
    failed: int = 0
    contended: float = 0.0
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Record):
    """One thing that times depend on and that differs: its name, and what it is on each side, None where there is none."""

    name: str
    a: str | None
    b: str | None


def read_sides(text: str) -> dict[str, Measured]:
    """
    The sides of a saved file in the order in which they appear, by the name of the function (or of a test, if noted).

    Raises ArgumentError where there is nothing of jitwarmup in it, or a report cannot be read.
    """
    documents = list(read_documents(text))
    named: dict[str, list[Report]] = {}
    for document in documents:
        if is_a(document, REPORT):
            name = str(document.get("test") or document.get("callable"))
            named.setdefault(name, []).append(Report.from_dict(document))
    found = {name: side_of(reports, name) for name, reports in named.items()}
    events: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        if is_a(document, EVENT):
            events.setdefault(str(document.get("callable")), []).append(document)
    for name, of_name in events.items():
        if name not in found and (side := side_of_events(name, of_name)) is not None:
            found[name] = side
    if not found:
        raise ArgumentError(
            "got no report and no timed event of jitwarmup; wanted a file that `jitwarmup measure --save FILE` wrote, "
            "JSON lines of Report.to_dict(), or a log of events of schema jitwarmup/1"
        )
    return found


def read_reports(text: str) -> list[Report]:
    """All reports of a saved file. Raises ArgumentError where there is none."""
    found = [Report.from_dict(document) for document in read_documents(text) if is_a(document, REPORT)]
    if not found:
        raise ArgumentError(
            "got no report of jitwarmup; wanted a file that `jitwarmup measure --save FILE` wrote, or JSON lines of "
            "Report.to_dict()"
        )
    return found


def read_documents(text: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object of a document or of JSON lines; what is no JSON is passed over."""
    try:
        yield from unfold(parse_json(text))
    except ValueError:
        for line in text.splitlines():
            with suppress(ValueError):
                yield from unfold(parse_json(line))


def unfold(value: Any) -> Iterator[Mapping[str, Any]]:
    """The reports in a list or in a document that carries them, in order, however deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, Mapping):
            carried = value.get("report", value.get("reports"))
            if carried is None:
                yield value
            else:
                waiting.append(carried)


def is_a(document: Mapping[str, Any], schema: str) -> bool:
    """Whether a document is of a schema, whatever its version: a newer one is refused by name when it is read."""
    return str(document.get("schema", "")).startswith(schema)


# ------------------------------------------------------------------ from reports


def side_of(reports: Sequence[Report], name: str | None = None) -> Measured:
    """One function, measured once or in several processes."""
    kept = [timed(report.runs) for report in reports]
    clean = [[run for run in runs if run.clean] or runs for runs in kept]
    return Measured(
        name=name or reports[0].callable,
        processes=len(reports),
        cold_s=tuple(report.cold_s for report in reports if report.cold_s is not None),
        first_s=tuple(runs[0].duration_s for runs in kept if runs),
        steady=tuple(series_of(runs) for runs in clean if runs),
        first_item=series_of_each(
            [[run.first_item_s for run in runs if run.first_item_s is not None] for runs in clean]
        ),
        item_gap=series_of_each([[median_high(run.item_gaps_s) for run in runs if run.item_gaps_s] for runs in clean]),
        compiles=compiles_of(reports),
        failed=sum(report.failure is not None for report in reports),
        contended=max((report.contended_share or 0.0 for report in reports), default=0.0),
        environment=environment_of(reports),
    )


def series_of(runs: Sequence[Run]) -> Series:
    """The durations of one process's runs."""
    return Series(
        seconds=tuple(run.duration_s for run in runs),
        own=of_all([run.own_time_s for run in runs]),
        cpu=of_all([run.all_cpu_s for run in runs]),
        places=tuple(run.index for run in runs),
        started_at=tuple(run.started_at for run in runs),
    )


def of_all(values: Sequence[float | None]) -> tuple[float, ...]:
    """What every run has; empty where one has it not."""
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else ()


def environment_of(reports: Sequence[Report]) -> Mapping[str, str] | None:
    """What times depend on; of processes that differ in something, all that it was. None where nothing was recorded."""
    names = sorted({name for report in reports for name in report.environment} - PASSING)
    each = {
        name: sorted({str(report.environment[name]) for report in reports if name in report.environment})
        for name in names
    }
    return {name: " and ".join(values) for name, values in each.items()} or None


def differences(a: Mapping[str, str] | None, b: Mapping[str, str] | None) -> tuple[Difference, ...]:
    """
    Field by field, what differs and can move times.

    What one side lacks differs where its absence means something: a library not loaded, a variable not set, no device.
    Of other facts an older jitwarmup, or another system, recorded none: nothing is known of them.
    """
    if a is None or b is None:
        return ()
    names = [name for name in (*a, *(name for name in b if name not in a)) if a.get(name) != b.get(name)]
    meant = [name for name in names if (name in a and name in b) or name in OPTIONAL or name.startswith(VARIABLE)]
    return tuple(Difference(name=name, a=a.get(name), b=b.get(name)) for name in meant)


def series_of_each(seconds: Sequence[Sequence[float]]) -> tuple[Series, ...]:
    """The seconds of each process that has any."""
    return tuple(Series(seconds=tuple(one)) for one in seconds if one)


def compiles_of(reports: Sequence[Report]) -> Mapping[str, int] | None:
    """Compiling works by kind, the most of any process; None where a probe that would have seen them could not look."""
    most: Counter[str] = Counter()
    for report in reports:
        blind = [why for name, why in report.verdict.unwatched.items() if name in COMPILERS and why != NOT_LOADED]
        if blind or not report.runs:
            return None
        most |= compiles_in(report.runs)
    return dict(sorted(most.items()))


def compiles_in(runs: Iterable[Run]) -> Counter[str]:
    """Compiling works of these runs, by kind."""
    found: Counter[str] = Counter()
    for work in chain.from_iterable(run.work for run in runs):
        if work.charged and work.compiles:
            found[work.kind] += work.count
    return found


# ------------------------------------------------------------------ from events


def side_of_events(name: str, mine: Sequence[Mapping[str, Any]]) -> Measured | None:
    """
    One function as its log tells it: its timed calls, else the medians of its measurements. None where nothing is timed.

    A log does not count compiles by kind, so nothing is said of them.
    """
    colds = seconds_in(mine, "jitwarmup.validation.completed", "duration_s")
    clean = [event for event in mine if event.get("outcome") == "ok" and not event.get("contaminated")]
    calls = seconds_in(clean, "jitwarmup.call", "duration_s")
    medians = seconds_in(mine, "jitwarmup.measurement.completed", "median_s")
    steady = series_of_each([calls] if calls else [[one] for one in medians])
    if not steady and not colds:
        return None
    return Measured(name=name, processes=max(1, len(colds)), cold_s=colds, first_s=calls[:1], steady=steady)


def seconds_in(events: Iterable[Mapping[str, Any]], event: str, key: str) -> tuple[float, ...]:
    """The numbers under one key of one kind of event."""
    found: list[Any] = [entry.get(key) for entry in events if entry.get("event") == event]
    return tuple(float(value) for value in found if is_number(value) and value >= 0)
