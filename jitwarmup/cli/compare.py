"""
``jitwarmup compare A B``: two saved measurements (reports, or a log's JSON lines); A is the baseline.

Each time is compared apart (cold, first after ready, steady wall time, own time, CPU time), as a ratio with an interval.
Exit codes: 0 good, every gate passed; 1 a gate failed; 2 usage; 5 undecided: no gate failed, but one cannot be judged (too
few runs or processes, noise wider than the limit), or the environments differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from jitwarmup.analysis.compare import compare
from jitwarmup.analysis.gates import GATED, Judged, judge, parse_gates
from jitwarmup.analysis.sides import Measured, read_sides
from jitwarmup.cli import Exit
from jitwarmup.cli.terminal import command, painter, read, width
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import append_text
from jitwarmup.records.text import shortened
from jitwarmup.views.comparison import comparison_markdown, comparison_text

GATES = f"limits, such as steady:5%%,cpu:3%%,recompiles:0; of {', '.join(GATED)}"


def run(argv: Sequence[str]) -> int:
    """Read, compare, judge, show."""
    words = command("compare", __doc__)
    words.add_argument("a", help="the baseline: a saved file; - for stdin")
    words.add_argument("b", help="what is compared to it")
    words.add_argument("--fail-on", default="", metavar="GATES", help=GATES)
    allowed = "call differences although the environments (torch, CPU, threads, ...) differ"
    words.add_argument("--allow-different-host", action="store_true", help=allowed)
    asked = words.parse_args(argv)
    limits = parse_gates(asked.fail_on)
    matched, missing = match(read(asked.a, read_sides), read(asked.b, read_sides))
    compared = [compare(a, b, allow_different_host=asked.allow_different_host) for a, b in matched]
    judged = [judge(one, limits) for one in compared]
    if asked.json:
        shown = [one.to_dict() | {"gates": [g.to_dict() for g in of]} for one, of in zip(compared, judged, strict=True)]
        print(json.dumps({"comparisons": shown, "only_in_one": missing}))
    else:
        paint, wide = painter(asked), width()
        parts = [comparison_text(one, of, wide, paint) for one, of in zip(compared, judged, strict=True)]
        print("\n\n".join([*parts, *(paint(shortened(f"only in one file: {name}"), "warn") for name in missing)]))
    if asked.markdown:
        append_text(asked.markdown, "\n".join(map(comparison_markdown, compared, judged)))
    if missing and limits:
        return Exit.GATE
    found = exit_of([gate for of in judged for gate in of])
    return Exit.UNDECIDED if found == Exit.GOOD and any(one.refused for one in compared) else found


def exit_of(judged: Sequence[Judged]) -> Exit:
    """What the gates make of it: one that failed goes before one that is undecided."""
    if any(gate.failed for gate in judged):
        return Exit.GATE
    return Exit.UNDECIDED if any(gate.undecided for gate in judged) else Exit.GOOD


def match(a: Mapping[str, Measured], b: Mapping[str, Measured]) -> tuple[list[tuple[Measured, Measured]], list[str]]:
    """Sides of the same name; where each file has one function, these two, whatever they are called."""
    if len(a) == len(b) == 1:
        return [(next(iter(a.values())), next(iter(b.values())))], []
    shared = [(a[name], b[name]) for name in a if name in b]
    if not shared:
        raise ArgumentError(
            f"the files have no function in common: {', '.join(a)[:200]} and {', '.join(b)[:200]}; wanted the same "
            "functions in both, or one function in each"
        )
    return shared, sorted(set(a) ^ set(b))
