"""Prints, as a JSON list, every attribute and metric name that opentelemetry-semantic-conventions knows."""

import importlib
import json
import sys
from pathlib import Path

from opentelemetry import semconv

root = Path(semconv.__path__[0])
found = set()
for file in root.rglob("*.py"):
    steps = [step for step in file.relative_to(root).with_suffix("").parts if step != "__init__"]
    names = vars(importlib.import_module(".".join(["opentelemetry.semconv", *steps])))
    found |= {value for name, value in names.items() if name.isupper() and isinstance(value, str)}
sys.stdout.write(json.dumps(sorted(found)))
