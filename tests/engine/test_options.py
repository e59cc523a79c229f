"""Bad input gets its error before any user code ran: what was got, what was wanted, the way out."""

import inspect
import io
import math
import pydoc
from dataclasses import fields

import pytest

from jitwarmup import ArgumentError, JitwarmupError, Overlap, steady_state, until_steady, warmed
from jitwarmup.engine.options import UNSET, BlockSettings, Options
from jitwarmup.engine.rules import Fixed
from jitwarmup.testing import FakeClock, RecordingMonitor, capture_events


class Uses:
    """Counts its runs; it must not have run when a refusal is raised."""

    def __init__(self):
        self.runs = 0

    def __call__(self, *args, **kwargs):
        self.runs += 1
        return len(args)


WHOLE = "wanted a whole number, 1 or more"
RULE = "wanted a whole number of warm-up runs, 0 or more, or a rule such as until_steady()"
SECONDS = "wanted seconds as a positive number, or None for no limit"
EACH = [
    ("iterations", -1, f"iterations got -1; {RULE}"),
    ("iterations", "5", f"iterations got '5'; {RULE}"),
    ("iterations", True, f"iterations got True; {RULE}"),
    ("iterations", 2.5, f"iterations got 2.5; {RULE}"),
    ("iterations", None, f"iterations got None; {RULE}"),
    ("iterations", Fixed, f"iterations got a type; {RULE}"),
    ("iterations", [5], f"iterations got a list; {RULE}"),
    ("measurements", 0, f"measurements got 0; {WHOLE}"),
    ("measurements", -3, f"measurements got -3; {WHOLE}"),
    ("measurements", True, f"measurements got True; {WHOLE}"),
    ("measurements", 2.0, f"measurements got 2.0; {WHOLE}"),
    ("measurements", "20", f"measurements got '20'; {WHOLE}"),
    ("budget_s", 0, f"budget_s got 0; {SECONDS}"),
    ("budget_s", -1.5, f"budget_s got -1.5; {SECONDS}"),
    ("budget_s", math.nan, f"budget_s got nan; {SECONDS}"),
    ("budget_s", math.inf, f"budget_s got inf; {SECONDS}"),
    ("budget_s", True, f"budget_s got True; {SECONDS}"),
    ("budget_s", "60", f"budget_s got '60'; {SECONDS}"),
    ("on_contamination", "ignore", "on_contamination got 'ignore'; wanted one of 'mark', 'redo', 'raise'"),
    ("on_contamination", 3, "on_contamination got 3; wanted one of"),
    ("accept", 3, "accept got 3; wanted a callable, or None"),
    ("monitor", object(), "monitor got a object without pause, resume, window; wanted an object with pause, resume"),
    ("monitor", RecordingMonitor, "monitor got the class RecordingMonitor; wanted an object with pause, resume"),
    ("name", 3, "name got 3; wanted text to show in place of the function's own name"),
]
DECORATOR = [
    ("drain", 0, f"drain got 0; {WHOLE}"),
    ("drain", "all", f"drain got 'all'; {WHOLE}"),
    ("key", "by_shape", "key got 'by_shape'; wanted a callable, or None"),
    ("fresh", [1], "fresh got a list; wanted a callable, or None"),
    ("dry_run", True, "dry_run got True; wanted a callable, or None"),
    ("on_new_key", "maybe", "on_new_key got 'maybe'; wanted one of None, 'warm', 'pass'"),
    ("while_warming", "block", "while_warming got 'block'; wanted one of 'wait', 'pass', 'raise'"),
    ("while_warming", None, "while_warming got None; wanted one of 'wait', 'pass', 'raise'"),
    ("on_loss", "panic", "on_loss got 'panic'; wanted one of 'mark', 'unready', 'raise', 'rewarm'"),
    ("rng", "keep", "rng got 'keep'; wanted one of None, 'restore', 'leave'"),
    ("rng", ["restore"], "rng got a list; wanted one of"),
    ("emit", "all", "emit got 'all'; wanted one of 'calls', 'summary', 'off'"),
    ("idempotent", "no", "idempotent got 'no'; wanted True or False"),
    ("log_messages", "yes", "log_messages got 'yes'; wanted True or False"),
    ("idempotent", 0, "idempotent got 0; wanted True or False"),
    (
        "idempotent",
        False,
        "idempotent=False got neither fresh= nor dry_run=; warming up runs the function several times",
    ),
    ("reusable", 3, "reusable got 3; wanted a class, a tuple of classes, or a function of a value"),
    ("reusable", (), "reusable got a tuple; wanted a class, a tuple of classes, or a function of a value"),
]
BLOCK = [
    ("processes", 0, f"processes got 0; {WHOLE}"),
    ("processes", True, f"processes got True; {WHOLE}"),
    ("probes", 3, "probes got 3; wanted a list of objects with arm, snapshot, delta, disarm"),
    (
        "probes",
        [object()],
        "probes got a object without arm, snapshot, delta, disarm; wanted a list of objects with arm, snapshot, delta, disarm",
    ),
    ("clock", object(), "clock got a object without now, fence; wanted an object with now() -> int (ns) and fence()"),
    ("clock", FakeClock, "clock got the class FakeClock; wanted an object with now() -> int (ns) and fence()"),
]


