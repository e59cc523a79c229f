"""The engine's wrapper around any monitor: it counts, it catches, it never raises."""

import contextlib
import gc
import os
import threading
import weakref

import pytest

from jitwarmup import DeviceReading, MonitorStateError
from jitwarmup.gpu.shared import SharedMonitor


class Recorder:
    """A monitor that writes down its calls; ``reading`` is what its windows give."""

    def __init__(self, reading=None):
        self.calls = []
        self.given = DeviceReading(uuid="GPU-1") if reading is None else reading
        self.running = False
        self.on_degraded = None

    def start(self):
        self.calls.append("start")
        self.running = True

    def stop(self):
        self.calls.append("stop")
        self.running = False

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")

    @contextlib.contextmanager
    def window(self, name):
        self.calls.append(f"open {name}")
        value = type("Value", (), {"reading": None})()
        yield value
        value.reading = self.given
        self.calls.append(f"close {name}")


class Broken:
    """A monitor of which everything raises."""

    on_degraded = None

    def __getattribute__(self, name):
        if name in {"start", "stop", "pause", "resume", "window"}:
            return self._raise
        if name == "running":
            raise OSError("secret")
        return super().__getattribute__(name)

    def _raise(self, *args):
        raise ValueError("secret")


def test_one_monitor_object_has_one_wrapper_even_if_it_is_unhashable_and_equal_to_another():
    class Equal(Recorder):
        __slots__ = ()

        def __eq__(self, other):
            return True

        __hash__ = None

    first, second = Equal(), Equal()
    mine = SharedMonitor.of(first)
    assert SharedMonitor.of(first) is mine
    assert SharedMonitor.of(mine) is mine
    assert SharedMonitor.of(second) is not mine


def test_a_monitor_that_cannot_be_weakly_referenced_is_served_too():
    class Slotted:
        __slots__ = ("paused",)

        def pause(self):
            self.paused = True

    monitor = Slotted()
    with pytest.raises(TypeError):
        weakref.ref(monitor)
    kept = SharedMonitor.of(monitor)
    kept.pause()
    assert monitor.paused
    assert SharedMonitor.of(monitor) is kept


def test_the_wrapper_keeps_no_monitor_alive_once_nobody_holds_it():
    monitor = Recorder()
    gone = weakref.ref(monitor)
    kept = SharedMonitor.of(monitor)
    del monitor
    gc.collect()
    assert gone() is not None
    del kept
    gc.collect()
    assert gone() is None


def test_only_the_first_pause_and_the_last_resume_reach_the_monitor():
    monitor = Recorder()
    one, other = SharedMonitor.of(monitor), SharedMonitor.of(monitor)
    one.pause()
    other.pause()
    one.resume()
    assert monitor.calls == ["pause"]
    assert other.paused
    other.resume()
    other.resume()
    assert monitor.calls == ["pause", "resume"]
    assert not one.paused


def test_a_window_hands_on_the_reading_of_the_monitor():
    monitor = Recorder()
    with SharedMonitor.of(monitor).window("measure") as window:
        assert window.reading is None
    assert window.reading is monitor.given
    assert monitor.calls == ["open measure", "close measure"]


def test_a_window_asked_for_while_somebody_warms_is_not_opened_and_says_so():
    monitor = Recorder()
    shared = SharedMonitor.of(monitor)
    shared.pause()
    with shared.window("measure") as window:
        pass
    assert window.reading is None
    assert shared.problems == {}
    assert monitor.calls == ["pause"]


@pytest.mark.parametrize(("status", "kept"), [("ok", "partial"), ("partial", "partial"), ("gpu_lost", "gpu_lost")])
def test_a_window_cut_by_a_warm_up_keeps_its_reading_and_says_so(status, kept):
    second = DeviceReading(uuid="GPU-2", energy_j=3.0)
    reading = DeviceReading(uuid="GPU-1", energy_j=2.0, status=status, missing={"power": "x"}, others=(second,))
    shared = SharedMonitor.of(Recorder(reading))
    with shared.window("measure") as window:
        shared.pause()
        shared.resume()
    cut = "interrupted by the warm-up of another function"
    assert window.reading.status == kept
    assert window.reading.energy_j == 2.0
    assert window.reading.missing == {"power": "x", "window": cut}
    assert window.reading.others[0].status == "partial"
    assert window.reading.others[0].missing == {"window": cut}


def test_a_window_after_the_warm_up_is_whole_again():
    shared = SharedMonitor.of(Recorder())
    shared.pause()
    shared.resume()
    with shared.window("measure") as window:
        pass
    assert window.reading.status == "ok"


