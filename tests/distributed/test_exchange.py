"""The exchange group as far as one process can play it: a real store of torch's, a clock of our own, no connection."""

import threading
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup.distributed import exchange, notices
from jitwarmup.distributed import waiting as watching
from jitwarmup.distributed.exchange import HEAD, ROOM, ExchangeGroup, exchange_group_of, no_store, row_of
from jitwarmup.distributed.notices import Departure, StoreGone, StoreSilent
from jitwarmup.distributed.waiting import LOOK_S, ROLL_CALL_S, Broken, ExchangeWait, with_timeout
from jitwarmup.records.errors import RankFailed

MEMBERS = (0, 1, 2)


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(exchange, "time", made)
    monkeypatch.setattr(watching, "time", made)
    return made


@pytest.fixture
def store(monkeypatch):
    from torch.distributed import HashStore

    made = HashStore()
    monkeypatch.setattr(notices, "job_store", lambda: made)
    monkeypatch.setattr(exchange, "MOST_PAUSES", 1)
    monkeypatch.setattr(exchange, "GRACE_TICKS", 0)
    return made


@pytest.fixture
def gone(monkeypatch):
    def ask():
        raise StoreGone("DistNetworkError")

    monkeypatch.setattr(notices, "job_store", ask)


def wait_of(group, timeout_s):
    """What an exchange of this group waits with."""
    return ExchangeWait(group.board, group.members, group.rank, timeout_s)


def gathering(rank, timeout_s=60.0):
    """A rank that waits for the others, and its exchange group."""
    here = ExchangeGroup(MEMBERS, rank)
    return here, here.gather_members(wait_of(here, timeout_s))


def came(waiting):
    """Whether a rank waits no more."""
    try:
        while isinstance(next(waiting), Future):  # the store has not answered yet
            pass
    except StopIteration:
        return True
    return False


