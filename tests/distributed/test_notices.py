"""Why ranks cannot go on, kept in the job's store: over a real store of torch's, in one process."""

import threading
from datetime import timedelta

import pytest

from jitwarmup.distributed import notices
from jitwarmup.distributed.notices import Departure, NoticeBoard, StoreGone, StoreSilent, named
from jitwarmup.distributed.waiting import in_thread, with_timeout
from jitwarmup.records.errors import RankFailed

LEFT = Departure("left", (1,), "KeyboardInterrupt in warm run 3")


@pytest.fixture(params=["hash", "file"])
def store(request, monkeypatch, tmp_path):
    from torch.distributed import FileStore, HashStore

    made = HashStore() if request.param == "hash" else FileStore(str(tmp_path / "store"), 2)
    made.set_timeout(timedelta(seconds=2))
    monkeypatch.setattr(notices, "job_store", lambda: made)
    return made


class Gone:
    """A store whose host has ended."""

    def __getattr__(self, name):
        def ask(*args):
            raise RuntimeError("Connection reset by peer")

        return ask


@pytest.fixture
def gone(monkeypatch):
    monkeypatch.setattr(notices, "job_store", Gone)


def test_nobody_has_said_anything_at_first(store):
    board = NoticeBoard("jitwarmup/x/0")
    assert board.departure() is None
    assert board.missing("here", (0, 1, 2)) == (0, 1, 2)
    assert not board.all_put("here", (0,))


def test_who_is_here_is_known_to_all(store):
    NoticeBoard("p").put("here", 0)
    NoticeBoard("p").put("here", 2)
    board = NoticeBoard("p")
    assert board.missing("here", (0, 1, 2)) == (1,)
    assert not board.all_put("here", (0, 1, 2))
    board.put("here", 1)
    assert board.all_put("here", (0, 1, 2))
    assert NoticeBoard("another").missing("here", (0, 1)) == (0, 1), "another generation knows nothing of it"


def test_the_first_departure_counts(store):
    assert NoticeBoard("p").post(LEFT) == LEFT
    assert NoticeBoard("p").post(Departure("died", (2,), "its process ended")) == LEFT
    assert NoticeBoard("p").departure() == LEFT
    assert NoticeBoard("q").departure() is None


def test_of_ranks_that_post_at_once_all_read_the_same(store):
    found = []
    barrier = threading.Barrier(4)

    def post(rank):
        barrier.wait()
        found.append(NoticeBoard("p").post(Departure("late", (rank,), "")))

    threads = [threading.Thread(target=post, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_store_that_does_not_answer_is_gone(gone):
    board = NoticeBoard("p")
    for ask in (
        board.departure,
        lambda: board.put("here", 0),
        lambda: board.missing("here", (0,)),
        lambda: board.post(LEFT),
    ):
        with pytest.raises(StoreGone, match="RuntimeError"):
            ask()


def test_nobody_waits_long_for_a_store_that_hangs(monkeypatch):
    held = threading.Event()

    class Hanging:
        def compare_set(self, *args):
            held.wait(20)
            raise RuntimeError

    monkeypatch.setattr(notices, "job_store", Hanging)
    with pytest.raises(StoreGone, match="no answer in time"):
        with_timeout(lambda: NoticeBoard("p").post(LEFT), 0.01)
    (poster,) = [thread for thread in threading.enumerate() if thread.name == "jitwarmup-store"]
    assert poster.daemon, "it holds up nobody's exit"
    held.set()
    poster.join()


@pytest.mark.parametrize("module", [None, object()])
def test_without_a_job_there_is_no_store(module, monkeypatch):
    monkeypatch.setattr(notices, "distributed", lambda: module)
    with pytest.raises(StoreGone, match="AttributeError"):
        NoticeBoard("p").departure()


# ------------------------------------------------------------------------------------------------ words

WORDS = [
    (LEFT, "rank 1 left the measurement (KeyboardInterrupt in warm run 3); wanted every rank to take part to the end"),
    (
        Departure("died", (2, 3), "its process ended"),
        "ranks 2, 3 are gone: its process ended; start the job again, or measure each rank by itself with ranks=None",
    ),
    (
        Departure("late", (1,), "within 5 s"),
        (
            "rank 1 did not come to the agreement within 5 s: still in user code, hung, or never called; let every rank make "
            "the same measurement, give it longer with ranks=RankGroup(timeout_s=...), or opt out with ranks=None"
        ),
    ),
]


@pytest.mark.parametrize(("departure", "words"), WORDS, ids=lambda caught: getattr(caught, "kind", ""))
def test_every_departure_says_who_what_and_the_way_out(departure, words):
    error = departure.error()
    assert isinstance(error, RankFailed)
    assert str(error) == words
    assert error.ranks == departure.ranks
    assert error.left is (departure.kind == "left")


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ((), "another rank"),
        ((7,), "rank 7"),
        ((0, 3), "ranks 0, 3"),
        (tuple(range(8)), "ranks 0, 1, 2, 3, 4, 5, 6, 7"),
        (tuple(range(20)), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),
    ],
)
def test_many_ranks_are_named_in_part(ranks, words):
    assert named(ranks) == words


# ------------------------------------------------------------------ a store that is slow


def test_what_is_asked_of_the_store_is_waited_for_elsewhere():
    answered = threading.Event()
    asking = in_thread(lambda: answered.wait(30) and "here")
    asked = next(asking)  # while the store is silent
    answered.set()
    assert asked.result(30) == "here"
    with pytest.raises(StopIteration) as stop:
        next(asking)
    assert stop.value.value == "here"


def test_a_silent_store_is_told_from_one_that_is_gone():
    never = threading.Event()
    with pytest.raises(StoreSilent):
        with_timeout(lambda: never.wait(30), 0.0)
    never.set()

    def gone():
        raise StoreGone("DistNetworkError")

    with pytest.raises(StoreGone, match="DistNetworkError") as caught:
        with_timeout(gone, 30.0)
    assert not isinstance(caught.value, StoreSilent)
