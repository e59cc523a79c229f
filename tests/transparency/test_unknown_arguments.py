"""Arguments of classes that nothing is known about: one run, said once a class, unless `reusable=` knows better."""

import collections
import contextvars
import ctypes
import hashlib
import io
import mmap
import re
import select
import sqlite3
import subprocess
import sys
import threading
import weakref
import zipfile
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from xml.etree import ElementTree as ET

import pytest

from jitwarmup import ArgumentError, warmed
from jitwarmup.testing import capture_events

ALL_RUNS = 4  # of iterations=2
COMPLETED = "jitwarmup.warmup.completed"


class Handle:
    """Holds nothing but a function, whose own state no walk gets to."""

    __slots__ = ("grow",)

    def __init__(self):
        kept = []
        self.grow = lambda: kept.append(1) or len(kept)


class WithDict:
    def __init__(self):
        self.turns, self.n = [], 0


class WithSlots:
    __slots__ = ("n", "turns")

    def __init__(self):
        self.turns, self.n = [], 0


class Pickled:
    """Holds what a C library made, and says how to be pickled."""

    def __init__(self):
        self.packer = zlib.compressobj()
        self.turns = []

    def __getstate__(self):
        return {"turns": self.turns}


class Property:
    """Its attributes cannot be read without doing something."""

    def __init__(self):
        self._reads = 0

    @property
    def reads(self):
        self._reads += 1
        return self._reads


class Receiving:
    """Of no library, and once-only by what it can do."""

    def __init__(self):
        self.parts = [b"a", b"b", b"c", b"d", b"e"]

    def recv(self):
        return self.parts.pop()


class Reading(Receiving):
    def read(self):
        return self.parts.pop()


class Stepping(Receiving):
    def __iter__(self):
        return self

    def __next__(self):
        return self.parts.pop()


def zipped():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        packed.writestr("name", b"data")
        yield packed


def mapped():
    with mmap.mmap(-1, 16) as memory:
        yield memory


def future():
    done = Future()
    done.set_result([1])
    return done


def executor():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def process():
    with subprocess.Popen([sys.executable, "-c", "print(5)"], stdout=subprocess.PIPE) as child:
        yield child
        child.stdout.read()


def poller():
    with select.epoll() as polled:
        yield polled


def blob():
    base = sqlite3.connect(":memory:")
    base.execute("create table t (b)")
    base.execute("insert into t values (x'00')")
    with base.blobopen("t", "b", 1) as found:
        yield found
    base.close()


def locked(lock):
    with lock:
        return True


def context_counted(variable):
    variable.set(variable.get() + 1)
    return variable.get()


def kept(local):
    local.n = getattr(local, "n", 0) + 1
    return local.n


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_int))


ODD = [
    ("lock", threading.Lock, locked),
    ("reentrant lock", threading.RLock, locked),
    ("lock that is kept", threading.Lock, lambda lock: lock.acquire(blocking=False)),
    ("semaphore that is kept", lambda: threading.Semaphore(1), lambda s: s.acquire(blocking=False)),
    ("condition", threading.Condition, locked),
    ("event", threading.Event, lambda event: (event.is_set(), event.set())[0]),
    ("thread's own", threading.local, kept),
    ("context variable", lambda: contextvars.ContextVar("n", default=0), context_counted),
    ("context", contextvars.copy_context, lambda context: context.run(lambda: 1)),
    ("hash", hashlib.sha256, lambda h: h.update(b"a") or h.hexdigest()),
    ("packer", zlib.compressobj, lambda c: c.compress(b"a" * 9) + c.flush(zlib.Z_SYNC_FLUSH)),
    ("element", lambda: ET.Element("a"), lambda e: ET.SubElement(e, "b") is None or len(e)),
    ("structure", Pair, lambda p: setattr(p, "a", p.a + 1) or p.a),
    ("weak list", weakref.WeakValueDictionary, len),
    ("match", lambda: re.match("(a)", "a"), lambda m: m.group(1)),
    ("zip file", zipped, lambda z: z.read("name")),
    ("memory map, written", mapped, lambda m: m.__setitem__(0, m[0] + 1) or m[0]),
    ("memory map, read", mapped, lambda m: m.read_byte()),
    ("future", future, lambda f: f.result(20)),
    ("executor", executor, lambda pool: pool.submit(int, "5").result(20)),
    ("process", process, lambda child: child.stdout.readline()),
    ("poller", poller, lambda polled: polled.closed),
    ("blob", blob, lambda b: b.__setitem__(0, b[0] + 1) or b[0]),
    ("stack", ExitStack, lambda stack: stack.callback(int) is None or len(stack._exit_callbacks)),
    ("object with a dict", WithDict, lambda o: o.turns.append("?") or len(o.turns)),
    ("number of an object with a dict", WithDict, lambda o: setattr(o, "n", o.n + 1) or o.n),
    ("new attribute of an object", WithDict, lambda o: setattr(o, f"a{len(vars(o))}", 1) or len(vars(o))),
    ("object with slots", WithSlots, lambda o: o.turns.append("?") or len(o.turns)),
    ("number of an object with slots", WithSlots, lambda o: setattr(o, "n", o.n + 1) or o.n),
    ("object that says how to be pickled", Pickled, lambda o: o.turns.append("?") or len(o.turns)),
    ("what a C library made in an object", Pickled, lambda o: o.packer.compress(b"a") + o.packer.flush(2)),
    ("property that counts", Property, lambda o: o.reads),
    ("object with recv", Receiving, lambda o: o.recv()),
    ("object with read", Reading, lambda o: o.read()),
    ("object with next", Stepping, next),
    ("object with a file", lambda: collections.UserDict(file=io.BytesIO(b"abc")), lambda d: d["file"].read(1)),
]


