"""Every query of the operator's page names events and fields that there are; one that is misspelt is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jitwarmup.integrations import metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "examples" / "backends" / "README.md").read_text(encoding="utf-8")
RULES = (ROOT / "examples" / "backends" / "prometheus_rules.yml").read_text(encoding="utf-8")
EVENTS = json.loads((ROOT / "jitwarmup" / "events" / "schema.json").read_text(encoding="utf-8"))["$defs"]
QUESTIONS = ["cold", "cost", "recompiled", "traffic", "degraded"]
# The words of each language that our queries use; what is none of these and no name that a query gives is a field.
WORDS = {
    "logql": "sum by count_over_time app json line_format unless on h",
    "esql": "FROM filebeat WHERE STATS MAX BY SORT DESC KEEP LIMIT AND IN COUNT EVAL CASE SUM TO_DOUBLE @timestamp",
    "datadog": "OR",
    "cloudwatch": "filter stats max as by fields sort desc dedup in and strcontains sum @timestamp @message",
}


def queries(language: str) -> dict[str, str]:
    """The queries of a language, by the name of their question; those of Datadog with the fields of the line above."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(?:#|//) (\w+):(.*)\n", block, flags=re.MULTILINE)[1:]
    asked = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {name: " ".join([*re.findall(r"@[\w*]+", note), query]) for name, note, query in asked}


def unknown(language: str, query: str) -> set[str]:
    """The names in a query that are no event, no field of the events that it asks for, and no word of its language."""
    texts = re.findall(r"`[^`]*`|\"[^\"]*\"", query)
    bare = re.sub(r"`[^`]*`|\"[^\"]*\"", " ", query)
    named = {event for text in texts for event in re.findall(r"jitwarmup[\w.]+", text)}
    if language == "datadog":
        named = set(re.findall(r"(?<!@)jitwarmup[\w.]+", bare))
    names = set(re.findall(r"[@A-Za-z_][\w.@*]*", bare)) - named
    names |= {field for text in texts for field in re.findall(r"\{\{\.(\w+)\}\}", text)}
    names -= {name for pair in re.findall(r"(\w+) = [A-Z]|as (\w+)", bare) for name in pair}
    names -= set(WORDS[language].split())
    prefix = {"esql": "jitwarmup.", "datadog": "@"}.get(language, "")
    wrong = {name for name in names if not name.startswith(prefix)} | (named - EVENTS.keys())
    asked = [EVENTS[event] for event in named & EVENTS.keys()]
    assert asked, query
    return wrong | {name for name in names - wrong if not any(has(event, name.removeprefix(prefix)) for event in asked)}


def has(event: dict[str, dict[str, object]], field: str) -> bool:
    """Whether an event may carry a field, or fields that begin as one with a star."""
    if field.endswith("*"):
        return any(pattern.startswith("^" + field[:-1]) for pattern in event.get("patternProperties", {}))
    return field in event["properties"]


@pytest.mark.parametrize("language", WORDS)
def test_every_event_and_field_of_a_query_is_in_the_schema(language):
    asked = queries(language)
    assert [*asked] == QUESTIONS
    assert {name: unknown(language, query) for name, query in asked.items()} == {name: set() for name in QUESTIONS}


@pytest.mark.parametrize("language", WORDS)
def test_a_misspelt_event_or_field_would_be_found(language):
    for query in queries(language).values():
        fields = {
            field for event in EVENTS.values() for field in event["properties"] if re.search(rf"\b{field}\b", query)
        }
        events = {event for event in EVENTS if event in query}
        assert fields
        for name in {field for field in fields if re.search(rf"(?<![\w\"`]){field}\b(?! = )", query)}:
            assert unknown(language, re.sub(rf"(?<![\w\"`]){name}\b", f"{name}x", query)), (name, query)
        for name in events:
            assert f"{name}x" in unknown(language, query + f' "{name}x" {name}x')


def test_every_metric_of_a_query_is_one_of_ours():
    asked = queries("promql")
    assert [*asked] == QUESTIONS
    ours = {*re.findall(r"record: (\S+)", RULES)}
    for metric in (*metrics.FROM_EVENTS, *metrics.FROM_REGISTRY):
        ours.add(metric.prometheus + ("_total" if metric.kind == "counter" else ""))
    assert {name for query in asked.values() for name in re.findall(r"jitwarmup[\w:]+", query)} - ours == set()
