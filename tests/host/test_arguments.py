"""Looking at a call's arguments: what can be used only once, what a run changed, and streamers that shall hear nothing."""

import io
import sys
import tempfile
from collections import OrderedDict, UserDict, deque
from types import SimpleNamespace

import pytest

from jitwarmup.host import arguments
from jitwarmup.host.arguments import (
    SAMPLE,
    WIDTH,
    every_leaf,
    fingerprint,
    is_streamer,
    leaves,
    once_only,
    silent_streamer,
)

torch = pytest.importorskip("torch")


class BaseStreamer:
    """Stands where transformers' class would: importing that takes seconds, and only the class's place matters."""


class Cache:
    """See BaseStreamer."""


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.generation.streamers", SimpleNamespace(BaseStreamer=BaseStreamer))
    monkeypatch.setitem(sys.modules, "transformers.cache_utils", SimpleNamespace(Cache=Cache))


@pytest.fixture
def no_transformers(monkeypatch):
    for name in ("transformers.generation.streamers", "transformers.cache_utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)


# ------------------------------------------------------------------------------------------------ leaves


def test_a_value_and_what_is_in_it_are_looked_at():
    assert [leaf for leaf in leaves({"a": [1, (2, {3})]}) if isinstance(leaf, int)] == [1, 2, 3]


def test_deep_and_wide_containers_are_not_looked_through():
    assert 1 in list(leaves([[[[1]]]]))
    assert 1 not in list(leaves([[[[[1]]]]]))
    assert len(list(leaves([0] * WIDTH))) == WIDTH + 1
    assert len(list(leaves([0] * (WIDTH + 1)))) == 1


def test_a_ring_of_containers_ends():
    ring = []
    ring.append(ring)
    assert len(list(leaves(ring))) == arguments.DEPTH + 1


def test_all_values_of_a_call_are_looked_at():
    assert [leaf for leaf in every_leaf((1, [2]), {"x": 3}) if isinstance(leaf, int)] == [1, 2, 3]


# ------------------------------------------------------------------------------------------------ once only


async def async_generator():
    yield 1


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1]), lambda: (x for x in "ab"), lambda: map(str, [1]), lambda: enumerate("ab"), async_generator],
)
def test_an_iterator_can_be_used_only_once(make):
    assert once_only(make()) == "an iterator, which a run uses up"


