"""Same runs, same phases, same verdict on all ranks, whatever noise each of them has. Started by torchrun."""

from collections import defaultdict

import pytest

pytestmark = pytest.mark.slow  # ranks are processes that each import torch
SEEDS, RANKS = 50, 4


@pytest.fixture(scope="module")
def by_seed(launch):
    done = launch.torchrun(launch.JOBS / "in_step.py", RANKS, str(SEEDS))
    assert done.returncode == 0, done.stderr[-4000:]
    seeds = defaultdict(list)
    for line in launch.documents_of(done.stdout):
        seeds[line["seed"]].append(line)
    assert len(seeds) == SEEDS
    assert all(sorted(line["rank"] for line in lines) == list(range(RANKS)) for lines in seeds.values())
    return seeds


def agreeing(lines, how, *names):
    """Whether all ranks of one seed say the same."""
    return all([line[how][name] for name in names] == [lines[0][how][name] for name in names] for line in lines)


def test_until_steady_ends_in_step_on_every_seed(by_seed, capsys):
    names = ("phases", "path", "verdict", "reasons", "latency_s", "times_ns", "skew_s")
    together = sum(agreeing(lines, "together", *names) for lines in by_seed.values())
    alone = sum(agreeing(lines, "alone", "phases") for lines in by_seed.values())
    with capsys.disabled():
        print(f"\nin step: {together} of {SEEDS} seeds on {RANKS} ranks; each rank by itself: {alone} of {SEEDS}")
    assert together == SEEDS
    assert alone < SEEDS  # the control: ranks that decide by themselves part


def test_the_time_of_a_run_is_the_slowest_ranks(by_seed):
    """The first run of every seed is as cold on each rank alone as together, so the slowest can be told from outside."""
    for lines in by_seed.values():
        slowest = max(line["alone"]["times_ns"][0] for line in lines)
        assert {line["together"]["times_ns"][0] for line in lines} == {slowest}


def test_seeds_end_at_different_runs(by_seed):
    """Or the agreement would be an agreement about nothing."""
    assert len({lines[0]["together"]["phases"] for lines in by_seed.values()}) > 3
