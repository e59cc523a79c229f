"""Kinds of argument that Python brings: a first call gives what a plain call gives, or refuses before anything ran."""

import argparse
import array
import asyncio
import collections
import csv
import ctypes
import gzip
import io
import itertools
import multiprocessing
import os
import pathlib
import queue
import socket
import sqlite3
import tempfile
import types

import pytest

DATA = b"0123456789" * 10


def file(kind):
    """A maker of an open file that is closed afterwards."""

    def make():
        with kind() as opened:
            opened.write(DATA if "b" in getattr(opened, "mode", "b") else DATA.decode())
            opened.seek(0)
            yield opened

    return make


def written():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "data")
        path.write_bytes(DATA)
        yield path


def opened(how):
    def make():
        for path in written():
            with how(path) as one:
                yield one

    return make


def nested(depth):
    """Containers in each other, around an empty list."""
    return {"in": (nested(depth - 2),)} if depth > 0 else []


def linked(length):
    """Objects in each other, around an empty list."""
    return types.SimpleNamespace(**{"in": linked(length - 1)}) if length else []


def deepest(value):
    while not isinstance(value, list):
        value = value[0] if isinstance(value, tuple) else (value if isinstance(value, dict) else vars(value))["in"]
    return value


def filled(kind):
    def make():
        line = kind()
        for job in "abc":
            line.put(job)
        return line

    return make


def process_queue():
    line = multiprocessing.get_context("spawn").SimpleQueue()
    line.put("only job")
    yield line
    line.close()


def buffered_process_queue():
    line = multiprocessing.get_context("spawn").Queue()
    line.put("only job")
    yield line
    line.close()
    line.join_thread()


def connection():
    here, there = multiprocessing.Pipe()
    with here, there:
        there.send("only message")
        yield here


def pipe_end():
    out, into = os.pipe()
    os.write(into, DATA)
    os.close(into)
    with os.fdopen(out, "rb", buffering=0) as reader:
        yield reader


def sockets():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(DATA)
        yield here


def database():
    base = sqlite3.connect(":memory:")
    base.execute("create table t (n)")
    base.executemany("insert into t values (?)", [(1,), (2,), (3,)])
    yield base
    base.close()


def cursor():
    for base in database():
        yield base.execute("select n from t")


def coroutine():
    async def one():
        return 5

    made = one()
    yield made
    made.close()


async def counting():
    for n in range(3):
        yield n


def stream_reader():
    reader = asyncio.StreamReader()
    reader.feed_data(DATA)
    reader.feed_eof()
    return reader


def async_queue():
    line = asyncio.Queue()
    line.put_nowait("only job")
    return line


async def awaited(value):
    return await value


async def got(line):
    return await line.get()


async def read_all(reader):
    return await reader.read()


async def stepped(stream):
    return await anext(stream)


def read(file):
    return file.read(5)


def taken(line):
    return line.get(timeout=20)


ONCE_ONLY = [
    ("BytesIO", lambda: io.BytesIO(DATA), read),
    ("StringIO", lambda: io.StringIO("a\nb\n"), lambda file: file.readline()),
    ("BufferedReader over BytesIO", lambda: io.BufferedReader(io.BytesIO(DATA)), read),
    ("TextIOWrapper", lambda: io.TextIOWrapper(io.BytesIO(DATA)), read),
    ("open file", opened(lambda path: path.open("rb")), read),
    ("open text file", opened(lambda path: path.open()), lambda file: file.readlines()),
    ("unbuffered file", opened(lambda path: path.open("rb", buffering=0)), read),
    ("TemporaryFile", file(tempfile.TemporaryFile), read),
    ("NamedTemporaryFile", file(tempfile.NamedTemporaryFile), read),
    ("SpooledTemporaryFile", file(tempfile.SpooledTemporaryFile), read),
    ("GzipFile", lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA))), read),
    ("end of a pipe", pipe_end, read),
    ("Queue", filled(queue.Queue), taken),
    ("LifoQueue", filled(queue.LifoQueue), taken),
    ("PriorityQueue", filled(queue.PriorityQueue), taken),
    ("SimpleQueue", filled(queue.SimpleQueue), taken),
    ("multiprocessing SimpleQueue", process_queue, lambda line: line.get()),
    ("multiprocessing Queue", buffered_process_queue, taken),
    ("Connection", connection, lambda end: end.recv()),
    ("asyncio Queue", async_queue, got),
    ("StreamReader", stream_reader, read_all),
    ("socket", sockets, lambda end: end.recv(10)),
    ("sqlite3 Cursor", cursor, lambda rows: rows.fetchone()),
    ("sqlite3 Connection", database, lambda base: base.execute("update t set n = n + 1 returning n").fetchall()),
    ("list iterator", lambda: iter([1, 2, 3]), list),
    ("generator", lambda: (n for n in range(3)), list),
    ("map", lambda: map(str, [1, 2]), list),
    ("filter", lambda: filter(None, [1, 2]), list),
    ("zip", lambda: zip([1], [2], strict=True), list),
    ("enumerate", lambda: enumerate("ab"), next),
    ("count", itertools.count, next),
    ("csv reader", lambda: csv.reader(["a,b", "c,d"]), next),
    ("scandir", opened(lambda path: os.scandir(path.parent)), lambda found: len(list(found))),
    ("async generator", counting, stepped),
    ("coroutine", coroutine, awaited),
    ("file in a dict", lambda: {"file": io.BytesIO(DATA)}, lambda d: d["file"].read()),
    ("queue in a list", lambda: [filled(queue.Queue)()], lambda lines: taken(lines[0])),
]


