"""The wire between two "hosts": two network namespaces, a TUN device in each, and this process as the cable.

    host 0 (namespace)                this process                 host 1 (namespace)
    10.77.0.1 on jw0  --- TUN fd ---  drop? hold.  --- TUN fd ---  10.77.0.2 on jw0

Every IP packet read from one side is dropped with probability `loss` or written to the other side `delay` seconds
later, in the order it came; a round trip costs two delays. Packets, not frames: a TUN device has no offload, so the
kernel itself cuts TCP to the MTU and fills in every checksum. (Where the kernel has netem, `tc` does the same.)

`python wire.py NAME0 NAME1 --delay 0.05 --loss 0.01 --seed 0` as root makes the namespaces and prints `ready`. Then
each line of stdin is a command: `stats` prints one line of JSON, `loss 1` changes the loss, `end` (or the end of stdin,
so also the death of whoever holds it by SIGKILL) ends the processes in both namespaces and removes them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ADDRESSES = ("10.77.0.1", "10.77.0.2")
INTERFACE = "jw0"
MTU = 1500
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x0001 | 0x1000
CLONE_NEWNET = 0x40000000
BURST = 500  # a TUN device queues so many: what was sent before a command is counted before the command is done


class Way:
    """One direction: its own chance, so that packet n of a direction shares its fate in every run with that seed."""

    def __init__(self, source: int, sink: int, *, delay_s: float, loss: float, seed: str) -> None:
        self.source, self.sink = source, sink
        self.delay_s, self.loss = delay_s, loss
        self.chance = random.Random(seed)
        self.held: deque[tuple[float, bytes]] = deque()
        self.passed = self.dropped = self.refused = 0

    def take(self) -> None:
        for _ in range(BURST):
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            if self.chance.random() < self.loss:
                self.dropped += 1
            else:
                self.held.append((time.monotonic() + self.delay_s, packet))

    def deliver(self) -> None:
        """Hand over what is due. What the far kernel will not take (no memory, device down) is counted apart."""
        while self.held and self.held[0][0] <= time.monotonic():
            _, packet = self.held.popleft()
            try:
                os.write(self.sink, packet)
            except OSError:
                self.refused += 1
            else:
                self.passed += 1

    def count(self) -> dict[str, int]:
        return {"passed": self.passed, "dropped": self.dropped, "refused": self.refused, "held": len(self.held)}


def carry(ways: tuple[Way, Way]) -> None:
    """Carry packets until stdin says `end` or ends."""
    sources = {way.source: way for way in ways}
    while True:
        due = min((way.held[0][0] for way in ways if way.held), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([0, *sources], [], [], wait)
        for fd in readable:
            if fd in sources:
                sources[fd].take()
        for way in ways:
            way.deliver()
        if 0 in readable and not obey(ways):
            return


def obey(ways: tuple[Way, Way]) -> bool:
    """Do the commands that stdin holds; false when the wire is to end."""
    text = os.read(0, 4096).decode()
    for command in text.splitlines():
        match command.split():
            case ["stats"]:
                emit(json.dumps([way.count() for way in ways]))
            case ["loss", value]:
                for way in ways:
                    way.loss = float(value)
                emit("done")
            case _:
                return False
    return bool(text)


def emit(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked is gone; the end of stdin tells so next
        os.write(1, f"{line}\n".encode())


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in the network namespace `name`. (`os.setns` is Python 3.12.)"""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as here, Path("/run/netns", name).open("rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {name}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if libc.setns(here.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns back")


def tun(name: str, address: str) -> int:
    """The TUN device of a namespace, up and with its address; it vanishes when the descriptor is closed."""
    with inside(name):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", INTERFACE.encode(), IFF_TUN_NO_PI))
    # No link-local IPv6: its router solicitations would take random numbers that belong to the traffic.
    with contextlib.suppress(OSError):  # a kernel without IPv6 has no such mode, and no such traffic
        ip("-n", name, "link", "set", INTERFACE, "addrgenmode", "none")
    ip("-n", name, "link", "set", INTERFACE, "mtu", str(MTU), "up")
    ip("-n", name, "addr", "add", f"{address}/30", "dev", INTERFACE)
    return device


def tear_down(names: Iterable[str]) -> None:
    """End every process in the namespaces and remove them; those already gone are no error."""
    for name in names:
        if Path("/run/netns", name).exists():
            for pid in ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            ip("netns", "del", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs=2, help="the two network namespaces to make")
    parser.add_argument("--delay", type=float, default=0.05, help="one way, in seconds; a round trip costs two")
    parser.add_argument("--loss", type=float, default=0.01, help="the chance that a packet is dropped, each way")
    parser.add_argument("--seed", default="0")
    asked = parser.parse_args()
    # SIGTERM leaves by the finally below, not past it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made: list[str] = []
    try:
        for name in asked.names:
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        one, two = (tun(name, address) for name, address in zip(asked.names, ADDRESSES, strict=True))
        emit("ready")
        there = Way(one, two, delay_s=asked.delay, loss=asked.loss, seed=f"{asked.seed} there")
        back = Way(two, one, delay_s=asked.delay, loss=asked.loss, seed=f"{asked.seed} back")
        carry((there, back))
        emit(json.dumps([way.count() for way in (there, back)]))
    except OSError as error:
        emit(f"cannot: {error}")
        sys.exit(1)
    finally:
        tear_down(made)


if __name__ == "__main__":
    main()
