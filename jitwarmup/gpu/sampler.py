"""
The sampler's process: ``python -m jitwarmup.gpu.sampler``, started by ``GPUMonitor(mode="process")``.

It answers each line of JSON on its standard input with one on its standard output, in order. While a window is open
and nobody has paused, it makes one batched NVML call per device and tick, stamped with the clock that times the runs.
It ends with its input, within the time-out: a driver that hangs holds a daemon thread, not the process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

from jitwarmup.gpu.clocks import HostClocks
from jitwarmup.gpu.driver_thread import DriverThread, Stalled
from jitwarmup.gpu.service import Answer, Service


class Sampler:
    """The service, and the ticks between its verbs."""

    def __init__(self, *, timeout_s: float, period_s: float, own_pid: int) -> None:
        self._guard = DriverThread(timeout_s)
        self._service = Service(HostClocks(), timeout_s, own_pid)
        self._period_s = period_s
        self._open: set[int] = set()
        self._paused = False
        self._next_s = 0.0

    def wait_s(self) -> float | None:
        """Seconds to the next tick; None while there is none to come."""
        if not self._open or self._paused or self._guard.stalled:
            return None
        return max(0.0, self._next_s - time.monotonic())

    def tick(self) -> None:
        """One sample of every device. Ticks that were missed are not made up for."""
        late = time.monotonic() - self._next_s
        self._next_s += self._period_s * (1 + max(0, int(late / self._period_s)))
        self._do("sample", {})

    def answer(self, verb: str, arguments: dict[str, Any]) -> Answer:
        """What a verb gives. Verbs and ticks take turns in one thread: after ``pause`` no call is in flight."""
        if verb in {"pause", "resume"}:
            self._paused = verb == "pause"
            return {}
        if verb == "begin":
            self._open.add(arguments["key"])
            self._paused = False  # no window begins while paused; a pause that was interrupted may have got here
        elif verb in {"end", "drop"}:
            self._open.discard(arguments["key"])
        answer = self._do(verb, arguments)
        if verb in {"begin", "resume"}:
            self._next_s = time.monotonic() + self._period_s
        return answer

    def _do(self, verb: str, arguments: dict[str, Any]) -> Answer:
        try:
            return self._guard.call(lambda: self._service.do(verb, arguments))
        except Stalled:
            self._service.silence()
            return {"stalled": True}


def lines_of(descriptor: int) -> Iterator[bytes]:
    """The lines that come through a pipe, unbuffered: a thread that waits here holds no lock."""
    rest = b""
    while chunk := os.read(descriptor, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def main(settings: str, commands: int, answers: int) -> None:
    """Serve until the input ends; both are file descriptors."""
    sampler = Sampler(**json.loads(settings))
    lines: SimpleQueue[bytes | None] = SimpleQueue()
    threading.Thread(target=_read, args=(commands, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=sampler.wait_s())
        except Empty:
            sampler.tick()
            continue
        if line is None:
            sampler.answer("close", {})
            return
        os.write(answers, json.dumps(sampler.answer(**json.loads(line))).encode() + b"\n")


def _read(commands: int, lines: SimpleQueue[bytes | None]) -> None:
    for line in lines_of(commands):
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    main(sys.argv[1], 0, 1)
