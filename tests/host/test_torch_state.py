"""Torch's thread-local state travels into another thread, all of it, and leaves nothing behind there."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import pytest
import torch

from jitwarmup.host import torch_state

SCENES = {
    "nothing": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "grad inside inference": lambda: both(torch.inference_mode(), torch.enable_grad()),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.float16),
    "autocast without its cache": lambda: torch.autocast("cpu", cache_enabled=False),
    "default device": lambda: default_device("meta"),
    "with device": lambda: torch.device("meta"),
    "everything": lambda: both(torch.no_grad(), torch.autocast("cpu"), default_device("meta"), torch.device("cpu")),
}


def both(*parts):
    stack = ExitStack()
    for part in parts:
        stack.enter_context(part)
    return stack


def default_device(name):
    torch.set_default_device(name)
    stack = ExitStack()
    stack.callback(torch.set_default_device, None)
    return stack


@pytest.mark.parametrize("scene", SCENES)
def test_a_worker_thread_has_the_state_of_the_caller_and_its_own_back(scene) -> None:
    with ThreadPoolExecutor(1) as pool:
        untouched = pool.submit(torch_state.capture).result()

        def work(state):
            with torch_state.carried(state):
                return torch_state.capture(), torch.empty(1).device.type

        with SCENES[scene]():
            state, device = torch_state.capture(), torch.empty(1).device.type
            assert pool.submit(work, state).result() == (state, device)
        assert pool.submit(torch_state.capture).result() == untouched
    assert scene == "nothing" or state != untouched


def test_it_is_put_back_after_an_exception() -> None:
    with ThreadPoolExecutor(1) as pool:
        untouched = pool.submit(torch_state.capture).result()
        with torch.no_grad(), torch.autocast("cpu"):
            state = torch_state.capture()

        def fail():
            with torch_state.carried(state):
                raise ValueError

        with pytest.raises(ValueError):
            pool.submit(fail).result()
        assert pool.submit(torch_state.capture).result() == untouched


def test_without_torch_nothing_is_carried_and_nothing_imported() -> None:
    code = (
        "import sys; from jitwarmup.host import torch_state as t\n"
        "assert t.capture() is None\n"
        "with t.carried(None): pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class FakeCuda(SimpleNamespace):
    """Current device and stream per thread, as CUDA has them."""

    def __init__(self) -> None:
        self.here = threading.local()
        super().__init__(is_initialized=lambda: True)

    def current_device(self):
        return getattr(self.here, "device", 0)

    def current_stream(self):
        return getattr(self.here, "stream", "default")

    def _scene(self, name, value):
        stack = ExitStack()
        before = getattr(self.here, name, {"device": 0, "stream": "default"}[name])
        setattr(self.here, name, value)
        stack.callback(setattr, self.here, name, before)
        return stack

    def device(self, index):
        return self._scene("device", index)

    def stream(self, stream):
        return self._scene("stream", stream)


def test_cuda_device_and_stream_travel_in_simulation(monkeypatch) -> None:
    """No GPU here: what CUDA would be asked, and that it is put back."""
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    fake.here.device, fake.here.stream = 1, "mine"
    state = torch_state.capture()
    assert (state.cuda_device, state.cuda_stream) == (1, "mine")
    with ThreadPoolExecutor(1) as pool:

        def work():
            with torch_state.carried(state):
                inside = fake.current_device(), fake.current_stream()
            return inside, (fake.current_device(), fake.current_stream())

        assert pool.submit(work).result() == ((1, "mine"), (0, "default"))
