from __future__ import annotations

import subprocess
import sys

import jitwarmup.events

HEAVY = {"structlog", "prometheus_client", "opentelemetry", "orjson", "torch", "numpy", "asyncio"}


def test_the_face_imports_no_back_end():
    code = f"import sys, jitwarmup.events; print({HEAVY!r} & set(sys.modules))"
    env = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert ended.stdout == "set()\n"


def test_every_name_of_the_face_is_there_and_said():
    for name in jitwarmup.events.__all__:
        assert getattr(jitwarmup.events, name, None) is not None
    shown = {name for name in vars(jitwarmup.events) if name.isidentifier() and name[0] != "_"} - {"annotations"}
    assert shown == set(jitwarmup.events.__all__)
