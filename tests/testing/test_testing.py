"""The fakes we ship: for our own tests and for those of users."""

import pytest

from jitwarmup import DeviceReading, NotReady, steady_state, warmed
from jitwarmup.host.switch import SWITCH, Switch
from jitwarmup.records.protocols import Clock, Monitor
from jitwarmup.testing import FakeClock, RecordingMonitor, capture_events, inactive


def counted(runs, **options):
    @warmed(iterations=2, **options)
    def function(x):
        runs.append(x)
        return x

    return function


def test_inactive_makes_every_call_the_plain_call_and_emits_nothing():
    runs = []
    function = counted(runs)
    with capture_events() as events, inactive():
        assert function(1) == 1
        assert function.ready
        assert function.warm(1).skipped == "inactive"
    assert runs == [1]
    assert list(events) == []
    assert not function.ready


def test_inactive_blocks_may_be_nested():
    runs = []
    function = counted(runs)
    with inactive():
        with inactive():
            function(1)
        function(2)
    assert runs == [1, 2]
    assert SWITCH.reasons == 0


def test_an_exception_leaves_it_active_again():
    with pytest.raises(NotReady), inactive():
        raise NotReady
    assert SWITCH.reasons == 0
    assert Switch(off=True).reasons == 1


def test_events_are_captured_whole_and_nothing_goes_out(capfd):
    with capture_events() as events:
        counted([])(1)
    names = ["jitwarmup.validation.completed", "jitwarmup.warmup.completed", "jitwarmup.call"]
    assert [event["event"] for event in events] == names
    assert {event["level"] for event in events} == {"info"}
    assert events[2]["outcome"] == events.named("jitwarmup.call")[0]["outcome"] == "ok"
    assert len(events) == 3
    events.clear()
    assert len(events) == 0
    assert capfd.readouterr() == ("", "")


def test_the_innermost_capture_gets_them():
    function = counted([])
    with capture_events() as outer:
        function(1)
        before = len(outer)
        with capture_events() as inner:
            function(2)
        function(3)
    assert [len(inner), len(outer) - before] == [1, 1]


def test_a_fake_clock_moves_only_when_told():
    clock = FakeClock()
    assert isinstance(clock, Clock)
    assert [clock.now(), clock.now()] == [0, 0]
    clock.advance(1.5)
    assert clock.now() == 1_500_000_000
    clock.fence()
    assert clock.log == ["now", "now", "now", "fence"]


def test_a_fake_clock_may_step_at_each_reading():
    clock = FakeClock(step_ns=5)
    assert [clock.now(), clock.now()] == [5, 10]


def test_a_measurement_with_a_fake_clock_has_exact_times():
    clock = FakeClock()

    def slow(seconds):
        clock.advance(seconds)

    with capture_events(), steady_state(clock=clock, iterations=1, measurements=3) as steady:
        report = steady.measure(slow, 0.25)
    assert [run.duration_s for run in report.runs] == [0.25] * 5
    assert report.latency_s == 0.25


def test_a_recording_monitor_notes_what_it_is_asked():
    monitor = RecordingMonitor(running=False)
    assert isinstance(monitor, Monitor)
    monitor.start()
    monitor.pause()
    assert monitor.paused == 1
    monitor.resume()
    with monitor.window("run") as window:
        assert (window.name, window.reading) == ("run", None)
    monitor.stop()
    assert monitor.log == ["start", "pause", "resume", "window+", "window-", "stop"]
    assert window.reading == DeviceReading(uuid="fake", name="recording")
    assert (monitor.running, monitor.paused) == (False, 0)


def test_clock_and_monitor_share_one_log_and_show_the_order():
    log = []
    clock, monitor = FakeClock(log=log), RecordingMonitor(log)
    with capture_events(), steady_state(clock=clock, monitor=monitor, iterations=0, measurements=1) as steady:
        log.clear()
        steady.measure(lambda: log.append("user"))
        order = list(log)
    run = ["fence", "now", "user", "fence", "now"]
    assert order == ["pause", *run, "resume", "window+", *run, "window-"]


def test_a_monitor_can_be_told_to_fail_and_the_measurement_goes_on():
    def fail(what):
        if what == "window+":
            raise OSError("the driver is gone")

    reading = DeviceReading(uuid="mine")
    monitor = RecordingMonitor(fail=fail, reading=reading)
    with capture_events(), steady_state(monitor=monitor, iterations=0, measurements=2) as steady:
        report = steady.measure(len, "abc")
    assert report.latency_s > 0
    assert report.device is None
    assert any(name.startswith("monitor.") for name in report.verdict.unwatched)


def test_a_reading_may_be_chosen():
    reading = DeviceReading(uuid="mine", energy_j=3.0)
    with (
        capture_events(),
        steady_state(monitor=RecordingMonitor(reading=reading), iterations=0, measurements=1) as steady,
    ):
        report = steady.measure(len, "abc")
    assert report.device.energy_j == 3.0
