"""Interrupts between runs, measurements of one rank alone, a refused value: nobody hangs, and the next plan is of all."""

import pytest

pytestmark = pytest.mark.slow  # ranks are processes that each import torch


@pytest.fixture(scope="module")
def job(launch):
    ended = launch.run_job("corners", 3)
    assert [rank.status for rank in ended] == [0, 0, 0], [rank.stderr[-3000:] for rank in ended]
    return ended


def each(job, kind):
    return [ended.of(kind)[0] for ended in job]


def test_who_waits_for_a_late_rank_hears_of_an_interrupt_and_so_does_the_late_one(job):
    waiting, interrupted, late = each(job, "unmet")
    assert interrupted["first"].startswith("KeyboardInterrupt")
    for document in (waiting, late):
        assert document["first"].startswith("RankFailed: rank 1 left the measurement")
        assert document["waited_s"] < 10  # of a bound of 20
    assert {document["again"] for document in (waiting, interrupted, late)} == {"ok"}


def test_an_interrupted_agreement_ends_even_while_its_exception_is_kept(job):
    first, interrupted, slow = each(job, "kept")
    assert (interrupted["first"], interrupted["exceptions"]) == ("KeyboardInterrupt: ", 1)
    assert first["first"].startswith("RankFailed 1: rank 1 left")
    assert {document["again"] for document in (first, interrupted, slow)} == {"ok"}


def test_a_measurement_of_one_rank_inside_a_block_of_all_says_so_on_all(job):
    first, *others = each(job, "alone")
    assert first["own_end"].startswith(
        "RankFailed: the ranks are out of step (rank 0 begins a measurement, rank 1 is after"
    )
    for document in others:
        assert "rank 0 begins a measurement" in document["failures"][0]
    assert {document["again"] for document in (first, *others)} == {"ok"}


def test_a_value_that_one_rank_refuses_is_told_to_all_with_its_reason(job):
    ended = {document["ended"] for document in each(job, "refused")}
    assert len(ended) == 1
    assert ended.pop().startswith("NotAccepted 1: accept= refused the value of the validation run")


def test_ranks_agree_where_tensors_have_no_memory(job):
    assert {document["ended"] for document in each(job, "fake")} == {"ok"}


def test_who_leaves_between_two_agreements_keeps_no_connections_and_no_threads(job):
    first, left, last = each(job, "held")
    assert [document["ends"][1::2] for document in (first, left, last)] == [["ok"] * 5] * 3
    assert left["before"] == left["after"]


def test_runs_that_a_rank_made_alone_are_not_gone_on_from_together(job):
    document = each(job, "begun")
    assert [each["alone"] for each in document] == [2, 3, 4]
    assert [each["together"] for each in document] == [[3] * 4] * 3
