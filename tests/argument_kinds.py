"""Classes of arguments for drawn functions: how to make one, to use it, and to look at it without changing it."""

import array
import collections
import dataclasses
import hashlib
import io
import json
import queue
import random
import types
import zlib
from dataclasses import dataclass
from decimal import Decimal

import attrs
import numpy as np
import pydantic
import torch


class Model(pydantic.BaseModel):
    turns: list[int] = []


@attrs.define
class Slotted:
    turns: list = attrs.Factory(list)


@dataclass
class Data:
    turns: list = dataclasses.field(default_factory=list)


class Plain:
    def __init__(self):
        self.turns = []


@dataclass(frozen=True)
class Argument:
    """A class of arguments: `use` changes, consumes or only reads it; `look` shows its state and changes nothing."""

    make: object
    use: object
    look: object = lambda value: None
    once_only: bool = False


def appended(chat):
    chat.turns.append(1)
    return len(chat.turns)


def turns(chat):
    return list(chat.turns)


def bumped(values):
    values[0] = values[0] + 1
    return int(values[0])


def filled():
    line = queue.SimpleQueue()
    for job in range(200):
        line.put(job)
    return line


def bits(value):
    return value.tolist()


def inference():
    with torch.inference_mode():
        return torch.ones(3)


def bumped_inference(values):
    with torch.inference_mode():
        return bumped(values)


def drawn(stream):
    return stream.random()


ARGUMENTS = {
    "list": Argument(lambda: [1], lambda v: v.append(len(v)) or len(v), list),
    "nested list": Argument(lambda: {"a": [[1]]}, lambda v: v["a"][0].append(1) or len(v["a"][0]), repr),
    "dict": Argument(lambda: {"n": 1.5}, lambda v: v.update(n=v["n"] + 1) or v["n"], dict),
    "deque": Argument(lambda: collections.deque(range(200)), lambda v: v.popleft(), list),
    "set": Argument(lambda: set(range(200)), lambda v: v.pop(), sorted),
    "bytearray": Argument(lambda: bytearray(4), bumped, bytes),
    "memoryview": Argument(lambda: memoryview(bytearray(4)), bumped, bytes),
    "array": Argument(lambda: array.array("d", [1, 2]), bumped, list),
    "numpy": Argument(lambda: np.ones(3), bumped, bits),
    "numpy view": Argument(lambda: np.ones(9)[::2], bumped, lambda v: v.base.tolist()),
    "object array": Argument(lambda: np.array([[], None], dtype=object), lambda v: v[0].append(1) or len(v[0]), bits),
    "tensor": Argument(lambda: torch.ones(3), bumped, bits),
    "data of a tensor": Argument(lambda: torch.ones(3), lambda v: bumped(v.data), bits),
    "inference tensor": Argument(inference, bumped_inference, bits),
    "namespace": Argument(lambda: types.SimpleNamespace(turns=[]), appended, turns),
    "dataclass": Argument(Data, appended, turns),
    "attrs": Argument(Slotted, appended, turns),
    "pydantic": Argument(Model, appended, turns),
    "plain object": Argument(Plain, appended, turns),
    "packer": Argument(zlib.compressobj, lambda v: v.compress(b"a") + v.flush(zlib.Z_SYNC_FLUSH)),
    "hash": Argument(hashlib.sha256, lambda v: v.update(b"a") or v.hexdigest(), lambda v: v.hexdigest()),
    "random": Argument(lambda: random.Random(3), drawn, lambda v: v.getstate()),
    "numpy random": Argument(lambda: np.random.default_rng(3), drawn, lambda v: repr(v.bit_generator.state)),
    "torch random": Argument(
        lambda: torch.Generator().manual_seed(3),
        lambda v: torch.rand(1, generator=v).item(),
        lambda v: v.get_state().tolist(),
    ),
    "text": Argument(lambda: "text", len),
    "decimal": Argument(lambda: Decimal(1), str),
    "tuple": Argument(lambda: (1, frozenset("a")), str),
    "function": Argument(lambda: len, lambda v: v("abc")),
    "module": Argument(lambda: json, lambda v: v.dumps([1])),
    "layer": Argument(lambda: torch.nn.Identity(), lambda v: v(3)),
    "file": Argument(
        lambda: io.BytesIO(bytes(range(200))), lambda v: v.read(1), lambda v: len(v.getvalue()), once_only=True
    ),
    "iterator": Argument(lambda: iter(range(200)), next, once_only=True),
    "generator": Argument(lambda: (n for n in range(200)), next, once_only=True),
    "queue": Argument(filled, lambda v: v.get(timeout=20), lambda v: v.qsize(), once_only=True),
}


@dataclass
class Holder:
    value: object


AROUND = {
    "itself": (lambda value: value, lambda held: held),
    "in a list": (lambda value: [1, value], lambda held: held[1]),
    "in a dict": (lambda value: {"a": {"b": value}}, lambda held: held["a"]["b"]),
    "in a tuple": (lambda value: (value, 1), lambda held: held[0]),
    "in a dataclass": (Holder, lambda held: held.value),
    "in a namespace in a list": (lambda value: [types.SimpleNamespace(value=value)], lambda held: held[0].value),
    "twice": (lambda value: [value, value], lambda held: held[1]),
}


def placed(name, around):
    """The class of that name, its values standing in something else."""
    argument = ARGUMENTS[name]
    put, get = AROUND[around]
    return Argument(
        lambda: put(argument.make()),
        lambda held: argument.use(get(held)),
        lambda held: argument.look(get(held)),
        argument.once_only,
    )
