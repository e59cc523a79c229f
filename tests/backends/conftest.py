"""Installs and starts real back ends; one that cannot be had skips its tests and says why."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("JITWARMUP_BACKENDS") or Path.home() / ".cache" / "jitwarmup-backends")
REQUIRED = os.environ.get("JITWARMUP_BACKENDS_REQUIRED") == "1"  # then a back end that cannot be had is a failure


class Backends:
    """What the tests of every back end need."""

    here = HERE

    def installed(self, name: str) -> Path:
        """Install a back end where it is not installed yet; the folder it is in."""
        command = ["sh", str(HERE / "install.sh"), name, str(CACHE)]
        env = {**os.environ, "PYTHON": sys.executable}
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=env)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-3:]
            reason = f"{name} could not be installed, so nothing was checked against it: {' / '.join(said)}"
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

    def until(self, question: Callable[[], Any], log: Path, seconds: float = 60) -> Any:
        """Ask again and again until the answer is true; the log is shown where it never is."""
        deadline = time.monotonic() + seconds
        failure: BaseException | None = None
        while time.monotonic() < deadline:
            try:
                if answer := question():
                    return answer
            except Exception as error:
                failure = error
            time.sleep(0.05)
        said = log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"
        raise AssertionError(f"no answer in {seconds} s; last failure {failure!r}; the log ends:\n{said}")

    def free_port(self) -> int:
        """A port nobody listens on."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    def script(self, python: Path | str, name: str, *arguments: Any) -> str:
        """Run one of the scripts here with a given python, jitwarmup importable; its output."""
        command = [str(python), str(HERE / name), *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return ended.stdout


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
