"""An event loop stays alive during a real inductor compile that ``awarm`` makes."""

import asyncio
import time

import pytest
import torch

from jitwarmup import warmed

PERIOD_S = 0.005


async def lags_during(warm) -> list[float]:
    """How late a timer fired while ``warm`` was under way."""
    seen: list[float] = []

    async def watch():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(PERIOD_S)
            seen.append(time.perf_counter() - before - PERIOD_S)

    task = asyncio.create_task(watch())
    await asyncio.sleep(10 * PERIOD_S)
    await warm()
    await asyncio.sleep(2 * PERIOD_S)
    task.cancel()
    return sorted(seen)


def model(width: int):
    return torch.compile(torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.GELU()))


async def compare(width: int) -> tuple[float, float, float]:
    """p99 and maximum of the lag with ``awarm``, and the maximum without; two programs: none finds the other's kernels."""
    ours, inline = (warmed(iterations=1)(model(size)) for size in (width, width + 4))

    async def at_once():
        inline.warm(torch.ones(4, width + 4))

    off = await lags_during(lambda: ours.awarm(torch.ones(4, width)))
    blocked = await lags_during(at_once)
    assert ours.ready
    return off[int(0.99 * (len(off) - 1))], off[-1], blocked[-1]


@pytest.mark.slow
@pytest.mark.timed
def test_p99_of_the_loops_lag_is_at_most_50_ms(monkeypatch, capsys) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor, "force_disable_caches", True)
    torch.compile(lambda x: x + 1)(torch.ones(2))  # torch's own first imports are paid here, not compared
    compared = [asyncio.run(compare(32))]
    while compared[-1][0] > 0.050 and len(compared) < 3:  # other work of the machine is not ours: try again
        compared.append(asyncio.run(compare(32 + 8 * len(compared))))
    p99, highest, blocked = compared[-1]
    with capsys.disabled():
        print(f"\nloop lag during a real compile: awarm p99 {1e3 * p99:.1f} ms, max {1e3 * highest:.0f} ms", end="")
        print(f"; inline max {1e3 * blocked:.0f} ms")
    assert p99 <= 0.050
    assert blocked > highest
