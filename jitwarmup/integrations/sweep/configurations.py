"""
Configurations, and where they come from: levels as in HuggingFace's framework, a file, or a product of lists.

Nothing is adapted in silence (the framework turns ``flash_attention_2`` into ``sdpa`` with a log line, and compile off).
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jitwarmup.records.checks import one_of, whole
from jitwarmup.records.codec import Record
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.files import parse_json, read_text

ATTENTION = ("flash_attention_2", "eager", "sdpa", "flex_attention")
MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
DTYPES = ("float32", "float16", "bfloat16")
SDPA = ("math", "flash", "efficient", "cudnn", "overrideable")  # how the names in torch's SDPBackend begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Record):
    """
    One way to generate. ``model`` is ``smollm2``, ``tiny``, a folder or a hub name.

    ``attention`` None leaves the choice to transformers, ``dtype`` None is float32, ``device`` None the accelerator there
    is, else the CPU. ``compile_mode`` None does not compile; with one, decode is compiled by ``compile_backend``, on a CPU
    too where ``compile_all_devices`` says so. ``cache`` is ``cache_implementation``; compiling wants a static one, which
    is what None then means.
    """

    model: str = "smollm2"
    attention: str | None = None
    sdpa: str | None = None
    compile_mode: str | None = None
    compile_backend: str = "inductor"
    compile_fullgraph: bool = False
    compile_all_devices: bool = False
    cache: str | None = None
    dtype: str | None = None
    device: str | None = None
    kernels: bool = False
    batch: int = 1
    prompt_tokens: int = 128
    new_tokens: int = 128
    iterations: int = 5
    measurements: int = 20
    monitoring: bool = True

    def __post_init__(self) -> None:
        for name, lowest in LOWEST.items():
            whole(name, getattr(self, name), at_least=lowest)
        for name, allowed in (("sdpa", (None, *SDPA)), ("dtype", (None, *DTYPES)), ("compile_mode", MODES)):
            one_of(name, getattr(self, name), allowed)

    @property
    def hash(self) -> str:
        """Over all fields, 16 hex digits: two configurations are one exactly when every field is equal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """For people: what differs from the defaults, the sizes always."""
        backend = "" if self.compile_backend == "inductor" else f"_{self.compile_backend}"
        parts = (
            self.model.rstrip("/").rpartition("/")[2],
            f"b{self.batch}-p{self.prompt_tokens}-n{self.new_tokens}",
            *(self.attention, self.dtype),
            f"sdpa_{self.sdpa}" if self.sdpa else None,
            f"compiled_{self.compile_mode}{backend}" if self.compile_mode else "uncompiled",
            f"cache_{self.cache}" if self.cache else None,
            "kernels" if self.kernels else None,
        )
        return "-".join(filter(None, parts))


MOST = 10_000  # configurations of one sweep
LOWEST = {"batch": 1, "prompt_tokens": 1, "new_tokens": 1, "iterations": 0, "measurements": 1}
FIELDS = tuple(field.name for field in fields(Configuration))


def configuration(given: Mapping[str, Any]) -> Configuration:
    """A configuration from what a file or a command line says; an ArgumentError names the key or value that is wrong."""
    unknown = sorted(map(str, set(given) - set(FIELDS)))
    if unknown:
        raise ArgumentError(f"a configuration got the unknown key {unknown[0]!r}; wanted some of {', '.join(FIELDS)}")
    return Configuration.from_dict(given)


def distinct(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Each once, in order; by the hash of all fields."""
    return list({one.hash: one for one in configurations}.values())


def product(lists: Mapping[str, Any]) -> list[Configuration]:
    """
    Every combination of the values given for each field, once; a value that is no list stands for itself.

    Raises ArgumentError as ``configuration`` does.
    """
    lists = {name: each if isinstance(each, list | tuple) else [each] for name, each in lists.items()}
    if not 0 < (count := math.prod(map(len, lists.values()))) <= MOST:
        raise ArgumentError(f"got lists whose product is {count:,} configurations; wanted 1 to {MOST:,}")
    values = itertools.product(*lists.values())
    return distinct(configuration(dict(zip(lists, each, strict=True))) for each in values)


COMPILED = "reduce-overhead"  # what the framework's empty ``compile_kwargs`` comes to
BY_LEVEL: tuple[tuple[int, dict[str, Any]], ...] = (
    (0, {"attention": "flex_attention", "compile_mode": COMPILED}),
    (1, {"attention": "flash_attention_2"}),
    (1, {"attention": "eager", "compile_mode": COMPILED}),
    (2, {"attention": "sdpa", "compile_mode": COMPILED}),
    (2, {"attention": "flex_attention", "compile_mode": COMPILED, "kernels": True}),
    (2, {"attention": "flash_attention_2", "kernels": True}),
)


def level(number: int, base: Mapping[str, Any] | None = None) -> list[Configuration]:
    """
    The framework's levels: 0 flex attention compiled; 1 and 2 add the usual ones; 3 all attentions, compiled or not,
    with kernels where that package is installed; 4 all compile modes; another raises ArgumentError. Continuous batching
    is left out: it is no ``generate``. ``base`` holds the other fields, as for ``product``.
    """
    if number not in range(5):
        raise ArgumentError(f"level got {number!r}; wanted one of 0, 1, 2, 3, 4")
    chosen = [lists for at, lists in BY_LEVEL if at <= number]
    if number >= 3:
        kernels = [False, True] if importlib.util.find_spec("kernels") else [False]
        modes = MODES if number == 4 else [None, "default"]
        chosen = [{"attention": ATTENTION, "compile_mode": modes, "kernels": kernels}]
    return distinct(one for lists in chosen for one in product({**(base or {}), **lists}))


def from_file(path: str | Path, base: Mapping[str, Any] | None = None) -> list[Configuration]:
    """
    Configurations of a JSON (a list, or one), JSONL or YAML file; in each a list stands for a product.

    Raises ArgumentError with the place where the file cannot be read as one, or holds an unknown key.
    """
    path, found = Path(path), []
    for number, entry in enumerate(entries(path), start=1):
        try:
            found += product({**(base or {}), **entry})
        except (TypeError, ValueError) as error:  # no mapping, or an ArgumentError
            raise ArgumentError(f"{path}, entry {number}: {error}") from error
    return distinct(found)


def entries(path: Path) -> list[Any]:
    """What the file holds, by its ending."""
    try:
        text = read_text(path)
        if path.suffix == ".jsonl":
            return [parse_json(line) for line in text.splitlines() if line.strip()]
        if path.suffix in (".yaml", ".yml"):
            import yaml

            held = yaml.safe_load(text)
        else:
            held = parse_json(text)
    except Exception as error:  # the libraries have errors of their own, or are not there
        raise ArgumentError(f"cannot read configurations from {path}: {error}; wanted JSON, JSONL or YAML") from error
    return held if isinstance(held, list) else [held]
