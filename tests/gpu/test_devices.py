"""Which GPUs: by UUID, never by index; CUDA_VISIBLE_DEVICES as CUDA reads it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from jitwarmup import ArgumentError
from jitwarmup.gpu.binding import Binding, Unavailable
from jitwarmup.gpu.devices import Place, Want, Wanted, checked, resolve, visible, wanted

A, B = "GPU-aaaaaaaa", "GPU-bbbbbbbb"


class FakeTorch:
    """A torch with CUDA: its devices by UUID, in its own order."""

    def __init__(self, *uuids, initialised=True, current=0, contexts=(), reserved=()):
        self.version = SimpleNamespace(cuda="13.0")
        self.contexts, self.reserved = set(contexts), set(reserved)
        self._C = SimpleNamespace(_cuda_hasPrimaryContext=lambda i: i in self.contexts)
        self.cuda = SimpleNamespace(
            is_initialized=lambda: self.initialised,
            device_count=lambda: len(uuids),
            current_device=lambda: current,
            get_device_properties=lambda i: SimpleNamespace(uuid=uuids[i].removeprefix("GPU-").removeprefix("MIG-")),
            memory_reserved=lambda i: 2**21 * (i in self.reserved),
            max_memory_allocated=lambda i: self.peaks[i],
            reset_peak_memory_stats=lambda i: self.peaks.update({i: 0}),
        )
        self.initialised = initialised
        self.peaks = dict.fromkeys(range(len(uuids)), 0)


@pytest.fixture
def torch_is(monkeypatch):
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def be(torch):
        monkeypatch.setitem(sys.modules, "torch", torch)
        return torch

    be(None)
    return be


@pytest.fixture
def binding(nvmlsim):
    met = Binding(pynvml)
    met.init()
    yield met
    met.shutdown()


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (None, None),
        ("", ()),
        ("0", (0,)),
        ("2,0", (2, 0)),
        (" 1 , 0", (1, 0)),
        ("0,0", ()),
        ("0,-1,1", (0,)),
        ("-1", ()),
        ("0,x,1", (0,)),
        ("1gpu2,2", (1, 2)),
        ("NoDevFiles", ()),
        (A, (A,)),
        (f"{B},{A}", (B, A)),
        (f"{A},{A}", ()),
        (f"{A},1", (A,)),
        (f"0,{A}", (0,)),
        ("MIG-11111111,MIG-22222222", ("MIG-11111111", "MIG-22222222")),
        (f"MIG-11111111,{A}", ("MIG-11111111",)),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(value, left):
    assert visible(value) == left


def test_our_reading_of_cuda_visible_devices_is_torch_s(monkeypatch):
    torch = pytest.importorskip("torch")
    for value in ("", "0", "2,0", "0,0", "0,-1,1", "-1", "0,x,1", "1gpu2,2", A, f"{B},{A}", f"{A},{A}", f"{A},1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert list(visible(value)) == torch.cuda._parse_visible_devices(), value


@pytest.mark.parametrize("devices", [-1, True, 1.5, "0", "cpu", "cuda:x", object(), [0, None]])
def test_what_names_no_gpu_is_refused(devices):
    with pytest.raises(ArgumentError, match="leave it out for every visible GPU"):
        checked(devices)


def test_devices_may_come_in_many_forms():
    assert checked(None) is None
    assert checked(1) == (1,)
    assert checked("cuda:1") == ("cuda:1",)
    device = SimpleNamespace(type="cuda", index=1)
    assert checked([0, device, "cuda", A]) == (0, device, "cuda", A)
    assert checked(range(2)) == (0, 1)


def test_a_torch_device_of_another_kind_is_refused():
    torch = pytest.importorskip("torch")
    assert checked(torch.device("cuda:1")) == (torch.device("cuda:1"),)
    with pytest.raises(ArgumentError):
        checked(torch.device("cpu"))


def test_torch_s_devices_are_looked_for_by_uuid_in_torch_s_order(torch_is):
    torch_is(FakeTorch(B, A, current=1))
    every = wanted(None, {"CUDA_VISIBLE_DEVICES": "1,0"})
    assert every.wants == (Want(uuid=B, torch_index=0), Want(uuid=A, torch_index=1))
    assert not every.provisional
    assert wanted((1, "cuda:0", "cuda", A, "GPU-other"), {}).wants == (
        Want(uuid=A, torch_index=1),
        Want(uuid=B, torch_index=0),
        Want(uuid=A, torch_index=1),
        Want(uuid=A, torch_index=1),
        Want(uuid="GPU-other"),
    )


def test_before_torch_has_initialised_cuda_the_answer_is_provisional(torch_is):
    assert wanted(None, {}) == Wanted(None, ordered=True, provisional=True)
    torch = torch_is(FakeTorch(A, initialised=False))
    assert wanted(None, {"CUDA_VISIBLE_DEVICES": "1"}) == Wanted((Want(index=1),), ordered=True, provisional=True)
    torch.version.cuda = None
    assert not wanted(None, {}).provisional


def test_a_torch_without_uuids_or_with_a_failing_cuda_is_no_obstacle(torch_is):
    torch = torch_is(FakeTorch(A))
    torch.cuda.get_device_properties = lambda i: SimpleNamespace()
    assert wanted(None, {"CUDA_VISIBLE_DEVICES": "1"}).wants == (Want(index=1),)


def test_indices_count_what_is_visible(torch_is):
    environ = {"CUDA_VISIBLE_DEVICES": "3,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert wanted((1,), environ) == Wanted((Want(index=1),), ordered=False, provisional=True)
    assert wanted((0,), environ).wants == (Want(index=3),)
    assert wanted((2,), {}).wants == (Want(index=2),)
    with pytest.raises(Unavailable, match="device 2 is not visible: CUDA_VISIBLE_DEVICES leaves 2"):
        wanted((2,), environ)


def uuids(binding, *wants, ordered=False):
    return [device.uuid for device in resolve(binding, Wanted(wants or None, ordered=ordered))]


def test_devices_are_found_each_once_and_in_the_order_asked_for(binding, nvmlsim):
    nvmlsim.gpus(3)
    binding.init()
    first, second, third = map(nvmlsim.uuid, range(3))
    assert uuids(binding) == [first, second, third]
    assert uuids(binding, Want(index=2), Want(uuid=first)) == [third, first]
    assert uuids(binding, Want(uuid=second[:8]), Want(index=1)) == [second]
    assert uuids(binding, Want(index=0), Want(index=7), Want(index=1)) == [first]
    assert uuids(binding, Want(index=0), Want(index=1), ordered=True) == [first, second]


def test_nothing_to_find_is_said(binding, nvmlsim):
    for wants in (
        (),
        (Want(index=5),),
        (Want(uuid="GPU-00000000-0000-0000-0000-000000000000"),),
        (Want(uuid="GPU-9"),),
    ):
        with pytest.raises(Unavailable, match="no NVIDIA GPU is visible"):
            resolve(binding, Wanted(wants))
    with pytest.raises(Unavailable) as one:
        resolve(binding, Wanted((Want(index=7),)))
    assert str(one.value) == f"no NVIDIA GPU is visible: asked for was 7, and there is 0 {nvmlsim.uuid(0)}"
    nvmlsim.gpus(0)
    binding.init()
    with pytest.raises(Unavailable, match="the driver knows of none"):
        resolve(binding, Wanted(None))


def test_an_index_on_a_machine_of_different_gpus_is_refused_with_the_way_out(binding, nvmlsim):
    nvmlsim.gpus(2)
    nvmlsim.name("NVIDIA T4", gpu=1)
    binding.init()
    with pytest.raises(Unavailable, match="PCI_BUS_ID"):
        uuids(binding, Want(index=0), ordered=True)
    assert uuids(binding, Want(index=1), ordered=False) == [nvmlsim.uuid(1)]
    assert len(uuids(binding, ordered=True)) == 2


def test_what_torch_calls_a_gpu_may_be_an_instance(binding, nvmlsim):
    nvmlsim.settings(migs=2)
    result = nvmlsim.uuid(0, mig=1).replace("MIG-", "GPU-")
    (device,) = resolve(binding, Wanted((Want(uuid=result),)))
    assert device.uuid == nvmlsim.uuid(0, mig=1)
    assert (device.mig_instance, device.shared) == (2, True)
    assert device.mig_handle is not None


# ---- one of several processes


def launched(rank, world, **more):
    """The environment that torchrun gives a process."""
    return {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world), **more}


def test_before_cuda_is_initialised_a_rank_wants_its_share_of_what_is_visible(torch_is):
    assert wanted(None, launched(1, 4)) == Wanted(None, ordered=True, provisional=True, place=Place(1, 4))
    torch = torch_is(FakeTorch(A, B, initialised=False))
    hidden = launched(0, 2, CUDA_VISIBLE_DEVICES="3,1")
    assert wanted(None, hidden) == Wanted((Want(index=3), Want(index=1)), True, True, Place(0, 2))
    torch.version.cuda = None
    assert wanted(None, hidden) == Wanted((Want(index=3), Want(index=1)), True, False, Place(0, 2))


@pytest.mark.parametrize("environ", [{"LOCAL_RANK": "1"}, launched(0, 1), launched(4, 4), launched("x", 4)])
@pytest.mark.parametrize("initialised", [False, True])
def test_without_several_ranks_everything_is_as_before(torch_is, environ, initialised):
    torch_is(FakeTorch(A, B, initialised=initialised, contexts=[1]))
    assert wanted(None, environ) == wanted(None, {})
    assert len(wanted(None, {"CUDA_VISIBLE_DEVICES": "1,0"}).wants) == 2


def test_devices_that_are_named_are_watched_on_every_rank(torch_is):
    torch = torch_is(FakeTorch(A, B, contexts=[1], current=1))
    for environ in ({}, launched(0, 2), launched(1, 2)):
        for named in ((0,), (0, 1), ("cuda",), (A,)):
            assert wanted(named, environ) == wanted(named, {})
        torch.initialised = not torch.initialised
    assert wanted((0,), launched(1, 2)).wants == (Want(index=0),)


def test_with_cuda_a_rank_wants_the_devices_that_it_uses_and_asks_again(torch_is):
    torch = torch_is(FakeTorch(A, B, contexts=[0, 1], reserved=[1]))
    assert wanted(None, launched(1, 2)) == Wanted((Want(uuid=B, torch_index=1),), ordered=True, provisional=True)
    torch.reserved.add(0)
    assert wanted(None, launched(1, 2)).wants == (Want(uuid=B, torch_index=1), Want(uuid=A, torch_index=0))


def test_a_torch_without_devices_leaves_nothing_to_a_rank(torch_is):
    torch_is(FakeTorch())
    assert wanted(None, launched(1, 2)).wants == ()


def test_each_rank_finds_its_share_of_the_devices_that_are_there(binding, nvmlsim):
    nvmlsim.gpus(4)
    binding.init()

    def found(rank, world, *wants):
        return [one.uuid for one in resolve(binding, Wanted(wants or None, place=Place(rank, world)))]

    gpus = [nvmlsim.uuid(gpu) for gpu in range(4)]
    assert [found(rank, 4) for rank in range(4)] == [[gpu] for gpu in gpus]
    assert [found(rank, 2) for rank in range(2)] == [gpus[:2], gpus[2:]]
    assert [found(rank, 6) for rank in range(6)] == [[gpus[rank % 4]] for rank in range(6)]
    assert found(3, 4, Want(index=2)) == [gpus[2]]  # the launcher showed it only this one
    assert found(1, 2, Want(index=3), Want(uuid=gpus[1]), Want(index=7), Want(index=0)) == [gpus[1]]
    with pytest.raises(Unavailable, match="no NVIDIA GPU is visible"):
        found(1, 2, Want(index=7))


def test_on_a_machine_of_different_gpus_a_share_by_cuda_s_order_is_refused(binding, nvmlsim):
    nvmlsim.gpus(2)
    nvmlsim.name("NVIDIA T4", gpu=1)
    binding.init()
    with pytest.raises(Unavailable, match="PCI_BUS_ID"):
        resolve(binding, Wanted(None, ordered=True, place=Place(0, 2)))
    (own,) = resolve(binding, Wanted(None, ordered=False, place=Place(1, 2)))
    assert own.uuid == nvmlsim.uuid(1)


# ---- through the monitor

RANK = """
import json
from jitwarmup import GPUMonitor
gpu = GPUMonitor(timeout_s=10)
with gpu, gpu.window("measure") as window:
    pass
