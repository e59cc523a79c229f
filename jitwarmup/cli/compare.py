"""
``jitwarmup compare A B``: two saved measurements (reports, or a log's JSON lines); A is the baseline.

Cold, first-after-ready and steady are compared apart, each as a ratio with an interval from resampling. With
``--fail-on`` the exit code is 1 when a gate fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from jitwarmup.analysis.compare import compare
from jitwarmup.analysis.gates import judge, parse_gates
from jitwarmup.analysis.sides import Measured, read_sides
from jitwarmup.cli import Exit
from jitwarmup.cli.terminal import command, painter, read, width
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import append_text
from jitwarmup.records.text import shortened
from jitwarmup.views.comparison import comparison_markdown, comparison_text


def run(argv: Sequence[str]) -> int:
    """Read, compare, judge, show."""
    words = command("compare", __doc__)
    words.add_argument("a", help="the baseline: a saved file; - for stdin")
    words.add_argument("b", help="what is compared to it")
    words.add_argument("--fail-on", default="", metavar="GATES", help="steady:5%%,cold:20%%,recompiles:0")
    asked = words.parse_args(argv)
    limits = parse_gates(asked.fail_on)
    matched, missing = match(read(asked.a, read_sides), read(asked.b, read_sides))
    compared = [compare(a, b) for a, b in matched]
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
    failed = any(gate.failed for of in judged for gate in of)
    return Exit.GATE if failed or (missing and limits) else Exit.GOOD


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
