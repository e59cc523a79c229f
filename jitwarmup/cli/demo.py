"""``jitwarmup demo``: the main job, end to end, on a real language model, by the decorator and by the context manager."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from jitwarmup.cli import Exit
from jitwarmup.cli.models import DemoModel, load
from jitwarmup.cli.progress import Progress
from jitwarmup.cli.terminal import choose_log, command, painter, positive, width, with_messages
from jitwarmup.records.report import Report
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span
from jitwarmup.views.summary import summary

PROMPT = "What is the capital of France?"


def run(argv: Sequence[str]) -> int:
    """Load a model, warm it up, measure it, show what came of it."""
    words = command("demo", __doc__, markdown=False)
    words.add_argument("--model", choices=("auto", "smollm2", "tiny"), default="auto", help="which model (auto)")
    words.add_argument("--prompt", default=PROMPT, help=f"what to ask ({PROMPT!r})")
    words.add_argument("--new-tokens", type=positive, default=16, metavar="N", help="tokens to generate at most (16)")
    words.add_argument("--iterations", type=int, default=5, metavar="N", help="warm-up runs (5)")
    words.add_argument("--measurements", type=positive, default=20, metavar="N", help="timed runs (20)")
    with_messages(words)
    asked = words.parse_args(argv)
    choose_log()
    try:
        model = load(asked.model)
    except (FileNotFoundError, ImportError) as error:
        print(f"jitwarmup demo: {shortened(str(error))}", file=sys.stderr)
        return Exit.ENVIRONMENT
    report, answer, block_s = measure(model, asked)
    if not asked.messages:
        report = report.without_messages()
    if asked.json:
        document = {"model": model.name, "origin": model.origin, "answer": answer, "block_s": block_s}
        print(json.dumps(document | {"report": report.to_dict()}))
    else:
        print(f"{model.name}, from {model.origin}\n\n{summary(report, width(), painter(asked), message=True)}")
    if report.failure is not None:
        return Exit.VALIDATION
    if not asked.json:
        print(f"\na call in a `with` block: {span(block_s)}\nanswer: {shortened(answer or '')}")
    return Exit.GOOD


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
