"""The page: self-contained, small, escaped, and complete."""

import re
import sys
from html.parser import HTMLParser

import pytest

from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.report import Report
from jitwarmup.views import charts, html

EVIL = "<script>alert(1)</script>.a&b\"c'$x$"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setattr(charts, "can_draw", lambda: False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_five_hundred_streamed_runs_with_a_device_stay_under_150_kb(make_report):
    report = make_report(
        500, device=True, stream=True, marked=range(0, 500, 2), kinds=[f"kind.{at}" for at in range(30)]
    )
    page = html.page([report])
    assert len(page.encode()) < 150_000
    assert page.count("<tr><td>measure") == 500


def test_many_reports_stay_under_150_kb_and_say_what_is_left_out(make_report):
    page = html.page([make_report(500, seed=seed) for seed in range(1, 4)])
    assert len(page.encode()) < 150_000
    assert "left out to keep the page small" in page


def test_too_many_reports_for_one_page_are_refused_in_words(make_report, no_matplotlib):
    with pytest.raises(ArgumentError, match=r"99 reports are too many .* one page each"):
        html.page([make_report()] * 99)


def test_nothing_is_fetched_and_nothing_runs(make_report):
    page = Tags(html.page([make_report(device=True, stream=True, marked=(3,))]))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href") or name.startswith("on")]
    assert [link for link in links if not link.startswith("#")] == []
    assert "@import" not in "".join(page.words)
    assert "url(http" not in "".join(page.words)


def test_text_that_is_not_ours_is_escaped(make_report, failure):
    report = make_report(name=EVIL, kinds=[EVIL], failure=failure)
    for text in (html.page([report]), report._repr_html_()):
        assert "<script" not in text
        assert "<b>bad" not in text
        assert EVIL in "".join(Tags(text).words)


def test_everything_promised_is_on_the_page(make_report):
    text = " ".join(Tags(html.page([make_report(device=True, stream=True, marked=(3,))])).words)
    for title in (
        "Warm-up curve",
        "Cold and warm-up time by cause",
        "Measured runs",
        "First item",
        "Gaps between items",
        "Device",
        "power, W",
        "SM clock, MHz",
        "throttled, s",
        "Verdict",
        "Environment",
        "Mean time of a call, cold cost included",
        "calls until the cold cost is under 1%",
        "every run (26)",
        "1 contaminated, shown apart",
        "dynamo.recompile",
        "contaminated; dynamo.recompile 390 ms",
    ):
        assert title in text, title


def test_one_time_work_is_drawn_where_it_happened(make_report):
    rows = dict(charts.work_rows(make_report(marked=(0, 7)).runs))
    assert rows["dynamo.capture"] == [1]
    assert rows["dynamo.recompile"] == [2, 7, 14]
    many = charts.work_rows(make_report(kinds=[f"kind.{at}" for at in range(40)]).runs)
    assert len(many) == charts.KINDS + 1
    assert many[-1][0] == "other kinds"


def test_without_matplotlib_the_tables_stand_alone_and_say_so(make_report, no_matplotlib):
    page = html.page([make_report(marked=(3,))])
    assert "pip install" in page
    assert "<svg" not in page
    assert page.count("<tr><td>measure") == 20
    assert "inductor" in page


def test_figures_share_no_identity_and_set_no_style_of_the_whole_page(make_report):
    page = html.page([make_report(device=True, stream=True, marked=(3,)), make_report(seed=2)])
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<style") == 1
    for name in charts.MARKS.values():
        assert name not in page


def test_drawing_leaves_matplotlib_as_it_was(make_report):
    mpl = pytest.importorskip("matplotlib")
    before, loaded = mpl.rcParams.copy(), "matplotlib.pyplot" in sys.modules
    charts.curve(make_report())
    assert mpl.rcParams.copy() == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_the_same_report_gives_the_same_page(make_report):
    assert html.page([make_report(stream=True)]) == html.page([make_report(stream=True)])


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_short_and_empty_reports_have_a_page(make_report, runs):
    assert "<h1>" in html.page([make_report(runs)])


def test_a_report_without_any_run_has_a_page(make_report):
    document = make_report(0).to_dict() | {"runs": [], "ledger": {}}
    assert "<h1>" in html.page([Report.from_dict(document)])


@pytest.mark.parametrize("duration_ns", [0, 1, 10**13])
def test_runs_of_any_length_have_a_page(make_report, duration_ns):
    document = make_report(6).to_dict()
    for run in document["runs"]:
        run["duration_ns"] = duration_ns
    assert "<svg" in html.page([Report.from_dict(document)])


def test_neighbouring_ticks_have_different_labels(make_report):
    svg = charts.distribution(make_report(60, marked=(3, 9)))
    labels = re.findall(r">([^<>]* [mun]?s)</text>", svg)
    clean, marked = labels[: len(labels) // 2], labels[len(labels) // 2 :]
    assert len(labels) > 4
    assert len(set(clean)) == len(clean)
    assert len(set(marked)) == len(marked)


def test_a_notebook_shows_the_same_figures_without_a_page_around_them(make_report):
    shown = make_report(marked=(3,))._repr_html_()
    assert shown.startswith("<style>")
    assert "<html" not in shown
    assert "<body" not in shown
    assert "body{" not in shown  # a rule of ours must not reach the notebook's own page
    assert "Warm-up curve" in shown
    assert "<svg" in shown


def test_without_jinja2_a_notebook_shows_the_text_and_the_page_says_what_to_install(make_report, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert make_report()._repr_html_() is None
    with pytest.raises(ImportError, match=r"pip install 'jitwarmup\[report\]'"):
        html.page([make_report()])
