"""
The sweep: many configurations of one generation, each validated first, warmed up and measured by the one engine.

    configurations (levels, file, product) ── run ── one JSONL line each, at once ── summary, exports, exit code
"""

from __future__ import annotations

from jitwarmup.integrations.sweep.configurations import Configuration, from_file, level, product
from jitwarmup.integrations.sweep.results import Fault, Result, ResultFile
from jitwarmup.integrations.sweep.runner import Sweep, exit_code

__all__ = ["Configuration", "Fault", "Result", "ResultFile", "Sweep", "exit_code", "from_file", "level", "product"]
