"""Looking at a call's arguments: what can be used only once, what a run changed, what nothing is known of."""

import io
import sys
import tempfile
from collections import OrderedDict, UserDict, deque
from types import SimpleNamespace

import pytest

from jitwarmup.host.arguments import contents
from jitwarmup.host.arguments.marks import WIDTH
from jitwarmup.host.arguments.streamers import is_streamer, silent_streamer
from jitwarmup.host.arguments.survey import DEPTH, Survey

torch = pytest.importorskip("torch")


class BaseStreamer:
    """Stands where transformers' class would: importing that takes seconds, and only the class's place matters."""


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.generation.streamers", SimpleNamespace(BaseStreamer=BaseStreamer))


@pytest.fixture
def no_transformers(monkeypatch):
    monkeypatch.delitem(sys.modules, "transformers.generation.streamers", raising=False)


def survey(*values, **settings):
    return Survey(list(enumerate(values)), **settings)


def same(before, *values, **settings):
    return survey(*values, **settings).same(before)


def why_refused(value):
    refused = survey(value).refused
    return None if refused is None else refused[2]


# ------------------------------------------------------------------------------------------------ once only


async def async_generator():
    yield 1


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1]), lambda: (x for x in "ab"), lambda: map(str, [1]), lambda: enumerate("ab"), async_generator],
)
def test_an_iterator_can_be_used_only_once(make):
    assert why_refused(make()) == "an iterator, which a run uses up"


