"""Kinds of argument that numpy, torch, pandas, pydantic, attrs, PIL and starlette bring."""

import dataclasses
import io
import tempfile
from typing import NamedTuple

import attrs
import numpy as np
import pandas as pd
import pydantic
import pytest
import scipy.sparse
import starlette.datastructures
import starlette.requests
import starlette.websockets
import tokenizers
import torch
from PIL import Image

DATA = b"0123456789" * 100


class Inner(pydantic.BaseModel):
    turns: list[str] = []


class Chat(pydantic.BaseModel):
    turns: list[str] = []
    inner: Inner = Inner()
    _seen: list[int] = pydantic.PrivateAttr(default_factory=list)


class Frozen(pydantic.BaseModel, frozen=True):
    n: int = 1


@attrs.define
class Slotted:
    turns: list = attrs.Factory(list)


@attrs.frozen
class Point:
    n: int = 1


@dataclasses.dataclass
class Data:
    turns: list = dataclasses.field(default_factory=list)
    n: int = 0


@dataclasses.dataclass(slots=True)
class SlottedData:
    turns: list = dataclasses.field(default_factory=list)
    inner: Data = dataclasses.field(default_factory=Data)


class Pair(NamedTuple):
    turns: list
    n: int


def structured():
    return np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")])


def objects():
    made = np.empty(2, dtype=object)
    made[:] = [[1], [2]]
    return made


def divided(values):
    values /= 2
    return float(values[0])


def halved(values):
    values[:] = values // 2
    return int(values[0])


def appended(chat):
    chat.turns.append("?")
    return len(chat.turns)


def turns(chat):
    return list(chat.turns)


def numbers(values):
    return values.tolist()


def stepped(weight):
    (weight * 3).sum().backward()
    return weight.grad.tolist()


def logits():
    return torch.full((2,), 64.0)


def soften(values):
    return values.div_(2).tolist()


def mapped():
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, float, "w+", shape=4)


NUMPY = [
    ("array", lambda: np.full(4, 256.0), divided, numbers),
    ("view of an array", lambda: np.full(9, 256.0)[::2], divided, lambda v: v.base.tolist()),
    ("array seen through a view", lambda: np.full(9, 256.0), lambda v: divided(v[3:]), numbers),
    ("structured array", structured, lambda v: v["b"].__imul__(2).tolist(), numbers),
    ("record array", lambda: structured().view(np.recarray), lambda v: v.a.__iadd__(1).tolist(), numbers),
    ("object array", objects, lambda v: v[0].append(1) or len(v[0]), numbers),
    ("replaced in an object array", objects, lambda v: v.__setitem__(0, [*v[0], 1]) or v[0], numbers),
    ("array of no dimension", lambda: np.array(256.0), lambda v: v.__itruediv__(2).item(), numbers),
    ("flipped array", lambda: np.arange(100_000), lambda v: v.__setitem__(slice(None), v[::-1].copy()) or int(v[0]), numbers),
    ("shuffled array", lambda: np.arange(100_000), lambda v: np.random.default_rng(3).shuffle(v) or int(v[0]), numbers),
    ("one element of many", lambda: np.zeros(1_000_000), lambda v: v.__setitem__(654_321, v[654_321] + 1) or v[654_321], lambda v: v.sum()),
    ("texts", lambda: np.array(["a", "b"]), lambda v: v.__setitem__(0, chr(ord(v[0]) + 1)) or str(v[0]), numbers),
    ("flags", lambda: np.zeros(3, bool), lambda v: np.logical_not(v, out=v).tolist(), numbers),
    ("masked array", lambda: np.ma.masked_less(np.arange(4.0), 2), lambda v: v.__setitem__(3, v[3] * 2) or float(v[3]), numbers),
    ("mask of a masked array", lambda: np.ma.array([1.0, 2.0], mask=[False, False]), lambda v: v.__setitem__(v.count() - 1, np.ma.masked) or v.count(), numbers),
    ("array in a mapped file", mapped, lambda v: v.__iadd__(1).tolist(), numbers),
    ("resized array", lambda: np.arange(4), lambda v: v.resize(len(v) + 1, refcheck=False) or len(v), numbers),
    ("array in a dict", lambda: {"x": np.full(4, 256.0)}, lambda d: divided(d["x"]), lambda d: d["x"].tolist()),
    ("sparse matrix", lambda: scipy.sparse.csr_array(np.eye(3)), lambda v: v.data.__imul__(2).tolist(), lambda v: v.data.tolist()),
]  # fmt: skip

