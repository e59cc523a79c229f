"""Who we are in a job, told without importing torch."""

import sys
from types import SimpleNamespace

import pytest

from jitwarmup.distributed import EVERYBODY, RankGroup, identity, ranks_of
from jitwarmup.records.errors import ArgumentError


def distributed(available=True, initialized=True, rank=lambda: 3):
    expected = {"is_available": lambda: available, "is_initialized": lambda: initialized}
    return SimpleNamespace(distributed=SimpleNamespace(**expected, get_rank=rank, get_world_size=lambda: 8))


def broken():
    raise RuntimeError("the group is gone")


RANKS = [
    (distributed(), {"rank": 3, "world_size": 8}),
    (distributed(available=False), {}),
    (distributed(initialized=False), {}),
    (distributed(rank=broken), {}),
    (SimpleNamespace(), {}),
    (SimpleNamespace(distributed=SimpleNamespace()), {}),
]


@pytest.mark.parametrize(("loaded", "expected"), RANKS)
def test_a_rank_is_told_where_there_are_several(monkeypatch, loaded, expected):
    monkeypatch.setitem(sys.modules, "torch", loaded)
    assert identity() == expected


def test_without_torch_there_is_no_rank(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert identity() == {}
    assert ranks_of(EVERYBODY) is None


def test_ranks_of_torchs_fake_backend_are_not_waited_for(monkeypatch):
    fake = distributed()
    fake.distributed.get_backend = lambda: "fake"
    monkeypatch.setitem(sys.modules, "torch", fake)
    assert ranks_of(EVERYBODY) is None


def test_a_group_of_an_earlier_job_is_refused_in_words(monkeypatch):
    def unknown(group):
        raise KeyError(group)

    later = distributed()
    later.distributed.get_backend, later.distributed.get_process_group_ranks = (lambda: "gloo"), unknown
    monkeypatch.setitem(sys.modules, "torch", later)
    with pytest.raises(ArgumentError, match="does not know"):
        ranks_of(RankGroup(SimpleNamespace(rank=lambda: 0, size=lambda: 2)))
