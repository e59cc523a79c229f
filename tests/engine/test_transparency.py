"""A first call gives what one plain call gives: the value, the exception, the random streams, and nothing kept."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import random
import tempfile
import threading
import weakref
from collections import UserDict, deque

import numpy as np
import pytest

from jitwarmup import ArgumentError, State, is_warming, steady_state, warmed

torch = pytest.importorskip("torch")


def draw():
    """One draw from each stream of the process."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the stream of the process


def seed(number=7):
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - see draw
    torch.manual_seed(number)


def test_every_run_starts_from_the_random_state_of_the_call_and_one_calls_draws_are_left() -> None:
    seen = []

    def user():
        seen.append(draw())
        return seen[-1]

    seed()
    wanted, after = draw(), draw()
    seed()
    function = warmed(user)
    assert function() == wanted
    assert seen == [wanted] * 7
    assert draw() == after
    seed()
    assert function() == wanted, "a warm call is a plain call"
    assert draw() == after


@pytest.mark.parametrize("spell", ["warm", "measure"])
def test_warm_and_measure_leave_the_random_state_as_found(spell) -> None:
    seen = []
    seed()
    wanted = draw()
    seed()
    done = getattr(warmed(iterations=2, measurements=3)(lambda: seen.append(draw())), spell)()
    assert set(seen) == {wanted}
    assert len(seen) == (3 if spell == "warm" else 6)
    assert draw() == wanted
    assert done.rng_restored is True


def test_blocks_and_trials_leave_the_random_state_as_found() -> None:
    seen = []
    seed()
    wanted, after = draw(), draw()
    seed()
    with steady_state(lambda: seen.append(draw()), iterations=2, measurements=2) as steady:
        for trial in steady.trials():
            with trial:
                seen.append(draw())
        assert draw() == wanted
    assert seen == [wanted] * (3 + 5)
    assert draw() == after


def test_the_random_state_is_right_where_a_warm_up_fails_or_is_interrupted() -> None:
    for error in (ValueError, KeyboardInterrupt):
        runs = []

        def user(error=error, runs=runs):
            runs.append(draw())
            if len(runs) == 3:
                raise error

        seed()
        wanted = draw()
        seed()
        with pytest.raises(error):
            warmed(user).warm()
        assert draw() == wanted


def test_fresh_may_draw_and_each_run_still_starts_from_the_state_of_the_call() -> None:
    seen = []
    seed()
    wanted, after = draw(), draw()
    seed()

    def fresh(*args):
        draw()
        return args, {}

    assert warmed(iterations=2, fresh=fresh)(lambda: seen.append(draw()) or seen[-1])() == wanted
    assert seen == [wanted] * 4
    assert draw() == after


def generators():
    """A generator of each kind, and how to draw from it."""
    return [
        (random.Random(1), lambda g: g.random()),
        (np.random.default_rng(1), lambda g: float(g.random())),
        (np.random.RandomState(1), lambda g: float(g.rand())),
        (torch.Generator().manual_seed(1), lambda g: float(torch.rand((), generator=g))),
    ]


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("where", ["main", "thread", "task"])
def test_generators_among_the_arguments_are_rewound_everywhere(kind, nested, where) -> None:
    generator, sample = generators()[kind]
    twin, _ = generators()[kind]
    wanted, after = sample(twin), sample(twin)
    seen = []

    def user(argument):
        found = argument["deep"][0] if nested else argument
        seen.append(sample(found))
        return seen[-1]

    async def async_user(argument):
        return user(argument)

    argument = {"deep": [generator]} if nested else generator
    if where == "main":
        got = warmed(iterations=2)(user)(argument)
    elif where == "thread":
        got = in_thread(lambda: warmed(iterations=2)(user)(argument))
    else:
        got = asyncio.run(warmed(iterations=2)(async_user)(argument))
    assert got == wanted
    assert seen == [wanted] * 4
    assert sample(generator) == after