@pytest.mark.parametrize(("name", "value", "message"), EACH + DECORATOR)
def test_a_decorator_refuses_what_cannot_work(name, value, message):
    with pytest.raises(ArgumentError) as caught:
        warmed(**{name: value})
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, JitwarmupError | TypeError)


@pytest.mark.parametrize(("name", "value", "message"), EACH + BLOCK)
def test_a_block_refuses_what_cannot_work(name, value, message):
    function = Uses()
    with pytest.raises(ArgumentError) as caught:
        steady_state(function, **{name: value})
    assert str(caught.value).startswith(message)
    assert function.runs == 0


def test_every_option_with_a_wrong_kind_of_value_is_refused():
    """No option is taken unseen; ``ranks`` is checked by the edge that knows torch.distributed."""
    checked = {name for name, _, _ in EACH + DECORATOR}
    assert {field.name for field in fields(Options)} - {"rule", "ranks"} == checked - {"iterations"}


@pytest.mark.parametrize("iterations", [0, 1, 500, until_steady(), Fixed(3) & until_steady(), lambda runs: None])
def test_counts_and_rules_are_taken(iterations):
    rule = Options.checked(iterations=iterations).rule
    assert rule == (Fixed(iterations) if isinstance(iterations, int) else iterations)


def test_unsafe_functions_are_taken_with_inputs_or_a_stand_in():
    assert not Options.checked(iterations=1, idempotent=False, fresh=lambda: ((), {})).idempotent
    assert not Options.checked(iterations=1, idempotent=False, dry_run=lambda: None).idempotent


def test_a_setting_is_never_shown_beyond_plain_values():
    class Secret:
        def __repr__(self):
            return "password"

    with pytest.raises(ArgumentError, match="iterations got a Secret") as caught:
        warmed(iterations=Secret())
    assert "password" not in str(caught.value)


def test_what_was_not_given_is_told_from_what_was():
    assert BlockSettings.checked(iterations=UNSET, monitor=UNSET).given() == {}
    given = BlockSettings.checked(iterations=0, monitor=None, clock=None, name="x", probes=None).given()
    assert given["iterations"] == Fixed(0)
    assert {"monitor", "clock", "name", "probe_set"} <= set(given)


def test_an_inner_block_says_more_than_an_outer_one_and_leaves_the_rest():
    outer = BlockSettings.checked(iterations=3, measurements=7)
    assert BlockSettings.checked(iterations=1).over(outer) == BlockSettings.checked(iterations=1, measurements=7)


