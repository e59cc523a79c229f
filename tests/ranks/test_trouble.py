"""An exception, an interrupt, a `kill -9`, a hang on one rank: the others end with a clear error, and soon."""

import pytest

pytestmark = pytest.mark.slow

BOUND_S = 6.0
SOON_S = 10.0  # beyond the bound, as promised
OTHERS = (0, 2, 3)
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("interrupt", "exit", "kill")]


def of(ended, rank, kind):
    found = ended[rank].of(kind)
    assert found, (rank, kind, ended[rank].documents, ended[rank].stderr[-2000:])
    return found[0]


@pytest.fixture(scope="module", params=["exception", *SLOW])
def trouble(request, launch):
    return request.param, launch.run_job("trouble", 4, request.param, str(BOUND_S), "1")


def test_the_others_hear_of_it_with_its_rank_and_reason(trouble):
    kind, ended = trouble
    for rank in OTHERS:
        report, raised = of(ended, rank, "report"), of(ended, rank, "raised")
        assert (report["failed_rank"], report["phase"], report["index"]) == (1, "warm", 2)
        assert (report["latency_s"], report["verdict"]) == (-1.0, "invalid")
        assert report["type"] == ("ValueError" if kind == "exception" else "RankFailed")
        assert raised["error"] == "RankFailed"
        assert raised["ranks"] == [1]
        expected = {
            "exception": "ValueError",
            "interrupt": "KeyboardInterrupt in warm run 2",
            "exit": "SystemExit in warm run 2",
            "kill": "rank 1 is gone: its process ended",
        }
        assert expected[kind] in raised["message"]
        assert ended[rank].status == 0


def test_nobody_waits_for_the_bound_when_the_end_is_known(trouble, capsys):
    """What the others wait is told by the machine's clock, but the bound alone is longer than all of this may take."""
    kind, ended = trouble
    began = of(ended, 1, "trouble")["at"]
    waited = [of(ended, rank, "end")["at"] - began for rank in OTHERS]
    with capsys.disabled():
        print(
            f"\n{kind} on rank 1: the others ended {min(waited):.1f} to {max(waited):.1f} s later, bound {BOUND_S:g} s"
        )
    assert max(waited) < BOUND_S + SOON_S


def test_the_rank_itself_gets_what_it_raised(trouble):
    kind, ended = trouble
    if kind == "kill":
        assert ended[1].status == -9
        return
    error = {"exception": "ValueError", "interrupt": "KeyboardInterrupt", "exit": "SystemExit"}[kind]
    found = of(ended, 1, "raised" if kind == "exception" else "passed")
    assert found["error"] == error
    assert ended[1].status == 0


def test_after_a_death_a_warmed_function_still_gives_its_value_and_waits_for_nobody(trouble):
    kind, ended = trouble
    if kind == "kill":
        assert {of(ended, rank, "later")["value"] for rank in OTHERS} == {"still a value"}
        assert {of(ended, rank, "later")["state"] for rank in OTHERS} == {"failed"}


def test_who_holds_the_jobs_store_may_die_too(launch):
    """Without a launcher that is rank 0; with torchrun it is the launcher, which ends the others itself."""
    ended = launch.run_job("trouble", 3, "kill", str(BOUND_S), "0")
    assert ended[0].status == -9
    for rank in (1, 2):
        raised = of(ended, rank, "raised")
        assert raised["ranks"] == [0]
        assert "the job's store does not answer, and the connections to ranks 0 are closed" in raised["message"]
        assert of(ended, rank, "end")["at"] - of(ended, 0, "trouble")["at"] < BOUND_S + SOON_S
        assert of(ended, rank, "later")["value"] == "still a value"


@pytest.mark.slow
def test_a_rank_that_hangs_in_user_code_is_named_after_the_bound(launch, capsys):
    processes = launch.run_job("trouble", 3, "hang", "3", "1", timeout_s=45, hung=1)
    began = of(processes, 1, "trouble")["at"]
    for rank in (0, 2):
        raised, end = of(processes, rank, "raised"), of(processes, rank, "end")
        assert raised["ranks"] == [1]
        assert "rank 1 did not come to the agreement within 3 s" in raised["message"]
        assert processes[rank].status == 0
        with capsys.disabled():
            print(f"\nhang on rank 1: rank {rank} ended {end['at'] - began:.1f} s later, bound 3 s")
        assert end["at"] - began < 3 + SOON_S
    assert processes[1].status == -9  # it hung until the test ended it
