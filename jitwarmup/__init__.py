"""
Timings of (text-)generation code made true: validated, warmed up in silence, measured at steady state, logged.

    from jitwarmup import warmed

    @warmed(iterations=5)
    def generate(prompt: str) -> str: ...

Names are resolved when they are first used: importing jitwarmup imports neither torch, transformers, pynvml, structlog
nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jitwarmup.lazily import lazily

if TYPE_CHECKING:
    from jitwarmup.analysis.classify import classify as classify
    from jitwarmup.api.decorator import warmed as warmed
    from jitwarmup.api.readiness import readiness as readiness
    from jitwarmup.api.steady import steady_state as steady_state
    from jitwarmup.api.warmed import Warmed as Warmed
    from jitwarmup.distributed.group import RankGroup as RankGroup
    from jitwarmup.engine.rules import until_steady as until_steady
    from jitwarmup.events.sinks import configure_json as configure_json
    from jitwarmup.gpu.monitor import GPUMonitor as GPUMonitor
    from jitwarmup.host.scope import is_warming as is_warming
    from jitwarmup.keys.shapes import by_bucket as by_bucket
    from jitwarmup.keys.shapes import by_shape as by_shape
    from jitwarmup.keys.tokens import by_tokens as by_tokens
    from jitwarmup.records.errors import ArgumentError as ArgumentError
    from jitwarmup.records.errors import JitwarmupError as JitwarmupError
    from jitwarmup.records.errors import MeasurementFailed as MeasurementFailed
    from jitwarmup.records.errors import MonitorStateError as MonitorStateError
    from jitwarmup.records.errors import NotReady as NotReady
    from jitwarmup.records.errors import Overlap as Overlap
    from jitwarmup.records.errors import RankFailed as RankFailed
    from jitwarmup.records.failure import Failure as Failure
    from jitwarmup.records.report import RankTimes as RankTimes
    from jitwarmup.records.report import Report as Report
    from jitwarmup.records.report import Summary as Summary
    from jitwarmup.records.runs import Coverage as Coverage
    from jitwarmup.records.runs import Decision as Decision
    from jitwarmup.records.runs import DeviceReading as DeviceReading
    from jitwarmup.records.runs import OneTimeWork as OneTimeWork
    from jitwarmup.records.runs import Phase as Phase
    from jitwarmup.records.runs import Preparation as Preparation
    from jitwarmup.records.runs import Run as Run
    from jitwarmup.records.runs import State as State
    from jitwarmup.records.runs import Warmup as Warmup
    from jitwarmup.records.verdict import Reason as Reason
    from jitwarmup.records.verdict import Verdict as Verdict

__version__ = "0.1.0"

WHERE, __getattr__, __dir__ = lazily(
    __name__,
    {
        "analysis.classify": "classify",
        "api.decorator": "warmed",
        "api.readiness": "readiness",
        "api.steady": "steady_state",
        "api.warmed": "Warmed",
        "distributed.group": "RankGroup",
        "engine.rules": "until_steady",
        "events.sinks": "configure_json",
        "gpu.monitor": "GPUMonitor",
        "host.scope": "is_warming",
        "keys.shapes": "by_bucket by_shape",
        "keys.tokens": "by_tokens",
        "records.errors": "ArgumentError JitwarmupError MeasurementFailed MonitorStateError NotReady Overlap RankFailed",
        "records.failure": "Failure",
        "records.report": "RankTimes Report Summary",
        "records.runs": "Coverage Decision DeviceReading OneTimeWork Phase Preparation Run State Warmup",
        "records.verdict": "Reason Verdict",
    },
)
__all__ = [*WHERE]  # noqa: PLE0604 - one table says both what is public and where it lives