def ended(steps):
    """What a generator returned."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


# ------------------------------------------------------------------------------------------------ rows


@given(st.binary(max_size=400), st.integers(ROOM, 600))
def test_a_row_is_as_long_as_all_others_and_holds_what_fits(sent, length):
    row = row_of(sent, length)
    assert len(row) == length
    assert int.from_bytes(row[:HEAD], "big") == len(sent)
    assert row[HEAD : HEAD + len(sent)] == sent[: length - HEAD]


@pytest.mark.parametrize("length", [0, ROOM - HEAD, ROOM - HEAD + 1, 5000])
def test_who_has_more_to_say_than_fits_has_it_said_in_a_second_row(length):
    here = ExchangeGroup(MEMBERS, 1)
    sent = [b"short", b"x" * length, b""]
    rounds = []

    def gather(row, watch):
        rounds.append(len(row))
        yield None
        return [row_of(each, len(row)) for each in sent]

    here.gather = gather
    steps = here.messages(sent[1], None)
    assert ended(steps) == tuple(sent)
    assert rounds == ([ROOM] if length <= ROOM - HEAD else [ROOM, HEAD + length])


# ------------------------------------------------------------------------------------------------ meeting


def test_a_generation_begins_when_all_are_here(store, clock):
    (_, one), (_, two), (_, three) = (gathering(rank) for rank in MEMBERS)
    assert not came(one)
    assert not came(two)
    assert came(three)
    assert came(one)
    assert came(two)


def test_members_of_other_groups_do_not_count(store, clock):
    other = ExchangeGroup((0, 1), 0)
    assert other.name != ExchangeGroup(MEMBERS, 0).name
    came(other.gather_members(wait_of(other, 60.0)))
    _, one = gathering(1)
    came(one)
    assert ExchangeGroup(MEMBERS, 2).board.missing("here", MEMBERS) == (0, 2)


def test_who_does_not_come_is_named_to_all_who_wait(store, clock):
    (_, one), (_, two) = gathering(0, timeout_s=5.0), gathering(2)
    came(one)
    came(two)
    clock.now += 4.9
    assert not came(one)
    clock.now += 0.1
    for waiting in (one, two):
        with pytest.raises(Broken, match=r"rank 1 did not come to the agreement within 5 s") as broken:
            came(waiting)
        assert broken.value.error.ranks == (1,)
        assert not broken.value.final


def test_who_comes_too_late_goes_on_to_the_next_generation(store, clock):
    _, one = gathering(0, timeout_s=1.0)
    came(one)
    clock.now += 1.0
    with pytest.raises(Broken):
        came(one)
    late, waiting = gathering(1)
    assert not came(waiting)
    assert late.generation == 1


def test_a_rank_that_leaves_while_others_wait_is_heard_of_at_once(store, clock):
    (here, one), (leaver, two) = gathering(0), gathering(1)
    came(one)
    came(two)
    leaver.leave("KeyboardInterrupt")
    with pytest.raises(Broken, match=r"rank 1 left the measurement \(KeyboardInterrupt\)") as broken:
        came(one)
    assert broken.value.error.left
    assert here.generation == 0


def outcome_of(here, timeout_s=60.0):
    """What the exchange of a rank comes to at its next look; None while it waits."""
    steps = here.exchange(b"x", timeout_s)
    try:
        while isinstance(next(steps), Future):
            pass
    except StopIteration as stop:
        return stop.value
    steps.close()
    return None


def test_a_rank_that_left_before_the_others_came_is_heard_of_by_each_of_them_once(store, clock):
    one, two, leaver = (ExchangeGroup(MEMBERS, rank) for rank in MEMBERS)
    leaver.leave("Boom in a block")
    for waiting in (one, two):
        assert outcome_of(waiting).lost.ranks == (2,)
        assert outcome_of(waiting) is None, "of the next one it knows nothing bad"
    assert {each.generation for each in (one, two, leaver)} == {1}
    leaver.leave("Boom in the next block")
    assert [outcome_of(waiting).lost.ranks for waiting in (one, two)] == [(2,), (2,)]


def test_a_dead_member_is_never_waited_for_again(store, clock):
    here = ExchangeGroup(MEMBERS, 0)
    here.board.post(Departure("died", (1,), "its process ended"))
    for _ in range(3):
        assert outcome_of(here).lost.ranks == (1,)
    assert here.generation == 0


def test_the_lock_is_given_back_on_every_way_out(store, clock):
    here = ExchangeGroup(MEMBERS, 0)
    assert outcome_of(here) is None  # given up while it waited
    assert here.lock.acquire(blocking=False)
    steps = here.exchange(b"x", 60.0)
    assert next(steps) is None, "another thread's plan is exchanging"
    here.lock.release()
    here.board.post(Departure("left", (1,), ""))
    assert came(steps)
    assert not here.lock.locked()


def test_without_a_store_nobody_waits(gone, clock):
    here = ExchangeGroup(MEMBERS, 1)
    lost = outcome_of(here).lost
    assert isinstance(lost, RankFailed)
    assert "the job's store does not answer: rank 0 or the launcher has ended" in str(lost)
    here.leave("too")


def test_a_connection_that_cannot_be_made_is_the_end(store, clock, monkeypatch):
    here = ExchangeGroup((0,), 0)

    def connect():
        raise OSError("no route")

    here.connect = connect
    watch = wait_of(here, 60.0)
    steps = here.open(watch)
    with pytest.raises(Broken, match=r"another rank is gone: connecting failed \(OSError\)") as broken:
        ended(steps)
    assert broken.value.final


# ------------------------------------------------------------------------------------------------ watching


def test_nothing_is_asked_of_the_store_before_it_is_time_to_look(clock, monkeypatch):
    def ask():
        raise OSError("asked")

    monkeypatch.setattr(notices, "job_store", ask)
    watch = wait_of(ExchangeGroup(MEMBERS, 0), 60.0)
    ended(watch.look())
    clock.now += 0.99 * LOOK_S
    ended(watch.look())
    with pytest.raises(StoreGone, match="OSError"):
        ended(watch.look(now=True))
    clock.now += LOOK_S
    with pytest.raises(StoreGone, match="OSError"):
        ended(watch.look())


def test_a_departure_ends_the_waiting(store, clock):
    here = ExchangeGroup(MEMBERS, 0)
    watch = wait_of(here, 60.0)
    ended(watch.look(now=True))
    here.board.post(Departure("left", (2,), "Boom"))
    with pytest.raises(Broken, match=r"rank 2 left the measurement \(Boom\)"):
        ended(watch.look(now=True))


def waiting(*ranks, timeout_s=10.0):
    """Waits of ranks that are all in the same exchange."""
    found = [wait_of(ExchangeGroup(MEMBERS, rank), timeout_s) for rank in ranks]
    for watch in found:
        watch.count = 4
    return found


def test_when_waited_long_enough_a_roll_is_called_and_who_does_not_answer_is_named(store, clock):
    one, three = waiting(0, 2)
    three.timeout_s = 12.0
    clock.now += 10.0
    for watch in (one, three):
        ended(watch.look(now=True))  # the first calls, the other answers
    clock.now += 0.99 * ROLL_CALL_S
    for watch in (one, three):
        ended(watch.look(now=True))
    clock.now += ROLL_CALL_S
    for watch in (one, three):
        with pytest.raises(Broken, match="rank 1 did not come to the agreement within 10 s") as broken:
            ended(watch.look(now=True))
        assert broken.value.error.ranks == (1,)


def test_a_roll_of_another_exchange_is_not_answered(store, clock):
    (one,) = waiting(0)
    one.board.put("roll", 3)
    ended(one.look(now=True))
    assert one.answered_at is None


def test_a_wait_within_its_time_calls_no_roll(store, clock):
    (one,) = waiting(0)
    clock.now += 9.9
    ended(one.look(now=True))
    assert not one.board.all_put("roll", [4])
    assert not one.spent


def test_a_store_that_goes_away_meanwhile_ends_the_waiting(gone, clock, monkeypatch):
    with pytest.raises(StoreGone):
        ended(wait_of(ExchangeGroup(MEMBERS, 0), 60.0).look(now=True))
    here = ExchangeGroup(MEMBERS, 0)
    here.group = object()
    monkeypatch.setattr(ExchangeGroup, "probe", lambda self: (1, 2))

    def messages(message, watch):
        yield from watch.look(now=True)

    here.messages = messages
    lost = ended(here.exchange(b"x", 60.0)).lost
    assert "the job's store does not answer, and the connections to ranks 1, 2 are closed" in str(lost)
    assert here.group is None


def test_a_store_that_is_silent_is_waited_for_until_it_is_needed(clock, monkeypatch):
    def silent(self):
        raise StoreSilent("no answer in time")

    monkeypatch.setattr(ExchangeWait, "look_at_board", silent)
    watch = wait_of(ExchangeGroup(MEMBERS, 0), 60.0)
    ended(watch.look(now=True))
    clock.now += 60.0
    with pytest.raises(StoreGone):
        ended(watch.look(now=True))


def test_a_departure_that_cannot_be_posted_is_known_here_at_least(gone, clock):
    with pytest.raises(Broken, match="rank 2 is gone: why"):
        wait_of(ExchangeGroup(MEMBERS, 0), 60.0).fail(Departure("died", (2,), "why"))


def test_who_gives_up_waits_for_no_store_that_is_silent(monkeypatch, clock):
    silent, answered = threading.Event(), []

    def compare_set(*_):
        silent.wait(30)
        answered.append(True)

    monkeypatch.setattr(notices, "job_store", lambda: SimpleNamespace(compare_set=compare_set))
    monkeypatch.setattr(watching, "with_timeout", partial(with_timeout, seconds=0.0))
    with pytest.raises(Broken, match="rank 2 is gone: why"):
        wait_of(ExchangeGroup(MEMBERS, 0), 60.0).fail(Departure("died", (2,), "why"))
    assert not answered
    silent.set()


def test_of_two_reasons_the_first_that_was_posted_is_everybodys(store, clock):
    one, two = waiting(0, 1)
    with pytest.raises(Broken, match="rank 2 is gone"):
        one.fail(Departure("died", (2,), "why"))
    with pytest.raises(Broken, match="rank 2 is gone"):
        two.fail(Departure("late", (0,), "within 1 s"))


def test_who_closed_a_connection_is_probed_and_who_said_why_is_believed(store, clock, monkeypatch):
    here = ExchangeGroup(MEMBERS, 0)
    monkeypatch.setattr(ExchangeGroup, "probe", lambda self: (2,))
    steps = here.explain(wait_of(here, 60.0))
    came(steps)
    clock.now += 2 * LOOK_S
    with pytest.raises(Broken, match="rank 2 is gone: its process ended, or its host cannot be reached"):
        came(steps)
    other = ExchangeGroup((0, 1), 0)
    steps = other.explain(wait_of(other, 60.0))
    next(steps)
    other.board.post(Departure("left", (1,), "KeyboardInterrupt"))
    with pytest.raises(Broken, match="rank 1 left"):
        ended(steps)  # at the second look at the latest: one that was under way may have come before the note


# ------------------------------------------------------------------------------------------------ the rest


def test_the_error_of_a_gone_store_names_closed_connections_only_where_there_are_any():
    assert "connections" not in str(no_store())
    assert no_store((1,)).ranks == (1,)
    assert "rank 0 or the launcher" in str(no_store((1,)))


def test_one_exchange_group_serves_all_plans_of_the_same_members_until_the_job_is_shut_down(monkeypatch):
    class World:
        pass

    job = SimpleNamespace(group=SimpleNamespace(WORLD=World()))
    monkeypatch.setattr(exchange, "distributed", lambda: job)
    monkeypatch.setattr(exchange, "GROUPS", {})
    one = exchange_group_of(MEMBERS, 0)
    assert exchange_group_of(MEMBERS, 0) is one
    assert exchange_group_of((0, 1), 0) is not one
    job.group.WORLD = World()
    assert exchange_group_of(MEMBERS, 0) is not one, "a job that is started anew has connections of its own"
