"""The CUDA probes with readers of our own: no device is needed, and none was used."""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup.probes import cuda
from jitwarmup.probes.base import ARMED
from jitwarmup.probes.cuda import Allocator, CudaGraphs
from jitwarmup.probes.probe_set import ProbeSet
from jitwarmup.probes.run_table import RUNS

MIB = 1024 * 1024


def stats(allocations=0, retries=0, reserved_bytes=0):
    return {
        "num_device_alloc": allocations,
        "num_alloc_retries": retries,
        "reserved_bytes": {"all": {"allocated": reserved_bytes}},
    }


class Card:
    """A device's allocator, and how often it was asked."""

    def __init__(self, *devices):
        self.devices = list(devices)
        self.asked = 0

    def read(self, index):
        self.asked += 1
        return self.devices[index]

    def probe(self):
        return Allocator(self.read, lambda: range(len(self.devices)), lambda: ARMED)


def described(work):
    return [(item.kind, item.count, item.reason) for item in work]


def test_growth_is_told_with_its_bytes_and_its_device():
    card = Card(stats(3, 0, 20 * MIB), stats())
    probe = card.probe()
    assert probe.arm().state == "armed"
    before = probe.snapshot()
    card.devices = [stats(5, 1, 62 * MIB), stats()]
    assert described(probe.delta(before, probe.snapshot())) == [
        ("allocator.grow", 2, "42.0 MiB on cuda:0"),
        ("allocator.retry", 1, "on cuda:0"),
    ]


def test_expandable_segments_grow_without_an_allocation():
    card = Card(stats(1, 0, 2 * MIB))
    probe = card.probe()
    probe.arm()
    before = probe.snapshot()
    card.devices = [stats(1, 0, 4 * MIB)]
    assert described(probe.delta(before, probe.snapshot())) == [("allocator.grow", 1, "2.0 MiB on cuda:0")]


def test_a_quiet_run_grows_nothing_and_its_stamp_stays():
    card = Card(stats(3, 1, MIB))
    probe = card.probe()
    probe.arm()
    before, stamp = probe.snapshot(), probe.stamp()
    assert probe.stamp() == stamp
    assert probe.delta(before, probe.snapshot()) == []


def test_counters_that_the_user_reset_count_from_zero():
    card = Card(stats(9, 4, 9 * MIB))
    probe = card.probe()
    probe.arm()
    before = probe.snapshot()
    card.devices = [stats(1, 0, MIB)]
    assert described(probe.delta(before, probe.snapshot())) == [("allocator.grow", 1, "1.0 MiB on cuda:0")]


def test_a_device_that_comes_to_life_within_a_run_grew_from_nothing():
    card = Card()
    alive = SimpleNamespace(state=cuda.DORMANT)
    probe = Allocator(card.read, lambda: range(len(card.devices)), lambda: alive.state)
    assert probe.arm().state == "dormant"
    before, stamp = probe.snapshot(), probe.stamp()
    card.devices, alive.state = [stats(1, 0, 2 * MIB)], ARMED
    assert probe.stamp() != stamp
    probe.arm()
    assert described(probe.delta(before, probe.snapshot())) == [("allocator.grow", 1, "2.0 MiB on cuda:0")]


def test_an_allocator_of_another_form_is_unavailable():
    probe = Allocator(lambda _: {"reserved": 1}, lambda: [0], lambda: ARMED)
    assert probe.arm().state == "unavailable"
    assert probe.snapshot() == ()
    assert probe.stamp() == 0
    probe.disarm()


def fake_torch(monkeypatch, module, cuda_version, *, initialised):
    asked = []
    card = module(
        "torch.cuda",
        is_initialized=lambda: initialised,
        device_count=lambda: 1,
        memory_stats_as_nested_dict=lambda index: asked.append(index) or stats(2, 0, MIB),
    )
    monkeypatch.setitem(
        sys.modules, "torch", module("torch", version=SimpleNamespace(cuda=cuda_version, hip=None), cuda=card)
    )
    monkeypatch.setitem(sys.modules, "torch.cuda", card)
    return asked


def test_torch_without_cuda_is_unavailable(monkeypatch, module):
    fake_torch(monkeypatch, module, None, initialised=False)
    assert Allocator().arm().reason == "torch was built without CUDA"


def test_cuda_that_nobody_has_used_is_dormant_and_is_not_started(monkeypatch, module):
    asked = fake_torch(monkeypatch, module, "13.0", initialised=False)
    probe = Allocator()
    assert (probe.arm().state, probe.arm().reason) == ("dormant", "CUDA is not initialised")
    assert probe.stamp() == 0
    assert asked == []