def test_what_is_unset_shows_as_a_default():
    assert repr(UNSET) == "<default>"


def test_settings_of_a_block_go_before_those_of_the_decorator():
    options = Options(measurements=3, budget_s=9.0)
    assert options.inside(BlockSettings()) is options
    inner = options.inside(BlockSettings(measurements=5, iterations=Fixed(1), log="not an option"))
    assert (inner.measurements, inner.rule, inner.budget_s) == (5, Fixed(1), 9.0)


# ------------------------------------------------------------------------------------------------ what is decorated

THINGS = [
    (3, "got 3; wanted a function or another callable to warm up"),
    ("generate", "got 'generate'; wanted a function or another callable"),
    ([], "got a list; wanted a function or another callable"),
    (Uses, "got the class Uses; wanted a function or another callable: decorate its methods"),
    (property(lambda self: 1), "got a property; wanted a function or another callable"),
]


def measured(thing):
    with capture_events(), steady_state() as steady:
        steady.measure(thing)


@pytest.mark.parametrize(("thing", "message"), THINGS)
@pytest.mark.parametrize("spelling", [warmed(), steady_state, measured], ids=["decorator", "block", "measure"])
def test_what_is_no_function_is_refused(spelling, thing, message):
    with pytest.raises(ArgumentError) as caught:
        spelling(thing)
    assert message in str(caught.value)


def test_bare_warmed_refuses_them_too():
    with pytest.raises(ArgumentError, match="got the class Uses"):
        warmed(Uses)
    with pytest.raises(ArgumentError, match="got 3; wanted a function"):
        warmed(3)


def test_arguments_without_a_function_are_refused():
    with pytest.raises(
        ArgumentError, match=r"got arguments without a function; wanted steady_state\(function, \*args\)"
    ):
        steady_state(None, 3)


# ------------------------------------------------------------------------------------------------ what is called


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: iter([1]), "an iterator, which a run uses up (list_iterator)"), (io.StringIO, "an open file")],
)
def test_arguments_for_one_run_only_are_refused_before_the_first(make, message):
    function = Uses()
    decorated = warmed(iterations=1)(function)
    for spelling in (decorated, decorated.warm, decorated.measure):
        with capture_events() as events, pytest.raises(ArgumentError) as caught:
            spelling("prompt", make())
        assert f"argument 2 got {message}" in str(caught.value)
        assert "give fresh=" in str(caught.value)
        assert list(events) == []
    assert function.runs == 0
    assert (decorated.state, decorated.ready) == ("cold", False)


def test_they_are_taken_where_no_extra_run_would_be_made():
    function = Uses()
    decorated = warmed(iterations=1)(function)
    with capture_events():
        decorated("prompt")
        assert decorated(iter([1])) == 1
    assert function.runs == 1 + 1 + 1 + 1


def test_an_argument_is_named_as_it_was_given_and_its_value_never_shown():
    with pytest.raises(ArgumentError, match=r"argument 'data' got an open file") as caught:
        warmed()(Uses())(data=io.StringIO("secret"))
    assert "secret" not in str(caught.value)


def coroutine():
    async def inner():
        return 1

    return inner()


def generator():
    return (x for x in "ab")


async def agen():
    yield 1


class Promise:
    def __await__(self):
        yield


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        (
            coroutine,
            "returned a coroutine, so its runs would time nothing; wanted a function declared as what it is (async def)",
        ),
        (
            generator,
            "returned a generator, so its runs would time nothing; wanted a function declared as what it is (def with",
        ),
        (agen, "returned an async generator"),
        (Promise, "returned an awaitable"),
    ],
)
def test_a_plain_function_that_only_promises_work_is_refused_by_its_kind(returns, message):
    @warmed()
    def plain():
        return returns()

    with pytest.raises(ArgumentError) as caught:
        plain()
    assert message in str(caught.value)
    assert "plain is a plain function that" in str(caught.value)
    assert not plain.ready