TORCH = [
    ("tensor", logits, soften, numbers),
    ("view of a tensor", lambda: torch.full((9,), 64.0)[::2], soften, lambda v: v._base.tolist()),
    ("data of a tensor", logits, lambda v: v.data.div_(2).tolist(), numbers),
    ("tensor written through numpy", logits, lambda v: divided(v.numpy()), numbers),
    ("tensor over numpy", lambda: torch.from_numpy(np.full(4, 64.0)), lambda v: divided(v.numpy()), numbers),
    ("parameter written through data", lambda: torch.nn.Parameter(logits()), lambda v: v.data.div_(2).tolist(), numbers),
    ("resized tensor", logits, lambda v: v.resize_(len(v) + 1).fill_(1).tolist(), numbers),
    ("half precision", lambda: logits().bfloat16(), soften, numbers),
    ("grad of a tensor", lambda: torch.ones(2, requires_grad=True), stepped, lambda v: v.grad.tolist()),
    ("tensor in a list", lambda: [logits()], lambda v: v[0].data.div_(2).tolist(), lambda v: v[0].tolist()),
    ("long tensor", lambda: torch.zeros(1_000_000), lambda v: v.data[654_321:654_322].add_(1).tolist(), lambda v: v.sum().item()),
]  # fmt: skip

