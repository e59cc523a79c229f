"""What to do next about each kind of work and each finding: one table, as data, for every view."""

from __future__ import annotations

from collections.abc import Mapping

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
    "unexplained": "no probe saw why: lazy initialisation, cold CPU caches, page faults, or the machine's other work",
}

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
    "throttled": "the device was held below its clock: cool it, lift its power limit, or measure shorter bursts",
    "clock_not_settled": "the device's clock moved while measuring: warm up longer, or lock the clocks",
    "temperature_drift": "the device warmed up while measuring",
    "device_shared": "other processes used the device meanwhile",
    "interrupted": "what was finished is kept; run it again for a verdict",
    "left_early": "the loop was left before all measurements were made",
    "arguments_mutated": "the first run changed its arguments in place: give fresh=",
}


def about_work(kind: str) -> str | None:
    """Advice on a kind of work, by its name or what it begins with."""
    return WORK.get(kind) or WORK.get(kind.split(".", 1)[0])


def about_finding(kind: str) -> str | None:
    """Advice on a verdict's reason."""
    return FINDINGS.get(kind)
