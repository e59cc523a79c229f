"""
Worker processes that serve one port: each leaves a mark in a folder that they share, and reads those of the others.

    $JITWARMUP_READY_DIR, or jitwarmup-ready/ in $PROMETHEUS_MULTIPROC_DIR:   one file for each worker, 4711.json

A mark is left when the application is made (``readiness()``, ``lifespan(...)`` or ``readiness_app(...)``, at its
import) and whenever the worker's readiness changes. Only living processes of the same parent count: workers are siblings,
whereas a preloading master, a worker's own children or somebody's shell are not. Of a worker that was started and has not
got as far as a mark nothing is known but that it is there: a sibling with the same command line.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from jitwarmup.host.fork_safe import after_fork_in_child, snapshot_of
from jitwarmup.keys.state import OBSERVERS
from jitwarmup.keys.status import requested_registries

PROC: Final = Path("/proc")
SERVERS: Final = re.compile("gunicorn|uvicorn|hypercorn")
WORKERS: Final = re.compile(r"\s(?:-w|--workers)[\s=]?(\d+)(?!\S)")


class Answers(Protocol):
    """What knows whether this process is ready."""

    @property
    def ready_here(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Mark:
    """What one worker says of itself. ``started`` is when, in clock ticks since the boot."""

    pid: int
    started: int
    parent: int
    ready: bool


class Workers:
    """The mark of this process, and what those of the others say."""

    def __init__(self) -> None:
        self.answers: weakref.WeakSet[Answers] = weakref.WeakSet()
        self.joined = False
        OBSERVERS.add(self)

    def join(self, answers: Answers) -> None:
        """From now on this process counts as a worker, ready when this is."""
        self.answers.add(answers)
        self.joined = True
        self.leave_mark()

    def ready_here(self) -> bool:
        """Whether all that was asked in this process would say that it is ready."""
        if answers := snapshot_of(self.answers):
            return all(each.ready_here for each in answers)
        subjects = requested_registries()  # each was asked once and forgotten
        return bool(subjects) and all(registry.ready(instance_id) for registry, instance_id in subjects)

    def note_change(self) -> None:
        """A key of this process got warm, or is warm no longer."""
        self.leave_mark()

    def leave_mark(self) -> None:
        """Write down how this process stands."""
        folder = shared_folder()
        if folder is None or not self.joined:
            return
        pid = os.getpid()
        mark = Mark(pid, started_at(pid) or 0, os.getppid(), self.ready_here())
        with suppress(OSError):  # a full disk, or a folder of somebody else: then it counts as not ready
            folder.mkdir(parents=True, exist_ok=True)
            written = folder / f"{pid}.{threading.get_ident()}"
            written.write_text(json.dumps(asdict(mark)), encoding="utf-8")
            written.replace(folder / f"{pid}.json")

    def count(self) -> dict[str, int] | None:
        """How many workers there are (as far as is known) and how many are ready; None where none share a folder."""
        folder = shared_folder()
        if folder is None:
            return None
        self.leave_mark()
        parent = os.getppid()
        marks = {mark.pid: mark for mark in marks_in(folder) if mark.parent == parent}
        known = len(marks.keys() | siblings())
        complete = folder / f"{parent}-{started_at(parent)}.complete"
        if known >= workers_wanted():
            with suppress(OSError):
                complete.touch()
        elif not complete.exists():  # afterwards the server may have fewer, as its operator likes
            known = workers_wanted()
        return {"known": known, "ready": sum(mark.ready for mark in marks.values())}


def shared_folder() -> Path | None:
    """Where the workers of this service leave their marks."""
    if own := os.environ.get("JITWARMUP_READY_DIR"):
        return Path(own)
    metrics = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(metrics) / "jitwarmup-ready" if metrics else None


def marks_in(folder: Path) -> Iterator[Mark]:
    """All marks that can be read; those of processes that are gone are removed."""
    for path in folder.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            mark = Mark(**json.loads(path.read_text(encoding="utf-8")))
            if started_at(mark.pid) == mark.started:  # and not another one that has got its number
                yield mark
            else:
                path.unlink(missing_ok=True)


def started_at(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where there is none; 0 where nothing tells but that it is there."""
    try:
        state, *fields = (
            (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        if PROC.exists():
            return None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return 0


def siblings() -> set[int]:
    """Processes of the same parent and command line, numbers apart, with this one; none where that cannot be read."""
    parent = os.getppid()
    try:
        pids = (PROC / str(parent) / "task" / str(parent) / "children").read_text(encoding="ascii").split()
        return {int(pid) for pid in pids if command_of(pid) == command_of("self") and started_at(int(pid)) is not None}
    except OSError:
        return set()


def command_of(pid: str) -> bytes:
    """The command line of a process, without the numbers that differ between workers."""
    try:
        return re.sub(rb"\d+", b"", (PROC / pid / "cmdline").read_bytes())
    except OSError:  # it is gone
        return b""


def workers_wanted() -> int:
    """How many workers the server was asked for, as far as its command line or WEB_CONCURRENCY tells."""
    if not SERVERS.search(sys.argv[0]):
        return 1
    found: Any = WORKERS.search(" ".join(sys.argv))
    wanted = found[1] if found else os.environ.get("WEB_CONCURRENCY", "")
    return int(wanted) if wanted.isdecimal() else 1


SERVICE: Final = Workers()
after_fork_in_child(lambda: SERVICE.leave_mark())  # noqa: PLW0108 - as in `at_exit`
