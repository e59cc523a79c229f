"""
Every key an event may carry: its name, type, unit, and one sentence; and a device reading and a ledger as such keys.

Names are flat snake_case with the unit at the end. None equals an attribute of ``logging.LogRecord`` or a word structlog
owns (``event``, ``level``, ``timestamp``), so any processor may pass the fields on as they are; that is why the name a
user gives is ``label``. A name with ``<...>`` in it is a pattern: one key for each cause, limit or number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jitwarmup.records.runs import DeviceReading

KeyType = Literal["str", "int", "float", "bool", "list"]  # a list holds str only

TEXT = 200  # characters a text keeps unless its key has another limit
LIST = 16  # entries a list keeps
PATTERN = 24  # keys one pattern may add to an event


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``limit`` is characters of a str, entries of a list, keys of a pattern; ``opt_in`` keys must be asked for."""

    name: str
    type: KeyType
    text: str
    unit: str = ""
    limit: int = 0
    opt_in: bool = False

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What the names of a pattern key match; None where the name is plain."""
        return re.compile(re.sub(r"<\w+>", "[a-z0-9_]{1,40}", self.name)) if "<" in self.name else None


def text(name: str, meaning: str, limit: int = TEXT) -> Key:
    return Key(name, "str", meaning, limit=limit)


def names(name: str, meaning: str) -> Key:
    return Key(name, "list", meaning, limit=LIST)


def count(name: str, meaning: str) -> Key:
    return Key(name, "int", meaning, "By" if name.endswith("_bytes") else "1")


def number(name: str, unit: str, meaning: str) -> Key:
    return Key(name, "float", meaning, unit, limit=PATTERN if "<" in name else 0)


def seconds(name: str, meaning: str) -> Key:
    return number(name, "s", meaning)


def flag(name: str, meaning: str) -> Key:
    return Key(name, "bool", meaning)


COMMON = (
    text("schema", "The schema of the event, `jitwarmup/1`; minor versions only add keys.", 20),
    text("callable", "Module and qualified name of the function; never a repr, which would show arguments."),
    text("report_id", "Which Report it belongs to: the same on every event of one measurement or block.", 40),
    text("label", "The name given by `name=`.", 120),
    text("key", "What the warm-up is good for: shapes, a bucket or a digest; never a value.", 120),
    count("rank", "Rank of this process under torch.distributed."),
    count("world_size", "Number of processes under torch.distributed."),
)
ERROR_TYPE = text("error_type", "Module and name of the exception's type.", 120)
MESSAGE = Key(
    "error_message", "str", "The exception's message; only with `log_messages=True`.", limit=TEXT, opt_in=True
)
ERROR = (ERROR_TYPE, MESSAGE)
PHASE = text("phase", "validate, warm or measure.", 20)
REASON = text("reason", "Why, rebuilt from known forms; never a guard's own text, which holds argument values.", 300)
LATENCY = seconds(
    "latency_s", "Median wall seconds of the clean runs; -1.0 exactly when it failed without a clean run."
)
DURATION = seconds("duration_s", "Wall seconds from fence to fence.")
OUTCOME = (DURATION, text("outcome", "ok, error, cancelled or closed.", 20))
CONTAMINATED = flag("contaminated", "Whether one-time work of its own happened in it.")
PLAN = (count("iterations", "Warm-up runs made after the validation run."),)
SKIPPED = (
    text("skipped", "Why the warm-up was skipped, such as arguments_mutated.", 60),
    text("argument_class", "The class of an argument of which nothing is known; once per class.", 120),
)
RNG_RESTORED = flag("rng_restored", "Whether every run started from the random state of the call.")
KINDS = names("work", "Kinds of one-time work seen, each once, such as `dynamo.recompile`.")
WORK = (KINDS, count("work_count", "How often one-time work happened."))
LEDGER = (seconds("ledger_<cause>_s", "Seconds of validation and warm-up by cause; they sum to the wall time."),)
RATE = (
    seconds("first_item_s", "Seconds inside the stream until its first item."),
    number("items_per_s", "1/s", "Items per second inside the stream."),
)
STREAM = (*RATE, count("items", "Items the stream yielded."))
CONTENDED = number("contended_share", "ratio", "Share of the wall time the calling thread waited for a CPU, 0 to 1.")
HOST = (seconds("wait_s", "Seconds the calling thread waited for a CPU."), CONTENDED)
PATH = text("path", "How the rule came to its decision.", 60)
DECISION = (PATH, number("decision_<number>", "", "A number the rule decided on, in the unit its name ends with."))
QUANTILES = (
    seconds("p90_s", "90th percentile of the run time."),
    seconds("p95_s", "95th percentile of the run time."),
    seconds("p99_s", "99th percentile of the run time."),
)
SPREAD = (
    seconds("median_s", "Exact median of the run times, never rebuilt from buckets."),
    seconds("ci_low_s", "Lower end of the median's confidence interval."),
    seconds("ci_high_s", "Upper end of the median's confidence interval."),
    number("ci_level", "ratio", "Level of that interval, 0 to 1."),
    seconds("mean_s", "Mean run time."),
    seconds("stdev_s", "Standard deviation of the run time."),
    seconds("mad_s", "Median absolute deviation of the run time."),
    seconds("min_s", "Shortest run."),
    seconds("max_s", "Longest run."),
    *QUANTILES,
)
DEVICE = (
    text("device_uuid", "UUID of the device that was read.", 60),
    text("device_name", "Its product name.", 60),
    text("device_status", "ok, partial, unsupported, gpu_lost, stalled, no_permission or unavailable.", 20),
    count("device_count", "Devices read in the window; the keys here are of the first."),
    number("device_energy_j", "J", "Energy spent in the window."),
    text("device_energy_source", "ring, counter or power_integral.", 20),
    number("device_energy_error_j", "J", "Bound of that energy's error."),
    number("device_power_mean_w", "W", "Mean power."),
    number("device_power_max_w", "W", "Highest power."),
    number("device_temperature_before_c", "Cel", "Temperature at the start of the window."),
    number("device_temperature_c", "Cel", "Temperature at the end of the window."),
    number("device_sm_clock_before_mhz", "MHz", "SM clock at the start of the window."),
    number("device_sm_clock_mhz", "MHz", "SM clock at the end of the window."),
    number("device_sm_clock_max_mhz", "MHz", "Highest SM clock the device allows."),
    seconds("device_throttled_<limit>_s", "Seconds under one clock limit."),
    names("device_reasons", "Clock limits active at the window's edges."),
    count("device_memory_peak_bytes", "Peak of the allocator."),
    count("device_memory_used_before_bytes", "Device memory in use at the start of the window."),
    count("device_memory_used_bytes", "Device memory in use at the end of the window."),
    number("device_sm_active_pct", "%", "Share of time the SMs were active."),
    number("device_tensor_active_pct", "%", "Share of time the tensor cores were active."),
    number("device_dram_bw_pct", "%", "Share of the memory bandwidth in use."),
    count("device_other_processes", "Other processes seen on the device."),
    count("device_samples", "Samples behind the reading."),
    names("device_missing", "Metrics that could not be read."),
)
GROWTH = (
    number("memory_grows_bytes", "By", "Bytes of resident memory each run added, where that went on and on."),
    number("graphs_grow", "1", "Graphs each run added, where that went on and on."),
    number("descriptors_grow", "1", "File descriptors each run left open, where that went on and on."),
)
FAILED_RANKS = (names("failed_ranks", "Ranks of a job that failed, left, died or did not come."),)
RANKS = (
    count("straggler_rank", "The rank that was the slowest most often."),
    number("straggler_share", "ratio", "Share of the measured runs in which it was."),
    seconds("rank_skew_s", "Median over the runs of the slowest rank's time minus the fastest's."),
    seconds("rank_fastest_s", "Median run time of the rank with the shortest one."),
    seconds("rank_slowest_s", "Median run time of the rank with the longest one."),
    names("contaminated_ranks", "Ranks that paid for one-time work in measured runs."),
)
VALIDATION = (
    PHASE,
    *OUTCOME,
    *WORK,
    *STREAM,
    *HOST,
    seconds("cpu_s", "CPU seconds of the calling thread."),
    count("switches", "Involuntary context switches of the calling thread."),
)
LEFT = (
    count("runs_left", "Silent warm-up runs that follow; absent where a rule decides on the way."),
    seconds("left_s", "What they will take together, if each takes what this one took without its one-time work."),
)
WARMUP = (
    *PLAN,
    seconds("duration_s", "Wall seconds of validation and warm-up together."),
    count("runs", "Runs made, the validation run included."),
    seconds(
        "cold_s", "Seconds of the key's first run in this process, whenever it was; absent where it was warm before."
    ),
    seconds("last_s", "Seconds of the last warm-up run."),
    flag("monitor_paused", "Whether the device monitor was paused for validation and warm-up."),
    RNG_RESTORED,
    *LEDGER,
)
STEADY = (*PLAN, count("runs", "Runs made so far."), seconds("median_s", "Median of the last warm-up runs."), *DECISION)
FACTOR = number(
    "factor", "ratio", "Mean time of the newest clean calls over that of the first ones, where they drifted."
)
LOST = (
    REASON,
    FACTOR,
    KINDS,
    seconds("duration_s", "Wall seconds of the call on which it was lost; absent for drift."),
    count("recompiles", "Recompiles among it."),
    count("limit", "Recompiles the compiler allows before it gives up."),
    count("used", "Recompiles used up so far."),
    text("advice", "Which key= would keep calls from recompiling; once per function without one.", 160),
    seconds("paid_<cause>_s", "Seconds of one-time work of the call on which it was lost, by cause."),
)
CALL = (*OUTCOME, *ERROR, CONTAMINATED, *STREAM, *WORK, *HOST, *DEVICE)
TOTALS = (
    count("count", "Calls that ended well since the last summary, exact."),
    seconds("sum_s", "Their seconds, exact."),
    seconds("min_s", "The shortest, exact."),
    seconds("max_s", "The longest, exact."),
    seconds("mean_s", "Sum over count."),
    seconds("median_s", "Median of the last `recent` calls."),
    *QUANTILES,
    count("recent", "Calls the percentiles are taken over, at most 10,000."),
    count("errors", "Calls that raised, which are not in `count`."),
    count("contaminated_count", "Calls during which one-time work of their own happened."),
)
COVERAGE = (
    count("missed_count", "Calls that missed it so far."),
    count("keys_warm", "Keys that are warm."),
    text("reason", "Why the key was not warm.", 120),
)
DEGRADED = (
    text("metric", "What could not be read.", 60),
    text("reason", "Why it could not be read.", 300),
    text("monitor", "The monitor's type.", 120),
)
MEASURED = (
    LATENCY,
    seconds("duration_s", "Wall seconds of the whole measurement."),
    count("runs", "Runs of every phase."),
    *PLAN,
    count("measurements", "Measured runs asked for."),
    count("measured_runs", "Measured runs made and kept."),
    count("clean_runs", "Measured runs without one-time work of their own; the summary is theirs."),
    count("contaminated_runs", "Measured runs during which one-time work of their own happened."),
    count("discarded_runs", "Runs set aside when the warm-up was armed again."),
    text("verdict", "steady, unsteady, contaminated, degraded, undecided or invalid.", 20),
    names("verdict_reasons", "Kinds of the verdict's reasons."),
    *SPREAD,
    seconds(
        "cold_s", "Seconds of the key's first run in this process, whenever it was; absent where it was warm before."
    ),
    seconds("warmup_s", "Seconds of validation and warm-up together."),
    number("speedup", "ratio", "Cold run over the median of the clean runs."),
    names("watched", "Probes that could look for one-time work."),
    names("unwatched", "Probes that could not."),
    *RATE,
    seconds("item_gap_s", "Median seconds between the items of a stream."),
    CONTENDED,
    seconds("own_time_s", "Median own time: wall time less waiting for a CPU that others held."),
    seconds("process_cpu_s", "Median CPU seconds of a run, on all threads of the process."),
    seconds("overhead_s", "Seconds that the timing itself adds to a run."),
    RNG_RESTORED,
    *RANKS,
    *GROWTH,
    *LEDGER,
    *DEVICE,
)
BLOCK = (*OUTCOME, *STREAM, CONTAMINATED, count("reports", "Measurements made inside it."), *WORK, *HOST, *DEVICE)
FAILED = (PHASE, count("index", "Which run of that phase failed, from 0."), *ERROR, *FAILED_RANKS)


def device_fields(reading: DeviceReading | None) -> dict[str, Any]:
    """
    The ``device_...`` keys of a reading; none where there is no reading.

    A pair (before, after) gives two keys; what is None, empty or unread is left out, never 0. The keys are of the first
    device; ``device_count`` says how many were read.
    """
    if reading is None:
        return {}
    fields: dict[str, Any] = {}
    for key in DEVICE:
        value = getattr(reading, key.name.removeprefix("device_"), None)
        if isinstance(value, tuple):  # before and after the window
            stem, unit = key.name.rsplit("_", 1)
            fields[f"{stem}_before_{unit}"], value = value
        fields[key.name] = value
    fields |= {
        "device_count": 1 + len(reading.others),
        "device_reasons": list(reading.reasons_at_edges),
        "device_other_processes": len(reading.other_pids) or None,
        "device_missing": sorted(reading.missing),
    }
    fields |= {f"device_throttled_{slug(limit)}_s": spent for limit, spent in reading.throttled_s.items()}
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def ledger_fields(ledger: Mapping[str, float], stem: str = "ledger", most: int = PATTERN - 1) -> dict[str, float]:
    """
    The ``<stem>_<cause>_s`` keys of a ledger; beyond ``most`` causes the smallest are summed as ``<stem>_other_s``.

    So the keys still sum to the wall time.
    """
    fields: dict[str, float] = {}
    for index, (cause, spent) in enumerate(sorted(ledger.items(), key=lambda entry: -entry[1])):
        name = f"{stem}_{slug(cause) if index < most else 'other'}_s"
        fields[name] = fields.get(name, 0.0) + spent
    return fields


def slug(name: str) -> str:
    """A name as part of a key: lower case, at most 40 of a-z, 0-9 and underscore."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "unnamed"
