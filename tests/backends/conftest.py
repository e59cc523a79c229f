"""Installs and starts real back ends; one that cannot be had skips its tests and says why."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples" / "backends"
CACHE = Path(os.environ.get("JITWARMUP_BACKENDS") or Path.home() / ".cache" / "jitwarmup-backends")
REQUIRED = os.environ.get("JITWARMUP_BACKENDS_REQUIRED") == "1"  # then a back end that cannot be had is a failure


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow installations alone unless they are asked for."""
    if "backends" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("backends"):
                item.add_marker(pytest.mark.skip(reason="installs a data base; run pytest -m backends"))


class Backends:
    """What the tests of every back end need."""

    here = HERE
    root = ROOT
    examples = EXAMPLES

    def installed(self, name: str) -> Path:
        """Install a back end where it is not installed yet; the folder it is in."""
        command = ["sh", str(HERE / "install.sh"), name, str(CACHE)]
        env = {**os.environ, "PYTHON": sys.executable}
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=env)
        except (OSError, subprocess.SubprocessError) as error:
            ended = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-3:]
            reason = f"{name} could not be installed, so nothing was checked against it: {' / '.join(ended)}"
            pytest.fail(reason) if REQUIRED else pytest.skip(reason)
        return CACHE / name

    @contextmanager
    def running(self, *command: Any, log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Start a server, and end it."""
        with log.open("wb") as out:
            process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, **more)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)

    def until(self, question: Callable[[], Any], log: Path, server: Any = None, seconds: float = 60) -> Any:
        """Ask again and again until the answer is true; the log is shown where it never is, or the server ended."""
        deadline = time.monotonic() + seconds
        failure = ""
        while time.monotonic() < deadline and (server is None or server.poll() is None):
            try:
                if answer := question():
                    return answer
            except Exception as error:
                failure = repr(error)
                if isinstance(error, urllib.error.HTTPError):
                    error.close()  # it holds the connection of a server that is still starting
            time.sleep(0.05)
        written = log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"
        raise AssertionError(f"no answer within {seconds} s; last failure {failure}; the log ends:\n{written}")

    def free_port(self) -> int:
        """A port nobody listens on."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    @contextmanager
    def rotel(self, place: Path) -> Iterator[tuple[Path, str, Callable[[Callable[[list[Any]], bool]], list[Any]]]]:
        """
        A running collector: a python with OpenTelemetry's SDK, its endpoint, and a function that waits for what came out.

        Behind the collector stands ``otlp_sink.py``.
        """
        folder = self.installed("rotel")
        python = folder / "bin" / "python"
        (agent,) = folder.glob("lib/python*/site-packages/rotel/rotel-agent")
        file, log, sink_log = place / "received.jsonl", place / "rotel.log", place / "sink.log"
        http, grpc, sink = self.free_port(), self.free_port(), self.free_port()
        collector = [
            *(agent, "start", "--pid-file", place / "pid", "--log-file", place / "agent.log"),
            *("--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", f"http://127.0.0.1:{sink}"),
        ]

        def entries() -> list[Any]:
            return [json.loads(line) for line in file.read_text().splitlines()]

        with self.running(python, HERE / "otlp_sink.py", sink, file, log=sink_log) as behind:
            self.until(lambda: listens(sink), sink_log, behind)
            with self.running(*collector, log=log) as running:
                self.until(lambda: listens(http), log, running)

                def wait(enough: Callable[[list[Any]], bool]) -> list[Any]:
                    self.until(lambda: enough(entries()), log, running)
                    return entries()

                yield python, f"http://127.0.0.1:{http}", wait

    def script(self, python: Path | str, name: str, *arguments: Any) -> str:
        """Run one of the scripts here, or an example, with a given python and jitwarmup importable; its output."""
        path = HERE / name if (HERE / name).exists() else EXAMPLES / name
        command = [str(python), str(path), *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout


def listens(port: int) -> bool:
    """Whether a server takes connections at a port."""
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


@pytest.fixture(scope="session")
def backends() -> Backends:
    return Backends()


@pytest.fixture(scope="session")
def thousand() -> ModuleType:
    """The module ``thousand.py``: a thousand events and their true median."""
    spec = importlib.util.spec_from_file_location("backends_thousand", HERE / "thousand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def database(backends: Backends) -> Iterator[tuple[Callable[[str], list[str]], int]]:
    """A fresh PostgreSQL with the table of rsyslog.conf: a function that gives the lines that answer some SQL; its port."""
    backends.installed("rsyslog")
    (binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    place = Path(tempfile.mkdtemp(prefix="jitwarmup-postgresql-"))  # its user cannot enter pytest's folders
    log, port = place / "postgresql.log", backends.free_port()
    by_root = os.geteuid() == 0
    if by_root:
        shutil.chown(place, "postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if by_root else []
    make: list[Any] = [*as_user, binaries / "initdb", "-D", place / "data", "-A", "trust", "-U", "postgres", "-N"]
    subprocess.run([str(part) for part in make], check=True, capture_output=True, timeout=120, cwd=place)

    def sql(question: str) -> list[str]:
        command = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-AtX", "-v", "ON_ERROR_STOP=1"]
        ended = subprocess.run([*command, "-c", question], check=True, capture_output=True, text=True, timeout=60)
        return ended.stdout.splitlines()

    server = [*as_user, binaries / "postgres", "-D", place / "data", "-p", port, "-k", place]
    with backends.running(*server, log=log, cwd=place) as running:
        backends.until(lambda: sql("select 1"), log, running)
        sql("create table events (doc jsonb not null)")
        yield sql, port
    shutil.rmtree(place, ignore_errors=True)
