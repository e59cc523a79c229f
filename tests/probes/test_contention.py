"""What others took from the calling thread."""

import os
import threading
import time
from pathlib import Path

import pytest

from jitwarmup.probes import contention
from jitwarmup.probes.contention import CpuContention, page_faults, taken

linux = pytest.mark.skipif(not Path(contention.SCHEDSTAT).exists(), reason="this system has no schedstat")


@pytest.fixture
def schedstat(tmp_path):
    file = tmp_path / "schedstat"
    file.write_bytes(b"100 5000000 3\n")
    return file


class Usage:
    """A ``getrusage`` whose switches and faults a test moves."""

    def __init__(self):
        self.fields = [0] * 16

    def __call__(self):
        return tuple(self.fields)


@pytest.fixture
def probe(schedstat):
    probe = CpuContention(str(schedstat))
    probe._usage = Usage()
    return probe


def test_a_quiet_run_reads_no_file_and_waited_for_nothing(probe, schedstat):
    before = probe.read()
    schedstat.write_bytes(b"100 9000000 3\n")  # cannot grow while the thread stays on its core, so nobody looks
    after = probe.read()
    cpu, wait, switches, _ = taken(before, after)
    assert (wait, switches) == (0.0, 0)
    assert cpu >= 0


@pytest.mark.parametrize("field", [contention.VOLUNTARY, contention.INVOLUNTARY])
def test_a_thread_that_was_off_its_core_is_asked_how_long_it_waited(probe, schedstat, field):
    before = probe.read()
    schedstat.write_bytes(b"100 9000000 3\n")
    probe._usage.fields[field] += 1
    _, wait, switches, _ = taken(before, probe.read())
    assert wait == pytest.approx(0.004)
    assert switches == (1 if field == contention.INVOLUNTARY else 0)


def test_a_run_that_ends_on_another_thread_says_nothing(probe):
    readings = [probe.read()]
    thread = threading.Thread(target=lambda: readings.append(probe.read()))
    thread.start()
    thread.join()
    assert taken(*readings) == (None,) * 4
    assert page_faults(*readings) == ()


@linux
def test_each_thread_keeps_one_descriptor_and_gives_it_back(probe, schedstat):
    def descriptors():
        return [fd for fd in Path("/proc/self/fd").iterdir() if fd.exists() and fd.samefile(schedstat)]

    def read():
        for _ in range(5):
            probe.read()
        held.extend(descriptors())

    held = []
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(held) == 1
    assert descriptors() == []


def test_without_schedstat_the_wait_is_absent_and_the_rest_is_there(tmp_path):
    probe = CpuContention(str(tmp_path / "none"))
    probe._usage = Usage()
    assert probe.arm().state == "armed"
    assert probe.arm().reason.startswith("no run-queue wait")
    cpu, wait, switches, _ = taken(probe.read(), probe.read())
    assert (wait, switches) == (None, 0)
    assert cpu >= 0


@pytest.mark.parametrize("content", [b"", b"nonsense", b"7"])
def test_a_schedstat_of_another_form_is_absent(probe, schedstat, content):
    schedstat.write_bytes(content)
    assert taken(probe.read(), probe.read())[1] is None


def test_a_schedstat_that_reads_zero_is_no_schedstat(tmp_path):
    file = tmp_path / "schedstat"
    file.write_bytes(b"0 0 0\n")
    assert "does not tell it" in CpuContention(str(file)).arm().reason


def test_without_getrusage_of_a_thread_only_cpu_seconds_are_told(probe):
    probe._usage = None
    probe._state = None
    assert probe.arm().state == "unavailable"
    cpu, wait, switches, _ = taken(probe.read(), probe.read())
    assert cpu >= 0
    assert (wait, switches) == (None, None)


def test_without_a_thread_clock_cpu_seconds_are_absent(probe):
    probe._clock = lambda: None
    assert taken(probe.read(), probe.read())[0] is None


def test_major_page_faults_are_ambient(probe):
    before = probe.read()
    probe._usage.fields[contention.MAJOR_FAULTS] += 3
    [work] = page_faults(before, probe.read())
    assert (work.kind, work.count, work.recurrence) == ("page_fault.major", 3, "ambient")
    assert page_faults(before, before) == ()


@linux
def test_the_self_test_passes_here():
    assert CpuContention().arm().reason is None


@linux
def test_the_descriptor_is_the_threads_own_and_not_the_processes():
    """``/proc/self/schedstat`` is the main thread: a thread that runs must see its own time there, not the main's."""
    probe, result = CpuContention(), []

    def work():
        slot = probe.read()[0]
        began = int(os.pread(slot.descriptor, 64, 0).split()[0])
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        os.sched_yield()
        result.append(int(os.pread(slot.descriptor, 64, 0).split()[0]) - began)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert result[0] > 5_000_000


@linux
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_a_descriptor_of_its_own(child):
    script = """
        import json, os
        from jitwarmup.probes.contention import CpuContention
        probe = CpuContention()
        first = probe.read()[0]
        reads, writes = os.pipe()
        if os.fork() == 0:
            os.write(writes, b"yes" if probe.read()[0] is not first else b"no")
            os._exit(0)
        os.wait()
        print(json.dumps([os.read(reads, 10).decode(), probe.read()[0] is first]))
    """
    assert child(script) == ["yes", True]
