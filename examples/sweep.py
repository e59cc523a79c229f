"""A sweep of three configurations of which one cannot load: its reason is kept, the others have figures."""

import tempfile
from pathlib import Path

from jitwarmup.integrations.sweep import Sweep, exit_code, product

configurations = product(
    {
        "model": "tiny",
        "attention": ["eager", "sdpa", "flash_attention_2"],
        "prompt_tokens": 16,
        "new_tokens": 8,
        "iterations": 2,
        "measurements": 5,
    }
)

with tempfile.TemporaryDirectory() as folder:
    sweep = Sweep(configurations, Path(folder) / "results.jsonl")
    for result in sweep.run():
        if result.fault is not None:
            print(f"{result.name}: failed in {result.fault.phase}, {result.fault.kind}")
        else:
            print(
                f"{result.name}: {result.report.latency_s * 1e3:.2f} ms, {result.report.facts['output_tokens']} tokens"
            )
    print(f"exit code {exit_code(sweep.run())}, a rerun runs {len(sweep.missing())}")
