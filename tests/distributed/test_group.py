"""What may be given as ``ranks=``, and what is said of anything else."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from jitwarmup.distributed import EVERYBODY, RankGroup, checked_ranks, group, ranks_of
from jitwarmup.distributed.exchange import ExchangeGroup
from jitwarmup.distributed.group import GroupExchange
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Exchanged, Ranks


class Group:
    """Quacks as a ProcessGroup."""

    def rank(self):
        return 0

    def size(self):
        return 2


class Mesh:
    """Quacks as a DeviceMesh."""

    def __init__(self, ndim=1):
        self.ndim = ndim
        self.group = Group()

    def get_group(self):
        return self.group


@pytest.fixture
def job(monkeypatch):
    """torch.distributed as rank 1 of a job of three sees it; ``groups`` holds the ranks of each group."""
    world = object()
    world_of_two = SimpleNamespace(rank=1, groups={world: [0, 1, 2]}, world=world)
    module = SimpleNamespace(
        get_rank=lambda: world_of_two.rank,
        get_backend=lambda: "gloo",
        get_process_group_ranks=lambda given: world_of_two.groups[given],
        group=SimpleNamespace(WORLD=world),
    )
    monkeypatch.setattr(group, "distributed", lambda: module)
    return world_of_two


@pytest.mark.parametrize("timeout_s", [0, -1, True, "5", None, float("nan"), float("inf")])
def test_a_time_out_that_is_no_time_is_refused(timeout_s):
    with pytest.raises(ArgumentError, match=r"timeout_s got .*; wanted seconds as a positive number"):
        RankGroup(timeout_s=timeout_s)


@pytest.mark.parametrize("everybody", [None, "world"])
def test_all_ranks_are_whichever_there_are_when_it_is_used(everybody, job):
    ranks = RankGroup(everybody, timeout_s=5)
    assert (ranks.rank, ranks.members, ranks.active, ranks.timeout_s) == (1, (0, 1, 2), True, 5.0)
    job.groups[job.world] = [0, 1]
    assert ranks.members == (0, 1)


def test_one_rank_alone_has_nobody_to_agree_with(job):
    job.groups[job.world] = [1]
    assert not RankGroup().active
    assert ranks_of(RankGroup()) is None


def test_a_group_is_taken_as_it_is_and_its_order_kept(job):
    given = Group()
    job.groups[given] = [2, 1]
    assert RankGroup(given).members == (2, 1)
    assert ranks_of(found := RankGroup(given)) is found


def test_of_a_mesh_of_one_dimension_the_group_is_taken(job):
    mesh = Mesh()
    job.groups[mesh.group] = [1, 2]
    assert RankGroup(mesh).members == (1, 2)


@pytest.mark.parametrize("ndim", [0, 2, 3])
def test_a_mesh_of_other_dimensions_is_refused_with_the_way_out(ndim):
    with pytest.raises(
        ArgumentError, match=rf"got a DeviceMesh of {ndim} dimensions; wanted one of them: mesh\['tp'\]"
    ):
        RankGroup(Mesh(ndim))


def test_a_group_that_this_rank_is_no_member_of_is_refused_when_it_is_used(job):
    given = Group()
    job.groups[given] = [0, 2]
    ranks = RankGroup(given)
    for use in (lambda: ranks.members, lambda: ranks.active, lambda: ranks.exchange(b"")):
        with pytest.raises(ArgumentError, match=r"got a group of ranks 0, 2, and this is rank 1; wanted a group that"):
            use()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "ranks got 3; wanted a torch.distributed group"),
        (True, "ranks got True; wanted"),
        ("tp", "ranks got 'tp'; wanted"),
        ([0, 1], "ranks got a list; wanted a torch.distributed group"),
        (object(), "ranks got a object; wanted"),
        (Group, "ranks got a type; wanted"),
    ],
)
def test_what_is_no_group_is_refused(given, words):
    for refuse in (checked_ranks, RankGroup):
        with pytest.raises(ArgumentError) as refused:
            refuse(given)
        assert str(refused.value).startswith(words)
        assert "which the calling rank is a member of" in str(refused.value)
        assert "None to agree with nobody" in str(refused.value)


def test_what_torch_gives_to_those_outside_of_a_new_group_is_refused():
    from torch.distributed import GroupMember

    with pytest.raises(ArgumentError, match="which the calling rank is a member of"):
        checked_ranks(GroupMember.NON_GROUP_MEMBER)


def test_groups_are_wrapped_and_what_fits_the_protocol_is_left_as_they_are():
    assert checked_ranks(None) is None
    assert checked_ranks(EVERYBODY) is EVERYBODY
    assert isinstance(checked_ranks("world"), RankGroup)
    assert isinstance(checked_ranks(Mesh()), RankGroup)
    own = SimpleNamespace(rank=0, members=(0, 1), exchange=lambda message: None, leave=lambda reason: None)
    assert isinstance(own, Ranks)
    assert checked_ranks(own) is own
    assert ranks_of(own) is own
    assert ranks_of(None) is None


@pytest.mark.parametrize("ended", [None, "shut down"])
def test_without_torch_distributed_nobody_agrees_and_leaving_is_nothing(ended, monkeypatch):
    monkeypatch.setattr(group, "distributed", lambda: None)
    assert not EVERYBODY.active
    assert ranks_of(EVERYBODY) is None
    EVERYBODY.leave("gone")


# ------------------------------------------------------------------------------------------------ waiting


class Steps:
    """An exchange group whose exchange asks for some looks, and notes whether its generator was let go of."""

    def __init__(self, *wanted):
        self.wanted = wanted
        self.closed = False

    def exchange(self, message, timeout_s):
        try:
            yield from self.wanted
            return Exchanged(messages=(message,))
        finally:
            self.closed = True


def test_a_thread_and_a_task_wait_for_the_same(monkeypatch):
    slept = []
    monkeypatch.setattr(group.time, "sleep", slept.append)
    looked = []
    work, answer = SimpleNamespace(wait=lambda limit: looked.append(limit.total_seconds())), Future()
    answer.set_result(None)
    assert GroupExchange(Steps(None, work, answer, None), b"x", 1.0).block() == Exchanged(messages=(b"x",))
    assert (slept, looked) == ([group.LONGEST_S] * 2, [group.LOOK_S])
    assert asyncio.run(GroupExchange(Steps(None, work), b"x", 1.0).sleep()) == Exchanged(messages=(b"x",))


def test_an_operation_that_failed_is_not_the_waiting_threads_error():
    def wait(limit):
        raise RuntimeError("timed out")

    assert GroupExchange(Steps(SimpleNamespace(wait=wait)), b"x", 1.0).block() == Exchanged(messages=(b"x",))


def test_a_task_looks_ever_less_often(monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(group.event_loops, "pause", pause)
    asyncio.run(GroupExchange(Steps(*[None] * 12), b"", 1.0).sleep())
    assert pauses[:3] == [0.0002, 0.0004, 0.0008]
    assert pauses[-1] == max(pauses) == group.LONGEST_S


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_interrupted_wait_releases_the_exchange_group_at_once(asynchronous, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(group.time, "sleep", interrupt)
    monkeypatch.setattr(group.event_loops, "pause", interrupt)
    steps = Steps(None)
    exchange = GroupExchange(steps, b"", 1.0)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(exchange.sleep()) if asynchronous else exchange.block()
    assert steps.closed, "also while somebody holds the exchange, or the traceback"


def test_the_lock_of_an_interrupted_exchange_is_free(monkeypatch):
    held = ExchangeGroup((0, 1), 0)
    monkeypatch.setattr(ExchangeGroup, "open", lambda self, watch: iter([None]))
    monkeypatch.setattr(group.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    exchange = GroupExchange(held, b"", 1.0)
    with pytest.raises(KeyboardInterrupt):
        exchange.block()
    assert held.lock.acquire(blocking=False), "the next exchange of this process would wait for ever"
