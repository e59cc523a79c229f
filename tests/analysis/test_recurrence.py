from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitwarmup import ArgumentError, OneTimeWork, Phase, Run
from jitwarmup.analysis.recurrence import learn_recurrence, one_time_of

KV_CACHE = OneTimeWork(kind="kv_cache.allocate", count=4)
RECOMPILE = OneTimeWork(kind="dynamo.recompile")


def a_run(*work, phase=Phase.MEASURE, **labelled):
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=1_000, work=work, **labelled)


def labels(runs):
    return [[(work.count, work.recurrence) for work in run.work] for run in learn_recurrence(runs)]


def test_a_cost_of_the_newest_three_runs_is_recurring_in_earlier_runs_too():
    runs = [a_run(KV_CACHE, phase=Phase.VALIDATE), a_run(phase=Phase.WARM), *[a_run(KV_CACHE)] * 3]
    assert labels(runs) == [[(4, "recurring")], [], *[[(4, "recurring")]] * 3]
    assert not any(run.contaminated for run in learn_recurrence(runs))


def test_two_in_a_row_teach_nothing():
    labelled = learn_recurrence([a_run(KV_CACHE)] * 2)
    assert [work.recurrence for run in labelled for work in run.work] == ["one_time"] * 2
    assert all(run.contaminated for run in labelled)


def test_the_validation_run_is_one_of_the_three_only_where_the_plan_is_shorter():
    validation, other = a_run(KV_CACHE, phase=Phase.VALIDATE), replace(KV_CACHE, count=3)
    assert labels([validation, *[a_run(KV_CACHE)] * 2])[-1] == [(4, "recurring")]
    assert labels([validation, a_run(KV_CACHE)])[-1] == [(4, "recurring")]
    assert labels([a_run(other, phase=Phase.VALIDATE), *[a_run(KV_CACHE)] * 2])[-1] == [(4, "one_time")]
    assert labels([a_run(other, phase=Phase.VALIDATE), *[a_run(KV_CACHE)] * 3])[-1] == [(4, "recurring")]
    assert labels([a_run(RECOMPILE, phase=Phase.VALIDATE), a_run(RECOMPILE)])[-1] == [(1, "one_time")]


def test_a_module_is_another_one_however_many_came_before_it():
    runs = [a_run(OneTimeWork(kind="import", reason=f"m{n} 1")) for n in range(4)]
    assert labels(runs) == [[(1, "one_time")]] * 4
    assert labels([runs[0]] * 4) == [[(1, "recurring")]] * 4


def test_a_cache_is_taken_to_come_back_until_a_run_tells_otherwise():
    validation = a_run(KV_CACHE, phase=Phase.VALIDATE)
    assert labels([validation]) == [[(4, "recurring")]]
    assert labels([validation, a_run(phase=Phase.WARM)])[0] == [(4, "one_time")]


def test_a_run_that_did_not_finish_is_none_of_the_three():
    runs = [*[a_run(KV_CACHE)] * 3, a_run(outcome="error")]
    assert labels(runs)[0] == [(4, "recurring")]


def test_the_surplus_over_the_usual_count_stays_one_time():
    first = replace(KV_CACHE, count=10)
    runs = [a_run(first), *[a_run(KV_CACHE)] * 3]
    labelled = learn_recurrence(runs)
    assert labels(runs)[0] == [(4, "recurring"), (6, "one_time")]
    assert [run.contaminated for run in labelled] == [True, False, False, False]


def test_the_surplus_takes_the_seconds_that_are_not_usual():
    usual = OneTimeWork(kind="io.open", count=1, duration_s=0.5)
    labelled = learn_recurrence([a_run(replace(usual, count=2, duration_s=30.0)), *[a_run(usual)] * 3])
    assert [work.duration_s for work in labelled[0].work] == [0.5, 29.5]


