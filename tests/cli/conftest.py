"""The command line as a user meets it: in a process of its own, on a terminal of a given width or piped."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ENV = ("NO_COLOR", "TQDM_DISABLE", "COLUMNS", "FORCE_COLOR", "JITWARMUP_LOG", "JITWARMUP", "CI")

WORK = """
import asyncio, os, signal, sys, threading
runs = 0

def work(n=2000):
    return sum(i * i for i in range(n))

def slow(n=2000):
    return work(n), work(n // 4)

def noisy(n):
    print("a print of the function's")
    return work(n)

async def awaited(n=500):
    return work(n)

def stream(n=5):
    for at in range(n):
        yield work(500)

def fail_at(number, name="ValueError"):
    global runs
    runs += 1
    if runs == number:
        raise {"ValueError": ValueError, "interrupt": KeyboardInterrupt}[name]("no such thing")

def interrupt_at(number):
    global runs
    runs += 1
    if runs == number:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10**9):
            work(100)

def interrupt_soon_at(number):
    global runs
    runs += 1
    if runs == number:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    return runs == number

def eat(items):
    return list(items)

def fresh(items):
    return (iter(items),), {}
"""


def environment(**more):
    env = {name: value for name, value in os.environ.items() if name not in ENV}
    return {**env, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PYTHONWARNINGS": "error", **more}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(WORK)
    return tmp_path


@pytest.fixture
def jitwarmup(folder):
    """Run it piped; the answer has returncode, stdout and stderr."""

    def run(*words, **more):
        command = [sys.executable, "-m", "jitwarmup", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=environment(**more), timeout=120, check=False
        )

    return run


@pytest.fixture
def on_terminal(folder):
    """Run it on a terminal: (returncode, everything that was drawn)."""

    def run(*words, columns=80, without_tqdm=False, **more):
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        code = "import sys; sys.modules['tqdm'] = None;" if without_tqdm else "import sys;"
        code += "from jitwarmup.cli import main; sys.exit(main())"
        child = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=folder,
            env=environment(**more),
            start_new_session=True,
        )
        os.close(follower)
        drawn = b""
        with contextlib.suppress(OSError):  # Linux tells the end of a terminal as an error
            while part := os.read(leader, 65536):
                drawn += part
        os.close(leader)
        return child.wait(60), drawn.decode()

    return run


@pytest.fixture
def plain():
    """Text without escape codes, its lines as they end up on the screen."""
    return lambda text: ANSI.sub("", text).replace("\r\n", "\n")


@pytest.fixture
def saved(folder):
    def load(name):
        return [json.loads(line) for line in (folder / name).read_text().splitlines()]

    return load
