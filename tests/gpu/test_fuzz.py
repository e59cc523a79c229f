"""
Random schedules of everything that can be done to a monitor, judged by the driver's own log.

``JITWARMUP_FUZZ=10000`` sets the number of schedules (default 250, of up to 40 steps each).
"""

import contextlib
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jitwarmup import DeviceReading, GPUMonitor, MonitorStateError

SCHEDULES = int(os.environ.get("JITWARMUP_FUZZ", "250"))
TIMEOUT_S = 0.03
ERRORS = st.sampled_from(["GPU_IS_LOST", "UNINITIALIZED", "UNKNOWN", "NOT_SUPPORTED", "TIMEOUT", "hang", "slow"])
FUNCTIONS = st.sampled_from(
    ["*", "nvmlDeviceGetFieldValues", "nvmlDeviceGetSamples", "nvmlGpmSampleGet", "nvmlInitWithFlags", "nvmlShutdown"]
)


class Open:
    """An open window and when its edges were read."""

    def __init__(self, window, within):
        self.window, self.within = window, within
        self.edges = []  # of windows nested in it, as (from_ns, until_ns)
        self.from_ns = 0


class Schedule(RuleBasedStateMachine):
    """One monitor, three threads, and a model of what its state must be."""

    sim = bench = None

    def __init__(self):
        super().__init__()
        self.sim.gpus(2)
        self.gpu = self.sim.adopt(GPUMonitor(timeout_s=TIMEOUT_S))
        self.state, self.depth = "new", 0
        self.open = []
        self.paused_from_ns = None
        self.forked = False
        self.threads = [ThreadPoolExecutor(1), ThreadPoolExecutor(1), None]

    def teardown(self):
        self.sim.heal()
        for opened in reversed(self.open):
            self.leave_it(opened, 2)
        self.gpu.stop()
        for pool in self.threads[:2]:
            pool.shutdown()
        if self.gpu._link is not None:
            raise AssertionError("the monitor was not let go")

    # ---- doing things, in one of three threads, with a clock around them

    def do(self, place, job):
        """Do it there; returns (from_ns, until_ns, the error of misuse if any)."""

        def timed():
            began = time.perf_counter_ns()
            try:
                job()
            except MonitorStateError as error:
                return began, time.perf_counter_ns(), error
            return began, time.perf_counter_ns(), None

        pool = self.threads[place]
        done = timed() if pool is None else pool.submit(timed).result(60)
        assert done[1] - done[0] < 30e9
        return done

    def expect(self, allowed, done):
        assert (done[2] is None) == allowed, done[2]
        return allowed

    def silent(self, from_ns, until_ns, *allowed):
        """No call was started between the two, but within the spans that are allowed."""
        calls = self.sim.calls_between(from_ns, until_ns)
        stray = [call for call in calls if not any(a <= call.at_ns <= b for a, b in allowed)]
        assert stray == []

    @rule(place=st.integers(0, 2))
    def start(self, place):
        done = self.do(place, self.gpu.start)
        if self.expect(self.state in {"new", "stopped"} and not self.open, done):
            self.state, self.depth = "running", 0

    @rule(place=st.integers(0, 2))
    def stop(self, place):
        began, _, _ = done = self.do(place, self.gpu.stop)
        self.expect(True, done)
        if self.paused_from_ns is not None:
            self.silent(self.paused_from_ns, began)
            self.paused_from_ns = None
        self.state, self.depth = ("stopped" if self.state == "running" else self.state), 0

    @rule(place=st.integers(0, 2))
    def pause(self, place):
        _, until, _ = done = self.do(place, self.gpu.pause)
        if self.expect(self.state == "running", done):
            self.depth += 1
            if self.depth == 1:
                self.paused_from_ns = until

    @rule(place=st.integers(0, 2))
    def resume(self, place):
        began, _, _ = done = self.do(place, self.gpu.resume)
        if self.expect(self.state == "running" and self.depth > 0, done):
            self.depth -= 1
            if self.depth == 0:
                self.silent(self.paused_from_ns, began)
                self.paused_from_ns = None

    @rule(place=st.integers(0, 2), name=st.sampled_from(["measure", "call", "block"]))
    def enter(self, place, name):
        window = self.gpu.window(name)
        began, until, _ = done = self.do(place, window.__enter__)
        if self.expect(self.state == "running" and self.depth == 0, done):
            opened = Open(window, [other for other in self.open if window.is_within(other.window)])
            self.note_edge(opened, began, until)
            opened.from_ns = until
            self.open.append(opened)

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 2), chance=st.randoms(use_true_random=False))
    def leave(self, place, chance):
        self.leave_it(chance.choice(self.open), place)

    def leave_it(self, opened, place):
        began, until, _ = done = self.do(place, lambda: opened.window.__exit__(None, None, None))
        self.expect(True, done)
        self.open.remove(opened)
        self.silent(opened.from_ns, began, *opened.edges)
        self.note_edge(opened, began, until)
        reading = opened.window.reading
        if reading is not None:
            assert isinstance(reading, DeviceReading)
            for one in (reading, *reading.others):
                assert self.bench.gaps_without_reason(one) == []

    def note_edge(self, opened, from_ns, until_ns):
        for outer in opened.within:
            outer.edges.append((from_ns, until_ns))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.3, 1.5, 4.0]), watts=st.integers(50, 700))
    def work(self, seconds, watts):
        self.sim.set("power_w", watts)
        self.sim.advance(seconds)

    @rule(function=FUNCTIONS, error=ERRORS, first=st.integers(0, 3))
    def fault(self, function, error, first):
        with contextlib.suppress(ValueError):  # there is room for 32
            if error == "hang":
                self.sim.fault(function, hang=True, first=first)
            elif error == "slow":
                self.sim.fault(function, delay_s=0.002, first=first)
            else:
                self.sim.fault(function, error, first=first, last=first + 3)

    @rule()
    def heal(self):
        self.sim.heal()

    @precondition(lambda self: not self.forked)
    @rule()
    def fork(self):
        self.forked = True
        before = self.sim.count()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if self.state == "running":
                    with self.gpu.paused(), self.gpu.paused():
                        pass
                    with self.gpu.window("measure") as window:
                        pass
                    assert window.reading.status == "unavailable"
                self.gpu.stop()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [call for call in self.sim.calls(since=before) if call.pid == child] == []

    @invariant()
    def the_state_is_what_it_must_be(self):
        expected = "paused" if self.state == "running" and self.depth else self.state
        assert self.gpu.state == expected
        assert self.gpu.running == (self.state == "running")
        if self.paused_from_ns is not None:
            self.silent(self.paused_from_ns, time.perf_counter_ns())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_schedule_makes_a_call_within_a_run_or_a_pause(nvmlsim, bench):
    Schedule.sim, Schedule.bench = nvmlsim, bench
    run_state_machine_as_test(
        Schedule,
        settings=settings(
            max_examples=SCHEDULES,
            stateful_step_count=40,
            deadline=None,
            derandomize="JITWARMUP_FUZZ" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_threads_that_run_pause_and_measure_at_once_disturb_no_run(nvmlsim):
    """Real threads, real time: no call starts within a region of any thread or within a paused span."""
    nvmlsim.host_clock()
    gpu = GPUMonitor(timeout_s=30)
    gpu.start()
    spans, failures = [], []

    def live(seed):
        chance = random.Random(seed)
        try:
            for _ in range(60):
                if chance.random() < 0.3:
                    with gpu.paused():
                        span = [time.perf_counter_ns()]
                        sum(range(chance.randrange(2000)))
                        span.append(time.perf_counter_ns())
                else:
                    window = gpu.window(chance.choice(["measure", "call"]))
                    try:
                        window.__enter__()
                    except MonitorStateError:
                        continue
                    span = [time.perf_counter_ns()]
                    sum(range(chance.randrange(5000)))
                    span.append(time.perf_counter_ns())
                    window.__exit__(None, None, None)
                    assert isinstance(window.reading, DeviceReading)
                spans.append(span)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=live, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    gpu.stop()
    assert failures == []
    assert len(spans) > 40
    calls = nvmlsim.calls()
    assert len(calls) > 100
    assert [call for call in calls if any(a <= call.at_ns <= b for a, b in spans)] == []
