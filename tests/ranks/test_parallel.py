"""Functions of several ranks: data, tensor and pipeline parallel, collective, in groups; real processes over gloo."""

import functools
import operator
import statistics

import pytest

from jitwarmup import Report
from jitwarmup.records.runs import Phase

pytestmark = pytest.mark.slow  # ranks are processes that each import torch
SCENARIOS = [
    "data_parallel",
    "tensor_parallel",
    "pipeline_by_hand",
    "pipeline_by_torch",
    "pipeline_of_two_functions",
    "collective",
    "until_steady",
    "streaming",
    "recompile_on_one_rank",
    "recompile_then_redo",
]
RECOMPILING = {"recompile_on_one_rank", "recompile_then_redo"}
EVENTS = ["validation.completed", "warmup.completed", "measurement.completed", "block.completed"]


@pytest.fixture(scope="module")
def two(launch, tmp_path_factory):
    return launch.results_of("parallel", 2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def four(launch, tmp_path_factory):
    return launch.results_of("subgroups", 4, tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module")
def llama(launch, tmp_path_factory):
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("llama")
    done = launch.torchrun(launch.JOBS / "tensor_parallel_llama.py", 2, str(folder))
    assert done.returncode == 0, done.stderr
    return launch.read(folder, 2)


def reports_of(results, *path):
    """The report of each rank."""
    return [Report.from_dict(functools.reduce(operator.getitem, path, each)) for each in results]


def steps(report):
    return [(run.phase, run.index, run.discarded) for run in report.runs]


def in_step(reports, members):
    """All that ranks of one measurement have in common; the first report, for what else is to be asked."""
    first = reports[0]
    assert [report.ranks.rank for report in reports] == members
    for report in reports:
        assert report.ranks.members == tuple(members)
        assert steps(report) == steps(first)
        assert report.verdict == first.verdict
        assert report.latency_s == first.latency_s
        assert [run.duration_ns for run in report.runs] == [max(run.rank_durations_ns) for run in report.runs]
        assert report.ranks.median_s == first.ranks.median_s
        assert report.ranks.straggler == first.ranks.straggler
        assert report.ranks.skew_s == first.ranks.skew_s
    clean = [run.duration_s for run in first.measured if not run.contaminated]
    assert first.latency_s == pytest.approx(statistics.median(clean))
    return first


def phases(report):
    return "".join(run.phase[0] for run in report.runs)


def flat(value):
    return [number for each in value for number in flat(each)] if isinstance(value, list) else [value]


def names_of(results):
    return [event["event"].removeprefix("jitwarmup.") for event in results["events"]]


def check_values(results):
    """Every run, and the warmed call, gave what a call gives that nobody warmed."""
    for each in results:
        assert each["made"] == [each["control"]] * len(each["report"]["runs"])
        assert each["value"] == each["control"]
        assert each["calls"] == 3  # validation, one warm-up run, and the caller's own


def check_voices(results):
    """The first rank speaks, the others say the same at debug."""
    first, *others = results
    assert "debug" not in {event["level"] for event in first["events"]}
    for other in others:
        assert names_of(other) == names_of(first)
        assert {event["level"] for event in other["events"]} == {"debug"}


# ------------------------------------------------------------------ two ranks


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_ranks_measure_in_step(two, name):
    report = in_step(reports_of(two, name, "report"), [0, 1])
    assert report.failure is None
    assert report.latency_s > 0
    check_voices([rank[name] for rank in two])


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in RECOMPILING])
def test_values_are_those_of_a_control_that_nobody_warmed(two, name):
    check_values([rank[name] for rank in two])


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in {*RECOMPILING, "until_steady"}])
def test_a_counted_plan_has_its_counted_runs(two, name):
    for report in reports_of(two, name, "report"):
        assert phases(report) == "vwwmmmm"
    assert names_of(two[0][name]) == EVENTS


def test_data_parallel_gradients_are_those_of_the_whole_batch(two):
    for rank in two:
        _, *gradients = rank["data_parallel"]["value"]
        _, *whole = rank["reference"]["gradients"]
        assert len(gradients) == 4
        assert flat(gradients) == pytest.approx(flat(whole), abs=1e-6)


def test_tensor_parallel_outputs_are_those_of_the_whole_model(two):
    for rank in two:
        output, whole = rank["tensor_parallel"]["value"], rank["reference"]["forward"]
        assert flat(output) == pytest.approx(flat(whole), abs=1e-6)


@pytest.mark.parametrize("name", ["pipeline_by_torch", "pipeline_of_two_functions"])
def test_the_last_stage_of_a_pipeline_has_the_whole_model_s_output(two, name):
    whole = two[1]["reference"]["forward"]
    assert flat(two[1][name]["value"]) == pytest.approx(flat(whole), abs=1e-6)
    assert two[0][name]["value"] != two[1][name]["value"]


def test_two_functions_of_a_pipeline_need_one_name(two):
    for rank in two:
        assert "send_activations" in rank["refused"]
        assert "receive_activations" in rank["refused"]
        assert "one name=" in rank["refused"]
        assert Report.from_dict(rank["pipeline_of_two_functions"]["report"]).callable == "pipeline"


def test_ranks_that_draw_draw_the_same_in_every_run(two):
    zero, one = (rank["collective"] for rank in two)
    assert zero["value"] == one["value"]


def test_until_steady_ends_after_the_same_run_on_both(two):
    first = in_step(reports_of(two, "until_steady", "report"), [0, 1])
    warm = phases(first).count("w")
    assert phases(first) == "v" + "w" * warm + "mmmm"
    assert 2 <= warm <= 8
    decisions = [rank["until_steady"]["report"]["decision"] for rank in two]
    assert decisions[0] == decisions[1]