def in_thread(call):
    got = []
    thread = threading.Thread(target=lambda: got.append(call()))
    thread.start()
    thread.join()
    return got[0]


@pytest.mark.parametrize("where", ["thread", "task"])
@pytest.mark.parametrize("policy", [None, "leave", "restore"])
def test_worker_threads_and_async_functions_leave_the_processes_streams_unless_told(where, policy) -> None:
    async def async_user():
        return draw()

    seed()
    runs = [draw() for _ in range(4)]
    seed()
    if where == "thread":
        function = warmed(iterations=2, rng=policy)(draw)
        record = in_thread(function.warm)
    else:
        function = warmed(iterations=2, rng=policy)(async_user)
        record = asyncio.run(function.warm())
    assert record.rng_restored is (policy == "restore")
    assert draw() == (runs[0] if policy == "restore" else runs[3])


def test_the_main_thread_leaves_them_too_where_it_is_told_to() -> None:
    seed()
    runs = [draw() for _ in range(8)]
    seed()
    assert warmed(rng="leave")(draw)() == runs[6]
    assert draw() == runs[7]


def test_trials_in_an_event_loop_leave_the_processes_streams() -> None:
    async def main():
        async with steady_state(iterations=1, measurements=1) as steady:
            for trial in steady.trials():
                async with trial:
                    draw()
        return steady.reports[0].rng_restored

    seed()
    runs = [draw() for _ in range(4)]
    seed()
    assert asyncio.run(main()) is False
    assert draw() == runs[3], "other tasks draw between the trials, so nothing was rewound"


def test_a_source_of_true_randomness_among_the_arguments_has_no_state_to_keep() -> None:
    source = random.SystemRandom()
    assert 0 <= warmed(iterations=1)(lambda source: source.random())(source) < 1


def test_a_torch_stream_born_in_the_validation_run_restarts_from_its_initial_seed(monkeypatch) -> None:
    import types

    from jitwarmup.host import random_streams

    device = types.SimpleNamespace(is_initialized=lambda: born[0], default_generators=[torch.Generator()])
    device.default_generators[0].manual_seed(11)
    born, seen = [False], []
    monkeypatch.setattr(torch, "cuda", device)

    def user():
        born[0] = True
        seen.append(float(torch.rand((), generator=device.default_generators[0])))

    twin = torch.Generator().manual_seed(11)
    wanted, after = float(torch.rand((), generator=twin)), float(torch.rand((), generator=twin))
    warmed(iterations=2)(user)()
    assert seen == [wanted] * 4
    assert float(torch.rand((), generator=device.default_generators[0])) == after
    assert "torch.cuda:0" in random_streams.process_streams()


class Value:
    """Can be weakly referenced."""


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("spell", ["__call__", "warm", "measure"])
def test_each_runs_value_is_dropped_before_the_next_run(kind, spell) -> None:
    refs, alive = [], []

    def user():
        alive.append(sum(ref() is not None for ref in refs))
        value = Value()
        refs.append(weakref.ref(value))
        return value

    async def async_user():
        return user()

    function = warmed(user if kind == "plain" else async_user)
    gc.disable()
    try:
        value = getattr(function, spell)()
        value = asyncio.run(value) if kind == "coroutine" else value
        assert set(alive) == {0}
        if spell == "__call__":
            assert refs[-1]() is value
            del value
        assert sum(ref() is not None for ref in refs) == 0, "nothing of ours keeps the last one either"
    finally:
        gc.enable()


def test_the_value_of_a_call_in_a_block_is_not_kept_either() -> None:
    gc.disable()
    try:
        with steady_state():
            value = warmed(iterations=1)(functools.partial(Value))()
            ref = weakref.ref(value)
            del value
            assert ref() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("emit", ["calls", "summary", "off"])
def test_arguments_are_not_kept_alive_by_what_is_remembered_of_a_function(emit) -> None:
    argument = Value()
    ref = weakref.ref(argument)
    function = warmed(iterations=1, emit=emit)(lambda x: None)
    async_function = warmed(iterations=1, emit=emit)(coroutine)
    with steady_state():
        function(argument)
        asyncio.run(async_function(argument))
    function.warm(argument)
    function.measure(argument)
    del argument
    gc.collect()
    assert ref() is None


