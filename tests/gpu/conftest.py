import importlib.util
import sys
import threading
from pathlib import Path

import pytest

from jitwarmup import GPUMonitor
from jitwarmup.testing import nvmlsim

__all__ = ["nvmlsim"]


@pytest.fixture
def make_monitor(nvmlsim):
    """Monitors that live in simulated time, stopped at the end of the test; `received` is what each told."""
    made = []

    def make(*args, **kwargs):
        kwargs.setdefault("timeout_s", 30)  # a busy machine is no hanging driver
        monitor = nvmlsim.adopt(GPUMonitor(*args, **kwargs))
        monitor.received = []
        monitor.on_degraded = lambda metric, reason: monitor.received.append((metric, reason))
        made.append(monitor)
        return monitor

    yield make
    nvmlsim.heal()
    for monitor in made:
        monitor.stop()
    for monitor in made:
        assert monitor.state in {"new", "stopped"}


@pytest.fixture
def driver_threads():
    """The threads that call drivers now."""
    return lambda: [thread for thread in threading.enumerate() if thread.name == "jitwarmup-nvml"]


@pytest.fixture
def gpu(make_monitor):
    """A running monitor whose samples are believed."""
    monitor = make_monitor()
    monitor.start()
    return monitor


@pytest.fixture
def trusted(gpu, nvmlsim):
    """As `gpu`, after 1.5 s of warm-up, so that the driver's samples were compared with the counter."""
    with gpu.paused():
        nvmlsim.advance(1.5)
    return gpu


@pytest.fixture(scope="session")
def bench():
    """The bench script as a module: its scenarios are the tests' scenarios."""
    path = Path(__file__).parents[1] / "bench" / "monitor.py"
    spec = importlib.util.spec_from_file_location("jitwarmup_bench_monitor", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
