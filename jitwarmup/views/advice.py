"""The findings of a verdict in words, and what to do next about each and about each kind of work: tables, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from jitwarmup.records.units import span
from jitwarmup.records.verdict import Reason

WORK: Mapping[str, str] = {
    "dynamo.capture": "the first call of compiled code captures a graph: call .warm() before the first user does",
    "dynamo.recompile": "warm up with every shape that is measured or served, pad to buckets, or mark the size dynamic "
    "(torch._dynamo.mark_dynamic)",
    "dynamo.graph_break": "torch._dynamo.explain(function)(...) shows the line; fullgraph=True makes it an error",
    "dynamo.eager_fallback": "the recompile limit is reached and calls run uncompiled: make fewer variants, or raise "
    "torch._dynamo.config.recompile_limit",
    "dynamo.failed": "compilation failed: run once with TORCH_LOGS=dynamo to see why",
    "inductor.compile": "keep TORCHINDUCTOR_CACHE_DIR between starts; compile regions in place of the whole model",
    "cpp.compile": "keep TORCHINDUCTOR_CACHE_DIR between starts: built kernels are found again there",
    "triton.compile": "keep TRITON_CACHE_DIR between starts",
    "autotune": "autotuning pays once for each shape: warm up with all shapes, or leave max-autotune out",
    "cudagraph.record": "reduce-overhead records on the second and third call: three warm-up runs for each shape",
    "cudagraph.rerecord": "an input's address changed: keep static inputs at one place, pin max_cache_len",
    "cudagraph.skip": "CUDA graphs were skipped: TORCH_LOGS=cudagraphs says why",
    "allocator.grow": "warm up with the largest shape first, so that the allocator grows once",
    "allocator.retry": "memory is nearly full: the allocator had to free and try again",
    "kv_cache.allocate": 'a cache is made anew: reuse a static cache (cache_implementation="static", max_cache_len=...)',
    "import": "modules were imported on first use: import them, or call .warm(), at start-up",
    "dlopen": "libraries were loaded on first use: call .warm() at start-up",
    "compiler.subprocess": "compilers ran beside: keep the compile caches between starts",
    "process.stopped": "stopped, or its machine paused, or waiting for what other runs did not: measure again",
    "unexplained": "no probe saw why: lazy initialisation, cold CPU caches, page faults, or the machine's other work",
}

RECOMPILED: Sequence[tuple[str, str]] = (  # what a reason says -> what to do; the first that fits
    (
        r"^a combination of sizes",
        (
            "each size is known, together they are new: warm up with the combinations that are served (key=by_shape keeps "
            "them apart), or mark the sizes dynamic (torch._dynamo.mark_dynamic)"
        ),
    ),
    (
        r"(expected|got) [01]\b",
        (
            "torch makes a program of its own for the sizes 0 and 1: warm up with them too, or mark the "
            "size as one that is not looked at (torch._dynamo.decorators.mark_unbacked)"
        ),
    ),
    (r"^(size|stride|rank) of ", WORK["dynamo.recompile"]),
    (
        r"^global state changed",
        (
            "set threads, grad mode, autocast, default dtype and determinism before the warm-up, and warm "
            "up under what is served"
        ),
    ),
    (r"^(dispatch keys|requires_grad) of ", "warm up and serve under the same mode: inference_mode or no_grad in both"),
    (r"^(dtype|device) of ", "warm up once with each dtype and device that is served, or convert the inputs"),
    (
        r"^value of ",
        (
            "a value that changes is compiled into the program: keep it in a tensor, or out of the compiled part "
            "(of a module's counter: torch._dynamo.config.allow_unspec_int_on_nn_module)"
        ),
    ),
)

FINDINGS: Mapping[str, str] = {
    "compiled_code_given_up": "calls run uncompiled now; see the recompile limit and the shapes of the inputs",
    "not_compiled": "torch.compile was asked for, yet the function ran uncompiled: look at the recompile limit, "
    "torch.compiler.set_stance and torch._dynamo.config.suppress_errors",
    "recompiles_every_run": "every run compiles anew: something it guards on changes each time",
    "one_time_work": "marked runs are left out of the clean figures; warm up longer or with the shapes measured, or "
    'choose on_contamination="redo"',
    "flat_but_not_cause_clean": "the times look flat although work was paid for once: do not trust flatness alone",
    "still_falling": "still getting faster: warm up longer, or until_steady()",
    "not_flat": "the level moved while measuring: measure longer, or look for what else the machine does",
    "cause_clean_but_drifting": "no cause was seen, yet the times move: clocks, memory pressure or the machine",
    "too_few_runs": "measure more runs",
    "too_noisy": "too noisy to tell: a quieter machine, pinned threads, or more measurements",
    "contended": "the thread waited for a CPU: fewer threads, or a machine of its own",
    "host_disagrees": "only the waiting for a CPU explains the movement: the machine, not the code",
    "causes_not_watched": "torch was not loaded, so nobody could look for compiles",
    "memory_grows": "each run keeps memory: results that are held on to, a cache without a bound, or compiled code",
    "graphs_grow": "each run compiles a graph that stays: bound the shapes, pad to buckets, or mark them dynamic",
    "descriptors_grow": "each run leaves a file, pipe or socket open",
    "throttled": "the device was held below its clock: cool it, lift its power limit, or measure shorter bursts",
    "clock_not_settled": "the device's clock moved while measuring: warm up longer, or lock the clocks",
    "temperature_drift": "the device warmed up while measuring",
    "device_shared": "other processes used the device meanwhile",
    "process_stopped": "the process was stopped or its machine paused, or a run waited for what the others did not: "
    "measure again, and look at the median meanwhile",
    "process_missing": "call the function by itself in a fresh process, where it ends or fails like this",
    "interrupted": "what was finished is kept; run it again for a verdict",
    "left_early": "the loop was left before all measurements were made",
    "arguments_mutated": "the first run changed its arguments in place: give fresh=",
    "arguments_unknown": "nothing is known of an argument's class: say reusable= where several runs may share it, or give fresh=",
}


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
    "process_stopped": "{runs:.0f} measured runs stood still: no CPU was used and none was waited for",
    "process_missing": "{missing:.0f} of {processes:.0f} processes gave no time ({subject})",
    "interrupted": "the measurement was interrupted",
    "left_early": "the loop was left early",
    "arguments_mutated": "the first run changed its arguments, so nothing more was run",
    "arguments_unknown": "nothing is known of an argument's class, so nothing more was run",
    "interrupt_answered": "the function answered an interrupt, so nothing more was run",
}


def about_work(kind: str, reasons: Iterable[str] = ()) -> str | None:
    """Advice on a kind of work: by what the reasons of a recompile say, else by its name or what it begins with."""
    if kind == "dynamo.recompile":
        known = [next((way for form, way in RECOMPILED if re.search(form, reason)), None) for reason in reasons]
        if found := list(dict.fromkeys(filter(None, known))):
            return "; ".join(found[:2])
    return WORK.get(kind) or WORK.get(kind.split(".", 1)[0])


def words(reason: Reason, causes: Iterable[str] = ()) -> tuple[str, str]:
    """What was found, and what to do next, by the ``causes`` of its work; the kind itself where it is not known here."""
    if reason.kind.startswith("failed_in_"):
        found = f"{reason.kind.removeprefix('failed_in_')} run {reason.numbers.get('index', 0):.0f} failed"
        return f"{found} with {reason.subject}", "the report's failure holds the message and the traceback"
    unknown = reason.kind.replace("_", " ")
    try:
        found = WORDS.get(reason.kind, unknown).format(subject=reason.subject or "?", **reason.numbers)
    except (KeyError, IndexError, ValueError):  # a report of another version may lack a number
        found = unknown
    count, seconds = reason.numbers.get("count"), reason.numbers.get("duration_s")
    found += f", {count:.0f} times" if count and count > 1 else ""
    return (f"{found}, {span(seconds)}" if seconds else found), way_out(reason, causes)


def way_out(reason: Reason, causes: Iterable[str]) -> str:
    """What to do next: about the kind of work where the finding is about one, else about the finding."""
    about = about_work(reason.subject, causes) if reason.kind == "one_time_work" and reason.subject else None
    return about or FINDINGS.get(reason.kind) or ""