def test_an_async_function_agrees_as_well(two):
    report = in_step(reports_of(two, "awaited"), [0, 1])
    assert phases(report) == "vwwmmmm"


# ------------------------------------------------------------------ one-time work on one rank


def paid(report):
    """The measured runs with one-time work, and whose it was."""
    return [
        (run.index, work.kind, work.rank)
        for run in report.runs
        if run.contaminated and run.phase is Phase.MEASURE
        for work in run.work
        if work.recurrence == "one_time"
    ]


def test_a_recompile_on_one_rank_is_marked_on_all_with_the_rank_that_did_it(two):
    for rank, report in zip(two, reports_of(two, "recompile_on_one_rank", "report"), strict=True):
        assert paid(report) == [(2, "dynamo.recompile", 1)]
        assert report.verdict.state == "contaminated"
        assert [run.contaminated for run in report.measured] == [False, False, True, False]
        completed = [event for event in rank["recompile_on_one_rank"]["events"] if "contaminated_ranks" in event]
        assert [event["event"] for event in completed] == ["jitwarmup.measurement.completed"]
        assert completed[0]["contaminated_ranks"] == ["1"]


def test_the_recompile_s_value_is_the_function_s_own(two):
    for rank in two:
        results = rank["recompile_on_one_rank"]
        odd = [number for number, value in enumerate(results["made"]) if value != results["control"]]
        assert odd == [5]
        assert results["value"] == results["control"]


def test_both_ranks_warm_up_anew_where_one_has_recompiled(two):
    for rank, report in zip(two, reports_of(two, "recompile_then_redo", "report"), strict=True):
        assert paid(report) == [(2, "dynamo.recompile", 1)]
        assert phases(report) == "vwwmmmwmmmm"
        assert [run.discarded for run in report.runs if run.phase is Phase.MEASURE] == [True] * 3 + [False] * 4
        assert report.verdict.state != "contaminated"
        assert names_of(rank["recompile_then_redo"]).count("warmup.completed") == 2


# ------------------------------------------------------------------ collectives that change an argument


@pytest.mark.parametrize("name", ["reduce_in_place", "receive_in_place"])
def test_a_collective_that_changes_an_argument_runs_once(two, name):
    for rank in two:
        assert rank[name]["value"] == rank[name]["control"]
        assert rank[name]["made"] == [rank[name]["control"]]


@pytest.mark.parametrize("name", ["reduce_in_place", "receive_in_place"])
def test_an_argument_changed_on_one_rank_stops_all(two, name):
    for report in reports_of(two, name, "report"):
        assert phases(report) == "v"
        assert report.skipped == "arguments_mutated"


def test_it_is_seen_where_each_rank_decides_by_itself(two):
    assert [rank["unasked"] for rank in two] == [[2.0, 2.0, 2.0]] * 2


# ------------------------------------------------------------------ groups

PLACES = {"pairs": [[0, 1], [2, 3]], "tp": [[0, 1], [2, 3]], "dp": [[0, 2], [1, 3]], "everybody": [[0, 1, 2, 3]]}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_each_group_measures_by_itself(four, name):
    for members in PLACES[name]:
        results = [four[rank][name] for rank in members]
        in_step(reports_of(results, "report"), members)
        check_values(results)
        check_voices(results)
        assert results[0]["value"] == sum(rank + 1 for rank in members)


@pytest.mark.slow
def test_groups_measure_at_the_same_time_with_plans_of_their_own(four):
    reports = reports_of(four, "pairs", "report")  # their second run waits for all four ranks
    assert [phases(report) for report in reports] == ["vwmmmmm"] * 2 + ["vwwwmmmm"] * 2


@pytest.mark.slow
def test_a_failure_stays_in_its_group(four):
    reports = reports_of(four, "failing", "report")
    clean = in_step(reports[:2], [0, 1])
    assert clean.failure is None
    assert phases(clean) == "vwwmmmm"
    for report in reports[2:]:
        assert phases(report) == "vwwm"
        assert (report.failure.type, report.failure.rank, report.failure.phase) == ("ValueError", 3, "measure")
        assert report.latency_s == -1.0
    assert [rank["failing"]["ours"] for rank in four] == [False, False, True, False]


# ------------------------------------------------------------------ transformers


@pytest.mark.slow
def test_transformers_has_split_the_model(llama):
    for rank in llama:
        assert rank["split"] == {"shape": [64, 64], "local": [32, 64], "backend": "gloo", "world": 2}
        assert rank["control"] == rank["whole"]


@pytest.mark.slow
def test_generation_over_a_split_model_is_measured_in_step(llama):
    report = in_step(reports_of(llama, "generation"), [0, 1])
    assert report.failure is None
    assert phases(report).endswith("wmmmm")
    for rank, each in zip(llama, reports_of(llama, "generation"), strict=True):
        assert each.first_item is not None
        assert each.facts["outputs_equal"] is True
        assert each.facts["output_tokens"] == 6
        assert rank["value"] == rank["control"]


@pytest.mark.slow
def test_sampled_tokens_of_a_split_model_are_those_without_us(llama):
    in_step(reports_of(llama, "sampled", "report"), [0, 1])
    check_values([rank["sampled"] for rank in llama])
    assert llama[0]["sampled"]["value"] == llama[1]["sampled"]["value"]


@pytest.mark.slow
def test_time_generate_takes_the_slowest_rank_s_time(llama):
    for rank in llama:
        timed = rank["timed"]
        assert timed["output"] == rank["control"]
        assert timed["counts"] == [6]
        assert timed["latency_s"] == max(timed["rank_durations_ns"]) / 1e9
        assert timed["rank_durations_ns"] == llama[0]["timed"]["rank_durations_ns"]
