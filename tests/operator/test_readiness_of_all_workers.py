"""Several workers behind one port: ready when the last one is, and not before; a gate that lets nobody in too early."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest
from servers import GENEROUS_S, get, serving

from jitwarmup import OneTimeWork, readiness, warmed
from jitwarmup.api import workers
from jitwarmup.api.workers import SERVICE, Mark, started_at, workers_wanted
from jitwarmup.integrations.asgi import lifespan
from jitwarmup.probes import Observation

PERIOD_S = 0.05


def poll_until(port, wanted, seen):
    """Ask ``/readyz`` every 50 ms until the status comes; what came is appended to ``seen``."""
    deadline = time.monotonic() + GENEROUS_S
    while True:
        answer = get(port, "/readyz")
        if answer is not None:
            seen.append(answer[0])
            if answer[0] == wanted:
                return json.loads(answer[2])
        assert time.monotonic() < deadline, seen
        time.sleep(PERIOD_S)


def calls(port, count):
    """The answers of the application: which process, and whether it was cold."""
    return [json.loads(answer[2]) for _ in range(count) if (answer := get(port)) is not None and answer[0] == 200]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "workers"),
    [("uvicorn -w 2", 2), ("uvicorn -w 4", 4), ("gunicorn uvicorn_worker.UvicornWorker --preload", 2)],
)
def test_ready_when_the_last_worker_is_and_again_when_a_new_one_is(server, workers, tmp_path):
    pytest.importorskip("uvicorn")
    if "gunicorn" in server:
        pytest.importorskip("uvicorn_worker")
    (tmp_path / "slow").touch()  # whoever finds it needs two seconds for its first run
    with serving(server, tmp_path, "service:probed", JITWARMUP_READY_DIR=str(tmp_path / "ready")) as (_, port):
        seen = []
        assert poll_until(port, 200, seen)["workers"] == {"known": workers, "ready": workers}
        assert set(seen[:-1]) == {503}
        assert not (tmp_path / "slow").exists()
        answers = calls(port, 200)
        assert len(answers) == 200
        assert not any(answer["cold"] for answer in answers)
        later = []
        for _ in range(10):
            poll_until(port, 200, later)
        assert set(later) == {200}

        (tmp_path / "slow").touch()
        os.kill(answers[0]["pid"], signal.SIGKILL)
        seen = []
        poll_until(port, 503, seen)
        document = poll_until(port, 200, seen)
        assert document["workers"] == {"known": workers, "ready": workers}
        assert not (tmp_path / "slow").exists()
        assert set(seen[seen.index(503) : -1]) == {503}  # taken back once
        assert not any(answer["cold"] for answer in calls(port, 50))


@pytest.mark.slow
def test_a_gate_serves_nobody_before_and_loses_nobody_after(tmp_path):
    pytest.importorskip("uvicorn")
    (tmp_path / "slow").touch()
    with serving("uvicorn", tmp_path, "service:gated") as (_, port):
        turned_away = 0
        while (answer := get(port))[0] == 503:
            assert int(answer[1]["retry-after"]) >= 1
            assert json.loads(answer[2])["error"] == "not ready"
            turned_away += 1
        assert turned_away > 0
        answers = [json.loads(answer[2]), *calls(port, 100)]
        assert len(answers) == 101
        assert not any(answer["cold"] for answer in answers)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that workers share, of which this process is the only one so far."""
    monkeypatch.setenv("JITWARMUP_READY_DIR", str(tmp_path / "ready"))
    monkeypatch.setattr(SERVICE, "answers", weakref.WeakSet())
    monkeypatch.setattr(workers, "siblings", set)
    return tmp_path / "ready"


