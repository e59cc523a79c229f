"""Two network namespaces as two hosts: 100 ms each way and 1 % of the packets lost, and at last a wire that is cut."""

import json
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow  # ranks are processes that each import torch
BOUND_S, SOON_S = 4.0, 10.0


def started(hosts, launch, bound_s):
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": hosts.addresses[0], "MASTER_PORT": "29500"}
    common["GLOO_SOCKET_IFNAME"] = hosts.interface
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    argv = [sys.executable, str(launch.JOBS / "hosts.py"), str(bound_s)]
    return [hosts.popen(at, argv, env=launch.environment(**common, RANK=str(at)), **pipes) for at in (0, 1)]


def line_of(process):
    line = process.stdout.readline()
    assert line.startswith("{"), line + process.stderr.read()[-3000:]
    return json.loads(line)


def test_two_hosts_stay_in_step_over_delay_and_loss(two_hosts, launch, capsys):
    with two_hosts(delay_s=0.1, loss=0.01, seed=534) as hosts:
        began = time.monotonic()
        jobs = started(hosts, launch, 0)
        first, second = (line_of(process) for process in jobs)
        assert [process.wait(60) for process in jobs] == [0, 0]
        lost = sum(count.dropped for count in hosts.stats)
        spent_s = time.monotonic() - began
    with capsys.disabled():
        print(f"\ntwo hosts, 100 ms each way, {lost} packets lost: {first['runs']} in {spent_s:.1f} s, in step")
    for name in ("runs", "verdict", "times_ns", "straggler"):
        assert first[name] == second[name]
    assert first["failure"] is None
    assert first["straggler"] == 1
    assert lost >= 2  # with this seed, packets 12 and 32 there and 24 back are lost


def test_a_wire_that_is_cut_ends_both_after_the_bound(two_hosts, launch, capsys):
    """No connection is closed then, as when a host loses its power: neither the peer nor the job's store answers."""
    with two_hosts(delay_s=0.005, loss=0) as hosts:
        jobs = started(hosts, launch, BOUND_S)
        for process in jobs:
            assert line_of(process)["failure"] is None
        hosts.lose(1)
        for process in jobs:
            process.stdin.write("\n")
            process.stdin.flush()
        for rank, process in enumerate(jobs):
            cut, lost = line_of(process), line_of(process)
            with capsys.disabled():
                print(f"\nwire cut: rank {rank} ended {lost['at'] - cut['at']:.1f} s later, bound {BOUND_S:g} s")
            assert lost["at"] - cut["at"] < BOUND_S + SOON_S
            reason = "rank 1 did not come to the agreement" if rank == 0 else "the job's store does not answer"
            assert reason in lost["message"]
