"""``python query_questions.py EVENTS SQL``: the answers of each question, by its name, as JSON."""

import json
import sys
from pathlib import Path

import duckdb

events, questions = sys.argv[1:]
READ = "create view e as select * from read_json('{}', format = 'newline_delimited', sample_size = -1, union_by_name = true)"
db = duckdb.connect()
db.execute(READ.format(events.replace("'", "''")))
answers = {}
for question in Path(questions).read_text().split("\n-- ")[2:]:
    name, _, sql = question.partition(":")
    answers[name] = db.execute(sql.partition("\n")[2]).fetchall()
json.dump(answers, sys.stdout, default=str)
