"""Starts real servers over ``service.py`` for the tests, asks them, and reads what they wrote."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
GENEROUS_S = 60.0
GUNICORN = ["-w", "2", "--graceful-timeout", "5", "--no-control-socket"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(server: str, port: int, app: str) -> list[str]:
    """``uvicorn -w 2`` or ``gunicorn CLASS --preload`` as one writes it, for an application of this folder."""
    program, *more = server.split()
    address = f"127.0.0.1:{port}"
    if program == "uvicorn":
        more = ["--workers", more[1]] if more else []
        return [sys.executable, "-m", "uvicorn", "--port", str(port), "--no-access-log", *more, app]
    more += ["--threads", "2"] if "gthread" in more else []
    return [sys.executable, "-m", "gunicorn", "-b", address, *GUNICORN, "-k", *more, app]


@contextlib.contextmanager
def serving(server: str, place: Path, app: str, **environment: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """The running server and its port; a group of its own, ended with everything in it."""
    port = free_port()
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    env = {**os.environ, "PYTHONPATH": path, "EVENTS": str(place / "events.jsonl"), **environment}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command(server, port, app), stdout=log, stderr=log, env=env, cwd=place, start_new_session=True
        )
    try:
        deadline = time.monotonic() + GENEROUS_S
        while not listens(port):
            assert process.poll() is None, (place / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(GENEROUS_S)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def get(port: int, path: str = "/") -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body; None where nobody answers (any more)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GENEROUS_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answered_until_it_ends(port: int, process: subprocess.Popen, signum: int, *, calls: int, clients: int) -> int:
    """Ask ``calls`` times from several threads, stop the server in the middle; how many answers came."""
    answers, lock, asked = [], threading.Lock(), iter(range(calls))

    def client() -> None:
        while True:
            with lock:
                if next(asked, None) is None:
                    return
            if (got := get(port)) is not None and got[0] == 200:
                with lock:
                    answers.append(got)
                    half = len(answers) == calls // 2
                if half:
                    process.send_signal(signum)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if process.poll() is None and len(answers) == calls:
        process.send_signal(signum)
    process.wait(GENEROUS_S)
    return len(answers)


def events(place: Path, name: str) -> list[dict]:
    path = place / "events.jsonl"
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]