def test_torchs_own_reader_is_the_nested_one(monkeypatch, module):
    asked = fake_torch(monkeypatch, module, "13.0", initialised=True)
    probe = Allocator()
    assert probe.arm().state == "armed"
    assert probe.snapshot() == (cuda.Device(0, 2, 0, MIB),)
    assert asked == [0, 0]


def test_without_torch_the_allocator_is_dormant(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "torch.cuda", raising=False)
    assert Allocator().arm().reason == "not loaded"
    assert Allocator().stamp() == 0


def test_skips_are_counted(fake_dynamo):
    probe = CudaGraphs()
    assert probe.arm().state == "armed"
    before = probe.snapshot()
    fake_dynamo.counters["inductor"]["cudagraph_skips"] = 2
    assert described(probe.delta(before, probe.snapshot())) == [("cudagraph.skip", 2, None)]
    probe.disarm()


def test_from_2_8_on_the_phase_is_not_counted_beside_the_announcement(fake_dynamo):
    fake_dynamo.phases["CUDAGraphNode.record"] = [0.25]
    probe = CudaGraphs()
    probe.arm()
    assert probe.snapshot() == 0
    probe.disarm()


def test_without_torch_nothing_about_graphs_is_known(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    probe = CudaGraphs(lambda: None)
    assert probe.arm().reason == "not loaded"
    assert probe.snapshot() == 0
    assert probe.stamp() == 0


@pytest.fixture
def graph_class():
    class CUDAGraph:
        captured = ()

        def capture_begin(self, pool=None):
            """Torch's docstring."""
            self.captured = (pool,)
            return "begun"

    return CUDAGraph


def test_a_graph_that_user_code_captures_is_a_recording(graph_class, make_look, kinds):
    original = graph_class.capture_begin
    look = make_look(CudaGraphs(lambda: graph_class))
    graph = graph_class()
    seen = look(graph.capture_begin, pool=7)
    assert kinds(seen) == ["cudagraph.record"]
    assert seen.work[0].reason == "captured by user code"
    assert (look.value, graph.captured) == ("begun", (7,))
    look.watch.arm()
    assert kinds(look(graph.capture_begin)) == ["cudagraph.record"]
    look.watch.disarm()
    assert graph_class.capture_begin is original


def test_a_wrap_of_somebody_else_around_ours_is_left_alone(graph_class):
    probe = CudaGraphs(lambda: graph_class)
    probe.arm()
    ours = graph_class.capture_begin
    graph_class.capture_begin = theirs = lambda self: ("around", ours(self))
    probe.disarm()
    assert graph_class.capture_begin is theirs
    assert theirs(graph_class()) == ("around", "begun")


def test_a_graph_that_torchs_compiler_captures_counts_once(graph_class, make_look, kinds, fake_dynamo):
    look = make_look(CudaGraphs(lambda: graph_class))

    def record():
        fake_dynamo.start("0/0", "CUDAGRAPH_RECORDING")
        graph_class().capture_begin()
        fake_dynamo.end("0/0", "CUDAGRAPH_RECORDING")

    first, second = look(record), look(record)
    assert kinds(first) == ["cudagraph.record"]
    assert kinds(second) == ["cudagraph.rerecord"]
    assert first.work[0].duration_s > 0


def test_a_capture_never_breaks_on_our_account(graph_class, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError

    probe = CudaGraphs(lambda: graph_class)
    probe.arm()
    monkeypatch.setattr(type(RUNS), "push", fail)
    assert graph_class().capture_begin() == "begun"
    probe.disarm()


def test_a_row_of_runs_on_a_device_reads_capture_grow_then_silence(make_look, kinds, fake_dynamo, record):
    """What a reduce-overhead function does: compile and warm, record, replay; then a new address is recorded again."""
    card = Card(stats())
    look = make_look(card.probe(), CudaGraphs(lambda: None))

    def grow():
        card.devices = [stats(card.devices[0]["num_device_alloc"] + 1)]

    def recording():
        fake_dynamo.start("0/0", "CUDAGRAPH_RECORDING")
        fake_dynamo.end("0/0", "CUDAGRAPH_RECORDING")

    row = [look(run) for run in (grow, recording, lambda: None, recording, lambda: None)]
    assert [kinds(seen) for seen in row] == [["allocator.grow"], ["cudagraph.record"], [], ["cudagraph.rerecord"], []]


def test_growth_between_runs_belongs_to_no_run(make_look, kinds):
    card = Card(stats())
    look = make_look(card.probe())
    card.devices = [stats(4)]
    assert kinds(look(lambda: None)) == []
    assert isinstance(look.watch, ProbeSet)