@pytest.mark.parametrize(("maker", "function"), [row[1:] for row in ONCE_ONLY], ids=[row[0] for row in ONCE_ONLY])
def test_what_only_one_run_can_use_is_refused_before_anything_ran(check, maker, function):
    check(maker, function, "refused")


def halved(values):
    for place in range(len(values)):
        values[place] //= 2
    return list(values)


def counted_twice(d):
    d["n"] += 1.5
    d["n"] += 1.5  # the first sum's place in memory may be given back to the second
    return d["n"]


def grown_twice(d):
    d["turns"] = d["turns"] + ["?"]
    d["turns"] = d["turns"] + ["!"]
    return d["turns"]


def flipped(view):
    view[0] ^= 1
    return view[0]


def plain(value):
    return value


def counted_up(space):
    space.n += 1
    return space.n


def appended(space):
    space.turns.append("?")
    return len(space.turns)


MUTATED = [
    ("list", lambda: [4, 8], halved, plain),
    ("list in a list", lambda: [[1]], lambda v: v[0].append(2) or len(v[0]), plain),
    ("sorted list", lambda: [3, 1, 2], lambda v: v.sort() or v[0], plain),
    ("reversed long list", lambda: list(range(30_000)), lambda v: v.reverse() or v[0], plain),
    ("long list of floats", lambda: [64.0] * 30_000, lambda v: v.__setitem__(slice(None), [v[0] / 2] * 30_000) or v[0], plain),
    ("dict", lambda: {"n": 1}, lambda d: d.update(n=d["n"] + 1) or d["n"], plain),
    ("dict counted twice", lambda: {"n": 0.5}, counted_twice, plain),
    ("dict grown twice", lambda: {"turns": ["a"]}, grown_twice, plain),
    ("dict whose key moves", lambda: {"a": 1, "b": 1}, lambda d: d.__setitem__("a", d.pop("a")) or list(d), list),
    ("set", lambda: {1, 2}, lambda s: s.pop(), plain),
    ("deque", lambda: collections.deque("abc"), lambda d: d.popleft(), list),
    ("rotated deque", lambda: collections.deque("abc"), lambda d: d.rotate(1) or d[0], list),
    ("Counter", lambda: collections.Counter("ab"), lambda c: c.update("a") or c["a"], dict),
    ("OrderedDict", lambda: collections.OrderedDict(a=1, b=2), lambda d: d.move_to_end("a") or list(d), list),
    ("defaultdict", lambda: collections.defaultdict(list), lambda d: d["x"].append(1) or len(d["x"]), dict),
    ("ChainMap", lambda: collections.ChainMap({"n": 1}), lambda d: d.update(n=d["n"] + 1) or d["n"], dict),
    ("UserDict", lambda: collections.UserDict(n=1), lambda d: d.update(n=d["n"] + 1) or d["n"], dict),
    ("UserList", lambda: collections.UserList([4, 8]), halved, list),
    ("bytearray", lambda: bytearray(4), flipped, bytes),
    ("long bytearray", lambda: bytearray(1_000_000), lambda b: b.__setitem__(777_777, b[777_777] ^ 1) or b[777_777], bytes),
    ("memoryview", lambda: memoryview(bytearray(4)), flipped, bytes),
    ("bytes behind a memoryview in a list", lambda: [memoryview(bytearray(4))], lambda v: flipped(v[0]), lambda v: bytes(v[0])),
    ("array", lambda: array.array("i", [4, 8]), halved, list),
    ("ctypes array", lambda: (ctypes.c_int * 2)(4, 8), halved, list),
    ("pointer of ctypes", lambda: ctypes.pointer(ctypes.c_int(8)), lambda p: setattr(p.contents, "value", p[0] // 2) or p[0], lambda p: p[0]),
    ("list 20 containers deep", lambda: nested(20), lambda v: deepest(v).append(1) or len(deepest(v)), repr),
    ("linked list of 100", lambda: linked(100), lambda v: deepest(v).append(1) or len(deepest(v)), lambda v: len(deepest(v))),
    ("SimpleNamespace", lambda: types.SimpleNamespace(n=1), counted_up, vars),
    ("list in a SimpleNamespace", lambda: types.SimpleNamespace(turns=[]), appended, vars),
    ("argparse Namespace", lambda: argparse.Namespace(n=1), counted_up, vars),
    ("list behind a tuple", lambda: ([1], 2), lambda t: t[0].append(1) or len(t[0]), plain),
]  # fmt: skip


@pytest.mark.parametrize(("maker", "function", "look"), [row[1:] for row in MUTATED], ids=[row[0] for row in MUTATED])
def test_what_the_first_run_changes_is_given_to_no_other_run(check, maker, function, look):
    check(maker, function, "mutated", look)
