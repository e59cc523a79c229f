"""
Production paths under load, with figures: races, the event loop during a real compile, a soak.

    python tests/bench/production.py [races] [loop] [soak]

Each part prints what happens with jitwarmup beside a control without it. ``loop`` compiles with inductor (half a minute
or more); ``soak`` makes 1,000,000 calls.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

import jitwarmup
from jitwarmup import warmed
from jitwarmup.host import process_size
from jitwarmup.testing import capture_events

THREADS, TASKS = 64, 1000
CALLS, SERVERS = 1_000_000, 8


def compiled(name: str, graphs: list[int]):
    """A compiled function of its own code object; ``graphs`` gets one entry per compile."""
    space: dict[str, object] = {}
    exec(compile(f"def {name}(x):\n    return x * 2 + 1", f"<{name}>", "exec"), space)  # noqa: S102 - see above

    def backend(module, inputs):
        graphs.append(1)
        return module.forward

    return torch.compile(space[name], backend=backend, dynamic=False)


def race(function) -> int:
    """All threads at once on a cold function; how many right results came back."""
    barrier, results = threading.Barrier(THREADS), []

    def call():
        barrier.wait()
        results.append(function(torch.ones(8)))

    threads = [threading.Thread(target=call) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(torch.equal(result, torch.full((8,), 3.0)) for result in results)


def races() -> None:
    """64 threads and 1,000 tasks on a cold compiled function."""
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # the control's own 56 warnings of the limit it hits
    rows = []
    for name in ("control", "jitwarmup"):
        graphs: list[int] = []
        function = compiled(f"race_{name}", graphs)
        function = warmed(iterations=2)(function) if name == "jitwarmup" else function
        with capture_events() as events:
            right = race(function)
            at_first = len(graphs)
            function(torch.ones(9))
        warmups = sum(event["event"] == "jitwarmup.warmup.completed" for event in events)
        rows.append((f"{THREADS} threads, {name}", at_first, right, warmups, len(graphs) - at_first))
    graphs = []
    inner = compiled("race_tasks", graphs)

    @warmed(iterations=2)
    async def answer(x):
        await asyncio.sleep(0)
        return inner(x)

    async def main():
        return await asyncio.gather(*(answer(torch.ones(8)) for _ in range(TASKS)))

    with capture_events() as events:
        right = sum(torch.equal(result, torch.full((8,), 3.0)) for result in asyncio.run(main()))
        at_first = len(graphs)
        asyncio.run(once(answer, torch.ones(9)))
    warmups = sum(event["event"] == "jitwarmup.warmup.completed" for event in events)
    rows.append((f"{TASKS} tasks, jitwarmup", at_first, right, warmups, len(graphs) - at_first))
    print(f"{'race on a cold function':28} {'compiles':>9} {'right':>6} {'warm-ups':>9}  new shape compiles")
    for label, compiles, right, warmups, later in rows:
        print(f"{label:28} {compiles:9} {right:6} {warmups:9}  {'yes' if later else 'NO: silently eager'}")


async def once(function, x):
    return await function(x)


class Lag:
    """How late a 5 ms timer of the event loop fires."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    async def watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            self.seen.append(time.perf_counter() - before - 0.005)

    def row(self, label: str, compile_s: float) -> str:
        ordered = sorted(self.seen)
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        return f"{label:12} {compile_s:10.1f} {1000 * p99:10.1f} {1000 * ordered[-1]:10.1f} {len(ordered):8}"


def model(width: int):
    layers = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.Linear(width, width))
    return torch.compile(layers)


async def during(warm) -> tuple[Lag, float]:
    lag = Lag()
    task = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await warm()
    spent = time.perf_counter() - began
    await asyncio.sleep(0.01)
    task.cancel()
    return lag, spent


def loop() -> None:
    """The event loop's lag during a real inductor compile."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    model(8)(torch.ones(1, 8))  # torch's own first imports, not the compile, are paid here
    x = torch.ones(4, 64)
    ours = warmed(iterations=1)(model(64))
    inline = warmed(iterations=1)(model(96))  # another width, or the control would find its kernels built

    async def main():
        off = await during(lambda: ours.awarm(x))

        async def at_once():
            inline.warm(torch.ones(4, 96))

        return off, await during(at_once)

    with capture_events():
        (off, off_s), (blocked, blocked_s) = asyncio.run(main())
    print(f"{'loop lag':12} {'warm s':>10} {'p99 ms':>10} {'max ms':>10} {'ticks':>8}")
    print(off.row("awarm", off_s))
    print(blocked.row("inline", blocked_s))


def soak() -> None:
    """A million warm calls from 8 threads: counts exact, memory flat."""
    function = warmed(emit="summary", iterations=1, key=lambda x: x % 2)(lambda x: x)
    with capture_events() as events:
        function.warm(0)
        function.warm(1)
        each = CALLS // SERVERS
        sizes = []

        for _ in range(2):  # the first half fills arenas and the percentiles' ring
            threads = [threading.Thread(target=serve_half, args=(function, each // 2)) for _ in range(SERVERS)]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            spent = time.perf_counter() - began
            gc.collect()
            sizes.append(process_size.read())
        function.flush()
    found = function.coverage()
    counted = sum(event["count"] for event in events if event["event"] == "jitwarmup.summary")
    lost = sum(event["event"] == "jitwarmup.steady_state.lost" for event in events)
    grown = sizes[1].memory_bytes - sizes[0].memory_bytes
    print(f"soak: {CALLS} calls from {SERVERS} threads: summaries count {counted}, coverage {found.calls}/{found.hits}")
    print(f"soak: {lost} lost events; second half: {spent / (CALLS / 2) * 1e6:.1f} us a call over all threads")
    print(f"soak: memory {sizes[0].memory_bytes >> 10} -> {sizes[1].memory_bytes >> 10} KiB over the second half")
    print(
        f"soak: that is {grown / (CALLS / 2):+.3f} bytes a call; descriptors {sizes[0].descriptors}, {sizes[1].descriptors}"
    )
    assert counted == found.calls == found.hits == CALLS


def serve_half(function, count: int) -> None:
    for call in range(count):
        function(call)


PARTS = {"races": races, "loop": loop, "soak": soak}


def main() -> None:
    print(f"python {sys.version.split()[0]}, torch {torch.__version__}, jitwarmup {jitwarmup.__version__}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; run in {Path.cwd().name}")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
