"""Two hosts on one machine: `with two_hosts(delay_s=0.05, loss=0.01) as hosts: hosts.popen(0, [...])`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

WIRE = Path(__file__).with_name("wire.py")
_spec = importlib.util.spec_from_file_location("jitwarmup_tests_wire", WIRE)
assert _spec is not None
assert _spec.loader is not None
wire = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wire)


class NoHosts(Exception):
    """Two hosts cannot be made here; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What one direction of the wire did with its packets so far."""

    passed: int
    dropped: int
    refused: int  # by the receiving kernel: its device is down or its memory is full
    held: int  # under way


def reason() -> str | None:
    """Why two hosts cannot be made here, or None."""
    if sys.platform != "linux":
        return f"network namespaces are Linux; this is {sys.platform}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "no `ip` (iproute2) on PATH"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun to read and write"
    return None


@dataclass(slots=True, kw_only=True)
class Hosts:
    """Two network namespaces joined by a wire. Host i sends to host 1 - i; `stats[i]` counts what host i sent."""

    names: tuple[str, str]
    delay_s: float  # one way
    process: subprocess.Popen[bytes]
    addresses: tuple[str, str] = wire.ADDRESSES
    interface: str = wire.INTERFACE  # by this name on both hosts, for GLOO_SOCKET_IFNAME
    children: list[subprocess.Popen[Any]] = field(default_factory=list)
    _final: tuple[Count, Count] | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def popen(self, host: int, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """`subprocess.Popen` on host 0 or 1. `ip netns exec` becomes the program, so its pid is the program's.

        Read its pipes inside the `with`: the end of that kills the program and closes them.
        """
        child = subprocess.Popen(["ip", "netns", "exec", self.names[host], *argv], **options)
        self.children.append(child)
        return child

    @property
    def stats(self) -> tuple[Count, Count]:
        """Packets so far; after the end of the `with`, all of them."""
        return self._final or _counts(self._ask("stats"))

    def lose(self, loss: float) -> None:
        """From now on drop this share, both ways. With 1 the other host falls silent, as at a power cut: no RST."""
        self._ask(f"loss {loss!r}")

    def _ask(self, command: str) -> bytes:
        with self._turn:
            try:
                _to(self.process).write(f"{command}\n".encode())
                answer = _from(self.process).readline()
            except (BrokenPipeError, ValueError):  # ValueError: closed, after the end of the `with`
                answer = b""
        if not answer:
            raise RuntimeError(f"the wire has died (exit status {self.process.poll()})")
        return answer

    def close(self) -> None:
        """End the children, then the wire, which removes the namespaces; where it was killed, remove them here."""
        try:
            for child in self.children:
                child.kill()
                child.wait()
                _close_pipes(child)
            lines = self._end().splitlines()
            # A wire that was killed left no counts; `stats` says so when asked.
            self._final = _counts(lines[-1]) if lines and self.process.returncode == 0 else None
        finally:
            wire.tear_down(self.names)

    def _end(self) -> bytes:
        """The last words of the wire, which has ten seconds for them."""
        try:
            return self.process.communicate(b"end\n", timeout=10)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[0]


def _to(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _from(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _close_pipes(child: subprocess.Popen[Any]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        with contextlib.suppress(BrokenPipeError):  # closing writes what the dead child will not read
            if pipe is not None:
                pipe.close()


def _counts(line: bytes) -> tuple[Count, Count]:
    one, two = (Count(**each) for each in json.loads(line))
    return one, two


@contextlib.contextmanager
def two_hosts(*, delay_s: float = 0.05, loss: float = 0.01, seed: int = 0) -> Iterator[Hosts]:
    """Two hosts with a wire between them.

    Args:
        delay_s: what a packet takes one way, in seconds; a round trip takes twice that.
        loss: the chance that a packet is dropped, 0 to 1, each way.
        seed: with the same seed, packet n of a direction meets the same fate.

    Raises:
        NoHosts: not root, no `ip`, no TUN, or the kernel refused; the message says which.
    """
    if why := reason():
        raise NoHosts(why)
    stem = f"jw{os.getpid()}-{secrets.token_hex(3)}"
    names = (f"{stem}a", f"{stem}b")
    options = ["--delay", str(delay_s), "--loss", str(loss), "--seed", str(seed)]
    # A session of its own: what is sent to the tests' group is not for the wire, which cleans up behind them.
    process = subprocess.Popen(
        [sys.executable, str(WIRE), *names, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # or a write to a dead wire would fail a second time, when the pipe is closed
        start_new_session=True,
    )
    hosts = Hosts(names=names, delay_s=delay_s, process=process)
    try:
        if (first := _from(process).readline().decode().strip()) != "ready":
            raise NoHosts(first.removeprefix("cannot: ") or "the wire did not start")
        yield hosts
    finally:
        hosts.close()