OBJECTS = [
    ("frame", lambda: pd.DataFrame({"a": [4, 8]}), lambda f: f.__setitem__("a", f["a"] // 2) or list(f["a"]), lambda f: f.to_dict()),
    ("frame, one cell", lambda: pd.DataFrame({"a": [4, 8]}), lambda f: f.loc.__setitem__((0, "a"), int(f.loc[0, "a"]) // 2) or list(f["a"]), lambda f: f.to_dict()),
    ("frame, new column", lambda: pd.DataFrame({"a": [4]}), lambda f: f.insert(0, f"c{f.shape[1]}", 0) or f.shape, lambda f: f.to_dict()),
    ("frame, a column taken", lambda: pd.DataFrame(np.ones((1, 9))), lambda f: len(f.pop(f.columns[0])) + f.shape[1], lambda f: f.to_dict()),
    ("series", lambda: pd.Series([4, 8]), lambda s: s.__setitem__(0, s[0] // 2) or list(s), list),
    ("image", lambda: Image.new("L", (4, 4)), lambda i: i.putpixel((1, 1), i.getpixel((1, 1)) + 1) or i.getpixel((1, 1)), lambda i: i.tobytes()),
    ("pydantic model", Chat, appended, turns),
    ("pydantic model in a model", Chat, lambda c: appended(c.inner), lambda c: turns(c.inner)),
    ("pydantic models in a list", lambda: [Chat() for _ in range(20)], lambda cs: appended(cs[13]), lambda cs: turns(cs[13])),
    ("private part of a pydantic model", Chat, lambda c: c._seen.append(1) or len(c._seen), lambda c: c._seen),
    ("attrs with slots", Slotted, appended, turns),
    ("dataclass", Data, appended, turns),
    ("number in a dataclass", Data, lambda d: setattr(d, "n", d.n + 1) or d.n, dataclasses.asdict),
    ("dataclass with slots", SlottedData, appended, turns),
    ("dataclass in a dataclass", SlottedData, lambda d: appended(d.inner), lambda d: turns(d.inner)),
    ("named tuple", lambda: Pair([], 1), appended, turns),
]  # fmt: skip


def rows(*tables):
    return [pytest.param(*row[1:], id=row[0]) for table in tables for row in table]


@pytest.mark.parametrize(("maker", "function", "look"), rows(NUMPY, TORCH, OBJECTS))
def test_what_the_first_run_changes_is_given_to_no_other_run(check, maker, function, look):
    check(maker, function, "mutated", look)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
@pytest.mark.parametrize(("maker", "function", "look"), rows(TORCH[:1], TORCH[2:4], TORCH[6:8], TORCH[9:]))
def test_a_tensor_changed_without_a_version_is_seen_too(check, mode, maker, function, look):
    with mode():
        check(maker, function, "mutated", look)


def test_a_token_is_appended_once_under_inference_mode(check):
    def append(cache):
        kv, at = cache
        kv[at] = 1.0
        at += 1
        return int(at)

    with torch.inference_mode():
        maker = lambda: (torch.zeros(8), torch.zeros((), dtype=torch.long))  # noqa: E731
        check(maker, append, "mutated", lambda cache: [held.tolist() for held in cache])


def tokenizer():
    return tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))  # noqa: S106


READ = [
    ("array", lambda: np.arange(4.0), lambda v: v.sum()),
    ("array with NaN", lambda: np.array([1.0, float("nan")]), len),
    ("array that cannot be written", lambda: np.broadcast_to(np.arange(2), (3, 2)), lambda v: v.sum()),
    ("structured array", structured, lambda v: v["b"].sum()),
    ("object array", objects, len),
    ("empty array", lambda: np.zeros((0, 3)), len),
    ("numpy scalar", lambda: np.float32(1), float),
    ("numpy dtype", lambda: np.dtype("f8"), str),
    ("numpy random", lambda: np.random.default_rng(3), lambda stream: stream.random()),
    ("old numpy random", lambda: np.random.RandomState(3), lambda stream: stream.random()),
    ("tensor", logits, lambda v: v.sum().item()),
    ("tensor with NaN", lambda: torch.tensor([1.0, float("nan")]), len),
    ("sparse tensor", lambda: torch.eye(3).to_sparse(), lambda v: v.sum().item()),
    ("tensor on the meta device", lambda: torch.empty(3, device="meta"), len),
    ("quantized tensor", lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), len),
    ("torch random", lambda: torch.Generator().manual_seed(3), lambda stream: torch.rand(1, generator=stream).item()),
    ("torch dtype", lambda: torch.float32, str),
    ("torch device", lambda: torch.device("cpu"), str),
    ("module", lambda: torch.nn.Linear(2, 2), lambda m: m(torch.ones(1, 2)).shape),
    ("tokenizer", tokenizer, lambda t: t.encode("a").ids),
    ("frame", lambda: pd.DataFrame({"a": [4, float("nan")], "b": ["x", "y"]}), len),
    ("series", lambda: pd.Series([4, 8]), sum),
    ("image", lambda: Image.new("L", (4, 4)), lambda i: i.getpixel((1, 1))),
    ("pydantic model", Chat, lambda c: c.model_dump_json()),
    ("frozen pydantic model", Frozen, lambda c: c.n),
    ("attrs", Slotted, str),
    ("frozen attrs", Point, str),
    ("dataclass", Data, str),
    ("dataclass with slots", SlottedData, str),
    ("named tuple", lambda: Pair([], 1), str),
]


@pytest.mark.filterwarnings("ignore:torch.ao.quantization:DeprecationWarning", "ignore:.*quantize.*")
@pytest.mark.parametrize(("maker", "function"), rows(READ))
def test_what_is_only_read_is_warmed_as_ever(check, maker, function):
    assert check(maker, function, "warmed").skipped == [None]


@pytest.mark.parametrize("name", ["array", "array with NaN", "tensor", "tensor with NaN", "module", "torch random"])
def test_what_is_only_read_under_inference_mode_is_warmed_as_ever(check, name):
    _, maker, function = next(row for row in READ if row[0] == name)
    with torch.inference_mode():
        assert check(maker, function, "warmed").skipped == [None]


@pytest.mark.slow  # transformers is seconds to import
def test_a_configuration_and_a_tokenizer_of_transformers_are_warmed_as_ever(check, guard):
    with guard(250):
        from transformers import LlamaConfig, PreTrainedTokenizerFast

    check(LlamaConfig, lambda config: config.hidden_size, "warmed")
    wrapped = lambda: PreTrainedTokenizerFast(tokenizer_object=tokenizer(), pad_token="a")  # noqa: E731, S106
    check(wrapped, lambda t: t(["a", "b"], padding=True)["input_ids"], "warmed")


def upload():
    return starlette.datastructures.UploadFile(io.BytesIO(DATA), filename="picture")


def scope(kind):
    return {"type": kind, "method": "POST", "path": "/", "headers": [], "query_string": b"n=1"}


def request():
    parts = [{"type": "http.request", "body": DATA, "more_body": False}, {"type": "http.disconnect"}]

    async def receive():
        return parts.pop(0)

    return starlette.requests.Request(scope("http"), receive)


def websocket():
    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "only message"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        pass

    return starlette.websockets.WebSocket(scope("websocket"), receive, send)


async def uploaded(picture):
    return len(await picture.read())


async def body(asked):
    return len(await asked.body())


async def streamed(asked):
    return [len(part) async for part in asked.stream()]


async def accepted(line):
    await line.accept()
    return await line.receive_text()


ONCE_ONLY = [
    ("upload", upload, uploaded),
    ("upload in a plain route", upload, lambda picture: len(picture.file.read())),
    ("uploads in a list", lambda: [upload()], lambda pictures: len(pictures[0].file.read())),
    ("request", request, body),
    ("request as a stream", request, streamed),
    ("web socket", websocket, accepted),
    ("iterator of numpy", lambda: np.nditer(np.arange(3)), lambda found: int(next(found))),
    ("loader's iterator", lambda: iter(torch.utils.data.DataLoader([1, 2])), lambda found: next(found).item()),
    ("chunks of a frame", lambda: pd.DataFrame({"a": [1, 2]}).itertuples(), lambda found: next(found).a),
]


@pytest.mark.parametrize(("maker", "function"), rows(ONCE_ONLY))
def test_what_only_one_run_can_use_is_refused_before_anything_ran(check, maker, function):
    check(maker, function, "refused")