@pytest.mark.parametrize("value", [3, ((1,),), ((1,), {}, 3), (1, {}), ((1,), [])])
def test_what_fresh_returns_is_checked(value):
    function = Uses()
    with pytest.raises(ArgumentError, match=r"fresh= returned .*wanted \(args, kwargs\)"):
        warmed(fresh=lambda *_: value)(function).warm(1)
    assert function.runs == 0


def test_an_unhashable_key_is_refused_before_the_first_run():
    function = Uses()
    with pytest.raises(
        ArgumentError, match=r"key= of .*Uses returned a list, which is not hashable; wanted a hashable"
    ):
        warmed(key=lambda *_: [1])(function)(1)
    assert function.runs == 0


# ------------------------------------------------------------------------------------------------ blocks and trials


def test_a_block_is_entered_once():
    block = steady_state()
    with capture_events():
        with block:
            with pytest.raises(Overlap, match="entered before; wanted one 'with' for each"):
                block.__enter__()
        with pytest.raises(Overlap, match="make a new one with steady_state"):
            block.__enter__()


def test_a_closed_block_measures_nothing():
    block, function = steady_state(), Uses()
    for use in (lambda: block.measure(function), lambda: next(block.trials())):
        with pytest.raises(ArgumentError, match="block is not open; wanted its measure"):
            use()
    assert function.runs == 0


def test_a_trial_outside_its_loop_is_refused():
    with capture_events(), steady_state(iterations=0, measurements=1) as steady:
        trials = steady.trials()
        first = next(trials)
        with first:
            pass
        with pytest.raises(Overlap, match="this trial was entered before"):
            first.__enter__()
        later = next(trials)
        trials.close()
        with pytest.raises(ArgumentError, match=r"used outside its loop; wanted 'for trial in steady\.trials"):
            later.__enter__()


def test_a_trial_that_is_skipped_is_refused():
    with capture_events(), steady_state(iterations=0) as steady:
        with pytest.raises(ArgumentError, match=r"a trial \(validate\) was skipped; wanted 'with trial:'"):
            for _ in steady.trials():
                pass
    assert steady.reports == ()


def test_nothing_half_warmed_stays_behind():
    """After each refusal above a good call finds the function cold, and gets the whole plan."""
    function = Uses()
    decorated = warmed(iterations=2)(function)
    with pytest.raises(ArgumentError):
        decorated(iter([]))
    with capture_events():
        assert decorated("good") == 1
    assert function.runs == 1 + 2 + 1


def test_the_signature_of_the_public_face_is_the_contract():
    """api.md's signature, keyword for keyword."""
    names = list(inspect.signature(steady_state).parameters)
    assert names == [
        *("function", "args", "iterations", "measurements", "monitor", "probes", "log", "clock", "ranks", "name"),
        *("budget_s", "on_contamination", "accept", "processes", "log_messages"),
    ]


def test_the_signature_shows_every_option_with_its_true_default():
    shown = inspect.signature(warmed).parameters
    options = Options()
    assert next(iter(shown)) == "function"
    assert {name for name in shown if name not in ("function", "iterations")} == {
        each.name for each in fields(Options) if each.name != "rule"
    }
    assert Options.checked(**{name: each.default for name, each in shown.items() if name != "function"}) == options
    assert "while_warming" in pydoc.render_doc(warmed)


@pytest.mark.parametrize(("wrong", "meant"), [("iteration", "iterations"), ("on_los", "on_loss"), ("emits", "emit")])
def test_a_wrong_name_offers_the_one_that_may_be_meant(wrong, meant):
    with pytest.raises(ArgumentError, match=f"warmed got an option '{wrong}', .*did you mean '{meant}'"):
        warmed(**{wrong: 3})
    with pytest.raises(ArgumentError, match="wanted one of iterations, measurements"):
        warmed(quux=1)
