from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jitwarmup.events

HEAVY = {"structlog", "prometheus_client", "opentelemetry", "torch", "numpy", "asyncio"}


def test_the_public_names_import_no_back_end():
    code = f"import sys, jitwarmup.events; print({HEAVY!r} & set(sys.modules))"
    env = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert ended.stdout == "set()\n"


def test_every_public_name_is_found_and_shown():
    for name in jitwarmup.events.__all__:
        assert getattr(jitwarmup.events, name, None) is not None
    assert set(dir(jitwarmup.events)) >= set(jitwarmup.events.__all__)


def test_the_readme_names_every_public_name():
    readme = Path(jitwarmup.events.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in jitwarmup.events.__all__ if f"`{name}" not in readme] == []
