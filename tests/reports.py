"""Reports made of numbers, for whatever is looked at."""

import random

import pytest

from jitwarmup import DeviceReading, Failure, OneTimeWork, Phase, Run
from jitwarmup.analysis.audit import audit
from jitwarmup.analysis.compose import compose

COLD = [
    OneTimeWork(kind="dynamo.capture", duration_s=4.1),
    OneTimeWork(kind="inductor.compile", duration_s=22.0, count=3),
    OneTimeWork(kind="import", count=312, reason="torch 300"),
    OneTimeWork(kind="allocator.grow", count=4),
]


def reading(chance, at):
    return DeviceReading(
        uuid="GPU-1",
        name="NVIDIA H200",
        power_mean_w=300 + chance.random() * 50,
        sm_clock_mhz=(1900, 1980 - at % 7 * 15),
        temperature_c=(50, 50 + at % 9),
        throttled_s={"sw_power_cap": 0.001 * (at % 3)},
    )


@pytest.fixture
def make_report():
    def make(
        runs=20,
        *,
        device=False,
        stream=False,
        marked=(),
        name="package.module:generate",
        seed=1,
        started_at=1.7e9,
        step_s=None,
        steady_s=0.0203,
        compiles=1,
        failure=None,
        kinds=(),
        unwatched=None,
        environment=None,
        **of_each_run,  # such as `wait_s`
    ):
        chance, made, now = random.Random(seed), [], [started_at]

        def add(phase, index, seconds, work=(), **more):
            if stream:
                gaps = tuple(seconds * 0.06 * (1 + 0.2 * chance.random()) for _ in range(10))
                more |= {"first_item_s": seconds * 0.4, "item_gaps_s": gaps, "items": 11}
            if device and phase is Phase.MEASURE:
                more["device"] = reading(chance, index)
            made.append(
                Run(
                    phase=phase,
                    index=index,
                    started_at=now[0],
                    duration_ns=int(seconds * 1e9),
                    work=tuple(work),
                    **more,
                )
            )
            now[0] += step_s or seconds

        more_kinds = [OneTimeWork(kind=kind) for kind in kinds]
        add(Phase.VALIDATE, 0, 31.2, [*COLD, *more_kinds])
        recompile = OneTimeWork(kind="dynamo.recompile", duration_s=0.39, count=compiles, reason="size of x changed")
        add(Phase.WARM, 0, 1.2, [recompile] if compiles else [])
        for index in range(1, 5):
            add(Phase.WARM, index, 0.021 + 0.01 / index)
        for index in range(runs):
            late = index in marked
            work = [OneTimeWork(kind="dynamo.recompile", duration_s=0.39)] if late else []
            seconds = steady_s * (1 + 0.02 * chance.random()) + (0.4 if late else 0.0)
            add(Phase.MEASURE, index, seconds, work, contaminated=late, **of_each_run)
        return compose(
            callable=name,
            runs=made,
            verdict=audit(made, watched=("dynamo", "inductor"), unwatched=unwatched or {"triton": "not loaded"}),
            failure=failure,
            costs=[{"dynamo": 4.1, "inductor": 22.0}, {"dynamo": 0.39}, *({} for _ in range(4))],
            report_id=f"{seed:032x}",
            started_at=made[0].started_at,
            duration_s=40.0,
            environment=environment
            or {"python": "3.11", "torch": "2.13.0", "platform": "Linux-6.1-x86_64-with-glibc2.36"},
            device=next((run.device for run in made if run.device), None),
        )

    return make


@pytest.fixture
def failure():
    return Failure(phase=Phase.MEASURE, index=3, type="ValueError", message="<b>bad & worse</b>", traceback="...")
