"""The summary in text and Markdown, and the words of a verdict."""

import re

import pytest

from jitwarmup.analysis.compare import compare
from jitwarmup.analysis.gates import judge, parse_gates
from jitwarmup.analysis.sides import side_of
from jitwarmup.records.verdict import Reason
from jitwarmup.views.advice import WORDS, words
from jitwarmup.views.comparison import comparison_markdown, comparison_text
from jitwarmup.views.markdown import bars, report_markdown, safe
from jitwarmup.views.summary import calls_until_small, summary
from jitwarmup.views.text import columns, folded, shortened


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(make_report, failure, width):
    long = "a.very.long.package.name." * 6 + "function"
    report = make_report(marked=(3,), stream=True, name=long, failure=failure)
    text = (
        summary(report, width)
        + "\n"
        + comparison_text(compare(side_of([report]), side_of([make_report(seed=2, compiles=3)])), [], width)
    )
    assert max(map(len, text.splitlines())) <= width


def test_the_summary_tells_cold_warm_up_ledger_steady_verdict_and_what_to_do_next(make_report):
    text = summary(make_report(marked=(3,)))
    for part in ("cold run (validation)", "31.2 s", "warm-up, 5 silent runs", "inductor", "its 96.5% interval"):
        assert part in text, part
    assert "verdict contaminated" in text
    assert "next: warm up with every shape" in text


def test_a_failure_is_told(make_report, failure):
    text = summary(make_report(failure=failure), message=True)
    assert "failed in measure run 3 with ValueError" in text
    assert "bad & worse" in text


def test_every_kind_of_reason_that_the_audit_gives_has_words():
    named = set(re.findall(r"``(\w+)``", Reason.__doc__.partition("Kinds that")[2]))
    kinds = named | {"interrupted", "left_early", "interrupt_answered", "arguments_unknown"}
    assert len(kinds) > 10
    assert kinds <= set(WORDS)


def test_words_hold_the_numbers_and_survive_a_missing_one():
    assert (
        words(Reason(kind="still_falling", numbers={"share_per_run": 0.042}))[0] == "the times still fall by 4.2% a run"
    )
    assert words(Reason(kind="still_falling"))[0] == "still falling"
    assert words(Reason(kind="something_new")) == ("something new", "")
    assert (
        "run 3 failed with ValueError"
        in words(Reason(kind="failed_in_warm", numbers={"index": 3.0}, subject="ValueError"))[0]
    )


def test_calls_until_small_is_where_the_cold_cost_is_one_percent(make_report):
    report = make_report()
    calls = calls_until_small(report)
    assert report.amortised(calls) <= 1.01 * report.latency_s < report.amortised(calls - 1)


def test_markdown_escapes_what_is_not_ours(make_report):
    text = report_markdown(make_report(name="a|b<img src=x>`c`\nd"))
    assert "<img" not in text
    assert "a\\|b" in text
    assert safe("x\n# y") == "x \\# y"


def test_markdown_of_a_report_of_five_hundred_runs_is_small(make_report):
    assert len(report_markdown(make_report(500, stream=True))) < 5000


def test_bars_draw_the_series():
    assert bars([10.0, 1.0, 1.0]) == "█▁▁"
    assert bars([1.0]) == "▁"


def test_a_comparison_tells_its_gates_and_how_fair_it_is(make_report):
    found = compare(side_of([make_report()]), side_of([make_report(seed=2, compiles=3, started_at=2e9)]))
    judged = judge(found, parse_gates("recompiles:0,steady:5%"))
    text, markdown = comparison_text(found, judged), comparison_markdown(found, judged)
    assert "gate failed: recompiles: dynamo.recompile 1 -> 3" in text
    assert "gate undecided: steady" in text
    assert "steady, wall time" in text
    assert "--against" in text
    assert "**failed**" in markdown
    assert re.search(r"\| dynamo.recompile \| 1 \| 3 \| \+2 \|", markdown.replace("\\", ""))


def test_columns_and_folds_keep_to_their_width():
    assert columns([("a", "1"), ("bb", "22")]) == ["a    1", "bb  22"]
    assert all(len(line) <= 20 for line in folded("word " * 30, 20))
    assert shortened("abcdefghij", 7) == "ab...ij"
