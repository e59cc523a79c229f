"""What calls of one key pay every time is not taken for one-time work."""

import pytest

from jitwarmup import OneTimeWork, Phase, Run
from jitwarmup.analysis.recurrence import RecurringWork

CACHE = OneTimeWork(kind="kv_cache.allocate", count=4)
IMPORT = OneTimeWork(kind="import")
RECOMPILE = OneTimeWork(kind="dynamo.recompile")


def a_run(*work, phase=Phase.WARM):
    paid = any(item.scope == "own" for item in work)
    return Run(
        phase=phase, index=0, started_at=0.0, duration_ns=1, work=work, contaminated=paid and phase is Phase.MEASURE
    )


def call(*work):
    return a_run(*work, phase=Phase.MEASURE)


def learnt(*runs):
    learner = RecurringWork(in_service=True)
    learner.observe_warmup(runs)
    return learner


def labels(run):
    return [item.recurrence for item in run.work]


def test_what_every_warm_run_paid_is_recurring_in_a_call():
    run = learnt(*[a_run(CACHE)] * 3).observe(call(CACHE))
    assert labels(run) == ["recurring"]
    assert not run.contaminated


def test_what_is_new_in_a_call_is_one_time_beside_it():
    run = learnt(*[a_run(CACHE)] * 3).observe(call(CACHE, IMPORT))
    assert labels(run) == ["recurring", "one_time"]
    assert run.contaminated


def test_more_of_it_than_ever_is_one_time():
    larger = OneTimeWork(kind=CACHE.kind, count=5)
    assert learnt(*[a_run(CACHE)] * 3).observe(call(larger)).contaminated


def test_less_of_it_is_still_recurring():
    smaller = OneTimeWork(kind=CACHE.kind, count=1)
    assert labels(learnt(*[a_run(CACHE)] * 3).observe(call(smaller))) == ["recurring"]


def test_what_only_some_of_the_newest_runs_paid_is_never_recurring():
    assert learnt(a_run(CACHE), a_run(), a_run(CACHE)).observe(call(CACHE)).contaminated


def test_only_the_newest_runs_count():
    learner = learnt(a_run(), a_run(), a_run(CACHE), a_run(CACHE), a_run(CACHE))
    assert not learner.observe(call(CACHE)).contaminated


@pytest.mark.parametrize(
    "kind", ["dynamo.recompile", "inductor.compile", "triton.compile", "autotune", "cudagraph.record"]
)
def test_compiling_never_becomes_recurring(kind):
    work = OneTimeWork(kind=kind)
    learner = learnt(*[a_run(work)] * 3)
    assert [learner.observe(call(work)).contaminated for _ in range(5)] == [True] * 5
    assert not learner.streaks


def test_the_validation_run_counts_where_there_is_no_other():
    validation = a_run(CACHE, phase=Phase.VALIDATE)
    assert not learnt(validation).observe(call(CACHE)).contaminated
    assert learnt(validation, a_run(), a_run()).observe(call(CACHE)).contaminated


def test_a_cost_of_calls_becomes_recurring_after_enough_of_them():
    learner = learnt(*[a_run()] * 3)
    assert [learner.observe(call(CACHE)).contaminated for _ in range(5)] == [True, True, True, False, False]


def test_work_of_others_and_of_the_runtime_is_never_recurring_and_no_contamination():
    foreign = OneTimeWork(kind="import", scope="foreign")
    ambient = OneTimeWork(kind="gc", recurrence="ambient")
    learner = learnt(*[a_run(foreign, ambient)] * 3)
    assert not learner.streaks
    run = learner.observe(call(foreign, ambient))
    assert labels(run) == ["one_time", "ambient"]
    assert not run.contaminated


def test_a_call_that_paid_for_nothing_is_handed_back_as_it_is():
    run = call()
    assert learnt().observe(run) is run
    learner = learnt(*[a_run(CACHE)] * 3)
    assert learner.streaks
    assert learner.observe(run) is run
    assert learner.observe(call(CACHE)).contaminated  # the call without it has broken the streak


def test_pieces_of_one_kind_are_counted_together():
    learner = learnt(*[a_run(IMPORT, IMPORT)] * 3)
    assert {kind: work.count for kind, work in learner.usual().items()} == {"import": 2}


def test_nothing_is_usual_before_anything_was_seen():
    assert RecurringWork(in_service=True).usual() == {}
    assert not RecurringWork(in_service=True).streaks


def test_what_one_thread_reads_does_not_move_while_another_one_learns():
    learner = learnt(*[a_run(CACHE)] * 3)
    read = learner.streaks.items()
    for kind, streak in read:
        learner.observe(call(CACHE, IMPORT))
        assert (kind, streak) == ("kv_cache.allocate", ((4, 0.0),) * 3)
    assert len(learner.streaks) == 2
