"""An import is its run's own where the run made it, with its seconds; one in a thread of others marks nobody."""

import asyncio
import importlib
import importlib.util
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from jitwarmup import State, steady_state, warmed
from jitwarmup.testing import capture_events

SECONDS = 0.03


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Makes a module that takes ``SECONDS`` to import, and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(code=f"import time; time.sleep({SECONDS})", name=None):
        made.append(name or f"jitwarmup_module_{len(made)}")
        (tmp_path / f"{made[-1]}.py").write_text(code)
        importlib.invalidate_caches()
        return made[-1]

    yield make
    for name in made:
        sys.modules.pop(name, None)


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_a_pool(work):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def in_a_thread_of_a_thread(work):
    in_a_thread(lambda: in_a_thread(work))


WAYS = {
    "inline": lambda work: work(),
    "thread": in_a_thread,
    "pool": in_a_pool,
    "to_thread": lambda work: asyncio.run(asyncio.to_thread(work)),
}


def imports_of(run, scope="own"):
    return [work for work in run.work if work.kind == "import" and work.scope == scope]


def on_runs(wanted, work):
    """A function that does ``work`` in those of its runs, counted from the validation run."""
    runs = iter(range(1_000))
    return lambda: work() if next(runs) in wanted else None


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_import_marks_the_run_that_made_it_and_has_its_seconds(way, modules):
    names = [modules() for _ in range(3)]
    left = iter(names)
    function = on_runs({0, 4, 6}, lambda: way(lambda: importlib.import_module(next(left))))
    with capture_events(), steady_state(iterations=2, measurements=6) as steady:
        report = steady.measure(function)
    assert [run.contaminated for run in report.measured] == [False, True, False, True, False, False]
    assert [imports_of(run)[0].reason for run in report.measured if run.contaminated] == [f"{n} 1" for n in names[1:]]
    assert SECONDS <= report.ledger["import"] <= report.validation.duration_s
    assert report.ledger["unexplained"] < report.validation.duration_s - SECONDS


def test_what_a_module_imports_counts_once(modules):
    inner = [modules(), modules()]
    outer = modules(f"import {inner[0]}, {inner[1]}")
    with capture_events(), steady_state(iterations=0, measurements=1) as steady:
        report = steady.measure(on_runs({0}, lambda: importlib.import_module(outer)))
    (work,) = imports_of(report.validation)
    assert work.count == 3
    assert 2 * SECONDS <= work.duration_s <= report.validation.duration_s


@pytest.mark.parametrize("began", ["before", "in an earlier run"])
def test_an_import_in_a_thread_that_the_run_did_not_start_marks_nobody(modules, began):
    asked, done = threading.Semaphore(0), threading.Semaphore(0)
    names = [modules() for _ in range(8)]

    def others():
        for name in names:
            asked.acquire()
            importlib.import_module(name)
            done.release()

    def serve():
        if not thread.is_alive():
            thread.start()
        asked.release()
        assert done.acquire(timeout=60)

    thread = threading.Thread(target=others, daemon=True)
    if began == "before":
        thread.start()
    with capture_events() as events, steady_state(iterations=2, measurements=5) as steady:
        report = steady.measure(serve)
    later = report.runs[1:]
    assert not any(run.contaminated for run in later)
    assert [imports_of(run) for run in later] == [[]] * 7
    assert all(imports_of(run, "foreign") for run in later)
    assert "import" not in report.ledger or began != "before"
    assert not any("contaminated_runs" in event and event["contaminated_runs"] for event in events)
    assert report.verdict.state not in ("contaminated", "degraded")


def test_threads_that_import_all_the_time_mark_nobody(modules):
    names, stop, runs = [modules("") for _ in range(400)], threading.Event(), iter(range(1_000))

    def others():
        for name in names:
            if stop.wait(0.001):
                return
            importlib.import_module(name)

    served = warmed(iterations=3)(lambda: next(runs))
    threads = [threading.Thread(target=others, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    with capture_events() as events:
        for _ in range(300):
            served()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(event["contaminated"] for event in events if event["event"] == "jitwarmup.call")
    assert served.state is State.WARM


def test_an_import_of_its_own_is_marked_beside_a_run_of_others(modules):
    """The run overlaps with another one: the import is known to be its own all the same."""
    inside, go = threading.Event(), threading.Event()
    name = modules()
    other = warmed(iterations=0)(on_runs({1}, lambda: (inside.set(), go.wait(60))))
    mine = warmed(iterations=0)(on_runs({1}, lambda: importlib.import_module(name)))
    with capture_events() as events:
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(60)
        mine()
        go.set()
        thread.join()
    marked = [event["contaminated"] for event in events if event["event"] == "jitwarmup.call"]
    assert marked == [True, False]


def test_what_is_searched_for_or_not_found_is_no_import(modules):
    name = modules()

    def search():
        assert importlib.util.find_spec(name) is not None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("jitwarmup_no_such_module")

    served = warmed(iterations=1)(search)
    with capture_events() as events:
        served()
        served()
    assert [event["contaminated"] for event in events if event["event"] == "jitwarmup.call"] == [False] * 2


def test_a_module_that_each_run_imports_anew_is_recurring(modules):
    name = modules("")

    def again():
        sys.modules.pop(name, None)
        importlib.import_module(name)

    with capture_events(), steady_state(iterations=2, measurements=5) as steady:
        report = steady.measure(again)
    assert not any(run.contaminated for run in report.measured)


def test_a_module_that_fails_shows_its_own_traceback_only(modules):
    name = modules("1 / 0")
    served = warmed(iterations=0)(lambda: importlib.import_module(name))
    with capture_events(), pytest.raises(ZeroDivisionError) as raised:
        served()
    frames = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert not any("probes" in filename for filename in frames)
