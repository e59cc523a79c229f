"""
Results, one JSONL line each: appended in one write as soon as a configuration is done, resumed by a rerun.

A line that was cut (a full disk, a killed process) is skipped when the file is read, and its configuration is run again.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jitwarmup.integrations.sweep.configurations import Configuration
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import append_text, make_folder, parse_json, read_text
from jitwarmup.records.report import Report

GIT_S = 5.0  # a checkout on a network file system may not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Record):
    """
    Why a configuration failed: ``kind`` (``missing_dependency``, ``out_of_memory``, ``not_found``, ``unsupported``,
    ``error``, ``crashed``, ``timeout``), the phase (``load``, a run's, ``process``), and the exception's own words.
    """

    kind: str
    phase: str
    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Record):
    """One configuration's outcome. ``report`` is there where it was loaded, with every run made before a failure."""

    hash: str
    name: str
    configuration: Configuration
    started_at: float
    duration_s: float
    fault: Fault | None = None
    report: Report | None = None
    metadata: Mapping[str, str | int | float | None] = field(default_factory=dict)
    schema: str = "jitwarmup.sweep/1"

    @property
    def failed(self) -> bool:
        """Whether it has no complete measurement."""
        return self.fault is not None

    def without_messages(self) -> Result:
        """The same result without what an exception's message and traceback say, which may be values of the user's."""
        report, fault = self.report and self.report.without_messages(), self.fault
        return replace(self, report=report, fault=fault and replace(fault, message="", traceback=""))


KINDS = {  # of the first class that an exception is of
    "OutOfMemoryError": "out_of_memory",  # torch's
    "MemoryError": "out_of_memory",
    "ImportError": "missing_dependency",
    "OSError": "not_found",  # how transformers says that a model is not there
    "NotImplementedError": "unsupported",
    "ValueError": "unsupported",
}


def fault_of(error: BaseException, phase: str, traceback: str = "") -> Fault:
    """A fault from an exception, its kind told by its type."""
    classes = {kind.__name__ for kind in type(error).__mro__}
    kind = next((kind for name, kind in KINDS.items() if name in classes), "error")
    return Fault(kind=kind, phase=phase, type=type(error).__name__, message=str(error)[:2000], traceback=traceback)


class ResultFile:
    """An append-only JSONL file of results, made with its folder at the first; the newest line of each counts."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, Result]:
        """All results by hash, cut lines skipped; an ArgumentError for a line of another program or a newer schema."""
        found: dict[str, Result] = {}
        lines = read_text(self.path).splitlines() if os.path.lexists(self.path) else ()
        for number, line in enumerate(lines, 1):
            try:
                document = parse_json(line)
            except ValueError:
                continue  # cut: this configuration is missing, and run again
            try:
                result = Result.from_dict(document)
            except ArgumentError as error:
                raise ArgumentError(f"{self.path}, line {number}: {error}") from error
            if result.hash != result.configuration.hash:
                raise ArgumentError(f"{self.path}: {result.name} was changed after it was written (its hash differs)")
            found[result.hash] = result
        return found

    def append(self, *results: Result) -> None:
        """Write a line for each in one piece and wait until it is on the disk; ArgumentError where it cannot be written."""
        make_folder(self.path.parent)
        append_text(self.path, "".join(json.dumps(result.to_dict()) + "\n" for result in results))


def revision(folder: Path | None = None) -> dict[str, str]:
    """``commit_id`` and, where a branch is checked out, ``branch_name``; empty without git or outside of a checkout."""
    command = ("git", "rev-parse", "HEAD", "--symbolic-full-name", "HEAD")
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            command, cwd=folder, capture_output=True, text=True, timeout=GIT_S, check=True
        )
        commit, reference = done.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError):  # no git, no checkout, no commit yet
        return {}
    branch = reference.removeprefix("refs/heads/")
    return {"commit_id": commit} if branch == "HEAD" else {"commit_id": commit, "branch_name": branch}
