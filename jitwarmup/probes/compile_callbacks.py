"""
Torch's compile callbacks (``torch._dynamo.callback.callback_handler``), registered once for all probes that want them.

Each gets ``CallbackArgs(callback_trigger, compile_id)`` (read in torch 2.8 to 2.15). A callback must never raise (at the
start it aborts the user's call, at the end it leaks torch's counter for the rest of the process) and never compile (it
runs inside a lock that is not re-entrant): it appends and returns.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from jitwarmup.probes.base import loaded, usage_reader
from jitwarmup.probes.run_table import RUNS, Compile
from jitwarmup.records.runs import OneTimeWork

USAGE = usage_reader("RUSAGE_CHILDREN")
RECORDING = "CUDAGRAPH_RECORDING"


class CompileCallbacks:
    """Our pair of callbacks in torch's handler. ``torch._dynamo.reset()`` removes them; ``ensure`` puts them back."""

    def __init__(self) -> None:
        self._handler: Any = None
        self._holders: set[str] = set()
        self._recorded: set[str] = set()

    @property
    def present(self) -> bool:
        """Whether torch would call us now (two list look-ups, 100 ns)."""
        handler = self._handler
        return handler is not None and _on_start in handler.start_callbacks and _on_end in handler.end_callbacks

    def ensure(self, holder: str) -> str | None:
        """Be registered on behalf of ``holder``; returns why that is impossible, or None."""
        handler: Any = getattr(loaded("torch._dynamo.callback"), "callback_handler", None)
        if not all(hasattr(handler, name) for name in ("start_callbacks", "end_callbacks", "register_start_callback")):
            return "torch._dynamo.callback.callback_handler is not as known"
        self._handler = handler
        self._holders.add(holder)
        if not self.present:
            self._withdraw()
            handler.register_start_callback(_on_start)
            handler.register_end_callback(_on_end)
            self._recorded.clear()  # compile ids start again at 0/0 after the reset that removed us
        return None if self.present else "a registered compile callback was not kept"

    def release(self, holder: str) -> None:
        """Take our callbacks out once nobody holds them; torch is left as it was found."""
        self._holders.discard(holder)
        if not self._holders and self._handler is not None:
            self._withdraw()
            self._handler = None

    def _withdraw(self) -> None:
        for callbacks, ours in ((self._handler.start_callbacks, _on_start), (self._handler.end_callbacks, _on_end)):
            if ours in callbacks:
                callbacks.remove(ours)

    def recording(self, compiled: Compile) -> OneTimeWork:
        """A CUDA-graph recording: again for a graph that was recorded before is a re-recording (a changed address)."""
        again = compiled.ids[-1] in self._recorded
        self._recorded.add(compiled.ids[-1])
        kind = "cudagraph.rerecord" if again else "cudagraph.record"
        reason = "compiled graph recorded again: an address or a path changed" if again else "compiled graph"
        return replace(unexplained_compile(compiled), kind=kind, reason=reason)


CALLBACKS = CompileCallbacks()


def _on_start(event: Any) -> None:
    with suppress(BaseException):  # raising here would abort the user's call
        RUNS.compile_started(event.callback_trigger.name, str(event.compile_id)).children_s = children_cpu_s()


def _on_end(event: Any) -> None:
    with suppress(BaseException):  # raising here would leak torch's pending counter for good
        compiled = RUNS.compile_ended(str(event.compile_id))
        if compiled is None:
            return
        if event.callback_trigger.name == RECORDING:
            RUNS.push("cudagraph", CALLBACKS.recording(compiled), compiled)
        else:
            RUNS.push("dynamo", unexplained_compile(compiled), compiled, backstop=True)
        spent = children_cpu_s() - compiled.children_s
        if spent > 0:  # CPU seconds are no wall seconds: they stand in the reason and not as a duration
            reason = f"{spent:.2f} s of CPU in child processes that ended"
            RUNS.push("subprocess", OneTimeWork(kind="compiler.subprocess", reason=reason), compiled)


def children_cpu_s() -> float:
    """CPU seconds of child processes that ended and were waited for; 0.0 where the system does not tell."""
    used = USAGE and USAGE()
    return used.ru_utime + used.ru_stime if used else 0.0


def unexplained_compile(compiled: Compile) -> OneTimeWork:
    """What the callbacks alone tell of a compile: where torch keeps no records, and of compiles that have not ended."""
    attempt = compiled.ids[0].rpartition("/")[2]
    again = attempt.isdigit() and int(attempt) > 0
    others = {"LAZY_BACKWARD": "aot.backward", RECORDING: "cudagraph.record"}
    return OneTimeWork(
        kind=others.get(compiled.trigger, "dynamo.recompile" if again else "dynamo.capture"),
        duration_s=None if compiled.duration_ns is None else compiled.duration_ns / 1e9,
        reason="under way in another thread" if compiled.ended is None else None,
    )
