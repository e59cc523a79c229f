"""
Reads JSON lines with duckdb and prints what it sees: a row count, column types, the median, and every row.

    python query_duckdb.py FILE
"""

import json
import sys

import duckdb

READ = "create table e as select * from read_json(?, format = 'newline_delimited', sample_size = -1)"
MEDIAN = "select median(duration_s) from e where event = 'jitwarmup.call'"
TYPES = "select column_name, data_type from information_schema.columns where table_name = 'e'"

db = duckdb.connect()
db.execute(READ.replace("?", "'" + sys.argv[1].replace("'", "''") + "'"))


def ask(question: str) -> list[tuple[object, ...]]:
    return db.execute(question).fetchall()


rows = ask("select * exclude (timestamp) from e order by report_id")
names = [column[0] for column in db.description]
found = {
    "count": ask("select count(*) from e")[0][0],
    "kinds": dict(ask("select event, count(*) from e group by event")),
    "columns": dict(ask(TYPES)),
    "median": ask(MEDIAN)[0][0],
    "rows": [dict(zip(names, row, strict=True)) for row in rows],
}
sys.stdout.write(json.dumps(found, default=str))
