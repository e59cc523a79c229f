"""How many functions a reading passes between the engine's window and the driver's binding."""

import sys

import pynvml

from jitwarmup.gpu.shared import SharedMonitor, SharedWindow

MOST = 9
THREAD = {"_serve", "run", "_bootstrap_inner", "_bootstrap"}  # the loop of the driver thread is nobody's caller


def functions_on_the_stack(frame):
    """Names of the functions from the innermost outwards, up to the entry of the window or the end of the thread."""
    names = []
    while frame is not None and frame.f_code is not SharedWindow.__enter__.__code__:
        names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return [name for name in names if name.rpartition(".")[2] not in THREAD]


def test_a_window_reaches_the_driver_in_at_most_nine_functions(gpu, nvmlsim, monkeypatch):
    handed_over, asked = [], []
    call, temperature = type(gpu._link._thread).call, pynvml.nvmlDeviceGetTemperatureV

    def spy_call(thread, job, **limits):
        handed_over.append(functions_on_the_stack(sys._getframe(1)))
        return call(thread, job, **limits)

    def spy_temperature(*arguments):
        asked.append(functions_on_the_stack(sys._getframe(1)))
        return temperature(*arguments)

    monkeypatch.setattr(type(gpu._link._thread), "call", spy_call)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperatureV", spy_temperature)
    with SharedMonitor.of(gpu).window("measure") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"
    passed = [*reversed(handed_over[0]), "DriverThread.call", *reversed(asked[0])]
    assert len(passed) <= MOST, passed
