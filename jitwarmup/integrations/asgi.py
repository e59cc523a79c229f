"""
Services: the port is open at once, functions warm up in the background, and ``/readyz`` tells the truth meanwhile.

    start ──> port open, /livez 200, /readyz 503 + status ──(warming off the loop)──> /readyz 200, from then on

Plain ASGI, no dependency: ``lifespan(...)`` fits ``FastAPI(lifespan=...)`` and ``Starlette(lifespan=...)``,
``readiness_app(...)`` mounts into them or stands in front of any ASGI application. A route that calls a function with
``while_warming="raise"`` answers 503 by ``app.add_exception_handler(NotReady, not_ready)``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from jitwarmup.api.readiness import Readiness, readiness, with_workers
from jitwarmup.api.warmed import Warmed
from jitwarmup.api.workers import SERVICE
from jitwarmup.keys.at_exit import LEAVING, flush_all
from jitwarmup.records.errors import ArgumentError, NotReady

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Inputs = Mapping[Warmed[Any, Any], Sequence[Any]]


class Lifespan:
    """
    A lifespan that warms functions up in the background, off the event loop, one after the other.

        app = FastAPI(lifespan=lifespan({generate: ["hello", "a longer prompt"]}))

    Call it with the application for an async context manager, as Starlette and FastAPI do. ``ready`` is true once all
    that was to be warmed is warm, and latches; ``status()`` is the document of ``/readyz``.

    A function that fails, or raises SystemExit, leaves the application not ready for good, and its exception goes to the
    event loop's exception handler, which logs it. Stopping waits for no warm-up, but a compile that is under way in its thread ends
    before the process does.

    Args:
        inputs: function -> list of inputs, as for ``warm_all``; or a function without arguments (async, or plain: then
            it runs in a worker thread) that loads what has to be loaded and returns that mapping.
        budget_s: seconds for each function.
        policy: ``"ready"``, ``"degraded"`` or ``"fail"``, as for ``warm_all``; with ``"fail"`` it never becomes ready.

    """

    def __init__(
        self, inputs: Inputs | Callable[[], Any], *, budget_s: float | None = None, policy: str = "degraded"
    ) -> None:
        self._inputs = inputs if callable(inputs) else checked(inputs)
        self._settings: dict[str, Any] = {"budget_s": budget_s, "policy": policy}
        self._readiness: Readiness | None = None
        self.phase = "starting"  # starting, preparing, warming, done, failed, stopped
        self.error_type: str | None = None
        SERVICE.join(self)

    @asynccontextmanager
    async def __call__(self, _app: object = None, /) -> AsyncIterator[None]:
        """The context of a running application: warming begins on entry, and entry waits for nothing."""
        LEAVING.arm()
        task = asyncio.get_running_loop().create_task(self._warm(), name="jitwarmup lifespan")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            flush_all()  # servers end by signals, which run no exit hooks

    async def _warm(self) -> None:
        try:
            self.phase, given = "preparing", self._inputs
            if callable(given):
                given = await (given() if inspect.iscoroutinefunction(given) else asyncio.to_thread(given))
            inputs = checked(given)
            asked = [function for function, wanted in inputs.items() if wanted]
            self._readiness = readiness(*asked) if asked else None
            self.phase = "warming"
            for function, wanted in inputs.items():
                await function.awarm_all(wanted, **self._settings)
            self.phase = "done"
            SERVICE.leave_mark()
        except asyncio.CancelledError:
            self.phase = "stopped"
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's functions: for the loop's handler; never ready
            self.phase, self.error_type = "failed", type(error).__name__
            context = {"message": "jitwarmup: the warm-up in the background failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    @property
    def ready(self) -> bool:
        """Whether everything that was to be warmed is warm, in every worker. Nothing to warm is ready when that is known."""
        return with_workers({"ready": self.ready_here})["ready"]  # type: ignore[no-any-return]

    @property
    def ready_here(self) -> bool:
        """As ``ready``, in this process."""
        return self.phase == "done" and (self._readiness is None or self._readiness.ready_here)

    def __bool__(self) -> bool:
        return self.ready

    def status(self) -> dict[str, Any]:
        """What ``/readyz`` tells: as ``readiness().status()``, with the lifespan's own phase."""
        return with_workers(self.status_here())

    def status_here(self) -> dict[str, Any]:
        """As ``status``, of this process alone."""
        document = self._readiness.status_here() if self._readiness is not None else {"functions": []}
        return {**document, "ready": self.ready_here, "lifespan": self.phase, "error_type": self.error_type}


lifespan = Lifespan  # as frameworks call it


