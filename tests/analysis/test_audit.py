from dataclasses import replace

import pytest

from jitwarmup import OneTimeWork, Phase, Reason, Run, Verdict
from jitwarmup.analysis.audit import audit

CAPTURE = OneTimeWork(kind="dynamo.capture", duration_s=3.0)
RECOMPILE = OneTimeWork(kind="dynamo.recompile", duration_s=0.5)
IMPORT = OneTimeWork(kind="import", count=20)
GIVEN_UP = OneTimeWork(kind="dynamo.eager_fallback")
FLAT = [1.0, 1.01, 0.99, 1.0, 1.01, 1.0, 0.99, 1.0, 1.0, 1.01]
WATCHED = ("dynamo", "inductor")


def a_run(seconds, phase=Phase.MEASURE, **more):
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=round(seconds * 1e9), **more)


def series(measured, warm=(1.0, 1.0, 1.0), work=None, wait_share=0.0):
    runs = [a_run(9.0, Phase.VALIDATE, work=(CAPTURE,))]
    runs += [a_run(seconds, Phase.WARM) for seconds in warm]
    for at, seconds in enumerate(measured):
        seen = (work or {}).get(at, ())
        runs.append(a_run(seconds, work=seen, contaminated=bool(seen), wait_s=seconds * wait_share or None))
    return runs


def verdict_of(runs, **more):
    verdict = audit(runs, watched=WATCHED, **more)
    return verdict.state, [reason.kind for reason in verdict.reasons]


def test_flat_times_with_silent_causes_are_steady():
    verdict = audit(series(FLAT), watched=WATCHED, unwatched={"cuda": "no device"})
    assert verdict == Verdict(
        state="steady", watched=WATCHED, unwatched={"cuda": "no device"}, label="flat", tolerance=0.05
    )


def test_the_label_is_that_of_the_whole_series():
    verdict = audit(series(FLAT, warm=(5.0, 3.0, 1.0)), watched=WATCHED)
    assert (verdict.state, verdict.label) == ("steady", "warmup")


def test_silence_of_causes_that_nobody_watched_is_no_silence():
    verdict = audit(series(FLAT))
    assert (verdict.state, [reason.kind for reason in verdict.reasons]) == ("steady", ["causes_not_watched"])


def test_one_time_work_in_a_measured_run_contaminates_though_the_times_are_flat():
    verdict = audit(series(FLAT, work={3: (RECOMPILE, IMPORT), 5: (RECOMPILE,)}), watched=WATCHED)
    assert verdict.state == "contaminated"
    assert verdict.reasons == (
        Reason(kind="one_time_work", numbers={"count": 2.0, "duration_s": 1.0}, subject="dynamo.recompile"),
        Reason(kind="one_time_work", numbers={"count": 20.0}, subject="import"),
        Reason(kind="flat_but_not_cause_clean", numbers={"contaminated_runs": 2.0, "runs": 10.0}),
    )


def test_work_in_runs_that_were_discarded_contaminates_nothing():
    lost = a_run(9.0, work=(RECOMPILE,), contaminated=True, discarded=True)
    assert verdict_of([lost, *series(FLAT)]) == ("steady", [])


def test_a_cost_of_every_run_contaminates_nothing():
    cache = OneTimeWork(kind="kv_cache.allocate", count=4)
    runs = series(FLAT, work=dict.fromkeys(range(10), (cache,)))
    assert verdict_of(runs) == ("steady", [])


def test_drift_without_a_cause_is_said_to_be_just_that():
    state, kinds = verdict_of(series([1.02**at for at in range(20)]))
    assert (state, kinds) == ("unsteady", ["not_flat", "cause_clean_but_drifting"])


def test_drift_where_nobody_watched_is_not_called_cause_clean():
    kinds = [reason.kind for reason in audit(series([1.02**at for at in range(20)])).reasons]
    assert kinds == ["not_flat", "causes_not_watched"]


@pytest.mark.parametrize("count", [3, 4, 5, 8, 20])
def test_a_series_that_still_falls_is_never_steady(count):
    verdict = audit(series([0.9**at for at in range(count)]), watched=WATCHED)
    assert verdict.state == "unsteady"
    falls = next(reason for reason in verdict.reasons if reason.kind == "still_falling")
    assert falls.numbers["share_per_run"] == pytest.approx(0.1)


