"""Jobs of several ranks as real processes: each prints one JSON document a line, and they are read by rank."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
JOBS = Path(__file__).with_name("jobs")


@dataclass
class Ended:
    """How one rank ended: its exit status, what it told, and everything it wrote on stderr."""

    status: int
    told: list[dict[str, Any]] = field(default_factory=list)
    stderr: str = ""
    ended_at: float = 0.0

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.told if line.get("kind") == kind]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """One thread a rank: the machines of the tests have few cores."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "JITWARMUP_LOG": "off", **more}


def told_by(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def run_job(name: str, world: int, *arguments: str, timeout: float = 120, stop: str = "", **more: str) -> list[Ended]:
    """
    Start one process a rank with torch.distributed's environment, and wait for all; the store is rank 0's.

    ``stop``: a rank that is not waited for, since it hangs: it is killed when the others have ended.
    """
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **more}
    processes = [
        subprocess.Popen(
            [sys.executable, str(JOBS / name), *arguments],
            env=environment(**common, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    if stop:
        others = [process for rank, process in enumerate(processes) if rank != int(stop)]
        ended = finished(others, timeout)
        processes[int(stop)].kill()
        ended[int(stop) : int(stop)] = finished([processes[int(stop)]], timeout)
        return ended
    return finished(processes, timeout)


def finished(processes: list[subprocess.Popen[str]], timeout: float) -> list[Ended]:
    """Wait for all; who does not end in time is killed, and has status -9."""
    until = time.monotonic() + timeout
    ended = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=max(1.0, until - time.monotonic()))
            ended.append(Ended(process.returncode, told_by(output), errors, time.time()))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return ended


def torchrun(name: str, world: int, *arguments: str, timeout: float = 180) -> list[dict[str, Any]]:
    """Run a job by torchrun itself; what its ranks told, in any order."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={world}"]
    address = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    done = subprocess.run(
        [*command, *address, str(JOBS / name), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return told_by(done.stdout)