@pytest.fixture
def other():
    """Another process that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


@pytest.fixture
def function():
    return warmed(iterations=0, on_loss="unready")(lambda: 1)


def leave(folder, pid, *, ready, parent=None, started=None):
    started = started_at(pid) if started is None else started
    mark = {"pid": pid, "started": started, "parent": os.getppid() if parent is None else parent, "ready": ready}
    (folder / f"{pid}.json").write_text(json.dumps(mark))


def mark_of_this_process(folder):
    return Mark(**json.loads((folder / f"{os.getpid()}.json").read_text()))


def test_where_no_folder_is_shared_each_process_speaks_for_itself(function, monkeypatch):
    monkeypatch.delenv("JITWARMUP_READY_DIR", raising=False)
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    function.warm()
    assert "workers" not in readiness(function).status()


def test_it_is_ready_when_all_are(folder, other, function):
    function.warm()
    here = readiness(function)
    assert here.ready
    leave(folder, other.pid, ready=False)
    assert not here.ready
    assert here.ready_here
    document = here.status()
    assert (document["ready"], document["workers"]) == (False, {"known": 2, "ready": 1})
    leave(folder, other.pid, ready=True)
    assert here.ready
    assert here.status()["workers"] == {"known": 2, "ready": 2}


@pytest.mark.parametrize("why", ["dead", "number used again", "of another parent", "unreadable"])
def test_what_is_no_worker_does_not_count(folder, other, function, why):
    function.warm()
    here = readiness(function)
    if why == "dead":
        leave(folder, other.pid, ready=False)
        other.kill()
        other.wait()
    elif why == "number used again":
        leave(folder, other.pid, ready=False, started=started_at(other.pid) - 1)
    elif why == "of another parent":
        leave(folder, other.pid, ready=False, parent=os.getpid())
    else:
        (folder / "7.json").write_text("{")
    assert here.ready
    assert here.status()["workers"] == {"known": 1, "ready": 1}
    assert (folder / f"{other.pid}.json").exists() is (why == "of another parent")


def test_a_sibling_without_a_mark_was_started_and_is_not_ready(folder, other, function, monkeypatch):
    function.warm()
    here = readiness(function)
    monkeypatch.setattr(workers, "siblings", lambda: {os.getpid(), other.pid})
    assert here.status()["workers"] == {"known": 2, "ready": 1}
    assert not here
    leave(folder, other.pid, ready=True)
    assert here


def test_a_mark_is_left_when_the_application_is_made_and_whenever_readiness_changes(folder, function, watch):
    life = lifespan({function: [()]})
    assert not mark_of_this_process(folder).ready
    assert not life.ready
    del life
    here = readiness(function)
    function.warm()
    assert mark_of_this_process(folder).ready
    watch.seen = [Observation(work=(OneTimeWork(kind="dynamo.recompile"),))]
    function()
    assert not mark_of_this_process(folder).ready
    function.warm()
    assert mark_of_this_process(folder).ready
    function.reset()
    assert not mark_of_this_process(folder).ready
    assert not here


def test_a_forked_worker_leaves_its_own(folder, function):
    function.warm()
    here = readiness(function)
    pid = os.fork()
    if pid == 0:
        mark = mark_of_this_process(folder)
        os._exit(0 if mark.ready and mark.parent == os.getppid() and here.ready else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert here.status()["workers"] == {"known": 1, "ready": 1}


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("/bin/gunicorn -w 4 app:app", 4),
        ("/x/uvicorn/__main__.py --workers=3 app:app", 3),
        ("/bin/gunicorn -w2 app:app", 2),
        ("/bin/uvicorn app:app", 5),
        ("/x/serve.py -w 4", 1),
    ],
)
def test_the_workers_that_a_server_was_asked_for(argv, wanted, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv.split())
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    assert workers_wanted() == wanted


def test_workers_that_are_still_to_be_started_count_until_all_were_there_once(folder, other, function, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gunicorn", "-w", "2"])
    function.warm()
    here = readiness(function)
    assert here.status()["workers"] == {"known": 2, "ready": 1}
    leave(folder, other.pid, ready=True)
    assert here.status()["workers"] == {"known": 2, "ready": 2}
    other.kill()
    other.wait()
    assert here.status()["workers"] == {"known": 1, "ready": 1}


def test_the_folder_stands_in_that_of_the_metrics(function, tmp_path, monkeypatch):
    monkeypatch.delenv("JITWARMUP_READY_DIR", raising=False)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    here = readiness(function)
    assert not here
    assert (tmp_path / "jitwarmup-ready" / f"{os.getpid()}.json").exists()


def test_a_folder_that_cannot_be_written_to_breaks_nothing(function, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JITWARMUP_READY_DIR", str(tmp_path / "file" / "ready"))
    assert function() == 1
    assert not readiness(function).ready