async def coroutine(x): ...


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (lambda x: x.append(1), []),
        (lambda x: x.update(a=1), {}),
        (lambda x: x.update(a=2), {"a": 1}),
        (lambda x: x.add(1), set()),
        (lambda x: x.pop(), deque([1])),
        (lambda x: x.extend(b"a"), bytearray()),
        (lambda x: x.__setitem__("k", object()), UserDict(k=1)),
        (lambda x: x["deep"][0].append(1), {"deep": ([],)}),
        (lambda x: x.add_(1), torch.zeros(2)),
        (lambda x: x["t"].zero_(), {"t": torch.zeros(2)}),
        (lambda x: x.__setitem__(0, object()), [1, 2]),
    ],
)
def test_a_changed_argument_is_seen(change, argument) -> None:
    runs = []
    warmed(lambda x: (runs.append(1), change(x)))(argument)
    assert len(runs) == 1


@pytest.mark.parametrize(
    "argument",
    [[1], {"a": torch.ones(1)}, (), "text", 3, None, torch.ones(2), np.ones(2), UserDict(a=1), {1, 2}, frozenset({1})],
)
def test_an_unchanged_argument_is_not_taken_for_a_changed_one(argument) -> None:
    runs = []
    warmed(lambda x: (runs.append(1), len(str(x))))(argument)
    assert len(runs) == 7


def test_a_mapping_that_makes_its_values_on_demand_is_neither_read_nor_taken_for_changed() -> None:
    from collections.abc import Mapping

    class Lazy(Mapping):
        reads = 0

        def __getitem__(self, key):
            Lazy.reads += 1
            return object()

        def __iter__(self):
            return iter("abc")

        def __len__(self):
            return 3

    runs = []
    warmed(lambda x: runs.append(1))(Lazy())
    assert len(runs) == 7
    assert Lazy.reads == 0


def test_tensors_of_inference_mode_keep_no_version_and_are_looked_into() -> None:
    with torch.inference_mode():
        x = torch.zeros(2)
        runs = []
        warmed(lambda x: (runs.append(1), x.add_(1)))(x)
    assert len(runs) == 1
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda tmp: iter([1]), "an iterator, which a run uses up"),
        (lambda tmp: (x for x in ()), "an iterator, which a run uses up"),
        (lambda tmp: map(str, [1]), "an iterator"),
        (lambda tmp: {"deep": [iter([1])]}, "an iterator"),
        (lambda tmp: io.StringIO("a"), "an open file or stream, which a run reads to its end"),
        (lambda tmp: tmp.open("w"), "an open file"),
        (lambda tmp: tempfile.NamedTemporaryFile(), "an open file"),  # noqa: SIM115 - closed by the test
        (lambda tmp: async_generator(), "an iterator"),
    ],
)
def test_what_can_be_used_once_is_refused_with_its_kind_and_the_way_out_and_never_its_value(
    make, words, tmp_path
) -> None:
    argument = make(tmp_path / "secret")
    runs = []
    function = warmed(lambda *args, **kwargs: runs.append(1))
    for call in (lambda: function(argument), lambda: function(x=argument), lambda: function.measure(argument)):
        with pytest.raises(ArgumentError, match=words) as caught:
            call()
        assert "fresh=" in str(caught.value)
        assert "secret" not in str(caught.value)
    assert runs == []
    assert function.state is State.COLD
    if hasattr(argument, "close"):
        argument.close()


async def async_generator():
    yield


def test_a_transformers_cache_among_the_arguments_is_refused() -> None:
    transformers = pytest.importorskip("transformers")
    function = warmed(lambda **kwargs: None)
    with pytest.raises(ArgumentError, match=r"argument 'past_key_values' got a cache, which grows by every run"):
        function(past_key_values=transformers.DynamicCache())


