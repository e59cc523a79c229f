"""What tests/bench/steadiness.py prints, held to its promises on the recorded series that are shipped."""

import json
import shutil

import pytest


@pytest.fixture(scope="module")
def recorded(steadiness, data):
    return steadiness.load(data / "torch_cpu")


@pytest.fixture(scope="module")
def rates(steadiness, recorded):
    return steadiness.table_of_rules(recorded)


def test_the_end_of_warm_up_is_told_within_one_run_in_seventy_percent(rates):
    assert rates["until_steady"] >= 0.70
    assert rates["re-armed"] >= 0.90


def test_no_other_rule_comes_near(rates):
    rivals = {name: near for name, near in rates.items() if not name.startswith(("until_steady", "re-armed", "dirty"))}
    assert max(rivals.values()) <= rates["until_steady"] - 0.15, rivals


def test_after_a_re_arm_no_measurement_holds_a_compile(rates):
    assert rates["dirty"] == 0


def test_without_re_arm_some_would(steadiness, recorded):
    outcomes = [steadiness.play(steadiness.RULES["until_steady"], series) for series in recorded]
    assert any(outcome.dirty for outcome in outcomes)


def test_a_late_compile_sends_the_rule_back_to_warming(steadiness, recorded):
    late = next(series for series in recorded if series.name == "compile_late__1")
    total, end, dirty = steadiness.re_armed(steadiness.RULES["until_steady"], late)
    assert (late.true_end, end, dirty) == (16, 16, False)
    assert total > 16 + 10


def test_planted_warm_ups_end_where_told_and_what_never_rests_is_not_called_steady(steadiness):
    found = steadiness.table_of_measurements(seed=7, each=2)
    assert found["until_steady, alone"] >= 0.45
    assert found["until_steady, causes"] >= 0.90
    assert found["until_steady, early"] <= 0.15
    assert found["until_steady, never"] <= 0.10


@pytest.mark.slow
def test_more_of_them(steadiness):
    found = steadiness.table_of_measurements(seed=8, each=8)
    assert found["until_steady, alone"] >= 0.45
    assert found["until_steady, causes"] >= 0.90
    assert found["until_steady, early"] <= 0.15
    assert found["until_steady, never"] <= 0.10


@pytest.mark.slow
def test_the_interval_holds_the_long_run_median(steadiness, recorded):
    found = steadiness.table_of_intervals(recorded)
    assert len(found) == 9 * 3 + 3 * 2
    lacking = {name: one for name, one in found.items() if one.held < one.level - 0.02}
    assert lacking == {}
    stated = {name: one.held for name, one in found.items() if one.level >= 0.93}
    assert min(stated.values()) >= 0.93, stated


def test_the_bench_says_where_it_finds_no_series(steadiness, tmp_path, capsys):
    assert steadiness.main([str(tmp_path)]) == 2
    assert f"no series in {tmp_path}: give a folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_bench_takes_any_folder_of_such_series(steadiness, data, tmp_path, capsys):
    for name in ("compile_static__0", "compile_mlp__2", "matmul__1"):
        shutil.copy(data / "torch_cpu" / f"{name}.json", tmp_path)
    assert steadiness.main([str(tmp_path), "--each", "1"]) == 0
    assert f"series: {tmp_path} (3)" in capsys.readouterr().out


def test_the_shipped_copy_is_the_recorded_one(data):
    shared = data.parents[2] / "shared/data/torch_cpu"
    if not shared.is_dir():
        pytest.skip(f"{shared} is not here")
    for path in shared.glob("*.json"):
        copy = json.loads((data / "torch_cpu" / path.name).read_text())
        assert copy["times"] == json.loads(path.read_text())["times"]
