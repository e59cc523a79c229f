"""
Timings of (text-)generation code made true: validated, warmed up in silence, measured at steady state, logged.

    from jitwarmup import warmed

    @warmed(iterations=5)
    def generate(prompt: str) -> str: ...

Names are resolved when they are first used: importing jitwarmup imports neither torch, transformers, pynvml, structlog
nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jitwarmup.edges.events.configure import configure_json as configure_json
    from jitwarmup.edges.monitors.nvml import GPUMonitor as GPUMonitor
    from jitwarmup.edges.ranks.group import RankGroup as RankGroup
    from jitwarmup.engine.decorate import Warmed as Warmed
    from jitwarmup.engine.decorate import warmed as warmed
    from jitwarmup.engine.keys import by_bucket as by_bucket
    from jitwarmup.engine.keys import by_shape as by_shape
    from jitwarmup.engine.readiness import readiness as readiness
    from jitwarmup.engine.rules import until_steady as until_steady
    from jitwarmup.engine.scope import is_warming as is_warming
    from jitwarmup.engine.steady import steady_state as steady_state
    from jitwarmup.model.classify import classify as classify
    from jitwarmup.model.coverage import Coverage as Coverage
    from jitwarmup.model.errors import ArgumentError as ArgumentError
    from jitwarmup.model.errors import JitwarmupError as JitwarmupError
    from jitwarmup.model.errors import MeasurementFailed as MeasurementFailed
    from jitwarmup.model.errors import MonitorStateError as MonitorStateError
    from jitwarmup.model.errors import NotReady as NotReady
    from jitwarmup.model.errors import Overlap as Overlap
    from jitwarmup.model.errors import RankFailed as RankFailed
    from jitwarmup.model.preparation import Preparation as Preparation
    from jitwarmup.model.ranks import RankTimes as RankTimes
    from jitwarmup.model.report import Failure as Failure
    from jitwarmup.model.report import Report as Report
    from jitwarmup.model.runs import Decision as Decision
    from jitwarmup.model.runs import DeviceReading as DeviceReading
    from jitwarmup.model.runs import OneTimeWork as OneTimeWork
    from jitwarmup.model.runs import Phase as Phase
    from jitwarmup.model.runs import Run as Run
    from jitwarmup.model.runs import State as State
    from jitwarmup.model.runs import Warmup as Warmup
    from jitwarmup.model.stats import Summary as Summary
    from jitwarmup.model.verdict import Reason as Reason
    from jitwarmup.model.verdict import Verdict as Verdict

__version__ = "0.1.0"

WHERE = {
    "configure_json": "edges.events.configure",
    "GPUMonitor": "edges.monitors.nvml",
    "RankGroup": "edges.ranks.group",
    "Warmed": "engine.decorate",
    "warmed": "engine.decorate",
    "by_bucket": "engine.keys",
    "by_shape": "engine.keys",
    "readiness": "engine.readiness",
    "is_warming": "engine.scope",
    "steady_state": "engine.steady",
    "until_steady": "engine.rules",
    "classify": "model.classify",
    "Coverage": "model.coverage",
    "ArgumentError": "model.errors",
    "JitwarmupError": "model.errors",
    "MeasurementFailed": "model.errors",
    "MonitorStateError": "model.errors",
    "NotReady": "model.errors",
    "Overlap": "model.errors",
    "RankFailed": "model.errors",
    "Preparation": "model.preparation",
    "RankTimes": "model.ranks",
    "Failure": "model.report",
    "Report": "model.report",
    "Decision": "model.runs",
    "DeviceReading": "model.runs",
    "OneTimeWork": "model.runs",
    "Phase": "model.runs",
    "Run": "model.runs",
    "State": "model.runs",
    "Warmup": "model.runs",
    "Summary": "model.stats",
    "Reason": "model.verdict",
    "Verdict": "model.verdict",
}
__all__ = [*WHERE]  # noqa: PLE0604 - one table says both what is public and where it lives


def __getattr__(name: str) -> Any:
    """Find a public name in its module, and keep it."""
    if name not in WHERE:
        raise AttributeError(f"module 'jitwarmup' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"jitwarmup.{WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *WHERE])
