"""
Two ways to the same service: behind a guard thread of this process, or in a process of its own.

Both answer `ask(verb, ...)` within ``timeout_s`` or raise `Stalled`, and are silent ever after.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from jitwarmup.gpu.binding import Unavailable
from jitwarmup.gpu.clocks import Clocks
from jitwarmup.gpu.driver_thread import DriverThread, Stalled
from jitwarmup.gpu.sampler import lines_of
from jitwarmup.gpu.service import Answer, Service

SAMPLER = "jitwarmup.gpu.sampler"
FOR_A_STARTING_PROCESS = frozenset({"open", "pause", "resume"})
OF_THE_PROCESS = frozenset({"pause", "resume"})  # verbs that only a sampler of its own has a use for


class Source(Protocol):
    """Where readings come from."""

    def ask(self, verb: str, **arguments: Any) -> Answer:
        """The service's answer to a verb; `Stalled` when none came in time, `Unavailable` when none can."""
        ...

    def close(self) -> None:
        """Close the service within the time-out, and let go of its thread or process."""
        ...

    def abandon(self) -> None:
        """Let go without waiting: for finalizers."""
        ...

    def orphan(self) -> None:
        """In a forked child: the thread is gone and the process is the parent's; touch neither."""
        ...


class Local:
    """The service behind a guard thread of this process."""

    def __init__(self, clocks: Clocks, timeout_s: float) -> None:
        self._guard = DriverThread(timeout_s)
        self._service = Service(clocks, timeout_s, os.getpid())

    def ask(self, verb: str, **arguments: Any) -> Answer:
        """As `Source.ask`."""
        if verb in OF_THE_PROCESS:
            return {}
        try:
            return self._guard.call(partial(self._service.do, verb, arguments))
        except Stalled:
            self._service.silence()
            raise

    def close(self) -> None:
        """As `Source.close`."""
        with suppress(Stalled):
            self.ask("close")
        self._guard.end()

    def abandon(self) -> None:
        """As `Source.abandon`."""
        self._guard.post(partial(self._service.do, "close", {}))
        self._guard.end()

    def orphan(self) -> None:
        """As `Source.orphan`."""
        self._guard.stalled = True


class Remote:
    """
    The service in a process of its own, with which lines of JSON are exchanged over pipes.

    ``python -m``, not multiprocessing: nothing is forked from a process with threads and CUDA, and an unguarded
    ``__main__`` is not run again. The process ends when its standard input does, so it cannot outlive this one.
    """

    def __init__(self, timeout_s: float, period_s: float) -> None:
        self._timeout_s = timeout_s
        self._settings = {"timeout_s": timeout_s, "period_s": period_s, "own_pid": os.getpid()}
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._answered = 0
        self._over: str | None = None
        self._stalled = False

    def ask(self, verb: str, **arguments: Any) -> Answer:
        """
        As `Source.ask`. While the process starts, only ``open`` and ``pause`` wait for it, ``resume`` is left for it to
        find, and nothing else is sent: it would be done later, perhaps within somebody's window.
        """
        if self._stalled:
            raise Stalled
        if self._process is None and not self._over:
            self._process = self._spawn()
        late = {} if self._answered or verb in FOR_A_STARTING_PROCESS else self._receive(0.0)
        if self._over:
            raise Unavailable(self._over)
        self._send({"verb": verb, "arguments": arguments})
        if verb == "resume":
            return late
        return late | self._receive(self._timeout_s)

    def close(self) -> None:
        """As `Source.close`."""
        process = self._process
        if process is None or self._over or self._stalled:
            return
        with suppress(Stalled, Unavailable):
            self.ask("close")
        self.abandon()
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._timeout_s)

    def abandon(self) -> None:
        """As `Source.abandon`."""
        self._over = self._over or "the sampler was stopped"
        self._hang_up()

    def orphan(self) -> None:
        """As `Source.orphan`. The pipes are let go, so that the process still sees its parent's end."""
        self._over = "this process was forked"
        if self._process is None:
            return
        with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123 - raw, by number
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None and not pipe.closed:
                    os.dup2(nothing.fileno(), pipe.fileno())
        self._process.returncode = 0  # it is no child of this process

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-P", "-m", SAMPLER, json.dumps(self._settings)],  # -P: no module of the working directory
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # a buffer has a lock, and a lock held by a thread that waits would be held at exit and fork
            env=_environment(),
            start_new_session=True,  # an interrupt from the keyboard is for the user's program
        )
        threading.Thread(target=_listen, args=(process, self._answers), name="jitwarmup-sampler", daemon=True).start()
        return process

    def _send(self, message: dict[str, Any]) -> None:
        self._asked += 1
        stdin = self._process.stdin if self._process else None
        try:
            if stdin is not None:
                stdin.write(json.dumps(message).encode() + b"\n")
        except (OSError, ValueError):  # ValueError: the pipe is closed
            self._end("the sampler's process ended")

    def _receive(self, patience_s: float) -> Answer:
        """The answer to the last question; those to earlier ones, which nobody waited for, are merged into it."""
        deadline = time.monotonic() + patience_s
        merged: Answer = {}
        while self._answered < self._asked:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                if self._answered:
                    return self._give_up()
                raise Unavailable("the sampler's process is still starting", passing=True) from None
            if answer is None:
                self._end("the sampler's process ended")
            else:
                self._answered += 1
                merged = {**merged, **answer, "notes": [*merged.get("notes", ()), *answer.get("notes", ())]}
        if merged.get("stalled"):
            self._give_up()
        return merged

    def _give_up(self) -> Answer:
        self._stalled = True
        self._hang_up()
        if self._process is not None:
            self._process.kill()
        raise Stalled

    def _end(self, reason: str) -> None:
        self._over = reason
        self._hang_up()
        raise Unavailable(reason)

    def _hang_up(self) -> None:
        """End the process's input, and so the process."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def _environment() -> dict[str, str]:
    """Ours, in which the child finds this very package where it is not installed but lies on our path."""
    root = str(Path(__file__).parents[3])
    if root in (*site.getsitepackages(), site.getusersitepackages()):
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def _listen(process: subprocess.Popen[bytes], answers: SimpleQueue[Answer | None]) -> None:
    """Hand on what the process answers, and see it off when it ends."""
    with suppress(OSError, ValueError), process.stdout or nullcontext():
        for line in lines_of(process.stdout.fileno() if process.stdout else -1):
            answers.put(json.loads(line))
    answers.put(None)
    process.wait()
