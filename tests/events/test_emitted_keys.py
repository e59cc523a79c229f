"""Which of the declared keys does anybody emit? Everything that one process can bring about is run, and compared."""

from __future__ import annotations

import contextlib
import signal
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from jitwarmup import DeviceReading, OneTimeWork, steady_state, until_steady, warmed
from jitwarmup.events import schema
from jitwarmup.events.sinks import Recorder
from jitwarmup.host.scope import leave_note
from jitwarmup.records.protocols import ArmState
from jitwarmup.testing import FakeClock, RecordingMonitor

WHERE_KNOWN = {"label", "key", "report_id"}  # on some events
JOB = {
    "rank",
    "world_size",
    "failed_ranks",
    "contaminated_ranks",
}  # of several processes: tests/engine/test_agreement.py
STRAGGLER = {"straggler_rank", "straggler_share", "rank_skew_s", "rank_fastest_s", "rank_slowest_s"}  # likewise
GROWTH = {
    "memory_grows_bytes",
    "graphs_grow",
    "descriptors_grow",
}  # of a process that leaks: tests/engine/test_leaks.py
LIMIT = {"used", "limit"}  # of torch's recompile limit: tests/engine/test_demotion.py
EXCUSED = WHERE_KNOWN | JOB | STRAGGLER | GROWTH | LIMIT


class Work:
    """A probe that finds, in the runs chosen beforehand, a recompile."""

    name = "dynamo"

    def __init__(self) -> None:
        self.count = 0
        self.due = False

    def arm(self) -> ArmState:
        return ArmState("armed")

    def snapshot(self) -> int:
        if self.due:
            self.due, self.count = False, self.count + 1
        return self.count

    def delta(self, before: int, after: int) -> tuple[OneTimeWork, ...]:
        return (OneTimeWork(kind="dynamo.recompile", count=after - before, duration_s=1e-9),) if after > before else ()

    def disarm(self) -> None: ...


