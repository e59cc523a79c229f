"""The test bench of two hosts: its wire delays, loses and keeps order as told, and leaves nothing behind."""

import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux")

ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], 5000))
print("up", flush=True)
connection, _ = listener.accept()
while data := connection.recv(65536):
    connection.sendall(data)
"""

PING = """
import json, socket, sys, time
connection = socket.create_connection((sys.argv[1], 5000))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
trips = []
for _ in range(5):
    start = time.monotonic()
    connection.sendall(b"?")
    assert connection.recv(1) == b"?"
    trips.append(time.monotonic() - start)
print(json.dumps(trips))
"""

TAKE = """
import hashlib, socket, sys
listener = socket.create_server((sys.argv[1], 5000))
print("up", flush=True)
connection, _ = listener.accept()
digest, size = hashlib.sha256(), 0
while data := connection.recv(65536):
    digest.update(data)
    size += len(data)
print(size, digest.hexdigest())
"""

SEND = """
import random, socket, sys
socket.create_connection((sys.argv[1], 5000)).sendall(random.Random(7).randbytes(1_000_000))
"""

HEAR = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 5000))
print("up", flush=True)
while (data := listener.recv(10)) != b"end":
    print(int(data))
"""

SPEAK = """
import socket, sys
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    speaker.sendto(line.strip().encode(), (sys.argv[1], 5000))
    print("sent", flush=True)
"""

GATHER = """
import datetime, json, statistics, sys, time
import torch
import torch.distributed as dist

start = time.monotonic()
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=int(sys.argv[1])))
ready = time.monotonic()
rank, costs = dist.get_rank(), []
for turn in range(20):
    mine = torch.full((256,), 2 * turn + rank, dtype=torch.uint8)
    parts = [torch.empty_like(mine), torch.empty_like(mine)]
    start_one = time.monotonic()
    dist.all_gather(parts, mine)
    costs.append(time.monotonic() - start_one)
    assert [part.unique().tolist() for part in parts] == [[2 * turn], [2 * turn + 1]]
print(json.dumps({"init_s": ready - start, "total_s": sum(costs), "median_s": statistics.median(costs),
                  "min_s": min(costs), "max_s": max(costs)}))
dist.destroy_process_group()
"""

HOLDER = """
import importlib.util, json, subprocess, sys
spec = importlib.util.spec_from_file_location("hosts", sys.argv[1])
module = sys.modules["hosts"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.two_hosts() as hosts:
    child = hosts.popen(1, ["sleep", "600"], stdout=subprocess.DEVNULL)
    print(json.dumps([*hosts.names, hosts.process.pid, child.pid]), flush=True)
    sys.stdin.read()
"""


def start(hosts, host, code, *arguments, **options):
    """A Python program on a host, with a pipe to its stdout."""
    options = {"stdout": subprocess.PIPE, "text": True, **options}
    return hosts.popen(host, [sys.executable, "-c", code, *arguments], **options)


def listen(hosts, code):
    """A program that listens on host 0, once it does."""
    process = start(hosts, 0, code, hosts.addresses[0])
    assert process.stdout.readline() == "up\n"
    return process


def output_of(process, timeout=60):
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0
    return out


def remains(names):
    return [name for name in names if Path("/run/netns", name).exists()]


