from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def stored(backends, database, thousand, tmp_path_factory):
    """The function that asks the database, when rsyslog has carried the thousand events into it."""
    sql, port = database
    place = tmp_path_factory.mktemp("rsyslog")
    file, log = place / "events.jsonl", place / "rsyslog.log"
    config = (backends.examples / "rsyslog.conf").read_text()
    example = {
        "/var/spool/rsyslog": place,
        "/var/log/jitwarmup/events.jsonl": file,
        "127.0.0.1:5432": f"127.0.0.1:{port}",
    }
    for theirs, ours in example.items():
        assert f'"{theirs}' in config or f"@{theirs}" in config
        config = config.replace(theirs, str(ours))
    (place / "rsyslog.conf").write_text(config)
    file.touch()
    server = ["rsyslogd", "-n", "-f", place / "rsyslog.conf", "-i", place / "pid"]
    with backends.running(*server, log=log) as running:
        thousand.write(str(file))
        backends.until(lambda: sql("select count(*) from events") == ["1000"], log, running)
    return sql


def test_every_event_is_there_with_every_value_and_its_type(stored, thousand):
    documents = [json.loads(line) for line in stored("select doc from events order by doc ->> 'report_id'")]
    for document, (event, level, fields) in zip(documents, thousand.make(), strict=True):
        expected = {"event": event, "level": level, **fields}
        document.pop("timestamp")
        assert document == expected
        assert {name: type(value) for name, value in document.items()} == {
            name: type(value) for name, value in expected.items()
        }


def test_numbers_and_booleans_are_such_in_the_database(stored):
    kinds = stored("select distinct jsonb_typeof(doc -> 'duration_s') from events where doc ? 'duration_s'")
    assert kinds == ["number"]
    assert stored("select distinct jsonb_typeof(doc -> 'contaminated') from events where doc ? 'contaminated'") == [
        "boolean"
    ]


def test_the_median_is_the_true_one(stored, thousand):
    (median,) = stored(
        "select percentile_cont(0.5) within group (order by (doc ->> 'duration_s')::float8) "
        "from events where doc ->> 'event' = 'jitwarmup.call'"
    )
    assert float(median) == pytest.approx(thousand.median(thousand.make()), rel=1e-3)
