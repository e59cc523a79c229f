"""``package.module:function`` and JSON arguments from the command line, made into things that can be called."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import parse_json, read_text

NEEDED = frozenset(
    ("jitwarmup", "numpy", "structlog", "torch", "transformers", "pynvml", "jinja2", "matplotlib", "yaml")
)
WANTED = "wanted package.module:function or file.py:function, such as json:dumps"


def resolve(text: str) -> Callable[..., Any]:
    """The callable that a name stands for, attributes dotted; raises ArgumentError where there is none."""
    module_name, colon, path = text.partition(":")
    if not colon or not module_name or not path:
        raise ArgumentError(f"got {text!r}; {WANTED}")
    found: Any = load_module(module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except Exception as error:  # a property of the user's may raise anything
            raise ArgumentError(f"{module_name} has no {path!r} ({type(error).__name__}); {WANTED}") from error
    if not callable(found):
        raise ArgumentError(f"{text} is a {type(found).__name__} and cannot be called; {WANTED}")
    return found  # type: ignore[no-any-return]  # anything callable


def load_module(name: str) -> ModuleType:
    """A module by its name, the working folder included, or by its file; raises ArgumentError where it does not import."""
    look_here()
    try:
        return load_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ArgumentError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise ArgumentError(f"there is no module {missing!r} here; {WANTED}") from error
        at = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        raise ArgumentError(f"{name} cannot be imported: {why}; {WANTED}") from error


def look_here() -> None:
    """
    Modules of the working folder come before installed ones and after the standard library: none of that is shadowed.

    They come last where one of them has the name of what we need ourselves (a user's ``numpy.py`` or ``torch/``).
    """
    elsewhere, library = paths_elsewhere(), str(Path(os.__file__).parent)
    after = [at for at, path in enumerate(elsewhere, 1) if path == library or path.endswith("lib-dynload")]
    beside = {path.stem for path in Path.cwd().iterdir() if path.suffix == ".py" or path.is_dir()}
    twice = {
        name for name in beside if name.isidentifier() and importlib.machinery.PathFinder.find_spec(name, elsewhere)
    }
    last = bool(twice) and not twice.isdisjoint(needed())
    elsewhere.insert(len(elsewhere) if last else max(after, default=0), str(Path.cwd()))
    sys.path[:] = elsewhere


@functools.cache
def needed() -> frozenset[str]:
    """Modules of the distributions that jitwarmup needs, by way of others too, and the names of the most important ones."""
    found, waiting = set[str](), [*NEEDED]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            with suppress(metadata.PackageNotFoundError):
                required = [
                    line for line in metadata.requires(name) or () if name == "jitwarmup" or "extra ==" not in line
                ]
                waiting += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required]
    modules = metadata.packages_distributions().items()
    return (
        frozenset(top for top, dists in modules if any(re.sub(r"[-_.]+", "-", d).lower() in found for d in dists))
        | NEEDED
    )


def paths_elsewhere() -> list[str]:
    """Where modules are looked for, without the working folder."""
    return [path for path in sys.path if path not in ("", str(Path.cwd()))]


def load_file(path: Path) -> ModuleType:
    """A module from a file, under the file's own name, or with ``_file`` after it where another module has that name."""
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}; {WANTED}")
    name = path.stem
    while is_taken(name, path):
        name += "_file"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{path} is no Python file; {WANTED}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_taken(name: str, path: Path) -> bool:
    """Whether ``import name`` means another module than the one at ``path``, by now or for whoever imports it later."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        found = importlib.machinery.PathFinder.find_spec(name, paths_elsewhere()) if name.isidentifier() else None
        origin = found.origin if found is not None else str(path)
    return origin is None or os.path.realpath(origin) != os.path.realpath(path)


def arguments(text: str | None, option: str, kind: type[Any]) -> Any:
    """Positional arguments from a JSON list, keyword arguments from a JSON object; ``@FILE`` reads the JSON from a file."""
    if text is None:
        return kind()
    wanted = "'[\"a text\", 16]'" if kind is list else "'{\"new_tokens\": 16}'"
    try:
        value = parse_json(read_text(text[1:]) if text.startswith("@") else text)
    except ValueError as error:
        problem = f"{option} got what is no JSON ({error})"
        raise ArgumentError(f"{problem}; wanted {option} {wanted}") from error
    if not isinstance(value, kind):
        raise ArgumentError(f"{option} got a JSON {type(value).__name__}; wanted {option} {wanted}")
    return value
