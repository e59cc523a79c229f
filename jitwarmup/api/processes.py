"""
``steady_state(processes=5)``: the same measurement in fresh processes, since one process is one draw.

A single process covers the value across processes in only 57-60 % of cases (steady-state.md, section 6: JIT layout,
address-space layout and allocator state are drawn once per process). Functions and arguments travel through a pipe to
children that `multiprocessing` spawns; nothing is written to disk.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jitwarmup.analysis.stats import across_processes
from jitwarmup.engine.options import BlockSettings
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Ranks
from jitwarmup.records.report import Report
from jitwarmup.records.verdict import Reason

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ASK_EVERY_S = 1.0  # whether a process that has not answered lives
ENDING_S = 10.0  # in which a process ends by itself once it has answered, or closed its pipe
TRAVELS = ("iterations", "measurements", "budget_s", "on_contamination", "accept", "name")
Call = tuple[Any, ...]  # function, args, kwargs
Answer = tuple[float | None, str | None]  # of a process: its median seconds, or why it has none


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


def repeat(first: Report, work: tuple[int, bytes], measure: Callable[[bytes], Answer]) -> Report:
    """
    The report, with ``processes`` summarising the medians of this process and of further ones, where ``measure`` runs.

    A process without a median is missing there: a reason of the verdict counts such processes and names why.
    """
    if first.failure is not None:
        return first
    further, payload = work
    # one after the other: side by side they would measure each other
    answers = [ask_fresh_process(measure, payload) for _ in range(further)]
    missing = Counter(why for _, why in answers if why is not None)
    reasons = [
        Reason(kind="process_missing", numbers={"missing": float(count), "processes": further + 1.0}, subject=why)
        for why, count in missing.items()
    ]
    medians = [first.latency_s, *(median for median, _ in answers)]
    return replace(
        first,
        verdict=replace(first.verdict, reasons=(*first.verdict.reasons, *reasons)),
        processes=across_processes([s for s in medians if s is not None and s > 0]),
    )


def ask_fresh_process(measure: Callable[[bytes], Answer], payload: bytes) -> Answer:
    """
    What one fresh process answers; one that is killed, crashes, exits, raises or cannot be started is not waited for.

    Its end shows in the closed pipe, and is asked for now and then as well: a process that it forked may hold the pipe
    open. After its answer it ends by itself, with what it has to do at its exit, unless that takes too long.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(sender, measure, payload), name="jitwarmup measurement")
    with receiver:
        try:
            with sender:
                process.start()
        except (OSError, AssertionError) as error:  # no room for one, or this one is daemonic and may have no children
            return None, type(error).__name__
        except RuntimeError as error:  # of a script that each fresh process runs from its beginning
            raise ArgumentError(
                "processes= got a script that measures as soon as it is imported, as a fresh process does; wanted the "
                'measurement under if __name__ == "__main__":'
            ) from error
        try:
            while not receiver.poll(ASK_EVERY_S) and process.is_alive():
                pass
            found: Answer | None = None
            with suppress(EOFError, OSError):
                found = receiver.recv() if receiver.poll() else None
            process.join(ENDING_S)
            return found or (None, ending_of(process.exitcode))
        finally:
            process.kill()  # where it goes on: it was interrupted, or does not end
            process.join(ENDING_S)


def answer(sender: Connection, measure: Callable[[bytes], Answer], payload: bytes) -> None:
    """In a fresh process: send what was measured, or the type of what was raised, which then ends the process."""
    try:
        sender.send(measure(payload))
    except BaseException as error:
        sender.send((None, type(error).__name__))
        raise


def ending_of(code: int | None) -> str:
    """How a process that gave no answer ended."""
    if code is None:
        return "no answer"
    return f"exit code {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