@pytest.mark.parametrize(("maker", "function"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_a_first_call_gives_what_a_plain_call_gives_or_refuses(check, maker, function):
    check(maker, function, "refused or same")


@pytest.mark.parametrize("kind", [Receiving, Reading, Stepping])
def test_what_delivers_is_refused_whoever_wrote_its_class(check, kind):
    check(kind, lambda one: type(one).recv(one), "refused")


def test_what_is_unknown_is_run_once_and_its_class_is_named(check):
    seen = check(zlib.compressobj, lambda c: c.compress(b"a") + c.flush(zlib.Z_SYNC_FLUSH), "mutated")
    assert seen.skipped == ["arguments_unknown"]
    named = next(event for event in seen.events if event["event"] == COMPLETED)
    assert "Compress" in str(named)


def test_warm_says_so_too():
    assert warmed(iterations=2)(lambda packer: None).warm(zlib.compressobj()).skipped == "arguments_unknown"


def test_a_class_is_named_once(counted):
    runs = counted(lambda n, one: n)
    function = warmed(iterations=2, key=lambda n, one: n)(runs)
    with capture_events() as events:
        for n, one in enumerate([hashlib.sha512(), hashlib.sha512(), zlib.decompressobj()]):
            assert function(n, one) == n
    assert runs.runs == 3
    named = [str(event) for event in events if event["event"] == COMPLETED and event["skipped"] == "arguments_unknown"]
    assert [sum(name in one for one in named) for name in ("HASH", "Decompress")] == [1, 1]


REUSABLE = {
    "a class": lambda kind: kind,
    "classes": lambda kind: (int, kind),
    "a predicate": lambda kind: lambda value: isinstance(value, kind),
}


@pytest.mark.parametrize("how", REUSABLE)
@pytest.mark.parametrize("nested", [False, True], ids=["itself", "in a dict in a list"])
@pytest.mark.parametrize(
    "maker", [zlib.compressobj, Handle, Receiving, threading.Lock], ids=["unknown", "closure", "once-only", "lock"]
)
def test_what_is_said_to_be_reusable_is_warmed_as_ever(check, how, nested, maker):
    kind = type(maker())
    make = (lambda: [{"one": maker()}]) if nested else maker
    assert check(make, lambda one: 5, "warmed", reusable=REUSABLE[how](kind)).skipped == [None]


def test_what_is_said_to_be_reusable_leaves_others_as_they_are(check):
    check(lambda: [io.BytesIO(b"abc"), zlib.compressobj()], lambda both: both[0].read(), "refused", reusable=Handle)


@pytest.mark.parametrize("value", [3, "Handle", (Handle, 3)], ids=["number", "text", "not only classes"])
def test_reusable_is_checked_at_decoration(value):
    with pytest.raises(ArgumentError, match="reusable"):
        warmed(reusable=value)


# --------------------------------------------------------------------------------------------- receivers


class Conversation:
    def __init__(self):
        self.turns = []

    def ask(self, text):
        self.turns.append(text)
        return len(self.turns)

    def length(self):
        return len(self.turns)

    @warmed(iterations=2)
    def decorated(self, text):
        self.turns.append(text)
        return len(self.turns)


RECEIVERS = [
    ("bound method", lambda: (talk := Conversation(), talk.ask), ("hi",)),
    ("append of a list", lambda: (items := [], items.append), (1,)),
    ("pop of a list", lambda: (items := [1, 2, 3, 4, 5], items.pop), ()),
    ("sort of a list", lambda: (items := [2, 1], items.sort), ()),
    ("popitem of a dict", lambda: (items := dict.fromkeys(range(9)), items.popitem), ()),
    ("popleft of a deque", lambda: (items := collections.deque(range(9)), items.popleft), ()),
]


@pytest.mark.parametrize(("maker", "args"), [row[1:] for row in RECEIVERS], ids=[row[0] for row in RECEIVERS])
def test_a_bound_method_whose_receiver_grows_gives_the_plain_value(maker, args):
    (held, plain), (ours, bound) = maker(), maker()
    function = warmed(iterations=2)(bound)
    value = plain(*args)
    assert function(*args) == value
    assert str(getattr(ours, "turns", ours)) == str(getattr(held, "turns", held))


def test_a_decorated_method_whose_object_grows_gives_the_plain_value():
    talk = Conversation()
    assert (talk.decorated("hi"), talk.turns) == (1, ["hi"])
    assert (talk.decorated("again"), len(talk.turns)) == (2, 2)


def test_a_receiver_that_stays_as_it_is_is_warmed_as_ever(counted):
    runs = counted(Conversation.length)

    class Talk(Conversation):
        size = warmed(iterations=2)(runs)

    assert Talk().size() == 0
    assert runs.runs == ALL_RUNS