def test_an_argument_whose_attributes_raise_is_looked_at_without_harm() -> None:
    class Touchy:
        def __getattr__(self, name):
            raise RuntimeError("do not touch")

        @property
        def file(self):
            raise RuntimeError("do not touch")

    runs = []
    warmed(iterations=1)(lambda x: runs.append(1))(Touchy())
    assert len(runs) == 3


def test_a_huge_nested_argument_is_looked_at_in_bounded_time() -> None:
    import time

    batch = [[0] * 9_000] * 9_000  # 81 million values
    function = warmed(iterations=0)(lambda x: None)
    began = time.process_time()
    function(batch)
    assert time.process_time() - began < 2


def test_is_warming_tells_user_code_and_what_it_calls_and_nobody_else() -> None:
    warming = []

    def helper():
        warming.append(is_warming())

    assert not is_warming()
    warmed(iterations=2)(helper)()
    assert warming == [True, True, True, False]
    warming.clear()
    warmed(iterations=1, measurements=2)(helper).measure()
    assert warming == [True, True, False, False]
    warming.clear()
    in_thread(lambda: warming.append(is_warming()))
    assert warming == [False]
    assert not is_warming()


def test_is_warming_holds_in_what_a_run_calls_however_deep() -> None:
    warming = []
    inner = warmed(lambda: warming.append(is_warming()))

    def outer():
        with steady_state(iterations=0, measurements=1) as steady:
            inner()
            steady.measure(lambda: warming.append(is_warming()))

    warmed(iterations=0)(outer)()
    assert warming == [True, True, True, False, True, False]


class Streamer:
    """What a user passes as ``streamer=``: no class of transformers."""

    def __init__(self):
        self.items = []

    def put(self, value):
        self.items.append(value)

    def end(self):
        self.items.append("end")


def talk(text, streamer=None):
    if streamer is not None:
        streamer.put(text)
        getattr(streamer, "anything", lambda: None)()
        streamer.end()


@pytest.mark.parametrize("how", ["positional", "named", "method", "any keyword"])
def test_a_streamer_hears_nothing_of_extra_runs(how) -> None:
    class Model:
        def talk(self, text, streamer=None):
            talk(text, streamer)

        warm_talk = warmed(talk)

    streamer = Streamer()
    if how == "positional":
        warmed(talk)("a", streamer)
    elif how == "named":
        warmed(talk)("a", streamer=streamer)
    elif how == "method":
        Model().warm_talk("a", streamer)
    else:
        warmed(lambda text, **kwargs: talk(text, **kwargs))("a", streamer=streamer)
    assert streamer.items == ["a", "end"]


def test_a_streamer_hears_measured_runs_and_nothing_of_a_warm_up() -> None:
    function, streamer = warmed(iterations=2, measurements=3)(talk), Streamer()
    function.warm("a", streamer)
    assert streamer.items == []
    function.measure("a", streamer)
    assert streamer.items == ["a", "end"] * 3
    function("a", None)
    warmed(iterations=1)(talk)("a")


def test_a_streamer_of_transformers_is_known_by_its_class_wherever_it_stands() -> None:
    streamers = pytest.importorskip("transformers.generation.streamers")

    class Loud(streamers.BaseStreamer):
        def __init__(self):
            self.items = []

        def put(self, value):
            self.items.append(value)

        def end(self):
            self.items.append("end")

        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

    def function(text, listener):
        assert isinstance(listener, streamers.BaseStreamer)
        talk(text, listener)

    loud = Loud()
    warmed(function)("a", loud)
    assert loud.items == ["a", "end"]
    assert isinstance(loud, type(iter(loud))), "it is an iterator too, and is not refused for it"


def test_a_builtin_without_a_signature_is_warmed_too() -> None:
    assert warmed(iterations=1)(dict.fromkeys)("ab") == {"a": None, "b": None}
    assert warmed(iterations=1)(max)([1, 3]) == 3