@pytest.mark.parametrize("make", [io.BytesIO, io.StringIO, tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_an_open_file_can_be_used_only_once(make):
    with make() as file:
        assert why_refused(file) == "an open file or stream, which a run reads to its end"


class Cache:
    """What every cache of transformers has."""

    def update(self):
        """Grow."""

    def get_seq_length(self):
        """As long as it grew."""


def test_a_cache_grows_by_every_run():
    assert why_refused(Cache()) == "a cache, which grows by every run"


@pytest.mark.parametrize("value", ["text", b"bytes", 3, None, [1], {"a": 1}, range(3), object(), torch.ones(2), open])
def test_plain_data_can_be_used_again(value):
    assert why_refused(value) is None


class QueueStreamer(BaseStreamer):
    """As transformers' TextIteratorStreamer: a streamer that is an iterator too."""

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


@pytest.mark.usefixtures("transformers")
def test_a_streamer_is_exempt_although_it_is_an_iterator():
    assert is_streamer(QueueStreamer())
    assert why_refused(QueueStreamer()) is None


@pytest.mark.usefixtures("no_transformers")
def test_without_transformers_a_streamer_is_told_by_its_name_only():
    assert not is_streamer(QueueStreamer())


def test_what_is_in_containers_is_refused_and_what_is_in_objects_makes_them_unknown():
    assert survey({"a": [iter([1])]}).refused is not None
    found = survey([SimpleNamespace(lines=iter([1]))])
    assert (found.refused, found.unknown) == (None, SimpleNamespace)


def test_deep_and_wide_values_are_not_looked_through():
    deep = [iter([1])]
    for _ in range(DEPTH - 2):
        deep = [deep]
    assert survey(deep).refused is not None
    assert survey([deep]).refused is None
    ring = []
    ring.append(ring)
    assert same(survey(ring), ring)


def test_an_object_that_raises_when_it_is_looked_at_is_unknown():
    class Touchy:
        def __reduce_ex__(self, protocol):
            raise RuntimeError

        __slots__ = ()

        @property
        def __class__(self):
            raise RuntimeError

    assert survey(Touchy()).unknown is Touchy


# ------------------------------------------------------------------------------------------------ marks

CHANGES = [
    ([1], lambda value: value.append(2)),
    ([1, 2], lambda value: value.__setitem__(0, [])),
    ({"a": 1}, lambda value: value.update(b=2)),
    ({"a": [1]}, lambda value: value["a"].append(2)),
    ({"a": 1}, lambda value: value.update(a=[])),
    ({1}, lambda value: value.add(2)),
    (deque([1]), lambda value: value.append(2)),
    (OrderedDict(a=1), lambda value: value.clear()),
    (UserDict(a=1), lambda value: value.update(b=1)),
    (bytearray(b"a"), lambda value: value.extend(b"b")),
    ([0] * (WIDTH + 1), lambda value: value.append(2)),
    ([0.5] * 3, lambda value: value.__setitem__(1, 0.25)),
    ([0, object()], lambda value: value.pop()),
    (torch.ones(2), lambda value: value.data.mul_(3)),
    (torch.ones(3, 4).T, lambda value: value.numpy().fill(3)),
    (([1],), lambda value: value[0].append(2)),
    (torch.ones(2), lambda value: value.add_(1)),
    ([torch.ones(2)], lambda value: value[0].zero_()),
    ({"ids": torch.ones(2)}, lambda value: value["ids"].__setitem__(0, 5)),
]


@pytest.mark.parametrize(("value", "change"), CHANGES)
def test_a_change_in_place_is_seen(value, change):
    before = survey(value)
    assert same(before, value)
    change(value)
    assert not same(before, value)


def test_reading_changes_nothing():
    values = (torch.ones(3), [1, {"a": 2}], "text", 3, (1, 2))
    before = survey(*values)
    assert float((values[0] * 2).sum()) == 6
    assert same(before, *values)


def test_without_torch_nothing_is_a_tensor(monkeypatch):
    tensor = torch.ones(2)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("jitwarmup.host.arguments.survey.HOW", {})
    assert same(survey(tensor), tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex128])
@pytest.mark.parametrize("size", [1, contents.SAMPLE + 1, 100_000])
def test_among_several_ranks_a_change_that_leaves_the_version_is_seen_in_all_of_a_tensor(dtype, size):
    tensor = torch.zeros(size, dtype=dtype)
    before = survey([tensor])
    assert same(before, [tensor])
    version = tensor._version
    tensor.data[size - 1] = True
    assert tensor._version == version
    assert not same(before, [tensor])


def test_contents_that_change_places_are_seen():
    tensor = torch.tensor([1.0, 2.0])
    before = survey(tensor)
    tensor.data.copy_(torch.tensor([2.0, 1.0]))
    assert not same(before, tensor)


def test_contents_of_inference_tensors_parameters_and_views_are_looked_at():
    with torch.inference_mode():
        for tensor in (torch.ones(2), torch.nn.Parameter(torch.ones(2)), torch.ones(3, 4).T):
            before = survey(tensor)
            tensor.data[0] = 5
            assert not same(before, tensor)


@pytest.mark.parametrize("make", [lambda: torch.ones(2, device="meta"), lambda: torch.eye(2).to_sparse()])
def test_a_tensor_whose_contents_cannot_be_read_is_told_by_its_version_alone(make):
    tensor = make()
    before = survey(tensor)
    assert same(before, tensor)
    tensor.mul_(2)
    assert not same(before, tensor)


def test_of_a_tensor_that_is_split_over_ranks_the_local_part_is_looked_at():
    class Split(torch.Tensor):  # as a DTensor, whose own sum would ask the other ranks
        def sum(self, *args, **kwargs):
            raise AssertionError

    split = torch.ones(4).as_subclass(Split)
    split._local_tensor = torch.ones(2)
    before = survey(split)
    split._local_tensor.data[1] = 3
    assert not same(before, split)


def test_no_mode_of_the_users_hears_that_a_tensor_is_looked_at():
    from torch.utils._python_dispatch import TorchDispatchMode

    listened = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            listened.append(function)
            return function(*args, **(kwargs or {}))

    tensor = torch.ones(2)
    with Listener():
        survey(tensor)
    assert listened == []


# ------------------------------------------------------------------------------------------------ silence


@pytest.mark.usefixtures("no_transformers")
def test_a_silent_streamer_delivers_nothing():
    streamer = silent_streamer()
    assert streamer.put([1, 2]) is None
    assert streamer.end() is None
    assert streamer.on_finalized_text("text", stream_end=True) is None
    assert not is_streamer(streamer)


@pytest.mark.usefixtures("transformers")
def test_a_silent_streamer_is_one_of_transformers_where_that_is_loaded():
    assert is_streamer(silent_streamer())
    assert silent_streamer().put(3) is None


def test_a_silent_streamer_does_not_play_what_it_is_not():
    with pytest.raises(AttributeError):
        silent_streamer().__len__
    with pytest.raises(TypeError):
        iter(silent_streamer())
