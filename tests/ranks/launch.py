"""
Ranks as real processes on this machine.

A job is a script in jobs/ that every rank runs. It is started with a folder, into which each rank writes what it has to
tell as ``<rank>.json``; the tests read that.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
JOBS = Path(__file__).with_name("jobs")
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # ranks that share one GPU cannot use NCCL


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """What a rank inherits: this checkout, one thread, no GPU, and nothing of a job that we ourselves may be in."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    }
    return {**ours, **QUIET, **NO_GPU, "PYTHONPATH": str(ROOT), **more}


def start(job: str, world: int, folder: Path) -> list[subprocess.Popen[str]]:
    """Start every rank of a job as a plain child."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world)}
    command = [sys.executable, str(JOBS / f"{job}.py"), str(folder)]
    return [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **meeting),
        )
        for rank in range(world)
    ]


def told(job: str, world: int, folder: Path, *, timeout_s: float = 120) -> list[Any]:
    """What each rank of a finished job has told; an AssertionError with what they printed where one has failed."""
    ranks = start(job, world, folder)
    try:
        printed = [rank.communicate(timeout=timeout_s)[0] for rank in ranks]
    except subprocess.TimeoutExpired:
        printed = ended(ranks)
    finally:
        ended(ranks)
    assert [rank.returncode for rank in ranks] == [0] * world, "\n".join(printed)
    return read(folder, world)


def ended(ranks: Sequence[subprocess.Popen[str]]) -> list[str]:
    """End whoever still runs; what each printed that nobody has read."""
    for rank in ranks:
        rank.kill()
    printed = []
    for rank in ranks:
        with contextlib.suppress(ValueError):  # read before
            printed.append(rank.communicate()[0])
    return printed


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
