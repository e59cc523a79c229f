"""``jitwarmup sweep``: many configurations of one generation, each validated first, saved at once, resumed by a rerun."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from jitwarmup.cli.terminal import Parser, choose_log, with_messages
from jitwarmup.integrations.sweep import Configuration, Result, Sweep, exit_code, from_file, level, product
from jitwarmup.integrations.sweep.configurations import ATTENTION, DTYPES, FIELDS, LOWEST, MODES, SDPA
from jitwarmup.integrations.sweep.export import to_datasets, to_framework
from jitwarmup.records.codec import encode
from jitwarmup.records.text import shortened
from jitwarmup.records.units import span

OFF = "none"  # on the command line: the field's None
ABOUT = "Exit codes: 0 all are well, 1 some have failed, 2 usage, 3 all have failed, 130 interrupted."
LISTS = {  # what takes several values, and its help; the API checks them
    "model": "smollm2, tiny, a folder, a .gguf file or a hub name (smollm2)",
    "attention": f"{', '.join(ATTENTION)} or another",
    "sdpa": f"{OFF}, {', '.join(SDPA)}",
    "compile_mode": ", ".join(mode or OFF for mode in MODES),
    "compile_backend": "(inductor)",
    "cache": "cache_implementation: static, ...",
    "dtype": ", ".join(DTYPES),
    "device": "(the accelerator there is, else the CPU)",
    "batch": "(1)",
    "prompt_tokens": "(128)",
    "new_tokens": "(128)",
}


def parser() -> Parser:
    """The words of the command."""
    words = Parser(prog="jitwarmup sweep", description=__doc__)
    with_messages(words)
    words.epilog = f"{ABOUT} {words.epilog}"
    words.add_argument("--results", default="sweep.jsonl", metavar="FILE", help="resumed, appended to (sweep.jsonl)")
    source = words.add_mutually_exclusive_group()
    source.add_argument("--level", type=int, metavar="N", help="the framework's levels, 0 to 4")
    source.add_argument("--file", metavar="FILE", help="configurations: JSON, JSONL or YAML; what it says wins")
    lists = words.add_argument_group("each takes several values; the product of all is run")
    for name, text in LISTS.items():
        kind, shown_as = (int, "N") if name in LOWEST else (str, "NAME")
        lists.add_argument(f"--{name.replace('_', '-')}", nargs="+", type=kind, metavar=shown_as, help=text)
    words.add_argument("--iterations", type=int, metavar="N", help="warm-up runs (5)")
    words.add_argument("--measurements", type=int, metavar="N", help="timed runs (20)")
    words.add_argument("--compile-all-devices", action="store_true", default=None, help="compile on a CPU too")
    words.add_argument("--kernels", action="store_true", default=None, help="kernelize the model")
    words.add_argument("--no-monitoring", dest="monitoring", action="store_false", default=None)
    words.add_argument("--process", action="store_true", help="a process of its own for each configuration")
    words.add_argument("--timeout", type=float, metavar="S", help="seconds for one process")
    words.add_argument("--retry-failed", action="store_true", help="run those again that have failed")
    words.add_argument("--list", action="store_true", help="only show what would be run")
    words.add_argument("--export-framework", metavar="DIR", help="write HuggingFace's benchmark_v2 layout as well")
    words.add_argument("--export-datasets", metavar="DIR", help="write a folder for datasets.load_dataset as well")
    words.add_argument("--json", action="store_true", help="print one JSON document in place of the table")
    return words


def chosen(asked: argparse.Namespace) -> list[Configuration]:
    """The configurations: of a level or file with the words as defaults of what it leaves open, else their product."""
    given = {name: value for name in FIELDS if (value := getattr(asked, name, None)) is not None}
    for name in LISTS.keys() & given.keys():
        given[name] = [None if item == OFF else item for item in given[name]]
    if asked.level is not None:
        return level(asked.level, given)
    return from_file(asked.file, given) if asked.file is not None else product(given)


def run(argv: Sequence[str]) -> int:
    """Choose, run what is missing, show and export."""
    from jitwarmup.gpu.monitor import GPUMonitor

    asked = parser().parse_args(argv)
    configurations = chosen(asked)
    choose_log()
    sweep = Sweep(
        configurations,
        asked.results,
        monitor=None if asked.process else GPUMonitor(),
        process=asked.process,
        timeout_s=asked.timeout,
        retry_failed=asked.retry_failed,
        on_result=tick,
    )
    if asked.list:
        missing = {one.hash for one in sweep.missing()}
        for one in sweep.configurations:
            print(shortened(f"{one.hash}  {'to do' if one.hash in missing else 'done '}  {one.name}"))
        return 0
    results = sweep.run()
    if not asked.messages:
        results = [result.without_messages() for result in results]
    code, rows = exit_code(results), [summary(result) for result in results]
    print(json.dumps({"exit_code": code, "results": rows}) if asked.json else table(rows))
    for export, folder in ((to_framework, asked.export_framework), (to_datasets, asked.export_datasets)):
        if folder:
            print(shortened(f"written: {export(results, folder)}"), file=sys.stderr)
    if sweep.unsaved is not None:
        raise sweep.unsaved  # last: all that could be had has been shown
    return code


def summary(result: Result) -> dict[str, Any]:
    """One result without its runs. A failed one has no latency: it must not look fastest."""
    report, fault = result.report, result.fault
    row: dict[str, Any] = {"hash": result.hash, "name": result.name, "failed": result.failed}
    if fault is not None:
        return row | {"kind": fault.kind, "phase": fault.phase, "type": fault.type, "message": fault.message}
    if report is not None:
        first, gap = report.first_item, report.item_gap
        row |= {
            "latency_s": report.latency_s,
            "first_token_s": first.median_s if first is not None else None,
            "token_gap_s": gap.median_s if gap is not None else None,
            "tokens_per_s": report.items_per_s,
            "verdict": report.verdict.state,
            "reasons": [reason.kind for reason in report.verdict.reasons],
            "facts": dict(report.facts),
            "advice": [encode(item) for item in report.advice],
        }
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table for people: the fast first, the failed last, each with its reason."""
    well = sorted((row for row in rows if not row["failed"]), key=lambda row: row["latency_s"] or 0.0)
    lines = [f"{'latency':>9} {'1st token':>9} {'gap':>9} {'tok/s':>8}  {'verdict':12} configuration"]
    for row in well:
        rate = f"{row['tokens_per_s']:.1f}" if row["tokens_per_s"] else "-"
        spans = " ".join(f"{span(row[name]):>9}" for name in ("latency_s", "first_token_s", "token_gap_s"))
        mark = "*" if "not_compiled" in row["reasons"] else " "
        lines.append(f"{spans} {rate:>8} {mark}{row['verdict']:12} {row['name']}")
    if any("not_compiled" in row["reasons"] for row in well):
        lines.append("* asked to be compiled and was not")
    for row in rows:
        if row["failed"]:
            words = shortened(row["message"].strip().split("\n")[0], 100)
            lines.append(f"failed in {row['phase']}: {row['name']}: {row['kind']}: {row['type']}: {words}")
    return "\n".join(map(shortened, lines))


def tick(done: int, total: int, result: Result, left_s: float, out: TextIO | None = None) -> None:
    """One line as a configuration ends, with what is left to do; nothing where ``out`` (stderr) is no terminal."""
    out = out or sys.stderr
    if out.isatty():
        fault, report = result.fault, result.report
        came = f"failed in {fault.phase}: {fault.type}" if fault else span(report.latency_s if report else None)
        eta = f"  about {span(left_s)} left" if done < total else ""
        out.write(shortened(f"[{done}/{total}] {result.name}: {came} ({span(result.duration_s)}){eta}") + "\n")
        out.flush()