def test_of_two_works_of_a_kind_the_dear_one_is_the_surplus():
    build = OneTimeWork(kind="io.open", duration_s=20.0, reason="built")
    load = OneTimeWork(kind="io.open", duration_s=0.1, reason="loaded")
    labelled = learn_recurrence([a_run(build, load), *[a_run(load)] * 3])
    assert [(work.reason, work.recurrence) for work in labelled[0].work] == [
        ("built", "one_time"),
        ("loaded", "recurring"),
    ]


def test_counts_that_vary_are_not_learnt():
    runs = [a_run(replace(KV_CACHE, count=count)) for count in (4, 5, 4)]
    assert all(run.contaminated for run in learn_recurrence(runs))


def test_eight_new_shapes_in_a_row_are_eight_recompiles_and_no_habit():
    labelled = learn_recurrence([a_run(RECOMPILE)] * 8)
    assert all(run.contaminated for run in labelled)


def test_a_function_that_compiles_on_every_call_is_learnt_after_ten():
    assert labels([a_run(RECOMPILE)] * 9)[-1] == [(1, "one_time")]
    assert labels([a_run(RECOMPILE)] * 10)[-1] == [(1, "recurring")]


def test_a_cost_that_stopped_coming_back_is_one_time_again():
    labelled = learn_recurrence([a_run(KV_CACHE)] * 3)
    runs = [*labelled, a_run()]
    assert labels(runs) == [*[[(4, "one_time")]] * 3, []]
    assert [run.contaminated for run in learn_recurrence(runs)] == [True, True, True, False]


def test_work_of_the_runtime_is_ambient_and_contaminates_nothing():
    run = learn_recurrence([a_run(OneTimeWork(kind="gc.collect"), OneTimeWork(kind="page_fault.major", count=9))])[0]
    assert [work.recurrence for work in run.work] == ["ambient", "ambient"]
    assert not run.contaminated


def test_foreign_work_keeps_its_label_and_contaminates_nothing():
    foreign = replace(RECOMPILE, scope="foreign")
    run = learn_recurrence([a_run(foreign)])[0]
    assert run.work == (foreign,)
    assert not run.contaminated


def test_only_measured_runs_can_be_contaminated():
    assert [run.contaminated for run in learn_recurrence([a_run(RECOMPILE, phase=Phase.WARM), a_run(RECOMPILE)])] == [
        False,
        True,
    ]


@pytest.mark.parametrize("enough", [2, True, 3.0, None])
def test_fewer_than_three_is_refused(enough):
    with pytest.raises(ArgumentError, match="wanted a whole number, 3 or more"):
        learn_recurrence([], enough)


def test_kinds_that_make_code_are_known():
    assert all(
        OneTimeWork(kind=kind).compiles
        for kind in ["dynamo.capture", "inductor.compile", "autotune", "aot.cache_miss", "cudagraph.record"]
    )
    assert not any(
        OneTimeWork(kind=kind).compiles for kind in ["kv_cache.allocate", "allocator.grow", "import", "gc.collect"]
    )


KINDS = st.sampled_from(["dynamo.recompile", "kv_cache.allocate", "gc.collect", "import"])
WORK = st.builds(
    OneTimeWork,
    kind=KINDS,
    count=st.integers(0, 4),
    duration_s=st.none() | st.floats(0, 9),
    scope=st.sampled_from(["own", "foreign", "shared"]),
)
RUNS = st.lists(
    st.builds(lambda work, phase: a_run(*work, phase=phase), st.lists(WORK, max_size=3), st.sampled_from(Phase)),
    max_size=14,
)


@given(RUNS)
def test_learning_twice_learns_nothing_more(runs):
    once = learn_recurrence(runs)
    assert learn_recurrence(once) == once


@given(RUNS)
def test_no_work_and_no_second_is_lost(runs):
    for before, after in zip(runs, learn_recurrence(runs), strict=True):
        assert sum(work.count for work in before.work) == sum(work.count for work in after.work)
        seconds = [sum(work.duration_s or 0.0 for work in run.work) for run in (before, after)]
        assert seconds[0] == pytest.approx(seconds[1])
        assert after.contaminated == (after.phase is Phase.MEASURE and bool(one_time_of(after)))