def test_nothing_that_a_monitor_raises_gets_out_and_no_message_is_kept():
    shared = SharedMonitor.of(Broken())
    received = []
    shared.on_degraded = lambda metric, reason: received.append((metric, reason))
    assert shared.running is None
    assert shared.start() is False
    for _ in range(2):
        shared.pause()
        shared.resume()
    with shared.window("measure") as window:
        pass
    assert window.reading is None
    assert shared.problems == {
        "running": "OSError in running",
        "start": "ValueError in start()",
        "pause": "ValueError in pause()",
        "window": "ValueError in window().__enter__",
    }
    assert sorted(received) == sorted(shared.problems.items())
    assert "secret" not in str(shared.problems)


def test_a_pause_that_failed_is_owed_no_resume():
    class HalfBroken(Recorder):
        def pause(self):
            raise RuntimeError

    monitor = HalfBroken()
    shared = SharedMonitor.of(monitor)
    shared.pause()
    shared.resume()
    assert monitor.calls == []


def test_a_window_whose_exit_raises_has_a_reason_and_lets_the_body_s_exception_pass():
    class Bad(Recorder):
        @contextlib.contextmanager
        def window(self, name):
            try:
                yield None
            finally:
                raise OSError("secret")

    shared = SharedMonitor.of(Bad())
    with pytest.raises(KeyError), shared.window("measure"):
        raise KeyError("body")
    assert shared.problems == {"window": "OSError in window().__exit__"}


def test_a_window_that_swallows_exceptions_cannot_swallow_the_body_s():
    class Swallower(Recorder):
        def window(self, name):
            return contextlib.suppress(Exception)

    with pytest.raises(KeyError), SharedMonitor.of(Swallower()).window("measure") as window:
        raise KeyError("body")
    assert window.reading is None


def test_a_window_of_a_generator_that_lets_the_body_s_exception_through_is_no_problem_of_the_monitor():
    shared = SharedMonitor.of(Recorder())
    with pytest.raises(KeyError), shared.window("measure") as window:
        raise KeyError("body")
    assert shared.problems == {}
    assert window.reading is None


def test_what_is_no_device_reading_is_refused_with_a_reason():
    shared = SharedMonitor.of(Recorder(reading={"energy": 3}))
    with shared.window("measure") as window:
        pass
    assert (window.reading, shared.problems) == (None, {"window": "not a DeviceReading"})


def test_a_monitor_that_the_user_started_is_neither_started_nor_stopped():
    monitor = Recorder()
    monitor.start()
    shared = SharedMonitor.of(monitor)
    assert shared.start() is False
    shared.stop()
    assert monitor.calls == ["start"]


def test_of_two_blocks_that_overlap_the_last_one_stops_the_monitor():
    monitor = Recorder()
    one, other = SharedMonitor.of(monitor), SharedMonitor.of(monitor)
    assert one.start()
    assert other.start()
    one.stop()
    assert monitor.calls == ["start"]
    other.stop()
    assert monitor.calls == ["start", "stop"]


def test_a_listener_is_handed_on_to_the_monitor_and_a_failing_one_is_dropped():
    monitor = Recorder(reading=3)
    shared = SharedMonitor.of(monitor)

    def listener(metric, reason):
        raise RuntimeError

    shared.on_degraded = listener
    with pytest.raises(RuntimeError):
        monitor.on_degraded("metric", "reason")
    with shared.window("measure"):
        pass
    assert shared.problems == {"window": "not a DeviceReading"}
    assert shared.on_degraded is None


def test_an_interrupted_pause_is_undone():
    class Interrupted(Recorder):
        def pause(self):
            super().pause()
            raise KeyboardInterrupt

    monitor = Interrupted()
    shared = SharedMonitor.of(monitor)
    with pytest.raises(KeyboardInterrupt):
        shared.pause()
    assert not shared.paused
    assert monitor.calls == ["pause", "resume"]


def test_a_monitor_held_up_in_pause_holds_up_others_only_for_the_patience():
    entered, free = threading.Event(), threading.Event()

    class Slow(Recorder):
        def pause(self):
            super().pause()
            entered.set()
            free.wait(30)

    monitor = Slow()
    shared = SharedMonitor(monitor, patience_s=0.01)
    held = threading.Thread(target=shared.pause)
    held.start()
    assert entered.wait(30)
    shared.pause()
    shared.resume()
    shared.resume()
    assert shared.start() is False
    with shared.window("measure") as window:
        pass
    assert window.reading is not None
    free.set()
    held.join(30)
    assert monitor.calls == ["pause", "open measure", "close measure", "resume"]
    assert set(shared.problems) == {"pause", "start"}


