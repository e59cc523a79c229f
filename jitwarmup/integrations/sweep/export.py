"""
Results in the layouts that HuggingFace's benchmark framework writes, so that what reads those goes on working.

Its JSON (``<model>/<model>_benchmark_<time>.json``: hash -> metadata, measurements, config) and its dataset rows
(``full_results`` and ``summarized_results``). Differences, all additions or corrections: times are float64, ``end()`` is
no token, only clean runs are listed (all of them where none is clean), the decoded text is a hash, the reason of a
failure stands in ``metadata.failure``, what we saw in ``metadata.jitwarmup``.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

from jitwarmup.analysis.compose import timed
from jitwarmup.integrations.sweep.configurations import Configuration
from jitwarmup.integrations.sweep.results import Result
from jitwarmup.records.files import file_name, make_folder, save_text
from jitwarmup.records.runs import Run
from jitwarmup.records.units import moment

STAMP = "%Y%m%d_%H%M%S"


def to_framework(results: Sequence[Result], folder: str | Path) -> Path:
    """Write one JSON for each model, in a folder named after it; the file of the last one."""
    stamp, written = datetime.now(UTC).strftime(STAMP), Path(folder)
    for model in dict.fromkeys(result.configuration.model for result in results):
        name = file_name(model)
        found = {one.hash: entry(one, summarized=False) for one in results if one.configuration.model == model}
        written = Path(folder) / name / f"{name}_benchmark_{stamp}.json"
        write(written, json.dumps(found, indent=4))
    return written


def to_datasets(results: Sequence[Result], folder: str | Path) -> Path:
    """Write the rows that the framework pushes to a hub, as a folder: ``datasets.load_dataset(folder, "full_results")``."""
    stamp, place = datetime.now(UTC).strftime(STAMP), Path(folder)
    for name in ("full_results", "summarized_results"):
        rows = [{"benchmark_config_hash": one.hash, **entry(one, summarized=name[0] == "s")} for one in results]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write(place / name / f"benchmark_run_{stamp}.jsonl", lines)
    write(place / "README.md", CARD)
    return place


CARD = """---
configs:
- config_name: full_results
  data_files: full_results/*.jsonl
- config_name: summarized_results
  data_files: summarized_results/*.jsonl
---
Written by `jitwarmup sweep`, in the rows of HuggingFace transformers' `benchmark_v2`.
"""


def write(path: Path, text: str) -> None:
    make_folder(path.parent)
    save_text(path, text)


def entry(result: Result, *, summarized: bool) -> dict[str, Any]:
    """One configuration; the keys are the framework's, but for ``failure`` and ``jitwarmup``."""
    measurements, config = measurements_of(result, summarized=summarized), config_of(result.configuration)
    return {"metadata": metadata_of(result), "measurements": measurements, "config": config}


def metadata_of(result: Result) -> dict[str, Any]:
    facts, report, fault = result.metadata, result.report, result.fault
    ours = report and {
        "verdict": report.verdict.state,
        "reasons": [reason.kind for reason in report.verdict.reasons],
        "contaminated_runs": sum(run.contaminated for run in report.measured),
        "configuration": result.configuration.to_dict(),
    }
    return {
        "model_id": result.configuration.model,
        "timestamp": moment(result.started_at).isoformat(),
        "branch_name": facts.get("branch_name") or "main",
        "commit_id": facts.get("commit_id") or "",
        "commit_message": "",
        "hardware_info": {
            "gpu_name": facts.get("device"),
            "gpu_memory_total_gb": None,
            "python_version": facts.get("python", platform.python_version()),
            "torch_version": facts.get("torch"),
        },
        "success": not result.failed,
        "failure": fault and {"kind": fault.kind, "phase": fault.phase, "type": fault.type, "message": fault.message},
        "jitwarmup": ours,
    }


def measurements_of(result: Result, *, summarized: bool) -> dict[str, Any]:
    """Times in seconds of each run; empty lists where it failed, as the framework has them."""
    finished = timed(result.report.runs) if result.report is not None else []
    runs = [run for run in finished if run.clean] or finished
    facts = result.report.facts if result.report is not None else {}
    shape = (result.configuration.batch, facts.get("output_tokens", result.configuration.new_tokens))
    output = f"{shape} | {facts.get('output_hash', 'outputs differ')}"  # a hash: no text leaves the process
    return {
        "e2e_latency": [run.duration_s for run in runs],
        "time_to_first_token": [run.first_item_s for run in runs if run.first_item_s is not None],
        "inter_token_latency": [fmean(run.item_gaps_s) for run in runs if run.item_gaps_s],
        "shape_and_decoded_outputs": [output] * len(runs),
        "gpu_metrics": None,
        "timestamps": None if summarized else [[token_times_s(run)] for run in runs],
    }


def token_times_s(run: Run) -> list[float]:
    """Seconds from the beginning of the run to each token, the end not among them."""
    return [] if run.first_item_s is None else list(accumulate(run.item_gaps_s or (), initial=run.first_item_s))


def config_of(configuration: Configuration) -> dict[str, Any]:
    mode, backend = configuration.compile_mode, configuration.compile_backend
    compiled = {"fullgraph": configuration.compile_fullgraph, "backend": backend, "mode": mode}
    return {
        "name": configuration.name,
        "warmup_iterations": configuration.iterations,
        "measurement_iterations": configuration.measurements,
        "gpu_monitoring": configuration.monitoring,
        "continuous_batching": False,
        "batch_size": configuration.batch,
        "sequence_length": configuration.prompt_tokens,
        "num_tokens_to_generate": configuration.new_tokens,
        "attn_implementation": configuration.attention,
        "compile_kwargs": None if mode is None else {**compiled, "dynamic": None, "options": None},
        "kernelize": configuration.kernels,
    }