class Items:
    """What the streamers of a generation leave behind."""

    def finish(self, t0_ns: int) -> dict[str, Any]:
        return {"first_item_s": 0.1, "items": 3}

    def facts(self, notes: Any, runs: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
        return {}, ()


READING = DeviceReading(
    uuid="GPU-1",
    name="H100",
    energy_j=3.0,
    energy_source="counter",
    energy_error_j=0.1,
    power_mean_w=300.0,
    power_max_w=350.0,
    temperature_c=(40, 41),
    sm_clock_mhz=(1900, 1980),
    sm_clock_max_mhz=1980,
    throttled_s={"sw_power_cap": 0.5},
    reasons_at_edges=("sw_power_cap",),
    memory_peak_bytes=100,
    memory_used_bytes=(50, 60),
    sm_active_pct=90.0,
    tensor_active_pct=50.0,
    dram_bw_pct=30.0,
    other_pids=(17,),
    samples=5,
    missing={"fan": "not supported"},
)


class Boom(Exception):
    """What the functions here fail with."""


class Scenarios:
    """Functions of all kinds, that end in all ways, inside of blocks whose events one recorder keeps."""

    def __init__(self, recorder: Recorder) -> None:
        self.settings: dict[str, Any] = {"log": recorder, "monitor": RecordingMonitor(reading=READING)}
        self.work = Work()

    def block(self, *given: Any, **settings: Any) -> Any:
        return steady_state(*given, **{**self.settings, **settings})

    def failing_at(self, run: int, *, works: bool = True) -> Any:
        runs = [0]

        def function() -> int:
            runs[0] += 1
            self.work.due = works
            if runs[0] == run:
                raise Boom
            return runs[0]

        return function

    def only_runs(self) -> None:
        with self.block():
            warmed(iterations=1)(lambda packer: None)(zlib.compressobj())  # nothing is known of it

            def stops() -> None:
                with contextlib.suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)

            warmed(iterations=1)(stops)()
            warmed(iterations=1)(stops).measure()

    def calls(self) -> None:
        for run in range(5):  # 0: never
            function = warmed(iterations=2, log_messages=True)(self.failing_at(run))
            with self.block(probes=[self.work]):
                for _ in range(4):
                    with contextlib.suppress(Boom):
                        function()

        @warmed(iterations=1, log_messages=True)
        def stream(fails: bool) -> Iterator[int]:
            self.work.due = True
            yield 1
            yield 2
            if fails:
                raise Boom

        with self.block(probes=[self.work]):
            for fails in (False, False, True, True):
                with contextlib.suppress(Boom):
                    list(stream(fails))
        mutating = warmed(iterations=1)(lambda words: words.append("more"))
        with self.block():
            mutating([])
        keyed = warmed(iterations=1, key=lambda prompt: prompt)(lambda prompt: prompt)
        with self.block():
            keyed.warm("one")
            keyed("two")

    def summaries(self) -> None:
        for run in (0, 4):
            function = warmed(iterations=1, emit="summary")(self.failing_at(run))
            with self.block(probes=[self.work]):
                for _ in range(4):
                    with contextlib.suppress(Boom):
                        function()
                function.flush()

    def measurements(self) -> None:
        def stream(failing: int) -> Iterator[int]:
            runs[0] += 1
            yield from (1, 2, 3)
            if runs[0] == failing:
                raise Boom

        for run in range(6):
            with (
                contextlib.suppress(Boom),
                self.block(iterations=1, measurements=3, probes=[self.work], log_messages=True) as steady,
            ):
                steady.measure(self.failing_at(run))
            with contextlib.suppress(Boom), self.block(self.failing_at(run), iterations=1, probes=[self.work]):
                if run == 5:
                    raise Boom
            with (
                contextlib.suppress(Boom),
                self.block(iterations=1, measurements=3, probes=[self.work], log_messages=True) as steady,
            ):
                for number, trial in enumerate(steady.trials()):
                    with trial:
                        self.work.due = True
                        if number == run:
                            raise Boom
        for failing in (0, 1, 4):
            runs = [0]
            with contextlib.suppress(Boom), self.block(iterations=1, measurements=3) as steady:
                steady.measure(stream, failing)
        for run in (0, 105):  # a failure after a hundred clean runs
            with contextlib.suppress(Boom), self.block(iterations=1, measurements=110) as steady:
                steady.measure(self.failing_at(run, works=False))
        with self.block(iterations=1, measurements=2, name="changing") as steady:
            steady.measure(lambda words: words.append("more"), [])
        for fails in (False, True):  # somebody counts what is made inside, as the tokens of a text
            with contextlib.suppress(Boom), self.block():
                leave_note(Items())
                if fails:
                    raise Boom

    def proofs(self) -> None:
        clock = FakeClock()
        durations = iter(range(1, 1000))

        def failing() -> None:
            clock.advance(1 / next(durations))
            if next(durations) > 30:
                raise Boom

        for function in (lambda: clock.advance(1), lambda: clock.advance(1 / next(durations)), failing):
            with (
                contextlib.suppress(Boom),
                self.block(clock=clock, iterations=until_steady(at_most=6), measurements=2) as steady,
            ):
                steady.measure(function)

    def drifts(self) -> None:
        clock = FakeClock()
        function = warmed(iterations=1)(clock.advance)
        with self.block(clock=clock):
            for hours in [1] * 160 + [2] * 160 + [1] * 200:
                function(3600 * hours)

    def degraded(self) -> None:
        def fail(what: str) -> None:
            if what == "window-":
                raise OSError("gone")

        with self.block(monitor=RecordingMonitor(fail=fail)) as steady:
            steady.measure(lambda: None)


@pytest.fixture(scope="module")
def emitted() -> dict[str, set[str]]:
    """The keys of each event that the scenarios emitted."""
    recorder = Recorder()
    scenarios = Scenarios(recorder)
    scenarios.calls()
    scenarios.only_runs()
    scenarios.summaries()
    scenarios.measurements()
    scenarios.proofs()
    scenarios.drifts()
    scenarios.degraded()
    found: dict[str, set[str]] = defaultdict(set)
    for event in recorder:
        found[event["event"]] |= event.keys()
    return found


def lacks(event: schema.Event, emitted: set[str]) -> set[str]:
    """The declared keys that were not emitted; of a pattern one is enough."""
    declared = [key for key in schema.keys_of(event) if not key.name.endswith("_cut")]
    return {
        key.name
        for key in declared
        if not (any(key.pattern.fullmatch(name) for name in emitted) if key.pattern else key.name in emitted)
    }


def test_every_declared_key_is_emitted(emitted):
    missing = {event.name: lacks(event, emitted[event.name]) - EXCUSED for event in schema.EVENTS}
    assert {event: keys for event, keys in missing.items() if keys} == {}


def test_what_is_excused_is_declared_and_is_not_emitted_here(emitted):
    declared = {key.name for event in schema.EVENTS for key in schema.keys_of(event)}
    assert declared >= EXCUSED
    assert EXCUSED & set().union(*emitted.values()) == WHERE_KNOWN
