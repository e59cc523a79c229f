"""A service for the tests: ``wsgi`` and ``asgi``, each answers with what a function of 2 ms gives; events go to $EVENTS."""

import asyncio
import os
import time

from jitwarmup import warmed
from jitwarmup.events import set_emitters
from jitwarmup.events.json_lines import JsonLines
from jitwarmup.integrations.asgi import readiness_app

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
