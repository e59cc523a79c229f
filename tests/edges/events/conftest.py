from __future__ import annotations

import pytest

from jitwarmup.edges.events import schema


@pytest.fixture(autouse=True)
def _the_table_is_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STRICT", True)
