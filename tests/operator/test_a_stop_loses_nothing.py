"""``emit="summary"``: however a process is ended, the summaries add up to the calls that were answered."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import answered_until_it_ends, events, serving

ROOT = Path(__file__).parents[2]
CLIENTS = 4
SERVERS = ["uvicorn", "uvicorn -w 2"]
GUNICORN = [
    f"gunicorn {kind}{more}"
    for kind in ("sync", "gthread", "uvicorn_worker.UvicornWorker")
    for more in ("", " --preload")
]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
@pytest.mark.parametrize("server", [*SERVERS, *GUNICORN])
def test_a_server_stopped_in_the_middle(server, signum, tmp_path):
    for package in {"uvicorn", *(["gunicorn", "uvicorn_worker"] if "gunicorn" in server else [])}:
        pytest.importorskip(package)
    app = {"u": "service:asgi", "g": "service:wsgi"}[server[0]] if "Worker" not in server else "service:behind_ours"
    with serving(server, tmp_path, app) as (process, port):
        answered = answered_until_it_ends(port, process, signum, calls=200, clients=CLIENTS)
    counted = sum(event["count"] for event in events(tmp_path, "jitwarmup.summary"))
    log = (tmp_path / "log").read_text()
    if "gthread" in server and signum == signal.SIGINT and "was sent SIGKILL" in log:
        pytest.skip("gunicorn shuts its pool down inside of a handler, which may stand in the pool's own lock: SIGKILL")
    # a worker that quits at once leaves what it is at unanswered, counted or not
    assert answered <= counted <= answered + CLIENTS, log
    assert "Exception ignored" not in log


def ended(how, place, method="spawn"):
    """Exit status of ``ended.py``, and what its summaries add up to."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "EVENTS": str(place / "events.jsonl")}
    command = [sys.executable, str(Path(__file__).parent / "ended.py"), how, method]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=120)
    counted = sum(event["count"] for event in events(place, "jitwarmup.summary"))
    return done.returncode, counted, done.stderr


@pytest.mark.parametrize(
    ("how", "status", "calls"),
    [
        ("default", -signal.SIGTERM, 20),
        ("stuck", -signal.SIGTERM, 0),
        ("in_a_thread", -signal.SIGTERM, 20),
        ("own_before", 7, 20),
        ("own_after", -signal.SIGTERM, 20),
        ("ignored", 0, 20),
    ],
)
def test_a_process_that_gets_a_signal(how, status, calls, tmp_path):
    got = ended(how, tmp_path)
    assert got[:2] == (status, calls), got


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("how", ["in_process", "in_pool", "in_executor", "terminated"])
def test_children_of_multiprocessing(how, method, tmp_path):
    got = ended(how, tmp_path, method)
    assert got[:2] == (0, 20), got