def test_a_slowdown_among_the_measured_runs_is_unsteady():
    verdict = audit(series([1.0] * 10 + [1.3] * 10), watched=WATCHED)
    assert verdict.state == "unsteady"
    assert verdict.reasons[0] == Reason(kind="not_flat", numbers={"tolerance": 0.05, "start": 10.0}, subject="slowdown")


def test_a_slow_first_run_of_twenty_is_told_but_forgiven():
    assert verdict_of(series([1.5] + [1.0] * 19)) == ("steady", ["not_flat"])
    assert verdict_of(series([1.5] * 4 + [1.0] * 16))[0] == "unsteady"


def test_four_runs_are_too_few():
    verdict = audit(series(FLAT[:4]), watched=WATCHED)
    assert verdict.state == "undecided"
    assert verdict.reasons == (Reason(kind="too_few_runs", numbers={"runs": 4.0, "wanted": 5.0}),)


def test_noise_in_which_nothing_could_be_seen_is_undecided():
    noisy = [1.0, 1.5, 0.8, 1.2, 0.7, 1.4, 1.0, 1.6, 0.9, 1.3]
    verdict = audit(series(noisy), watched=WATCHED)
    assert verdict.state == "undecided"
    assert verdict.reasons[0].kind == "too_noisy"
    assert verdict.reasons[0].numbers["detectable_share"] > verdict.reasons[0].numbers["tolerance"]


def test_compiled_code_that_was_given_up_is_degraded_wherever_it_happened():
    runs = series(FLAT)
    runs[1] = replace(runs[1], work=(GIVEN_UP,))
    assert verdict_of(runs) == ("degraded", ["compiled_code_given_up"])
    runs[1] = replace(runs[1], work=(replace(GIVEN_UP, scope="foreign"),))
    assert verdict_of(runs) == ("steady", [])


def test_recompiling_in_every_run_is_degraded_and_said():
    state, kinds = verdict_of(series(FLAT, work=dict.fromkeys(range(10), (RECOMPILE,))))
    assert (state, kinds) == ("degraded", ["recompiles_every_run"])


def test_recompiling_in_all_but_one_run_is_contamination():
    state, kinds = verdict_of(series(FLAT, work=dict.fromkeys(range(9), (RECOMPILE,))))
    assert (state, kinds) == ("contaminated", ["one_time_work", "flat_but_not_cause_clean"])


def test_a_busy_host_is_worth_knowing():
    verdict = audit(series(FLAT, wait_share=0.3), watched=WATCHED)
    assert verdict.state == "steady"
    assert verdict.reasons == (Reason(kind="contended", numbers={"contention_share": pytest.approx(0.3)}),)


def test_a_class_that_only_the_waits_explain_is_the_hosts():
    runs = series(FLAT[:5] + FLAT[:5])
    runs = [*runs[:9], *(replace(run, duration_ns=run.duration_ns * 3, wait_s=run.duration_s * 2) for run in runs[9:])]
    state, kinds = verdict_of(runs)
    assert (state, kinds) == ("steady", ["contended", "host_disagrees"])


def test_a_failure_outweighs_everything():
    failure = Reason(kind="failed_in_measure", numbers={"index": 3.0}, subject="ValueError")
    state, kinds = verdict_of(series(FLAT, work={0: (RECOMPILE,)}), failure=failure)
    assert (state, kinds[0]) == ("invalid", "failed_in_measure")


def test_given_up_code_outweighs_contamination_and_that_outweighs_drift():
    drifting = [1.02**at for at in range(20)]
    runs = series(drifting, work={0: (RECOMPILE,)})
    assert verdict_of(runs) == ("contaminated", ["one_time_work", "not_flat"])
    runs[1] = replace(runs[1], work=(GIVEN_UP,))
    assert verdict_of(runs) == ("degraded", ["compiled_code_given_up", "one_time_work", "not_flat"])


def test_a_loop_that_was_left_is_at_best_undecided():
    left = Reason(kind="left_early")
    assert verdict_of(series(FLAT), cut_short=left) == ("undecided", ["left_early"])
    assert verdict_of(series(FLAT, work={0: (RECOMPILE,)}), cut_short=left)[0] == "contaminated"


def test_runs_that_did_not_finish_are_not_judged():
    assert verdict_of([*series(FLAT), a_run(99.0, outcome="closed"), a_run(99.0, outcome="error")]) == ("steady", [])


def test_nothing_at_all_is_undecided():
    verdict = audit([])
    assert (verdict.state, verdict.label) == ("undecided", "inconclusive")
