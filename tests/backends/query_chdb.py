"""
Reads JSON lines with chdb (ClickHouse in the process) and prints a row count, the types it saw, the median, every row.

    python query_chdb.py FILE
"""

import json
import sys

import chdb

FILE = "'" + sys.argv[1].replace("'", "\\'") + "'"
SEEN = "select distinctJSONPathsAndTypes(json) as seen from file(FILE, JSONAsObject)"
COUNT = "select count() as n from file(FILE, JSONAsObject)"
ROWS = "select json from file(FILE, JSONAsObject) order by json.report_id::String"
MEDIAN = """
    select quantileExactInclusive(0.5)(json.duration_s::Float64) as median from file(FILE, JSONAsObject)
    where json.event::String = 'jitwarmup.call'
"""


def ask(question: str) -> list[dict[str, object]]:
    answer = str(
        chdb.query(
            question.replace("FILE", FILE) + " settings output_format_json_quote_64bit_integers = 0", "JSONEachRow"
        )
    )
    return [json.loads(line) for line in answer.splitlines()]


found = {
    "count": ask(COUNT)[0]["n"],
    "types": ask(SEEN)[0]["seen"],
    "median": ask(MEDIAN)[0]["median"],
    "rows": [row["json"] for row in ask(ROWS)],
}
sys.stdout.write(json.dumps(found))
