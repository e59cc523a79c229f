"""
Events as JSON lines in one file that all processes of a service may share.

    python json_lines.py events.jsonl

Then read them with duckdb or chdb, or let rsyslog carry them on (see README.md here).
"""

import sys

from jitwarmup import warmed
from jitwarmup.events import JsonLines, set_emitters

set_emitters(JsonLines(sys.argv[1]))


@warmed(iterations=5)
def work(n: int) -> int:
    return sum(i * i for i in range(n))


for _ in range(100):
    work(20_000)
work.measure(20_000)
