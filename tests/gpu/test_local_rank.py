"""Which devices are this process's own, where a launcher started several on this host."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup.gpu.devices import Place, in_use, place_of, share


@pytest.mark.parametrize(
    ("rank", "world", "place"),
    [
        ("0", "2", Place(0, 2)),
        ("7", "8", Place(7, 8)),
        ("0", "1", None),
        ("2", "2", None),
        ("-1", "2", None),
        ("0", "-2", None),
        ("0", "0", None),
        ("x", "2", None),
        ("0", "two", None),
        ("0", "2.0", None),
        ("", "2", None),
        ("1", None, None),
        (None, "2", None),
        ("0", "9" * 5000, None),
    ],
)
def test_what_the_launcher_said_is_believed_where_it_makes_sense(rank, world, place):
    reported = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "RANK": "11", "WORLD_SIZE": "16"}
    assert place_of({name: value for name, value in reported.items() if value is not None}) == place


@pytest.mark.parametrize(
    ("count", "world", "shares"),
    [
        (8, 8, [[0], [1], [2], [3], [4], [5], [6], [7]]),
        (8, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (8, 3, [[0, 1], [2, 3], [4, 5]]),
        (1, 3, [[0], [0], [0]]),
        (2, 4, [[0], [1], [0], [1]]),
        (0, 2, [[], []]),
    ],
)
def test_a_share_is_equal_and_contiguous_or_one_device_in_turn(count, world, shares):
    assert [list(share(count, Place(rank, world))) for rank in range(world)] == shares


@given(st.integers(0, 64), st.integers(2, 64))
def test_shares_are_of_one_size_and_overlap_only_where_devices_are_few(count, world):
    shares = [share(count, Place(rank, world)) for rank in range(world)]
    given_out = [index for part in shares for index in part]
    assert len({len(part) for part in shares}) == 1
    assert all(0 <= index < count for index in given_out)
    assert len(set(given_out)) == (count - count % world if count >= world else count)


def torch_of(contexts=(), reserved=(), current=0, asks=True):
    """A torch with contexts and memory on some of its devices; a tuple of a failure fails."""

    def holds(answers):
        def answer(index):
            if isinstance(answers, Exception):
                raise answers
            return index in answers

        return answer

    def current_device():
        if isinstance(current, Exception):
            raise current
        return current

    private = {"_cuda_hasPrimaryContext": holds(contexts)} if asks else {}
    return SimpleNamespace(
        _C=SimpleNamespace(**private),
        cuda=SimpleNamespace(memory_reserved=holds(reserved), current_device=current_device),
    )


LOST = RuntimeError("CUDA error: the launch timed out and was terminated")


@pytest.mark.parametrize(
    ("torch", "used"),
    [
        (torch_of(contexts=[1], reserved=[1]), [1]),
        (torch_of(contexts=[0, 3], reserved=[3]), [3]),  # a context on device 0 by accident
        (torch_of(contexts=[0, 3], reserved=[0, 3], current=0), [3, 0]),  # its own comes first
        (torch_of(contexts=[0, 3]), [3]),
        (torch_of(contexts=[0, 3], reserved=LOST), [3]),
        (torch_of(contexts=[1, 2], reserved=[1, 2]), [1, 2]),  # devices other than the launcher's count says
        (torch_of(contexts=[0]), [0]),
        (torch_of(contexts=[], current=2), [2]),
        (torch_of(contexts=[], current=0), [3]),
        (torch_of(contexts=LOST, current=LOST), [3]),
        (torch_of(reserved=[0, 2], asks=False), [0, 2]),
        (torch_of(reserved=LOST, current=1, asks=False), [1]),
        (SimpleNamespace(), [3]),
    ],
)
def test_the_devices_in_use_are_those_with_memory_then_with_contexts_then_the_current_one_then_the_share(torch, used):
    assert list(in_use(torch, 4, Place(3, 4))) == used


def test_a_rank_with_several_devices_uses_all_that_hold_its_memory():
    torch = torch_of(contexts=range(8), reserved=[4, 5, 6, 7])
    assert in_use(torch, 8, Place(1, 2)) == [4, 5, 6, 7]
    assert in_use(torch_of(contexts=[0, 4, 5]), 8, Place(1, 2)) == [4, 5]


def test_a_launcher_that_shows_each_rank_several_devices_of_its_own_is_understood_once_they_are_used():
    torch = torch_of(contexts=range(4), reserved=range(4))
    assert sorted(in_use(torch, 4, Place(1, 2))) == [0, 1, 2, 3]
