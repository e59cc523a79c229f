"""A service for the tests: ``wsgi`` and ``asgi``, each answers with what a function of 2 ms gives; events go to $EVENTS."""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.events.json_lines import JsonLines
from jitwarmup.integrations.asgi import lifespan, readiness_app

set_emitters(JsonLines(os.environ["EVENTS"]))


@warmed(iterations=0, emit="summary", while_warming="pass")
def answer(x):
    time.sleep(0.002)
    return x


def wsgi(environ, start_response):
    body = str(answer(1)).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """No lifespan of ours, and calls in threads alone: nothing but the signal says that it is over."""
    if scope["type"] == "http":
        body = str(await asyncio.to_thread(answer, 1)).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


behind_ours = readiness_app(
    asgi
)  # preloaded under gunicorn, its handlers replace ours: only this one hears of it again


first_run = iter([True])


@warmed(iterations=0, emit="off")
def slow_to_warm(x):
    """Its first run takes long in the one worker that finds the file."""
    if next(first_run, False):
        with contextlib.suppress(FileNotFoundError):
            Path("slow").unlink()
            time.sleep(2)
    return x


life = lifespan({slow_to_warm: [1]})


async def cold_or_warm(scope, receive, send):
    """Answers its process, and whether the call was cold there."""
    if scope["type"] == "http":
        cold = slow_to_warm.state != "warm"
        await asyncio.to_thread(slow_to_warm, 1)
        body = json.dumps({"pid": os.getpid(), "cold": cold}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


probed = readiness_app(cold_or_warm, lifespan=life)
gated = readiness_app(cold_or_warm, lifespan=life, gate=True)
