from dataclasses import replace

import pytest

from jitwarmup.engine.rules import Budget, Fixed, UntilSteady, until_steady, would_have_said
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.runs import Decision, OneTimeWork, Phase, Run

CAPTURE = OneTimeWork(kind="dynamo.capture", duration_s=3.0)
RECOMPILE = OneTimeWork(kind="dynamo.recompile", reason="size of x")
KV_CACHE = OneTimeWork(kind="kv_cache.allocate", count=32)
NOISY = [1.0, 1.4, 1.1, 1.5, 0.9, 1.3, 1.2, 1.6, 1.0, 1.45]


def a_run(seconds=1.0, phase=Phase.WARM, **fields):
    return Run(phase=phase, index=0, started_at=0.0, duration_ns=round(seconds * 1e9), **fields)


def validated(*seconds, work=(CAPTURE,), wait_share=None):
    runs = [a_run(30.0, Phase.VALIDATE, work=work)]
    runs += [a_run(s, wait_s=None if wait_share is None else s * wait_share) for s in seconds]
    return runs


def asked(rule, runs):
    decision = rule(runs)
    return decision.state, decision.path


# ---------------------------------------------------------------------------------------------- counts and budgets


def test_a_fixed_count_is_spent_when_so_many_warm_runs_finished():
    assert asked(Fixed(2), validated(1.0)) == ("more", "count")
    assert asked(Fixed(2), validated(1.0, 1.0)) == ("spent", "count")
    assert Fixed(2)(validated(1.0, 1.0)).numbers == {"n": 2}


def test_a_count_of_zero_is_spent_before_the_first_run():
    assert asked(Fixed(0), []) == ("spent", "count")


@pytest.mark.parametrize("lost", [{"outcome": "error"}, {"outcome": "cancelled"}, {"discarded": True}])
def test_a_warm_run_that_was_lost_is_not_counted(lost):
    runs = validated(1.0, 1.0)
    assert asked(Fixed(2), [*runs[:-1], replace(runs[-1], **lost)]) == ("more", "count")


def test_measured_runs_are_not_counted_as_warm_ones():
    assert asked(Fixed(1), [a_run(phase=Phase.MEASURE)]) == ("more", "count")


def test_a_budget_covers_validation_and_warm_up_but_no_measurement():
    runs = [a_run(2.0, Phase.VALIDATE), a_run(3.0), a_run(100.0, Phase.MEASURE, discarded=True)]
    assert asked(Budget(5.1), runs) == ("more", "budget")
    assert asked(Budget(5.0), runs) == ("spent", "budget")
    assert Budget(5.0)(runs).numbers == {"spent_s": 5.0}


@pytest.mark.parametrize("count", [-1, 2.0, True, "5", None])
def test_a_count_that_is_no_count_is_refused_with_the_way_out(count):
    with pytest.raises(ArgumentError, match=r"count got .*; wanted a whole number, 0 or more; give Fixed\(5\)"):
        Fixed(count)


