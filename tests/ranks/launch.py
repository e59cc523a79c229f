"""
Ranks as real processes on this machine.

A job is a script in jobs/ that every rank runs. What it has to tell it prints as JSON documents, one a line (`run_job`),
or writes as ``<rank>.json`` into the folder it was given (`told`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
JOBS = Path(__file__).with_name("jobs")
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # ranks that share one GPU cannot use NCCL


@dataclass
class Ended:
    """How one rank ended: its exit status, what it printed as JSON, and what it wrote on stderr."""

    status: int
    documents: list[dict[str, Any]] = field(default_factory=list)
    stderr: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What it told of one kind."""
        return [line for line in self.documents if line.get("kind") == kind]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """What a rank inherits: this checkout, one thread, no GPU, and nothing of a job that we ourselves may be in."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    }
    return {**ours, **QUIET, **NO_GPU, "JITWARMUP_LOG": "off", "PYTHONPATH": str(ROOT), **more}


def start(job: str, world: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start every rank of a job as a plain child; rank 0 holds the job's store."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world)}
    return [
        subprocess.Popen(
            [sys.executable, str(JOBS / f"{job}.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **meeting),
        )
        for rank in range(world)
    ]


def run_job(job: str, world: int, *arguments: str, timeout_s: float = 120, hung: int | None = None) -> list[Ended]:
    """Start a job and wait for it. ``hung``: a rank that is not waited for; it is killed when the others have ended."""
    ranks = start(job, world, *arguments)
    with ThreadPoolExecutor(world) as readers:  # all pipes are read at once, so that none is ever full
        written = [readers.submit(rank.communicate) for rank in ranks]
        until = time.monotonic() + timeout_s
        try:
            for at, rank in enumerate(ranks):
                if at != hung:
                    rank.wait(max(1.0, until - time.monotonic()))
        finally:
            for rank in ranks:
                rank.kill()  # nothing where it has ended
        outputs = [each.result() for each in written]
    return [
        Ended(rank.returncode, documents_of(output), errors)
        for rank, (output, errors) in zip(ranks, outputs, strict=True)
    ]


def documents_of(output: str) -> list[dict[str, Any]]:
    """The JSON documents among the lines."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def results_of(job: str, world: int, folder: Path, *, timeout_s: float = 120) -> list[Any]:
    """What each rank of a finished job wrote; an AssertionError with what they printed where one has failed."""
    ranks = run_job(job, world, str(folder), timeout_s=timeout_s)
    assert [rank.status for rank in ranks] == [0] * world, "\n".join(rank.stderr[-4000:] for rank in ranks)
    return read(folder, world)


def torchrun(script: Path, world: int, *args: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    """Run a script as ``torchrun --nproc-per-node`` would, at a port of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    return subprocess.run(
        [sys.executable, *launcher, str(script), *args],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=timeout_s,
        check=False,
    )


def read(folder: Path, world: int) -> list[Any]:
    """What the ranks wrote."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
