"""Services: the port is open at once, /livez always answers, /readyz tells the truth and latches."""

import asyncio
import http.client
import importlib.util
import json
import random
import threading
import time
from pathlib import Path

import pytest

from jitwarmup import ArgumentError, NotReady, warmed
from jitwarmup.integrations.asgi import lifespan, not_ready, readiness_app

pytestmark = pytest.mark.usefixtures("events")


async def ask(app, path, method="GET", root_path=""):
    """Status, headers and body of one request, over the ASGI protocol itself."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "root_path": root_path}, receive, send)
    headers = dict(sent[0]["headers"])
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert int(headers[b"content-length"]) == len(body) or method == "HEAD"
    return sent[0]["status"], headers, json.loads(body) if body else None


class Server:
    """The lifespan side of a server: startup, then shutdown when told."""

    def __init__(self, app) -> None:
        self.app = app
        self.requests, self.responses = asyncio.Queue(), asyncio.Queue()

    async def __aenter__(self):
        self.call = asyncio.create_task(self.app({"type": "lifespan"}, self.requests.get, self.responses.put))
        await self.requests.put({"type": "lifespan.startup"})
        assert await self.responses.get() == {"type": "lifespan.startup.complete"}
        return self

    async def __aexit__(self, *_):
        await self.requests.put({"type": "lifespan.shutdown"})
        assert await self.responses.get() == {"type": "lifespan.shutdown.complete"}
        await self.call


def gated():
    """A function that warms up as soon as its gate is open."""
    gate = threading.Event()
    return warmed(iterations=1)(lambda x: gate.wait(30) and x), gate


async def until(question, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not await question():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def test_livez_is_200_and_readyz_503_until_ready_then_200_for_good() -> None:
    async def main():
        function, gate = gated()
        life = lifespan({function: [1]})
        app = readiness_app(lifespan=life)
        assert (await ask(app, "/readyz"))[0] == 503
        async with Server(app):

            async def validating():
                return [each["phase"] for each in (await ask(app, "/readyz"))[2]["functions"]] == ["validate"]

            await until(validating)
            assert (await ask(app, "/livez"))[2] == {"status": "alive"}
            status, headers, document = await ask(app, "/readyz")
            assert (status, document["ready"], document["lifespan"]) == (503, False, "warming")
            assert headers[b"cache-control"] == b"no-store"
            gate.set()

            async def ready():
                return (await ask(app, "/readyz"))[0] == 200

            await until(ready)
            other, _ = gated()
            other._core.entry((), (1,), {}).requested = True
            assert (await ask(app, "/readyz"))[0] == 200

    asyncio.run(main())


def test_readyz_says_when_to_come_again_where_it_is_known() -> None:
    async def main():
        gate = threading.Event()
        seen = []

        @warmed(iterations=2)
        def function():
            seen.append(1)
            if len(seen) == 3:
                gate.wait(30)

        life = lifespan({function: [()]})
        app = readiness_app(lifespan=life)
        async with Server(app):

            async def last_run():
                return len(seen) == 3

            await until(last_run)
            assert (await ask(app, "/readyz"))[1][b"retry-after"] == b"1"
            gate.set()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["plain", "async"])
def test_loading_happens_in_the_background_too(how) -> None:
    function, gate = gated()
    gate.set()
    loaded = threading.Event()

    def load():
        loaded.wait(30)
        return {function: [1]}

    async def aload():
        await asyncio.to_thread(loaded.wait, 30)
        return {function: [1]}

    async def main():
        life = lifespan(load if how == "plain" else aload)
        app = readiness_app(lifespan=life)
        async with Server(app):
            status, _, document = await ask(app, "/readyz")
            assert (status, document["lifespan"]) == (503, "preparing")
            loaded.set()

            async def ready():
                return life.ready

            await until(ready)

    asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError, SystemExit])  # a warm-up in the background ends no server
@pytest.mark.parametrize("where", ["loading", "warming", "no mapping"])
def test_a_failure_in_the_background_is_logged_and_never_ready(where, error) -> None:
    def fail(x=None):
        raise error("secret")

    def no_mapping():
        return [1]

    function = warmed(iterations=0)(fail)
    contexts = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: contexts.append(context))
        life = lifespan({"loading": fail, "warming": {function: [1]}, "no mapping": no_mapping}[where])
        app = readiness_app(lifespan=life)
        async with Server(app):

            async def failed():
                return life.phase == "failed"

            await until(failed)
            status, _, document = await ask(app, "/readyz")
            assert status == 503
            assert document["error_type"] == ("ArgumentError" if where == "no mapping" else error.__name__)
            assert "secret" not in json.dumps(document)
            assert (await ask(app, "/livez"))[0] == 200

    asyncio.run(main())
    assert [context["message"] for context in contexts] == ["jitwarmup: the warm-up in the background failed"]


def test_stopping_in_the_middle_is_clean() -> None:
    async def main():
        function, gate = gated()
        life = lifespan({function: [1]})
        async with Server(readiness_app(lifespan=life)):
            await asyncio.sleep(0.01)
        assert life.phase == "stopped"
        gate.set()

    asyncio.run(main())


def test_a_budget_and_a_policy_are_those_of_warm_all() -> None:
    async def main(policy):
        function = warmed(iterations=0, key=lambda x: x)(time.sleep)
        life = lifespan({function: [0.02, 0.021]}, budget_s=0.01, policy=policy)
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with life():

            async def over():
                return life.phase in ("done", "failed")

            await until(over)
            return life.ready, life.status()["state"]

    assert asyncio.run(main("ready")) == (True, "warm")
    assert asyncio.run(main("degraded")) == (True, "degraded")
    assert asyncio.run(main("fail"))[0] is False


def test_an_application_behind_it_gets_everything_else() -> None:
    got = []

    async def inner(scope, receive, send):
        got.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})

    async def main():
        app = readiness_app(inner, ready=lifespan({}))
        assert (await ask(app, "/tea"))[0] == 418
        assert (await ask(app, "/livez"))[0] == 200
        await app({"type": "websocket"}, None, None)
        await app({"type": "lifespan"}, None, None)

    asyncio.run(main())
    assert got == ["http", "websocket", "lifespan"]


def test_alone_it_answers_404_and_405_and_head() -> None:
    async def main():
        app = readiness_app(ready=lifespan({}))
        assert (await ask(app, "/elsewhere"))[0] == 404
        assert (await ask(app, "/livez", "POST"))[0] == 405
        assert (await ask(app, "/livez", "HEAD"))[2] is None
        assert (await ask(app, "/health/livez", root_path="/health"))[0] == 200
        async with Server(readiness_app()):
            pass

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [3, [1], {len: [1]}])
def test_what_is_no_mapping_of_warmed_functions_is_refused(wrong) -> None:
    with pytest.raises(ArgumentError, match="wanted a dict from functions decorated with @warmed"):
        lifespan(wrong)


def test_a_gate_turns_everybody_away_until_this_worker_is_ready() -> None:
    async def main():
        function, gate = gated()
        served = []

        async def inner(scope, receive, send):
            served.append(scope["type"])
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
                await send({"type": "http.response.body", "body": b"{}"})

        app = readiness_app(inner, lifespan=lifespan({function: [1]}), gate=True)
        async with Server(app):
            status, headers, document = await ask(app, "/")
            assert (status, headers[b"retry-after"], document["error"]) == (503, b"1", "not ready")
            closed = asyncio.Queue()
            await app({"type": "websocket", "path": "/"}, None, closed.put)
            assert closed.get_nowait() == {"type": "websocket.close", "code": 1013, "reason": "not ready"}
            assert served == []
            gate.set()

            async def ready():
                return (await ask(app, "/readyz"))[0] == 200

            await until(ready)
            assert (await ask(app, "/"))[0] == 200
            assert served == ["http"]

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True])
def test_a_route_that_is_not_ready_is_a_503_unless_it_has_begun_to_answer(begun) -> None:
    async def inner(scope, receive, send):
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        raise NotReady

    app = readiness_app(inner, ready=lifespan({}))
    if begun:
        with pytest.raises(NotReady):
            asyncio.run(ask(app, "/"))
    else:
        status, headers, document = asyncio.run(ask(app, "/"))
        assert (status, headers[b"retry-after"], document["error"]) == (503, b"1", "not ready")


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_framework_answers_503_by_our_handler(framework, kind) -> None:
    module = pytest.importorskip(f"{framework}.applications")
    app = getattr(module, {"starlette": "Starlette", "fastapi": "FastAPI"}[framework])()

    def plain(request):
        raise NotReady

    async def route(request):
        raise NotReady

    app.add_route("/", route if kind == "async" else plain)
    app.add_exception_handler(NotReady, not_ready)
    with Running(app) as port:
        assert get(port, "/") == (503, {"error": "not ready", "eta_s": 1.0})


def test_a_warmed_function_is_no_application() -> None:
    with pytest.raises(ArgumentError, match=r"readiness_app\(ready=readiness\(function\)\)"):
        readiness_app(warmed(len))


@pytest.mark.slow
def test_a_thousand_starts_never_lie() -> None:
    """Requests from the first moment; a 200 only after the last run of the warm-up, and then for good."""
    chance = random.Random(11)
    figures = {"starts": 0, "503": 0, "200": 0, "livez": 0}

    async def start():
        runs, iterations = [], chance.randrange(3)
        pause = chance.choice([0.0, 0.0005, 0.002])

        @warmed(iterations=iterations)
        def function(x):
            time.sleep(pause)
            runs.append(x)

        app = readiness_app(lifespan=lifespan({function: [1]}))
        async with Server(app):
            since = None
            for _ in range(10_000):
                enough = len(runs)
                status = (await ask(app, "/readyz"))[0]
                assert (await ask(app, "/livez"))[0] == 200
                figures["livez"] += 1
                figures[str(status)] += 1
                if status == 200:
                    assert len(runs) == iterations + 1
                    assert enough >= iterations
                assert since is None or status == 200
                since = since if since is not None or status == 503 else figures["livez"]
                if since is not None and figures["livez"] > since + 2:
                    break
                await asyncio.sleep(chance.choice([0, 0.0003]))
        assert since is not None
        figures["starts"] += 1

    async def main():
        for _ in range(1000):
            await start()

    asyncio.run(main())
    print(figures)
    assert figures["starts"] == 1000
    assert figures["503"] >= 1000


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


class Running:
    """An application in a real uvicorn, on a free port, in a thread."""

    def __init__(self, app) -> None:
        uvicorn = pytest.importorskip("uvicorn")
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.002)
        return self.server.servers[0].sockets[0].getsockname()[1]

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_the_example_does_what_it_says() -> None:
    pytest.importorskip("uvicorn")
    place = Path(__file__).parents[2] / "examples" / "asgi_service.py"
    spec = importlib.util.spec_from_file_location("asgi_service", place)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with Running(example.service) as port:
        seen = []
        while not seen or seen[-1] != 200:
            seen.append(get(port, "/readyz")[0])
            assert get(port, "/livez") == (200, {"status": "alive"})
        assert set(seen[:-1]) == {503}
        assert get(port, "/?olleh") == (200, {"answer": "hello"})


@pytest.mark.parametrize("framework", ["none", "starlette", "fastapi"])
def test_real_uvicorn(framework) -> None:
    function, gate = gated()
    life = lifespan({function: [1]})
    app = readiness_app(lifespan=life)
    if framework == "starlette":
        starlette = pytest.importorskip("starlette.applications")
        app = starlette.Starlette(lifespan=life)
        app.mount("/", readiness_app(ready=life))
    elif framework == "fastapi":
        fastapi = pytest.importorskip("fastapi")
        app = fastapi.FastAPI(lifespan=life)
        app.mount("/health", readiness_app(ready=life))
    prefix = "/health" if framework == "fastapi" else ""
    with Running(app) as port:
        for _ in range(20):
            assert get(port, f"{prefix}/livez")[0] == 200
            assert get(port, f"{prefix}/readyz")[0] == 503
        gate.set()
        deadline = time.monotonic() + 30
        while get(port, f"{prefix}/readyz")[0] != 200:
            assert time.monotonic() < deadline
        assert function.ready
        assert [get(port, f"{prefix}/readyz")[0] for _ in range(20)] == [200] * 20
