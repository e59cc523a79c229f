"""
The sweep: many configurations of one generation, each validated first, warmed up and measured by the one engine.

    configurations (levels, file, product) ── run ── one JSONL line each, at once ── summary, exports, exit code
"""

from __future__ import annotations

from jitwarmup.integrations.sweep.configurations import Configuration as Configuration
from jitwarmup.integrations.sweep.configurations import distinct as distinct
from jitwarmup.integrations.sweep.configurations import from_file as from_file
from jitwarmup.integrations.sweep.configurations import level as level
from jitwarmup.integrations.sweep.configurations import product as product
from jitwarmup.integrations.sweep.results import Fault as Fault
from jitwarmup.integrations.sweep.results import Result as Result
from jitwarmup.integrations.sweep.results import ResultFile as ResultFile
from jitwarmup.integrations.sweep.runner import Sweep as Sweep
from jitwarmup.integrations.sweep.runner import exit_code as exit_code

__all__ = [
    "Configuration",
    "Fault",
    "Result",
    "ResultFile",
    "Sweep",
    "distinct",
    "exit_code",
    "from_file",
    "level",
    "product",
]