def test_a_monitor_that_calls_back_into_its_wrapper_does_not_lock_up():
    class Reentrant(Recorder):
        def pause(self):
            super().pause()
            SharedMonitor.of(self).pause()
            SharedMonitor.of(self).resume()

    monitor = Reentrant()
    shared = SharedMonitor.of(monitor)
    shared.pause()
    shared.resume()
    assert monitor.calls == ["pause", "resume"]


def test_many_threads_leave_the_monitor_as_they_found_it():
    monitor = Recorder()
    shared = SharedMonitor.of(monitor)

    def warm():
        for _ in range(50):
            shared.pause()
            shared.resume()

    threads = [threading.Thread(target=warm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not shared.paused
    assert monitor.calls == ["pause", "resume"] * (len(monitor.calls) // 2)
    assert monitor.calls


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_another_thread_holds_the_turn_is_not_locked_up():
    entered, free = threading.Event(), threading.Event()

    class Slow(Recorder):
        def start(self):
            entered.set()
            free.wait(30)
            super().start()

    shared = SharedMonitor(Slow(), patience_s=0.01)
    held = threading.Thread(target=shared.start)
    held.start()
    entered.wait(30)
    child = os.fork()
    if child == 0:
        shared.pause()
        os._exit(len(shared.problems))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    free.set()
    held.join(30)


def test_the_gpu_monitor_behind_the_wrapper(make_monitor, nvmlsim):
    gpu = make_monitor()
    shared = SharedMonitor.of(gpu)
    received = []
    shared.on_degraded = lambda *result: received.append(result)
    with shared.window("measure") as early:
        pass
    assert early.reading is None
    assert shared.start()
    shared.pause()
    shared.pause()
    nvmlsim.advance(1.5)
    shared.resume()
    with shared.window("measure") as paused:
        pass
    assert paused.reading is None
    shared.resume()
    with shared.window("measure") as window:
        nvmlsim.advance(0.5)
    assert (window.reading.status, window.reading.energy_source) == ("ok", "ring")
    with shared.window("call") as cut:
        shared.pause()
        shared.resume()
        nvmlsim.advance(0.5)
    assert cut.reading.status == "partial"
    assert cut.reading.missing["window"] == "interrupted by the warm-up of another function"
    shared.stop()
    assert gpu.state == "stopped"
    assert received == [("window", "MonitorStateError in window().__enter__")]


def test_an_interrupted_entry_leaves_no_window_to_cut():
    class Interrupted(Recorder):
        def window(self, name):
            raise KeyboardInterrupt

    shared = SharedMonitor.of(Interrupted())
    window = shared.window("measure")
    with pytest.raises(KeyboardInterrupt):
        window.__enter__()
    shared.pause()
    assert not window.interrupted


def test_a_window_that_was_never_left_is_not_kept():
    shared = SharedMonitor.of(Recorder())
    window = shared.window("measure")
    window.__enter__()
    gone = weakref.ref(window)
    del window
    gc.collect()
    assert gone() is None


def test_pauses_of_the_user_and_of_the_engine_are_counted_together(gpu):
    shared = SharedMonitor.of(gpu)
    shared.pause()
    gpu.pause()
    shared.resume()
    assert (gpu.state, shared.paused) == ("paused", True)
    gpu.resume()
    assert (gpu.state, shared.paused) == ("running", False)
    shared.pause()
    with pytest.raises(MonitorStateError, match="nothing to resume"):
        gpu.resume()
    gpu.stop()
    gpu.start()
    assert gpu.state == "paused"
    shared.resume()
    assert gpu.state == "running"


def test_a_stop_lets_go_of_the_user_s_pauses_only(gpu):
    shared = SharedMonitor.of(gpu)
    gpu.pause()
    gpu.pause()
    gpu.stop()
    assert not shared.paused
    shared.pause()
    gpu.start()
    with gpu.paused():
        gpu.stop()
        assert shared.paused
    shared.resume()
    assert not shared.paused


def test_a_monitor_that_refuses_a_listener_is_used_without_one():
    class Stubborn(Recorder):
        @property
        def on_degraded(self):
            return None

        @on_degraded.setter
        def on_degraded(self, listener):
            if listener is not None:
                raise AttributeError

    shared = SharedMonitor.of(Stubborn())
    shared.on_degraded = print
    assert shared.problems == {"on_degraded": "AttributeError in on_degraded"}
