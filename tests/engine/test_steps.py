"""The one order of things, asked with scripts of runs: no clock, no function, no thread."""

import pytest

from jitwarmup.engine.rules import Fixed, until_steady
from jitwarmup.engine.steps import REDO_AT_MOST, Step, plan_steps
from jitwarmup.records.runs import Decision, Phase, Run

V, W, M = Phase.VALIDATE, Phase.WARM, Phase.MEASURE
LETTER = {V: "v", W: "w", M: "m"}


def a_run(step, mark="."):
    """``.`` went well, ``!`` failed, ``~`` was interrupted, ``*`` paid one-time work."""
    outcome = {"!": "error", "~": "cancelled"}.get(mark, "ok")
    return Run(
        phase=step.phase, index=step.index, started_at=0.0, duration_ns=1, outcome=outcome, contaminated=mark == "*"
    )


def played(steps, script=""):
    """
    The plan_steps, answered by a script: what it asked for, in letters, and what it returned.

    An upper-case letter re-enters warm-up. When the script is over, everything goes well.
    """
    asked, marks = [], iter(script)
    try:
        step = next(steps)
        while True:
            asked.append(step)
            step = steps.send(a_run(step, next(marks, ".")))
    except StopIteration as stop:
        letters = "".join(LETTER[one.phase].upper() if one.rearm else LETTER[one.phase] for one in asked)
        return letters, stop.value, asked


def letters(rule, measurements, script="", **more):
    return played(plan_steps(rule, measurements, **more), script)[0]


@pytest.mark.parametrize(
    ("count", "measurements", "wanted"),
    [(5, 20, "v" + 5 * "w" + 20 * "m"), (0, 1, "vm"), (2, 0, "vww"), (0, 0, "v")],
)
def test_validate_then_warm_then_measure(count, measurements, wanted):
    assert letters(Fixed(count), measurements) == wanted


def test_runs_are_numbered_within_their_phase():
    _, decision, asked = played(plan_steps(Fixed(2), 3))
    assert asked == [Step(V, 0), Step(W, 0), Step(W, 1), Step(M, 0), Step(M, 1), Step(M, 2)]
    assert decision == Decision(state="spent", path="count", numbers={"n": 2})


@pytest.mark.parametrize("bad", "!~")
@pytest.mark.parametrize(("before", "wanted"), [("", "v"), ("..", "vww"), ("....", "vwwmm")])
def test_a_run_that_did_not_end_well_is_the_last(bad, before, wanted):
    assert letters(Fixed(2), 5, before + bad) == wanted


def test_what_is_returned_tells_how_far_it_came():
    assert played(plan_steps(Fixed(1), 1), "!")[1] is None
    assert played(plan_steps(Fixed(1), 1), ".!")[1] is None
    assert played(plan_steps(Fixed(1), 1), "..!")[1].state == "spent"


def paced(steps, seconds):
    """The steps, answered by runs of so many seconds: how many were asked for in each phase, and what was returned."""
    runs, left = [], list(seconds)
    try:
        step = next(steps)
        while True:
            runs.append(step.phase)
            taken = left.pop(0) if len(left) > 1 else left[0]
            step = steps.send(Run(phase=step.phase, index=step.index, started_at=0.0, duration_ns=round(taken * 1e9)))
    except StopIteration as stop:
        return runs.count(W), runs.count(M), stop.value.state


PLATEAU = [5.0] + [2.0] * 12 + [1.0]


def test_measured_runs_that_became_faster_void_a_proof_once():
    assert paced(plan_steps(until_steady(), 20, redo=True, proof=True), PLATEAU) == (4, 40, "proven")
    staircase = [2.0**-step for step in range(12) for _ in range(8)]
    assert paced(plan_steps(until_steady(), 20, redo=True, proof=True), staircase)[1] == 40


def test_without_a_proof_nothing_is_void():
    assert paced(plan_steps(Fixed(3), 20, redo=True, proof=True), PLATEAU) == (3, 20, "spent")
    assert paced(plan_steps(until_steady(), 20, redo=False, proof=True), PLATEAU)[1] == 20


def test_the_rule_sees_every_run_and_decides():
    seen = []

    def rule(runs):
        seen.append("".join(LETTER[run.phase] for run in runs))
        return Decision(state="proven" if len(runs) == 3 else "more")

    asked, decision, _ = played(plan_steps(rule, 2))
    assert asked == "vwwmm"
    assert seen == ["v", "vw", "vww"]
    assert decision.state == "proven"


# ------------------------------------------------------------------------------------------------ history


def history(script):
    return [a_run(Step({"v": V, "w": W}[letter], index)) for index, letter in enumerate(script)]


@pytest.mark.parametrize(("finished", "wanted"), [("", "vwwwm"), ("v", "wwwm"), ("vww", "wm"), ("vwww", "m")])
def test_runs_of_an_interrupted_warm_up_count(finished, wanted):
    assert letters(Fixed(3), 1, history=history(finished)) == wanted


def test_numbering_goes_on_after_them():
    assert played(plan_steps(Fixed(3), 1, history=history("vww")))[2] == [Step(W, 2), Step(M, 0)]


def test_the_history_given_is_not_changed():
    given = history("vw")
    letters(Fixed(3), 1, history=given)
    assert given == history("vw")


# ------------------------------------------------------------------------------------------------ re-arm


def test_one_time_work_while_measuring_is_left_as_it_is_by_default():
    assert letters(Fixed(2), 3, "....*") == "vwwmmm"


def test_where_asked_it_voids_what_was_measured_and_warm_up_is_entered_again():
    asked, decision, steps = played(plan_steps(Fixed(2), 3, redo=True), "....*")
    assert asked == "vww" + "mm" + "W" + "mmm"
    assert [step.index for step in steps] == [0, 0, 1, 0, 1, 2, 2, 3, 4]
    assert decision.numbers == {"n": 3}


def test_a_function_that_pays_for_ever_is_not_run_for_ever():
    asked, decision, _ = played(plan_steps(Fixed(1), 3, redo=True), "..".ljust(99, "*"))
    assert asked == "vwm" + (REDO_AT_MOST - 1) * "Wm" + "Wmmm"
    assert decision.state == "spent"


def test_a_failure_while_warming_again_ends_it():
    asked, decision, _ = played(plan_steps(Fixed(1), 3, redo=True), "..*!")
    assert asked == "vwmW"
    assert decision is None


def test_a_run_that_failed_is_no_reason_to_measure_again():
    def failed(step):
        return Run(phase=step.phase, index=0, started_at=0.0, duration_ns=1, outcome="error", contaminated=True)

    steps = plan_steps(Fixed(0), 3, redo=True)
    step = next(steps)
    step = steps.send(a_run(step))
    assert step == Step(M, 0)
    with pytest.raises(StopIteration):
        steps.send(failed(step))


def test_a_rule_may_ask_for_more_when_it_is_entered_again_and_only_its_first_step_says_so():
    def rule(runs):
        warm = sum(run.phase is W for run in runs)
        paid = sum(run.contaminated for run in runs)
        return Decision(state="spent" if warm >= 1 + 3 * paid else "more")

    assert letters(rule, 2, "...*", redo=True) == "vwmm" + "Www" + "mm"
