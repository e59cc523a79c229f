"""``package.module:function`` and JSON arguments from the command line, made into things that can be called."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from jitwarmup.records.errors import ArgumentError

WANTED = "wanted package.module:function or file.py:function, such as json:dumps"


def resolve(text: str) -> Callable[..., Any]:
    """The callable that a name stands for, attributes dotted; raises ArgumentError where there is none."""
    module_name, colon, path = text.partition(":")
    if not colon or not module_name or not path:
        raise ArgumentError(f"got {text!r}; {WANTED}")
    found: Any = load_module(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise ArgumentError(f"{module_name} has no {path!r}; {WANTED}")
        found = getattr(found, name)
    if not callable(found):
        raise ArgumentError(f"{text} is a {type(found).__name__} and cannot be called; {WANTED}")
    return found  # type: ignore[no-any-return]  # anything callable


def load_module(name: str) -> ModuleType:
    """A module by its name, the working folder included, or by its file."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if name.endswith(".py"):
        return load_file(Path(name))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ArgumentError(f"there is no module {error.name!r} here; {WANTED}") from error


def load_file(path: Path) -> ModuleType:
    """A module from a file, under the file's own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ArgumentError(f"there is no file {path}; {WANTED}")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(text: str | None, option: str, kind: type[Any]) -> Any:
    """Positional arguments from a JSON list, keyword arguments from a JSON object; ``@FILE`` reads the JSON from a file."""
    if text is None:
        return kind()
    wanted = "'[\"a text\", 16]'" if kind is list else "'{\"new_tokens\": 16}'"
    try:
        value = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        problem = f"{option} got what is no JSON ({type(error).__name__})"
        raise ArgumentError(f"{problem}; wanted {option} {wanted}") from error
    if not isinstance(value, kind):
        raise ArgumentError(f"{option} got a JSON {type(value).__name__}; wanted {option} {wanted}")
    return value
