"""``jitwarmup demo``: the main job, end to end, on a real language model, by the decorator and by the context manager."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from jitwarmup.cli.models import DemoModel, load
from jitwarmup.cli.progress import Progress
from jitwarmup.records.report import Report
from jitwarmup.records.units import span
from jitwarmup.views.text import table

PROMPT = "What is the capital of France?"


def parser() -> argparse.ArgumentParser:
    """The words of the command."""
    words = argparse.ArgumentParser(prog="jitwarmup demo", description=__doc__)
    words.add_argument("--model", choices=("auto", "smollm2", "tiny"), default="auto", help="which model (auto)")
    words.add_argument("--prompt", default=PROMPT, help=f"what to ask ({PROMPT!r})")
    words.add_argument("--new-tokens", type=positive, default=16, metavar="N", help="tokens to generate at most (16)")
    words.add_argument("--iterations", type=int, default=5, metavar="N", help="warm-up runs (5)")
    words.add_argument("--measurements", type=positive, default=20, metavar="N", help="timed runs (20)")
    words.add_argument("--json", action="store_true", help="print one JSON document in place of the table")
    return words


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, wanted 1 or more")
    return number


def run(argv: Sequence[str]) -> int:
    """Load a model, warm it up, measure it, show what came of it."""
    from jitwarmup.cli import Exit
    from jitwarmup.events.sinks import configure_json

    asked = parser().parse_args(argv)
    configure_json()
    try:
        model = load(asked.model)
    except (FileNotFoundError, ImportError) as error:
        print(f"jitwarmup demo: {error}", file=sys.stderr)
        return Exit.ENVIRONMENT
    report, answer, block_s = measure(model, asked)
    if asked.json:
        print(json.dumps(document(model, report, answer, block_s)))
    else:
        print(shown(model, report, answer, block_s))
    return Exit.VALIDATION if report.failure is not None else Exit.GOOD


def measure(model: DemoModel, asked: argparse.Namespace) -> tuple[Report, str | None, float | None]:
    """The main job: one decorated function, measured by itself and called inside a block."""
    from jitwarmup.api.decorator import warmed
    from jitwarmup.api.steady import SteadyState, steady_state
    from jitwarmup.engine.options import BlockSettings
    from jitwarmup.gpu.monitor import GPUMonitor

    @warmed(iterations=asked.iterations, measurements=asked.measurements)
    def generate(prompt: str) -> str:
        return model.generate(prompt, asked.new_tokens)

    gpu = GPUMonitor()
    with SteadyState(None, (), BlockSettings(listener=Progress(), monitor=gpu)) as steady:
        report: Report = steady.measure(generate, asked.prompt)
    if report.failure is not None:
        return report, None, None
    with steady_state(monitor=gpu) as block:
        answer = generate(asked.prompt)
    return report, answer, block.block.duration_s if block.block is not None else None


def document(model: DemoModel, report: Report, answer: str | None, block_s: float | None) -> dict[str, Any]:
    """All of it as one JSON document."""
    return {
        "model": model.name,
        "origin": model.origin,
        "answer": answer,
        "block_s": block_s,
        "report": report.to_dict(),
    }


def shown(model: DemoModel, report: Report, answer: str | None, block_s: float | None) -> str:
    """All of it as text."""
    head = f"{model.name}, from {model.origin}"
    if report.failure is not None:
        failure = report.failure
        return f"{head}\nfailed in {failure.phase} run {failure.index}: {failure.type}: {failure.message}"
    return "\n".join([head, table(rows(report, block_s)), f"answer: {answer}", f"verdict: {verdict(report)}"])


def verdict(report: Report) -> str:
    """The verdict and its reasons in one line."""
    reasons = ", ".join(dict.fromkeys(reason.kind for reason in report.verdict.reasons))
    return f"{report.verdict.state}{f' ({reasons})' if reasons else ''}"


def rows(report: Report, block_s: float | None) -> list[tuple[str, str]]:
    """The figures of the table."""
    cold, steady = report.validation, report.latency
    warm_s = sum(run.duration_s for run in report.warmup)
    found = [
        ("cold run (validation)", span(cold.duration_s if cold is not None else None)),
        (f"warm-up, {len(report.warmup)} silent runs", span(warm_s)),
        (f"steady median of {steady.n} runs", span(steady.median_s)),
        (interval(report), f"{span(steady.ci_low_s)} to {span(steady.ci_high_s)}"),
    ]
    if cold is not None and steady.median_s:
        found.append(("speed-up, cold to steady", f"{cold.duration_s / steady.median_s:.2f} x"))
    return [*found, ("a call in a `with` block", span(block_s))]


def interval(report: Report) -> str:
    """What the interval is called, with the level it really achieves."""
    level = report.latency.ci_level
    return "  its interval" if level is None else f"  its {level:.1%} interval"
