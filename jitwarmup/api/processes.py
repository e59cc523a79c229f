"""
``steady_state(processes=5)``: the same measurement in fresh processes, since one process is one draw.

A single process covers the value across processes in only 57-60 % of cases (steady-state.md, section 6: JIT layout,
address-space layout and allocator state are drawn once per process). Functions and arguments travel through a pipe to
children that `multiprocessing` spawns; nothing is written to disk.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jitwarmup.analysis.stats import across_processes
from jitwarmup.engine.options import BlockSettings
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Ranks
from jitwarmup.records.report import Report

TRAVELS = ("iterations", "measurements", "budget_s", "on_contamination", "accept", "name")
Call = tuple[Any, ...]  # function, args, kwargs


def packed(call: Call, settings: BlockSettings, ranks: Ranks | None) -> tuple[int, bytes] | None:
    """
    How many further processes measure, and what each gets: the call, and the settings that travel. None where none does.

    Raises:
        ArgumentError: the function or an argument cannot be sent to another process, or this one is a rank of a job.

    """
    processes = settings.get("processes", 1)
    if processes == 1:
        return None
    if ranks is not None:
        raise ArgumentError(
            f"processes={processes} got a job of several ranks too; wanted one of them: a fresh process has no place in "
            "the job. Leave processes out, or measure each rank by itself with ranks=None"
        )
    try:
        travelling = {name: value for name, value in settings.given().items() if name in TRAVELS}
        return processes - 1, pickle.dumps((call, travelling))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            f"processes= got a function or argument that cannot be sent to another process ({type(error).__name__}); "
            "wanted a function of a module, not a lambda or a local one, and arguments that pickle"
        ) from error


def repeat(first: Report, work: tuple[int, bytes], measure: Callable[[bytes], float | None]) -> Report:
    """The report, with ``processes`` summarising the medians of this process and of further ones, where ``measure`` runs."""
    if first.failure is not None:
        return first
    further, payload = work
    context = multiprocessing.get_context("spawn")
    medians = [first.latency_s]
    for _ in range(further):  # one after the other: side by side they would measure each other
        with context.Pool(1) as pool:
            medians.append(pool.apply(measure, (payload,)))
            pool.close()
            pool.join()  # the child ends by itself, with what it has to do at its exit
    return replace(first, processes=across_processes([s for s in medians if s is not None and s > 0]))
