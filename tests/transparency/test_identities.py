"""Rewound random streams never give two spans, requests or files one name."""

import asyncio
import contextlib
import itertools
import random
import secrets
import sys
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from jitwarmup import steady_state, warmed
from jitwarmup.events import set_emitters
from jitwarmup.testing import capture_events


class Kept(SpanProcessor):
    """Keeps every span that ended; no lock, no thread, no exporter."""

    def __init__(self):
        self.spans: list[ReadableSpan] = []

    def on_end(self, span):
        self.spans.append(span)

    def ids(self):
        return [span.context.span_id for span in self.spans]

    def roots(self):
        return [span.context.trace_id for span in self.spans if span.parent is None]


class Drawing(IdGenerator):
    """The user's own: short ids, drawn from the process's stream as those of the SDK are."""

    def generate_span_id(self):
        return random.getrandbits(64) or 1

    def generate_trace_id(self):
        return random.getrandbits(128) or 1


class Derived(RandomIdGenerator):
    """The SDK's, with a mark of the service in front."""

    def generate_trace_id(self):
        return (7 << 96) | (super().generate_trace_id() & ((1 << 96) - 1))


class Spanning:
    """Spans each warm-up, as a sink may."""

    def __init__(self, tracer):
        self.tracer = tracer

    def emit(self, event, level, fields):
        pass

    def warming(self, fields):
        return self.tracer.start_as_current_span("warm-up")


@pytest.fixture(params=[RandomIdGenerator, Drawing, Derived], ids=lambda kind: kind.__name__)
def traced(request):
    """A tracer of its own provider, and what it recorded."""
    kept = Kept()
    provider = TracerProvider(id_generator=request.param(), shutdown_on_exit=False)
    provider.add_span_processor(kept)
    yield provider.get_tracer("tests"), kept
    provider.shutdown()


@pytest.fixture
def spanned(traced, monkeypatch):
    """As `traced`, with a sink that spans each warm-up."""
    tracer, kept = traced
    set_emitters(Spanning(tracer))
    yield tracer, kept
    set_emitters()


def all_new(kept):
    """Each span has an id of its own, and none is its own parent; so do the traces of those that have no parent."""
    ids, roots = kept.ids(), kept.roots()
    assert len(set(ids)) == len(ids)
    assert len(set(roots)) == len(roots)
    assert all(span.parent is None or span.parent.span_id != span.context.span_id for span in kept.spans)
    return len(ids)


def test_36_spans_of_a_warmed_function_have_36_ids(spanned):
    tracer, kept = spanned

    @warmed(iterations=5)
    def predict(x):
        with tracer.start_as_current_span("predict"):
            return x

    with tracer.start_as_current_span("request"):
        predict(1)
        predict.measure(1)
    warm_ups = [span for span in kept.spans if span.name == "warm-up"]
    assert 1 <= len(warm_ups) <= 2
    assert all_new(kept) == 1 + 7 + 26 + len(warm_ups)
    assert sum(span.name == "predict" for span in kept.spans) == 7 + 26
    requested = next(span for span in kept.spans if span.name == "request")
    assert {span.context.trace_id for span in kept.spans} == {requested.context.trace_id}
    inside = {span.context.span_id for span in [requested, *warm_ups]}
    assert all(span.parent.span_id in inside for span in kept.spans if span.name == "predict")


def test_root_spans_have_traces_of_their_own(traced, events):
    tracer, kept = traced

    @warmed(iterations=5)
    def predict(x):
        with tracer.start_as_current_span("predict"), tracer.start_as_current_span("inner"):
            return x

    predict(1)
    predict.measure(1)
    assert all_new(kept) == 2 * (7 + 26)
    assert len(kept.roots()) == 7 + 26


def test_spans_of_a_block_and_of_trials_have_ids_of_their_own(traced, events):
    tracer, kept = traced

    def predict(x):
        with tracer.start_as_current_span("predict"):
            return x

    with steady_state(iterations=2, measurements=3) as steady:
        steady.measure(predict, 1)
        for trial in steady.trials():
            with trial:
                predict(1)
    assert all_new(kept) == 2 * 6


