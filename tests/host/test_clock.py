"""
The clock and its fence.

Devices are played by a fake torch: no GPU is at hand, and what matters is which calls are made and which are not.
"""

import sys
import time
from types import SimpleNamespace

import pytest

from jitwarmup.host import clock as clock_module
from jitwarmup.host.clock import SystemClock
from jitwarmup.records.protocols import Clock


def backend(calls, name, *, initialized=True, devices=2):
    def stream(index):
        return SimpleNamespace(synchronize=lambda: calls.append(f"{name}.stream:{index}"))

    return SimpleNamespace(
        is_initialized=lambda: initialized,
        device_count=lambda: devices,
        synchronize=lambda index: calls.append(f"{name}.all:{index}"),
        current_stream=stream,
        memory_reserved=lambda index: (0, 4096)[index],
    )


def is_built(answer):
    return SimpleNamespace(is_built=lambda: answer)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def torch(monkeypatch, calls):
    """A torch with CUDA and XPU built in, CUDA in use on the first of two devices, XPU not initialised."""
    fake = SimpleNamespace(
        backends=SimpleNamespace(cuda=is_built(True), mps=is_built(False)),
        cuda=backend(calls, "cuda"),
        xpu=backend(calls, "xpu", initialized=False),
        _C=SimpleNamespace(_cuda_hasPrimaryContext=lambda index: index == 0),
    )
    fake.xpu._is_compiled = lambda: True
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(clock_module, "BUILT", {})
    return fake


def test_the_clock_is_the_performance_counter_in_whole_nanoseconds():
    clock = SystemClock()
    before, now, after = time.perf_counter_ns(), clock.now(), time.perf_counter_ns()
    assert before <= now <= after
    assert type(now) is int
    assert isinstance(clock, Clock)


def test_without_torch_there_is_nothing_to_wait_for_and_nothing_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    SystemClock().fence()
    assert "torch" not in sys.modules


def test_a_half_imported_torch_is_left_alone_and_asked_again_later(monkeypatch, torch, calls):
    backends = torch.backends
    del torch.backends
    SystemClock().fence()
    assert calls == []
    torch.backends = backends
    SystemClock().fence()
    assert calls == ["cuda.all:0"]


def test_what_a_half_imported_torch_lacks_is_not_taken_for_unbuilt_ever_after(monkeypatch, torch, calls):
    cuda = torch.cuda
    torch.__spec__ = SimpleNamespace(_initializing=True)
    del torch.cuda, torch.backends.cuda
    SystemClock().fence()
    torch.__spec__._initializing = False
    torch.cuda, torch.backends.cuda = cuda, is_built(True)
    SystemClock().fence()
    assert calls == ["cuda.all:0"]


def test_a_measurement_waits_for_all_work_of_each_device_in_use(torch, calls):
    SystemClock(every_stream=True).fence()
    assert calls == ["cuda.all:0"]


def test_a_plain_call_waits_for_the_current_stream_only(torch, calls):
    SystemClock(every_stream=False).fence()
    assert calls == ["cuda.stream:0"]


def test_a_device_without_a_context_of_ours_is_never_touched(torch, calls):
    torch._C._cuda_hasPrimaryContext = lambda index: False
    SystemClock().fence()
    assert calls == []


def test_a_backend_that_was_not_initialised_is_never_touched(torch, calls):
    torch.cuda.is_initialized = lambda: False
    torch.cuda.device_count = lambda: pytest.fail("this would create a context")
    SystemClock().fence()
    assert calls == []


def test_where_torch_tells_of_no_contexts_reserved_memory_tells_which_device_is_in_use(torch, calls):
    torch.xpu.is_initialized = lambda: True
    torch.cuda.is_initialized = lambda: False
    SystemClock().fence()
    assert calls == ["xpu.all:1"]


def test_what_was_not_built_in_is_not_asked(monkeypatch, torch):
    torch.backends.cuda = is_built(False)
    del torch.xpu
    torch.cuda = None
    SystemClock().fence()
    assert clock_module.built_backends(torch) == ()


def test_a_backend_that_does_not_tell_whether_it_was_built_is_asked_at_each_fence(torch):
    del torch.xpu._is_compiled
    assert clock_module.is_built(torch, "xpu")
    assert clock_module.built_backends(torch) == ("cuda", "xpu")


def test_which_backends_were_built_is_asked_once(torch):
    SystemClock().fence()
    torch.backends.cuda = SimpleNamespace(is_built=lambda: pytest.fail("asked again"))
    SystemClock().fence()


@pytest.mark.parametrize(("available", "used", "expected"), [(True, 64, ["mps"]), (True, 0, []), (False, 64, [])])
def test_apples_gpu_is_waited_for_where_something_was_put_on_it(torch, calls, available, used, expected):
    torch.backends = SimpleNamespace(mps=SimpleNamespace(is_built=lambda: True, is_available=lambda: available))
    torch.mps = SimpleNamespace(current_allocated_memory=lambda: used, synchronize=lambda: calls.append("mps"))
    del torch.cuda, torch.xpu
    SystemClock().fence()
    assert calls == expected


def test_the_real_torch_is_fenced_without_a_device():
    torch = pytest.importorskip("torch")
    SystemClock().fence()
    assert torch.cuda.is_initialized() is False