def gone(pid, timeout_s=10):
    """Whether a process, also one that is not our child, has ended or does within the time."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], timeout_s)[0])
    finally:
        os.close(watch)


def test_a_round_trip_takes_two_delays(two_hosts):
    with two_hosts(delay_s=0.05, loss=0) as hosts:
        listen(hosts, ECHO)
        trips = json.loads(output_of(start(hosts, 1, PING, hosts.addresses[0])))
    print(f"round trips over 2 x 50 ms: {[round(trip * 1e3, 1) for trip in trips]} ms")
    assert min(trips) >= 2 * hosts.delay_s
    assert [count.dropped for count in hosts.stats] == [0, 0]


def test_a_megabyte_over_tcp_arrives_whole_through_the_loss(two_hosts):
    with two_hosts(delay_s=0.01, loss=0.02, seed=1) as hosts:
        taker = listen(hosts, TAKE)
        output_of(start(hosts, 1, SEND, hosts.addresses[0]))
        size, digest = output_of(taker).split()
    assert int(size) == 1_000_000
    assert digest == hashlib.sha256(random.Random(7).randbytes(1_000_000)).hexdigest()
    answers, data = hosts.stats
    print(f"1 MB: {data}, answers: {answers}")
    assert data.dropped > 0
    assert data.passed >= 1_000_000 / 1500


def test_packets_come_in_order_and_exactly_the_seed_s_ones_are_lost(two_hosts):
    with two_hosts(delay_s=0.02, loss=0.2, seed=3) as hosts:
        hearer = listen(hosts, HEAR)
        speaker = start(hosts, 1, SPEAK, hosts.addresses[0], stdin=subprocess.PIPE)
        for number in range(200):
            speaker.stdin.write(f"{number}\n")
        speaker.stdin.flush()
        assert [speaker.stdout.readline() for _ in range(200)] == ["sent\n"] * 200
        hosts.lose(0)
        speaker.stdin.write("end\n")
        speaker.stdin.flush()
        received = [int(line) for line in output_of(hearer).split()]
        _, sent = hosts.stats
    chance = random.Random("3 back")
    kept = [number for number in range(200) if chance.random() >= 0.2]
    assert received == kept
    assert (sent.passed, sent.dropped) == (len(kept) + 1, 200 - len(kept))


def test_a_host_can_fall_silent(two_hosts):
    with two_hosts(delay_s=0, loss=0) as hosts:
        speaker = start(hosts, 0, SPEAK, hosts.addresses[1], stdin=subprocess.PIPE)
        hosts.lose(1)
        speaker.stdin.write("1\n2\n")
        speaker.stdin.flush()
        assert [speaker.stdout.readline() for _ in range(2)] == ["sent\n"] * 2
        sent, _ = hosts.stats
    assert hosts.stats[0].dropped == 2
    assert hosts.stats[0].passed == 0
    assert sent.passed == 0


def test_an_exception_leaves_no_namespace_and_no_process(two_hosts):
    with pytest.raises(ZeroDivisionError), two_hosts() as hosts:  # noqa: PT012 - what stands inside is the case
        child = hosts.popen(1, ["sleep", "600"])
        assert remains(hosts.names) == [*hosts.names]
        raise ZeroDivisionError
    assert remains(hosts.names) == []
    assert child.returncode == -signal.SIGKILL
    assert hosts.process.returncode == 0


def test_grandchildren_on_a_host_end_with_it(two_hosts):
    with two_hosts() as hosts:
        shell = hosts.popen(0, ["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
        grandchild = int(shell.stdout.readline())
    assert gone(grandchild)


def test_a_killed_wire_leaves_nothing_and_the_counts_say_so(two_hosts):
    with two_hosts() as hosts:
        child = hosts.popen(0, ["sleep", "600"])
        hosts.process.kill()
        with pytest.raises(RuntimeError, match="the wire has died"):
            _ = hosts.stats
    assert remains(hosts.names) == []
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(RuntimeError, match="the wire has died"):
        _ = hosts.stats


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_tests_leave_nothing(two_hosts, bench, how):
    command = [sys.executable, "-c", HOLDER, bench.__file__]
    holder = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    *names, wire, child = json.loads(holder.stdout.readline())
    assert remains(names) == names
    os.killpg(holder.pid, how)  # the whole group, as Ctrl-C and `timeout` do
    holder.communicate()
    assert gone(wire)
    assert gone(child)
    assert remains(names) == []


def test_without_root_it_says_so(bench, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bench.NoHosts, match="root"), bench.two_hosts():
        pass


def test_without_iproute2_it_says_so(bench, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(bench.NoHosts, match="no `ip`"), bench.two_hosts():
        pass


def test_a_kernel_that_refuses_is_quoted(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "reason", lambda: None)
    (tmp_path / "ip").write_text("#!/bin/sh\necho mount --make-shared failed: not permitted >&2\nexit 1\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(bench.NoHosts, match=r"ip netns add .*: mount --make-shared failed: not permitted"):
        with bench.two_hosts():
            pass


def gather(hosts, timeout_s, **environment):
    """Two gloo ranks, one on each host, with 20 all_gathers of 256 bytes between them."""
    meeting = {"MASTER_ADDR": hosts.addresses[0], "MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    return [
        start(
            hosts,
            rank,
            GATHER,
            str(timeout_s),
            stderr=subprocess.PIPE,
            env={**os.environ, **meeting, "RANK": str(rank), **environment},
        )
        for rank in (0, 1)
    ]


@pytest.mark.slow
def test_gloo_meets_over_it(two_hosts):
    with two_hosts(delay_s=0.05, loss=0.01, seed=0) as hosts:
        ranks = gather(hosts, 50, GLOO_SOCKET_IFNAME=hosts.interface)
        results = [json.loads(output_of(rank)) for rank in ranks]
    for rank, result in enumerate(results):
        print(f"rank {rank}: {result}")
    print(hosts.stats)
    # Each finish waits one way for the other's start, so the two costs of a gather sum to two delays at least.
    assert sum(result["total_s"] for result in results) / 40 >= hosts.delay_s