reading = window.reading
print(json.dumps([reading.status, reading.uuid, reading.temperature_c, [other.uuid for other in reading.others]]))
"""


def test_each_of_four_processes_reads_only_its_own_gpu(nvmlsim, monkeypatch):
    nvmlsim.gpus(4)
    nvmlsim.host_clock()
    for gpu in range(4):
        nvmlsim.set("temperature_c", 50 + gpu, gpu=gpu)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # or the names of all GPUs are compared first
    command = [sys.executable, "-W", "error", "-c", RANK]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **launched(rank, 4)}, stdout=subprocess.PIPE) for rank in range(4)
    ]
    result = [json.loads(process.communicate(timeout=60)[0]) for process in ranks]
    assert result == [["ok", nvmlsim.uuid(rank), [50 + rank, 50 + rank], []] for rank in range(4)]
    touched = {}
    for call in nvmlsim.calls():
        if call.gpu >= 0:
            touched.setdefault(call.pid, set()).add(call.gpu)
    assert sorted(map(sorted, touched.values())) == [[0], [1], [2], [3]]


def test_once_a_rank_uses_devices_those_are_read_and_more_when_it_uses_more(
    make_monitor, nvmlsim, monkeypatch, torch_is
):
    nvmlsim.gpus(4)
    for name, value in launched(1, 2).items():
        monkeypatch.setenv(name, value)
    gpu = make_monitor()
    gpu.start()

    def read():
        with gpu.window("x") as window:
            nvmlsim.advance(0.2)
        return [one.uuid for one in (window.reading, *window.reading.others)]

    gpus = [nvmlsim.uuid(place) for place in range(4)]
    assert read() == [gpus[2], gpus[3]]
    torch = torch_is(FakeTorch(*gpus, contexts=[0, 3], reserved=[3]))
    with gpu.paused():
        pass
    assert read() == [gpus[3]]
    torch.contexts.add(2)
    torch.reserved.add(2)
    assert read() == [gpus[3]]  # only a pause's end looks again
    with gpu.paused():
        pass
    assert read() == [gpus[2], gpus[3]]
    assert gpu.received == []


def test_devices_that_did_not_change_are_not_found_again(make_monitor, nvmlsim, monkeypatch, torch_is):
    nvmlsim.gpus(2)
    for name, value in launched(1, 2).items():
        monkeypatch.setenv(name, value)
    torch_is(FakeTorch(nvmlsim.uuid(0), nvmlsim.uuid(1), contexts=[1]))
    gpu = make_monitor()
    gpu.start()
    before = nvmlsim.count()
    with gpu.paused():
        pass
    functions = {call.function for call in nvmlsim.calls(since=before)}
    assert functions
    assert not [function for function in functions if "Handle" in function or "Count" in function]


def test_the_monitor_reads_the_gpu_that_cuda_visible_devices_names(make_monitor, nvmlsim, monkeypatch, torch_is):
    nvmlsim.gpus(3)
    nvmlsim.set("temperature_c", 77, gpu=2)
    for value in ("2", nvmlsim.uuid(2), nvmlsim.uuid(2)[:9]):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        gpu = make_monitor()
        with gpu, gpu.window("x") as window:
            nvmlsim.advance(0.2)
        assert (window.reading.uuid, window.reading.temperature_c) == (nvmlsim.uuid(2), (77, 77))
        assert window.reading.others == ()


@pytest.mark.parametrize("value", ["", "-1", "0,0", "7"])
def test_without_a_visible_gpu_the_monitor_says_so(make_monitor, nvmlsim, monkeypatch, torch_is, value):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    gpu = make_monitor()
    with gpu, gpu.window("x") as window:
        pass
    assert window.reading.status == "unavailable"
    ((metric, reason),) = gpu.received
    assert metric == "device"
    assert reason.startswith("no NVIDIA GPU is visible")
    assert ("asked for was 7" in reason) is (value == "7")
    assert nvmlsim.initialised == 0


def test_several_gpus_are_one_reading_with_others(make_monitor, nvmlsim):
    nvmlsim.gpus(2)
    nvmlsim.set("power_w", 300, gpu=1)
    gpu = make_monitor()
    gpu.start()
    with gpu.paused():
        nvmlsim.advance(1.5)
    with gpu.window("measure") as window:
        nvmlsim.advance(1)
    (other,) = window.reading.others
    assert (window.reading.energy_j, other.energy_j) == (pytest.approx(100), pytest.approx(300))
    assert (window.reading.uuid, other.uuid) == (nvmlsim.uuid(0), nvmlsim.uuid(1))
    assert other.others == ()


def test_once_torch_has_cuda_its_devices_are_the_ones_that_are_read(make_monitor, nvmlsim, torch_is):
    nvmlsim.gpus(2)
    gpu = make_monitor()
    gpu.start()
    torch_is(FakeTorch(nvmlsim.uuid(1)))
    with gpu.paused():
        before = nvmlsim.count()
        nvmlsim.advance(1)
        assert nvmlsim.count() == before
    with gpu.window("x") as window:
        nvmlsim.advance(0.2)
    assert window.reading.uuid == nvmlsim.uuid(1)
    assert window.reading.others == ()


def test_a_mixed_machine_is_read_once_torch_tells_its_uuids(make_monitor, nvmlsim, monkeypatch, torch_is):
    nvmlsim.gpus(2)
    nvmlsim.name("NVIDIA T4", gpu=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    gpu = make_monitor()
    gpu.start()
    with gpu.window("x") as window:
        pass
    assert "PCI_BUS_ID" in window.reading.missing["device"]
    torch_is(FakeTorch(nvmlsim.uuid(0)))
    with gpu.paused():
        pass
    with gpu.window("x") as window:
        nvmlsim.advance(0.2)
    assert (window.reading.status, window.reading.uuid) == ("ok", nvmlsim.uuid(0))


def test_an_instance_is_read_with_its_parent_s_power_which_is_said_to_be_shared(make_monitor, nvmlsim, monkeypatch):
    nvmlsim.settings(migs=2)
    nvmlsim.set("sm_active_pct", 50)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nvmlsim.uuid(0, mig=0))
    gpu = make_monitor()
    with gpu, gpu.window("measure") as window:
        nvmlsim.advance(1)
    reading = window.reading
    assert (reading.uuid, reading.status) == (nvmlsim.uuid(0, mig=0), "ok")
    assert (reading.energy_j, reading.energy_source) == (pytest.approx(100), "counter")
    assert reading.memory_used_bytes == (2**30, 2**30)
    assert reading.sm_active_pct == pytest.approx(50)
    assert "whole GPU" in reading.missing["shared_device"]
    assert reading.missing["power_max_w"] == "NOT_SUPPORTED"
    assert nvmlsim.initialised == 0


# ---- torch's allocator


def test_a_peak_of_torch_s_allocator_is_told_when_it_is_this_window_s(make_monitor, nvmlsim, torch_is):
    torch = torch_is(FakeTorch(nvmlsim.uuid(0)))
    torch.peaks[0] = 100
    gpu = make_monitor()
    readings = []
    with gpu:
        for peak in (100, 700, 700):
            with gpu.window("x") as window:
                torch.peaks[0] = peak
            readings.append(window.reading)
    assert [reading.memory_peak_bytes for reading in readings] == [None, 700, None]
    assert "no higher than an earlier peak" in readings[0].missing["memory_peak_bytes"]


def test_processes_are_foreign_only_if_our_own_is_in_the_list(make_monitor, nvmlsim, torch_is):
    import os

    torch_is(FakeTorch(nvmlsim.uuid(0)))
    gpu = make_monitor()
    with gpu:
        nvmlsim.processes(11)
        with gpu.window("measure") as elsewhere:
            pass
        nvmlsim.processes(11, os.getpid())
        with gpu.window("measure") as here:
            pass
    assert elsewhere.reading.other_pids == ()
    assert "namespace" in elsewhere.reading.missing["other_pids"]
    assert here.reading.other_pids == (11,)