@pytest.mark.parametrize("make", [io.BytesIO, io.StringIO, tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_an_open_file_can_be_used_only_once(make):
    with make() as file:
        assert once_only(file) == "an open file, which a run reads to its end"


@pytest.mark.usefixtures("transformers")
def test_a_cache_of_transformers_grows_by_every_run():
    assert once_only(Cache()) == "a transformers Cache, which grows by every run"


@pytest.mark.usefixtures("no_transformers")
def test_where_transformers_is_not_loaded_nothing_is_its_cache():
    assert once_only(Cache()) is None
    assert "transformers.cache_utils" not in sys.modules


@pytest.mark.parametrize("value", ["text", b"bytes", 3, None, [1], {"a": 1}, range(3), object(), torch.ones(2), open])
def test_plain_data_can_be_used_again(value):
    assert once_only(value) is None


class QueueStreamer(BaseStreamer):
    """As transformers' TextIteratorStreamer: a streamer that is an iterator too."""

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration


@pytest.mark.usefixtures("transformers")
def test_a_streamer_is_exempt_although_it_is_an_iterator():
    assert is_streamer(QueueStreamer())
    assert once_only(QueueStreamer()) is None


@pytest.mark.usefixtures("no_transformers")
def test_without_transformers_a_streamer_is_told_by_its_name_only():
    assert not is_streamer(QueueStreamer())


# ------------------------------------------------------------------------------------------------ fingerprints

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
    (([1],), lambda value: value[0].append(2)),
    (torch.ones(2), lambda value: value.add_(1)),
    ([torch.ones(2)], lambda value: value[0].zero_()),
    ({"ids": torch.ones(2)}, lambda value: value["ids"].__setitem__(0, 5)),
]


@pytest.mark.parametrize(("value", "change"), CHANGES)
def test_a_change_in_place_is_seen(value, change):
    before = fingerprint((value,), {})
    by_name = fingerprint((), {"x": value})
    assert fingerprint((value,), {}) == before
    change(value)
    assert fingerprint((value,), {}) != before
    assert fingerprint((), {"x": value}) != by_name


def test_reading_changes_nothing():
    tensor, items = torch.ones(3), [1, {"a": 2}]
    before = fingerprint((tensor, items, "text", 3, (1, 2)), {})
    assert float((tensor * 2).sum()) == 6
    assert fingerprint((tensor, items, "text", 3, (1, 2)), {}) == before


def test_an_inference_tensor_keeps_no_version_and_is_not_asked_for_one():
    with torch.inference_mode():
        tensor = torch.ones(2)
    assert fingerprint((tensor,), {}) == ()


def test_a_fingerprint_keeps_no_argument():
    class Big(list):
        pass

    import weakref

    big = Big()
    mark, alive = fingerprint((big,), {}), weakref.ref(big)
    del big
    assert mark
    assert alive() is None


def test_without_torch_nothing_is_a_tensor(monkeypatch):
    tensor = torch.ones(2)
    monkeypatch.delitem(sys.modules, "torch")
    assert fingerprint((tensor,), {}) == ()


def behind_the_counter(tensor, index, value):
    """Change a tensor as a collective does: its version stays as it is."""
    version = tensor._version
    tensor.data[index] = value
    assert tensor._version == version


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex128])
@pytest.mark.parametrize("size", [1, SAMPLE + 1, 100_000])
def test_a_change_that_leaves_the_version_is_seen_in_the_contents(dtype, size):
    tensor = torch.zeros(size, dtype=dtype)
    plain, whole = fingerprint((tensor,), {}), fingerprint((), {"x": [tensor]}, contents=True)
    assert fingerprint((), {"x": [tensor]}, contents=True) == whole
    behind_the_counter(tensor, size - 1, True)
    assert fingerprint((tensor,), {}) == plain
    assert fingerprint((), {"x": [tensor]}, contents=True) != whole


def test_contents_that_change_places_are_seen():
    tensor = torch.tensor([1.0, 2.0])
    before = fingerprint((tensor,), {}, contents=True)
    tensor.data.copy_(torch.tensor([2.0, 1.0]))
    assert fingerprint((tensor,), {}, contents=True) != before


def test_contents_of_inference_tensors_parameters_and_views_are_looked_at():
    with torch.inference_mode():
        for tensor in (torch.ones(2), torch.nn.Parameter(torch.ones(2)), torch.ones(3, 4).T):
            before = fingerprint((tensor,), {}, contents=True)
            tensor.data[0] = 5
            assert fingerprint((tensor,), {}, contents=True)[-1] != before[-1]


def test_a_tensor_whose_contents_cannot_be_read_is_told_by_its_version_alone():
    class Strange(torch.Tensor):
        pass

    for tensor in (torch.ones(2, device="meta"), torch.eye(2).to_sparse(), torch.ones(2).as_subclass(Strange)):
        assert fingerprint((tensor,), {}, contents=True) == fingerprint((tensor,), {})
    assert fingerprint((torch.ones(0), "text"), {}, contents=True)[-1] == (0, hash(()))


def test_of_a_tensor_that_is_split_over_ranks_the_local_part_is_looked_at():
    class Split(torch.Tensor):  # as a DTensor, whose own sum would ask the other ranks
        def sum(self, *args, **kwargs):
            raise AssertionError

    split = torch.ones(4).as_subclass(Split)
    split._local_tensor = torch.ones(2)
    before = fingerprint((split,), {}, contents=True)
    behind_the_counter(split._local_tensor, 1, 3)
    assert fingerprint((split,), {}, contents=True) != before


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
