"""``on_degraded`` is the user's: our events learn the same beside it."""

import pytest

from jitwarmup import DeviceReading, GPUMonitor, steady_state
from jitwarmup.testing import RecordingMonitor, capture_events

NO_CLOCKS = ("sm_clock_mhz", "NO_PERMISSION")


@pytest.fixture
def gpu(nvmlsim):
    """A monitor of which the clocks cannot be read, and which nobody listens to yet."""
    nvmlsim.fault("nvmlDeviceGetClockInfo", "NO_PERMISSION")
    monitor = nvmlsim.adopt(GPUMonitor(timeout_s=30))
    yield monitor
    monitor.stop()


@pytest.fixture
def received():
    return []


@pytest.fixture
def listener(received):
    return lambda *what: received.append(what)


def degraded(monitor, run, *, inside=lambda: None):
    """What the events of a measurement tell of the monitor."""
    with capture_events() as events, steady_state(monitor=monitor, iterations=0, measurements=1) as steady:
        inside()
        steady.measure(run)
    return [(event["metric"], event["reason"]) for event in events.named("jitwarmup.monitor.degraded")]


def test_a_listener_that_the_user_set_is_told_and_so_are_the_events(gpu, nvmlsim, listener, received):
    gpu.on_degraded = listener
    assert degraded(gpu, lambda: nvmlsim.advance(0.2)) == [NO_CLOCKS]
    assert received == [NO_CLOCKS]
    assert gpu.on_degraded is listener


def test_a_listener_set_within_a_block_takes_nothing_from_the_events(gpu, nvmlsim, listener, received):
    def inside():
        gpu.on_degraded = listener

    assert degraded(gpu, lambda: nvmlsim.advance(0.2), inside=inside) == [NO_CLOCKS]
    assert received == [NO_CLOCKS]


def test_a_listener_is_told_once_however_many_blocks_come(gpu, nvmlsim, listener, received):
    gpu.on_degraded = listener
    for _ in range(3):
        degraded(gpu, lambda: nvmlsim.advance(0.2))
    assert received == [NO_CLOCKS]


def test_a_listener_that_raises_takes_nothing_from_the_events(gpu, nvmlsim):
    gpu.on_degraded = lambda *_: [].pop()
    assert degraded(gpu, lambda: nvmlsim.advance(0.2)) == [NO_CLOCKS]


def test_nobody_s_place_stays_nobody_s(gpu, nvmlsim):
    assert degraded(gpu, lambda: nvmlsim.advance(0.2)) == [NO_CLOCKS]
    assert gpu.on_degraded is None


@pytest.mark.parametrize("users", [True, False])
def test_a_monitor_of_another_make_tells_its_user_and_the_events_of_each_block(listener, received, users):
    class Listening(RecordingMonitor):
        on_degraded = staticmethod(listener) if users else None

        def window(self, name):
            self.on_degraded("fan", "it stands still")
            return super().window(name)

    monitor = Listening(reading=DeviceReading())
    once = [("fan", "it stands still")]
    for _ in range(3):
        assert degraded(monitor, lambda: None) == once * 2  # the window of the run, and of the block
    assert received == once * (6 if users else 0)