@pytest.mark.parametrize("kind", ["async", "generator", "async generator"])
def test_spans_of_functions_of_every_kind_have_ids_of_their_own(spanned, kind):
    tracer, kept = spanned

    @warmed(iterations=2, rng="restore")
    async def answer():
        with tracer.start_as_current_span("predict"):
            return 5

    @warmed(iterations=2)
    def stream():
        with tracer.start_as_current_span("predict"):
            yield 5

    @warmed(iterations=2, rng="restore")
    async def astream():
        with tracer.start_as_current_span("predict"):
            yield 5

    async def consume():
        return [item async for item in astream()]

    if kind == "generator":
        assert list(stream()) == [5]
    else:
        asyncio.run(answer() if kind == "async" else consume())
    assert sum(span.name == "predict" for span in kept.spans) == 4
    all_new(kept)


def test_spans_of_threads_have_ids_of_their_own(traced, events):
    """Threads change hands wherever they can: a draw between another's note of the stream and its rewind is the danger."""
    tracer, kept = traced
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(15):

            @warmed(iterations=2, rng="restore", key=lambda n: n)
            def predict(n):
                with tracer.start_as_current_span("predict"):
                    return n

            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(predict, range(8))) == list(range(8))
    finally:
        sys.setswitchinterval(interval)
    assert all_new(kept) == 15 * 8 * 4


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_the_random_streams_afterwards_are_those_of_a_plain_call(traced, iterations, events):
    tracer, kept = traced

    def predict():
        with tracer.start_as_current_span("predict"):
            return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    def seeded(function):
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        value = function()
        return value, random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    with tracer.start_as_current_span("request"):
        plain = seeded(predict)
        kept.spans.clear()  # who seeds a stream twice draws the same ids twice
        assert seeded(warmed(iterations=iterations)(predict)) == plain
    all_new(kept)


def test_ids_go_on_being_new_after_the_warm_up(traced, events):
    tracer, kept = traced

    @warmed(iterations=3)
    def predict():
        with tracer.start_as_current_span("predict"):
            return random.random()

    for _ in range(3):
        predict()
        with tracer.start_as_current_span("other"):
            pass
    predict.reset()
    predict()
    assert all_new(kept) == 5 + 2 + 3 + 5


def test_a_seed_of_the_users_own_still_holds(events):
    """With or without an SDK loaded: who seeds the stream draws what he would draw without us."""
    random.seed(3)
    wanted = [random.random() for _ in range(3)]
    random.seed(3)
    function = warmed(iterations=3)(random.random)
    assert [function() for _ in range(3)] == wanted


NAMES = {
    "uuid1": uuid.uuid1,
    "uuid4": uuid.uuid4,
    "secrets": secrets.token_hex,
    "system random": lambda: random.SystemRandom().getrandbits(64),
    "mktemp": lambda: tempfile.mktemp(),  # noqa: S306 - only its name is looked at
    "counter": itertools.count().__next__,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_others_draw_are_new_in_every_run(name, events):
    drawn = []
    warmed(iterations=3)(lambda: drawn.append(NAMES[name]()))()
    assert len(drawn) == 5
    assert len(set(map(str, drawn))) == 5


def test_files_of_a_run_never_meet(tmp_path, events):
    made = []

    @warmed(iterations=3)
    def write():
        with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as file:
            made.append(file.name)
        made.append(tempfile.mkdtemp(dir=tmp_path))

    write()
    assert len(set(made)) == len(made) == 10


def test_user_code_that_draws_its_ids_leaves_the_streams_as_they_are(events):
    drawn = []
    warmed(iterations=3, rng="leave")(lambda: drawn.append(random.getrandbits(64)))()
    assert len(set(drawn)) == 5


def test_a_sink_that_draws_ids_where_it_spans_a_warm_up_never_draws_one_twice():
    drawn = []

    class Drawer:
        def emit(self, event, level, fields):
            pass

        @contextlib.contextmanager
        def warming(self, fields):
            drawn.append(random.getrandbits(64))
            yield
            drawn.append(random.getrandbits(64))

    set_emitters(Drawer())
    try:
        for _ in range(3):
            warmed(iterations=2)(lambda: None)()
    finally:
        set_emitters()
    assert len(drawn) == 6
    assert len(set(drawn)) == 6


def test_an_id_drawn_in_another_thread_during_a_warm_up_is_new(traced):
    tracer, kept = traced

    @warmed(iterations=3)
    def predict():
        def other():
            with tracer.start_as_current_span("other"):
                pass

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    with capture_events():
        predict()
    assert all_new(kept) == 5
