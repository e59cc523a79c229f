"""A function that one rank alone calls returns; readiness, events and interrupts over real ranks; tasks."""

import pytest

pytestmark = pytest.mark.slow  # ranks are processes that each import torch


@pytest.fixture(scope="module")
def job(launch):
    ended = launch.run_job("alone", 2)
    assert [rank.status for rank in ended] == [0, 0], [rank.stderr[-3000:] for rank in ended]
    return ended


def both(job, kind):
    return [ended.of(kind)[0] for ended in job]


def test_what_rank_0_alone_calls_returns(job):
    (document,) = job[0].of("alone")
    assert document["values"] == [2, 2, 3]
    assert document["warm"] == "warm"
    assert document["measured"] == 3
    assert document["together"] is None
    assert document["ranks"] == [0]  # and every event says whose it is
    assert job[1].of("alone") == []


def test_where_ranks_warm_in_step_one_is_ready_when_all_are(job):
    first, second = both(job, "ready")
    assert (first["before"], second["before"]) == (False, False)
    assert (first["ready"], second["ready"]) == (True, True)
    assert (first["value"], second["value"]) == (0, 1)


def test_the_first_rank_speaks_and_the_others_whisper(job):
    first, second = both(job, "events")
    assert set(first["levels"].values()) == {"info"}
    assert set(second["levels"].values()) == {"debug"}
    assert set(first["levels"]) == set(second["levels"])
    assert first["line"] == {**second["line"], "rank": 0}
    assert first["line"]["straggler_rank"] == 1
    assert first["line"]["straggler_share"] == 1.0
    assert first["line"]["world_size"] == 2
    medians = first["medians"]
    assert medians == second["medians"]
    assert medians[1] > medians[0] > 0
    assert first["line"]["rank_fastest_s"] == medians[0]
    assert first["line"]["rank_slowest_s"] == medians[1]
    assert first["line"]["rank_skew_s"] > 0


def test_after_an_interrupt_of_one_rank_all_measure_together_again(job):
    first, second = both(job, "again")
    assert first["ends"] == ["RankFailed", "ok"]
    assert second["ends"] == ["KeyboardInterrupt", "ok"]


def test_an_interrupted_first_call_is_gone_on_with_by_all(job):
    """Rank 0 gets its value, rank 1 its interrupt; the next call of both goes on from the validation run that both have."""
    first, second = both(job, "again")
    assert first["values"] == [0, "cold", 0, "warm"]
    assert second["values"] == ["KeyboardInterrupt", "cold", 1, "warm"]
    assert first["calls"] == 2 + 1 + 2 + 1  # validation and a warm-up run that nobody agreed on, its own; two, its own
    assert second["calls"] == 2 + 2 + 1


def test_tasks_agree_and_their_loop_goes_on(job):
    first, second = both(job, "tasks")
    assert first["runs"] == second["runs"] == 5
    assert first["latency_s"] == second["latency_s"]
    assert first["block_ns"] == second["block_ns"]
    assert len(first["block_ns"]) == 2
    assert min(first["beats"], second["beats"]) > 5


def test_after_the_job_a_process_measures_by_itself(job):
    assert [document["ranks"] for document in both(job, "afterwards")] == [None, None]
    assert [document["failure"] for document in both(job, "afterwards")] == [None, None]