@pytest.mark.parametrize("seconds", [0, -1.0, True, "5", float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(seconds):
    with pytest.raises(ArgumentError, match="wanted seconds as a positive number"):
        Budget(seconds)
    with pytest.raises(ArgumentError, match="budget_s got "):
        until_steady(budget_s=seconds)


@pytest.mark.parametrize(
    "fields", [{"at_least": -1}, {"at_least": 2.5}, {"at_most": 0}, {"at_most": True}, {"at_least": 9, "at_most": 8}]
)
def test_bounds_that_cannot_work_are_refused(fields):
    with pytest.raises(ArgumentError, match=r"got .*; wanted .*; give "):
        until_steady(**fields)


# ---------------------------------------------------------------------------------------------- & and |


def always(state, path=""):
    return lambda runs: Decision(state=state, path=path)


def test_both_waits_for_the_slower_one():
    rule = Fixed(1) & Fixed(3)
    assert [rule(validated(*[1.0] * count)).state for count in range(5)] == ["more", "more", "more", "spent", "spent"]


def test_either_takes_the_first_that_decides():
    rule = Fixed(3) | Budget(32.0)
    assert asked(rule, validated(1.0)) == ("more", "count")
    assert asked(rule, validated(1.0, 1.0)) == ("spent", "budget")
    assert asked(rule, validated(*[0.1] * 3)) == ("spent", "count")


def test_a_proof_outweighs_a_count_and_a_spent_budget():
    quiet = validated(1.0, 1.0, 1.0)
    assert asked(Fixed(3) | until_steady(), quiet) == ("proven", "quiet")
    assert asked(Fixed(3) & until_steady(), quiet) == ("proven", "quiet")
    assert asked(Fixed(0) & always("spent", "budget"), quiet) == ("spent", "budget")


def test_any_function_may_stand_on_the_other_side():
    assert asked(Fixed(0) | always("proven", "mine"), []) == ("proven", "mine")
    assert asked(Fixed(0) & always("more"), []) == ("more", "")


@pytest.mark.parametrize("other", [3, None])
def test_what_is_no_rule_cannot_be_combined(other):
    with pytest.raises(TypeError):
        Fixed(1) & other
    with pytest.raises(TypeError):
        Fixed(1) | other


def test_combined_rules_pass_on_whether_causes_are_watched():
    rule = ((until_steady() & Fixed(1)) | always("more")).with_hooks(True)
    assert rule.one.one == UntilSteady(causes_watched=True)
    assert rule.one.two == Fixed(1)


# ---------------------------------------------------------------------------------------------- until_steady, path by path


def test_three_quiet_runs_after_validation_prove_rest():
    decision = until_steady()(validated(1.0, 1.004, 0.998))
    assert (decision.state, decision.path) == ("proven", "quiet")
    assert decision.numbers["n"] == decision.numbers["clean"] == 3
    assert decision.numbers["warmup_end"] == 1
    assert 0 < decision.numbers["cov"] < 0.01
    assert decision.numbers["contention_share"] == 0.0


def test_two_quiet_runs_prove_nothing():
    assert asked(until_steady(), validated(1.0, 1.0)) == ("more", "")


def test_the_validation_run_never_belongs_to_the_window():
    assert asked(until_steady(), [a_run(1.0, Phase.VALIDATE), a_run(1.0), a_run(1.0)]) == ("more", "")


def test_five_runs_within_five_percent_and_level_are_stable():
    assert asked(until_steady(), validated(1.0, 1.05, 0.97, 1.0, 1.04)) == ("proven", "stable")


def test_five_runs_within_five_percent_that_still_sink_are_not_stable():
    assert asked(until_steady(), validated(1.06, 1.03, 1.02, 1.0, 0.98)) == ("more", "")


def test_a_busy_host_is_forgiven_only_with_the_causes_watched():
    runs = validated(1.0, 1.5, 0.9, 1.6, 1.2, wait_share=0.3)
    assert asked(until_steady(), runs) == ("more", "")
    assert asked(until_steady().with_hooks(True), runs) == ("proven", "cause")


def test_silence_of_the_probes_says_nothing_of_code_that_never_compiled():
    eager = validated(1.0, 1.5, 0.9, 1.6, 1.2, wait_share=0.3, work=())
    assert asked(until_steady().with_hooks(True), eager) == ("more", "")


def test_noise_without_contention_is_not_the_hosts():
    runs = validated(1.0, 1.5, 0.9, 1.6, 1.2, wait_share=0.05)
    assert asked(until_steady().with_hooks(True), runs) == ("more", "")


def test_a_falling_series_on_a_busy_host_is_not_forgiven():
    runs = validated(2.0, 1.8, 1.5, 1.2, 1.0, wait_share=0.3)
    assert asked(until_steady().with_hooks(True), runs) == ("more", "")


def test_noise_that_has_settled_is_proof_after_twenty_runs_or_ten_on_a_busy_host():
    assert asked(until_steady(), validated(*NOISY, *NOISY[:9])) == ("more", "")
    assert asked(until_steady(), validated(*NOISY, *NOISY)) == ("proven", "noise_floor")
    assert asked(until_steady(), validated(*NOISY[:5], *NOISY[:5], wait_share=0.2)) == ("proven", "noise_floor")


def test_wild_noise_proves_nothing():
    wild = [0.1, 3.0] * 10
    assert asked(until_steady(), validated(*wild)) == ("more", "")


def test_the_wait_for_a_processor_is_taken_off_before_anything_is_asked():
    waits = [0.0, 0.5, 0.2]
    runs = [a_run(9.0, Phase.VALIDATE), *(a_run(1.0 + wait, wait_s=wait) for wait in waits)]
    decision = until_steady()(runs)
    assert (decision.state, decision.path) == ("proven", "quiet")
    assert decision.numbers["contention_share"] == pytest.approx(0.7 / 3.7)


def test_a_wait_longer_than_its_run_is_not_believed():
    runs = [a_run(9.0, Phase.VALIDATE), *(a_run(s, wait_s=9.0) for s in (1.0, 1.5, 2.0))]
    assert asked(until_steady(), runs) == ("more", "")


def test_strict_asks_for_five_quiet_or_eight_stable_runs():
    assert asked(until_steady(strict=True), validated(*[1.0] * 4)) == ("more", "")
    assert asked(until_steady(strict=True), validated(*[1.0] * 5)) == ("proven", "quiet")
    level = [1.0, 1.05, 0.97, 1.0, 1.04, 0.98, 1.03, 1.0]
    assert asked(until_steady(strict=True), validated(*level[:7])) == ("more", "")
    assert asked(until_steady(strict=True), validated(*level)) == ("proven", "stable")


def test_at_least_so_many_warm_runs_are_made():
    assert asked(until_steady(at_least=4), validated(*[1.0] * 3)) == ("more", "")
    assert asked(until_steady(at_least=4), validated(*[1.0] * 4)) == ("proven", "quiet")


def test_the_allowance_ends_without_proof_and_says_so():
    assert asked(until_steady(at_most=4), validated(4.0, 3.0, 2.0, 1.0)) == ("spent", "budget")
    assert asked(until_steady(budget_s=35.0), validated(4.0, 3.0)) == ("spent", "budget")
    assert asked(until_steady(budget_s=40.0), validated(4.0, 3.0)) == ("more", "")


def test_proof_at_the_last_allowed_run_is_proof():
    assert asked(until_steady(at_most=3), validated(1.0, 1.0, 1.0)) == ("proven", "quiet")


# ---------------------------------------------------------------------------------------------- causes


def test_one_time_work_ends_the_stretch():
    runs = [*validated(1.0, 1.0), a_run(1.0, work=(RECOMPILE,)), a_run(1.0), a_run(1.0)]
    assert asked(until_steady(), runs) == ("more", "")
    assert asked(until_steady(), [*runs, a_run(1.0)]) == ("proven", "quiet")


@pytest.mark.parametrize(
    "work", [replace(RECOMPILE, scope="foreign"), OneTimeWork(kind="gc.collect"), OneTimeWork(kind="page_fault.minor")]
)
def test_foreign_and_ambient_work_ends_no_stretch(work):
    runs = [*validated(1.0, 1.0), a_run(1.0, work=(work,))]
    assert asked(until_steady(), runs) == ("proven", "quiet")


def test_a_cost_of_every_run_is_learnt_and_ends_no_stretch():
    runs = validated(1.0, 1.0, 1.0, work=(KV_CACHE,))
    runs[1:] = [replace(run, work=(KV_CACHE,)) for run in runs[1:]]
    assert asked(until_steady(), runs[:-1]) == ("more", "")
    assert asked(until_steady(), runs) == ("proven", "quiet")


def test_compiling_in_every_run_is_never_rest():
    runs = validated(*[1.0] * 20)
    runs[1:] = [replace(run, work=(RECOMPILE,)) for run in runs[1:]]
    assert asked(until_steady(), runs) == ("more", "")


def test_after_a_re_arm_only_the_runs_since_the_work_are_asked():
    lost = [a_run(1.0, Phase.MEASURE, discarded=True), a_run(5.0, Phase.MEASURE, discarded=True, work=(RECOMPILE,))]
    runs = [*validated(1.0, 1.0, 1.0), *lost]
    assert asked(until_steady(), runs) == ("more", "")
    runs += [a_run(2.0), a_run(2.0), a_run(2.0)]
    decision = until_steady()(runs)
    assert (decision.state, decision.path, decision.numbers["warmup_end"]) == ("proven", "quiet", 6)


def test_a_run_that_did_not_finish_is_no_observation_but_its_work_counts():
    runs = [*validated(1.0, 1.0), a_run(0.1, outcome="cancelled"), a_run(1.0)]
    assert asked(until_steady(), runs) == ("proven", "quiet")
    runs[3] = replace(runs[3], work=(RECOMPILE,))
    assert asked(until_steady(), runs) == ("more", "")


# ---------------------------------------------------------------------------------------------- told afterwards


def warmup_end(runs):
    return until_steady()(runs).numbers.get("warmup_end")


def test_the_end_of_warm_up_is_found_by_walking_back():
    assert warmup_end(validated(9.0, 5.0, 1.02, 1.0, 1.0, 1.0, 1.0)) == 3


def test_one_slow_run_in_between_does_not_end_the_walk():
    assert warmup_end(validated(9.0, 1.0, 1.0, 1.7, 1.0, 1.0, 1.0)) == 2


def test_a_slow_first_run_is_no_exception_but_warm_up():
    assert warmup_end(validated(2.0, 1.0, 1.0, 1.0, 1.0, 1.0)) == 2


def test_nothing_after_the_last_work_means_no_steady_part_yet():
    assert warmup_end([a_run(1.0, Phase.VALIDATE)]) is None
    assert warmup_end([]) is None


def test_fixed_counts_are_told_when_proof_would_have_been_found():
    decision = would_have_said(validated(*[1.0] * 10))
    assert (decision.state, decision.path, decision.numbers["n"]) == ("proven", "quiet", 3)


def test_a_proof_that_later_work_refuted_is_not_told():
    runs = [*validated(1.0, 1.0, 1.0), a_run(1.0, work=(RECOMPILE,)), a_run(1.0)]
    assert would_have_said(runs).state == "more"


def test_fixed_counts_that_were_too_low_are_told_that_more_was_wanted():
    assert would_have_said(validated(5.0, 4.0, 3.0)).state == "more"
    assert would_have_said([]).state == "more"
