"""How many functions of the package a reading passes between the engine's window and the driver's binding."""

import sys
import threading

import pynvml
from figures import stack

from jitwarmup import steady_state

MOST = 9
WINDOW = {"SharedWindow.__enter__", "SharedWindow.__exit__"}


def test_a_window_reaches_the_driver_in_at_most_nine_functions_whatever_it_asks(make_monitor, nvmlsim, events):
    caller, passed = threading.get_ident(), {}

    def profile(frame, event, _):
        if event != "call" or frame.f_code.co_filename != pynvml.__file__:
            return
        frames = [*stack(frame), *stack(sys._current_frames()[caller])]
        places = [place for place, each in enumerate(frames) if each.f_code.co_qualname in WINDOW]
        if places:  # the outermost is the engine's
            names = tuple(each.f_code.co_qualname for each in frames[: places[-1] + 1])
            passed.setdefault(names, frame.f_code.co_name)

    threading.setprofile(profile)
    try:
        gpu = make_monitor()
        gpu.start()
    finally:
        threading.setprofile(None)
    with gpu.paused():
        nvmlsim.advance(1.5)
    nvmlsim.processes(4_000_001)
    sources = set()
    for seconds in (0.3, 5.03, 5.03):  # after the longer ones a step of the counter is awaited
        with steady_state(monitor=gpu, iterations=0, measurements=1) as steady:
            reading = steady.measure(nvmlsim.advance, seconds).device
        assert reading.status == "ok"
        sources.add(reading.energy_source)
    gpu.stop()
    assert sources == {"ring", "counter"}
    functions = {name for names in passed for name in names}
    assert {"Binding._samples", "Binding._processes", "PowerHistory.complete", "PowerHistory.fetch"} <= functions
    assert {names: len(names) for names in passed if len(names) > MOST} == {}
