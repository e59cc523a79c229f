"""
``jitwarmup report FILE... -o OUT``: saved reports as one self-contained page, or as Markdown where OUT ends in ``.md``.

The page needs no network and no script, stays under 150 kB and is legible in light and dark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from jitwarmup.analysis.sides import read_reports
from jitwarmup.cli import Exit
from jitwarmup.cli.terminal import Parser, read, with_messages
from jitwarmup.records.files import save_text
from jitwarmup.records.text import shortened
from jitwarmup.views import charts, html
from jitwarmup.views.markdown import report_markdown


def run(argv: Sequence[str]) -> int:
    """Read the reports and write the page."""
    words = Parser(prog="jitwarmup report", description=__doc__)
    words.add_argument("files", nargs="+", metavar="FILE", help="what `jitwarmup measure --save` wrote; - for stdin")
    words.add_argument("-o", "--output", metavar="OUT", default="jitwarmup.html", help="the page (jitwarmup.html)")
    words.add_argument("--json", action="store_true", help="print one JSON document about what was written")
    with_messages(words)
    asked = words.parse_args(argv)
    reports = [report for path in asked.files for report in read(path, read_reports)]
    if not asked.messages:
        reports = [report.without_messages() for report in reports]
    figures = charts.can_draw()
    if asked.output.endswith(".md"):
        text = "\n".join(map(report_markdown, reports))
    else:
        if not figures:
            print(f"jitwarmup report: {charts.WAY_OUT}", file=sys.stderr)
        try:
            text = html.page(reports)
        except ImportError as error:
            print(f"jitwarmup report: {error}", file=sys.stderr)
            return Exit.ENVIRONMENT
    save_text(asked.output, text)
    size = len(text.encode())
    document = {"output": asked.output, "reports": len(reports), "bytes": size, "figures": figures}
    line = shortened(f"{asked.output}: {len(reports)} reports, {size / 1000:.0f} kB")
    print(json.dumps(document) if asked.json else line)
    return Exit.GOOD