def checked(inputs: Any) -> Inputs:
    """Refuse what is no mapping from warmed functions to lists."""
    if isinstance(inputs, Mapping) and all(isinstance(function, Warmed) for function in inputs):
        return inputs
    raise ArgumentError(
        f"lifespan got a {type(inputs).__name__}; wanted a dict from functions decorated with @warmed to lists of "
        "inputs, or a function that returns one"
    )


def readiness_app(
    app: App | None = None,
    *,
    lifespan: Lifespan | None = None,
    ready: Lifespan | Readiness | None = None,
    gate: bool = False,
) -> App:
    """
    An ASGI application with ``/livez`` (200 always) and ``/readyz`` (200 exactly when ready, else 503), both with JSON.

    Mount it (``app.mount("/", readiness_app())``) or put it in front of an application, which gets everything else. Where
    that lets a ``NotReady`` out before its response has begun, the answer is 503.

    Args:
        app: gets all other requests; 404 where there is none.
        lifespan: run by this application (for applications without a lifespan of their own), and asked by ``/readyz``.
        ready: what ``/readyz`` asks; by default the lifespan or, without one, ``readiness()``.
        gate: answer 503 with ``Retry-After`` in the application's place until this worker is ready, whatever the others
            are; a WebSocket is closed with 1013, try again later.

    Raises:
        ArgumentError: a warmed function in place of an application.

    """
    if isinstance(app, Warmed):
        raise ArgumentError(
            "readiness_app got a function decorated with @warmed; wanted an ASGI application, or none. Its readiness is "
            "asked by readiness_app(ready=readiness(function)), and it is warmed by lifespan({function: inputs})"
        )
    asked = ready if ready is not None else lifespan if lifespan is not None else readiness()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            LEAVING.arm()  # the server has set its signal handlers by now
        if scope["type"] == "lifespan" and (lifespan is not None or app is None):
            await live(lifespan, receive, send)
        elif scope["type"] == "http" and (answer := answer_of(scope, asked)) is not None:
            await respond(scope, send, *answer)
        elif app is not None:
            if gate and scope["type"] in ("http", "websocket") and not asked.ready_here:
                await turn_away(scope, send, eta_s=asked.status_here().get("eta_s"))
            else:
                await serve_behind(app, scope, receive, send)
        elif scope["type"] == "http":
            await respond(scope, send, 404, {"error": "not found"})

    return serve


async def serve_behind(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Hand it on to the application."""
    begun = False

    async def sending(message: MutableMapping[str, Any]) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await app(scope, receive, sending)
    except NotReady:
        if begun or scope["type"] not in ("http", "websocket"):
            raise
        await turn_away(scope, send)
    finally:
        if scope["type"] == "lifespan":
            flush_all()


async def not_ready(_request: Any, _error: Exception) -> App:
    """The exception handler for ``NotReady``: ``app.add_exception_handler(NotReady, not_ready)`` in Starlette and FastAPI."""

    async def respond_so(scope: Scope, _receive: Receive, send: Send) -> None:
        await turn_away(scope, send)

    return respond_so


async def turn_away(scope: Scope, send: Send, *, eta_s: float | None = None) -> None:
    """503, with when to come again: in a second where nobody knows."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": "not ready"})
    else:
        await respond(scope, send, 503, {"error": "not ready", "eta_s": 1.0 if eta_s is None else eta_s})


def answer_of(scope: Scope, asked: Lifespan | Readiness) -> tuple[int, dict[str, Any]] | None:
    """Status and document for one of our two paths; None for any other."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path not in ("/livez", "/readyz"):
        return None
    if scope["method"] not in ("GET", "HEAD"):
        return 405, {"error": "method not allowed"}
    if path == "/livez":
        return 200, {"status": "alive"}
    document = asked.status()
    return (200 if document["ready"] else 503), document


async def respond(scope: Scope, send: Send, status: int, document: Mapping[str, Any]) -> None:
    """One JSON response; a 503 says when to come again where that is known."""
    body = json.dumps(document, allow_nan=False).encode()
    headers = {b"content-type": b"application/json", b"cache-control": b"no-store"}
    headers[b"content-length"] = b"%d" % len(body)
    if status == 503 and document.get("eta_s") is not None:
        headers[b"retry-after"] = b"%d" % max(1, math.ceil(document["eta_s"]))
    await send({"type": "http.response.start", "status": status, "headers": [*headers.items()]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def live(lifespan: Lifespan | None, receive: Receive, send: Send) -> None:
    """The server's lifespan protocol, around a lifespan of ours."""
    await receive()
    async with lifespan() if lifespan is not None else nullcontext():
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
