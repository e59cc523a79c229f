"""``jitwarmup doctor``: what is here, what each probe can watch, and what would spoil a measurement; each with the way out."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from jitwarmup.cli import Exit
from jitwarmup.cli.checks import CHECKS, Check, Finding
from jitwarmup.cli.terminal import command, painter, width
from jitwarmup.records.files import append_text
from jitwarmup.views.markdown import md_table
from jitwarmup.views.text import Paint, folded

SIGNS = {"ok": "ok  ", "absent": "none", "warn": "WARN"}


def run(argv: Sequence[str]) -> int:
    """Look at everything and tell; exit code 0 whatever is found, since most of it is nobody's fault."""
    asked = command("doctor", __doc__).parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    found = [finding for check in CHECKS for finding in examined(check)]
    if asked.json:
        print(
            json.dumps(
                {
                    "findings": [finding.to_dict() for finding in found],
                    "summary": Counter(finding.state for finding in found),
                }
            )
        )
    else:
        print("\n".join(lines(found, width(), painter(asked))))
    if asked.markdown:
        rows = [(f.area, f.name, f.state, f.detail, f.way_out) for f in found]
        append_text(asked.markdown, md_table(("", "what", "state", "detail", "way out"), rows))
    return Exit.GOOD


def examined(check: Check) -> list[Finding]:
    """The findings of one check; one that breaks is a finding too."""
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)  # noqa: PERF402 - what came before the failure is kept
    except Exception as error:  # noqa: BLE001 - a machine may be odd in any way; the other checks go on
        detail = f"this check failed ({type(error).__name__})"
        found.append(Finding(check.__name__, "absent", detail, "please report it"))
    return [replace(finding, area=check.__name__) for finding in found]


def lines(found: Sequence[Finding], wide: int, paint: Paint) -> list[str]:
    """The findings by area."""
    shown: list[str] = []
    name_wide = max(len(finding.name) for finding in found)
    for area in dict.fromkeys(finding.area for finding in found):
        shown.append(paint(area, "title"))
        for finding in (one for one in found if one.area == area):
            shown += folded(f"  {SIGNS[finding.state]}  {finding.name:{name_wide}}  {finding.detail}".rstrip(), wide, 8)
            if finding.way_out:
                shown += [
                    paint(line, "warn") for line in folded(f"        way out: {finding.way_out}", wide, indent=17)
                ]
    counts = Counter(finding.state for finding in found)
    counted = f"{counts['warn']} things would spoil a measurement here, {counts['absent']} are absent"
    return [*shown, "", paint(counted, "warn" if counts["warn"] else "passed")]
