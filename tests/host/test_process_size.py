"""The size of the process is what the system says; what it does not say is None."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from jitwarmup.host import process_size

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")


@linux
def test_memory_that_is_touched_is_seen() -> None:
    before = process_size.read().memory_bytes
    kept = bytearray(b"x") * (256 << 20)
    after = process_size.read().memory_bytes
    assert after - before >= 128 << 20
    del kept


@linux
def test_descriptors_are_counted_exactly() -> None:
    before = process_size.read().descriptors
    assert before == process_size.read().descriptors
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    assert process_size.read().descriptors == before + 5
    for file in files:
        os.close(file)
    assert process_size.read().descriptors == before


def test_graphs_come_from_torchs_own_counter(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters={"stats": {"unique_graphs": 7}}))
    assert process_size.read().graphs == 7


def test_what_cannot_be_read_is_absent(monkeypatch) -> None:
    import sys

    monkeypatch.setattr(process_size, "STATM", Path("/nowhere/statm"))
    monkeypatch.setattr(process_size, "DESCRIPTORS", Path("/nowhere/fd"))
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    size = process_size.read()
    assert (size.memory_bytes, size.descriptors, size.graphs) == (None, None, None)
