"""
The exchange group: a gloo group of its own, over which ranks that warm up together agree.

It has its own long time-out, so that one rank's ten-minute compile trips nobody's collectives, and it is not registered
with torch.distributed, so that user code never meets it. A member that dies closes its connections: whoever waits for it
learns it at once, probes who it was, and posts a departure; the others look for departures while they wait. Once broken it is
given up, and the next plan opens a new generation, unless a member is dead. Before the first plan has connected the
members nothing tells a dead one from a late one.

    exchange   all-gather of one small row a rank: (p - 1) steps around a ring (Thakur, Rabenseifner and Gropp 2005,
               "Optimization of Collective Communication Operations in MPICH", section 4.1); a second one where a
               message is longer than fits
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from jitwarmup.distributed.notices import Departure, NoticeBoard, StoreGone, ask, distributed
from jitwarmup.distributed.waiting import LOOK_S, Broken, ExchangeWait, Waiting, in_thread, started, with_timeout
from jitwarmup.records.errors import RankFailed
from jitwarmup.records.protocols import Exchanged

ROOM = 192  # bytes of a row; the message of a quiet run fits
HEAD = 4  # of them, the length of the message
CONNECT_S = 120.0  # for the connections between members that have all come
GRACE_TICKS = 50  # pauses of 20 ms that rank 0 waits before it goes on, when something went wrong
MOST_PAUSES = 25  # of 20 ms, between two looks for the other members
PROBE_TAG = 77


class ExchangeGroup:
    """One set of ranks, in an order that is the same on all of them; shared by every plan over the same members."""

    def __init__(self, members: tuple[int, ...], rank: int) -> None:
        self.members, self.rank = members, rank
        self.generation = 0
        self.group: Any = None
        self.count = 0  # exchanges begun in this generation
        self.pending = False  # an operation of the group was left behind
        self.lock = threading.Lock()
        self.name = "jitwarmup/" + hashlib.sha256(repr(members).encode()).hexdigest()[:16]

    @property
    def board(self) -> NoticeBoard:
        return NoticeBoard(f"{self.name}/{self.generation}")

    def exchange(self, message: bytes, timeout_s: float) -> Generator[Any, None, Exchanged]:
        """The message of every member; each is waited for ``timeout_s`` at most."""
        while not self.lock.acquire(blocking=False):  # another thread's plan is exchanging
            yield None
        try:
            watch = ExchangeWait(self.board, self.members, self.rank, timeout_s)
            if self.group is None:
                yield from self.open(watch)
            self.count += 1
            watch.count = self.count
            return Exchanged(messages=(yield from self.messages(message, watch)))
        except Broken as broken:
            for _ in range(GRACE_TICKS if self.rank == 0 else 0):  # it may hold the store; the others still read it
                yield None
            self.abandon()
            self.generation += not broken.final
            return Exchanged(lost=broken.error)
        except StoreGone:
            dead = self.probe() if self.group is not None else ()
            self.abandon()
            return Exchanged(lost=no_store(dead))
        finally:
            self.lock.release()

    def leave(self, reason: str) -> None:
        """Tell the others that this rank will not come; never waits, never raises."""
        with suppress(StoreGone):
            with_timeout(lambda: self.board.post(Departure("left", (self.rank,), reason)))
        self.abandon()
        self.generation += 1

    def abandon(self) -> None:
        """Give the group up; the next plan opens another."""
        if self.group is not None and self.pending:
            leak(self.group)  # dropped, it would wait for the operation to end, at the latest at the process's exit
        self.group, self.pending = None, False

    def open(self, watch: ExchangeWait) -> Waiting:
        """Wait for all members, then connect."""
        yield from self.gather_members(watch)
        connecting = started(self.connect, "jitwarmup-connect")
        while not connecting.done():
            yield from watch.look()
            yield connecting
        if (error := connecting.exception()) is not None:
            watch.fail(Departure("died", (), f"connecting failed ({type(error).__name__})"))
        self.group, self.count = connecting.result(), 0

    def gather_members(self, watch: ExchangeWait) -> Waiting:
        """Note that this rank is here, until all members have noted it."""
        # each generation that ended is learned of once, also why; that this rank came too late for one is no news to it
        while (departure := (yield from in_thread(self.board.departure))) is not None and departure.kind == "late":
            self.generation += 1
        watch.board = self.board
        yield from in_thread(lambda: self.board.put("here", self.rank))
        pauses = 1
        while True:
            yield from in_thread(watch.raise_departure)
            if (yield from in_thread(lambda: self.board.all_put("here", self.members))):
                return
            if watch.spent:
                watch.fail(watch.late((yield from in_thread(lambda: self.board.missing("here", self.members)))))
            for _ in range(pauses):
                yield None
            pauses = min(MOST_PAUSES, 2 * pauses)  # ever less often: every rank asks the one store

    def connect(self) -> Any:
        """Make the group."""
        dist = distributed()
        store = dist.PrefixStore(f"{self.name}/{self.generation}/gloo", dist.distributed_c10d._get_default_store())
        at = self.members.index(self.rank)
        return dist.ProcessGroupGloo(store, at, len(self.members), timedelta(seconds=CONNECT_S))

    def messages(self, message: bytes, watch: ExchangeWait) -> Generator[Any, None, tuple[bytes, ...]]:
        """One row of each member; a second, longer one where a message did not fit."""
        rows = yield from self.gather(row_of(message, ROOM), watch)
        lengths = [int.from_bytes(row[:HEAD]) for row in rows]
        if max(lengths) > ROOM - HEAD:
            rows = yield from self.gather(row_of(message, HEAD + max(lengths)), watch)
        return tuple(row[HEAD : HEAD + length] for row, length in zip(rows, lengths, strict=True))

    def gather(self, row: bytes, watch: ExchangeWait) -> Generator[Any, None, list[bytes]]:
        """One all-gather of rows of equal length."""
        import torch
        from torch._C._distributed_c10d import AllgatherOptions

        options = AllgatherOptions()
        options.timeout = timedelta(seconds=watch.timeout_s + CONNECT_S)  # beyond ours: we know better who is missing
        work = None
        try:
            with torch._C._DisableTorchDispatch():  # a user's FakeTensorMode would hand gloo tensors without memory
                given = torch.tensor(list(row), dtype=torch.uint8, device="cpu")
                taken = [torch.empty_like(given) for _ in self.members]
                work = self.group.allgather([taken], [given], options)
            while not work.is_completed():
                yield work
                if not work.is_completed():  # what all have sent counts, though somebody left right after it
                    yield from watch.look()
            work.wait()
        except RuntimeError:  # gloo: a connection was closed
            yield from self.explain(watch)
        finally:
            if work is not None and not work.is_completed():
                self.pending = True
                leak(work)
        with torch._C._DisableTorchDispatch():
            return [bytes(each.tolist()) for each in taken]

    def explain(self, watch: ExchangeWait) -> Waiting:
        """A connection was closed: by whom, and why? Raises Broken."""
        yield from watch.look(now=True)  # who left on purpose noted it before
        dead = self.probe()
        until = time.monotonic() + 2 * LOOK_S
        while time.monotonic() < until:  # stay connected: the others probe too, and must not find this rank dead
            yield from watch.look(now=True)
            yield None
        watch.fail(Departure("died", dead, "its process ended, or its host cannot be reached"))

    def probe(self) -> tuple[int, ...]:
        """The members whose connection is closed: an operation on it fails at once."""
        import torch

        dead = []
        for at, rank in enumerate(self.members):
            try:
                if rank != self.rank:
                    with torch._C._DisableTorchDispatch():
                        byte = [torch.zeros(1, dtype=torch.uint8, device="cpu")]
                    self.pending = True
                    leak(self.group.recv(byte, at, PROBE_TAG))
            except RuntimeError:
                dead.append(rank)
        return tuple(dead)


def no_store(dead: tuple[int, ...] = ()) -> RankFailed:
    """The error where the job's store is gone, and with it rank 0 or the launcher."""
    who = f", and the connections to ranks {', '.join(map(str, dead))} are closed" if dead else ""
    return RankFailed(
        f"the job's store does not answer{who}: rank 0 or the launcher has ended; start the job again, or measure each "
        "rank by itself with ranks=None",
        dead,
    )


def row_of(message: bytes, length: int) -> bytes:
    """A message with its length in front, cut or filled up to ``length`` bytes."""
    return (len(message).to_bytes(HEAD) + message)[:length].ljust(length, b"\0")


def leak(thing: Any) -> None:
    """Keep an object alive for as long as the process lives, its destructor never run."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


# by the job's group
GROUPS: weakref.WeakKeyDictionary[Any, dict[tuple[int, ...], ExchangeGroup]] = weakref.WeakKeyDictionary()
MAKING = threading.Lock()
atexit.register(GROUPS.clear)  # gloo's threads end while the interpreter is still whole


def exchange_group_of(members: tuple[int, ...], rank: int) -> ExchangeGroup:
    """The exchange group of these members; forgotten when torch.distributed is shut down, with its hold on the store."""
    with MAKING:
        groups = GROUPS.setdefault(distributed().group.WORLD, {})
        if members not in groups:
            made = groups[members] = ExchangeGroup(members, rank)
            with suppress(StoreGone):  # a store may outlive a job of this process, with its notes
                made.name += f"/{with_timeout(lambda: ask('add', f'{made.name}/jobs/{rank}', 1))}"
        return groups[members]
