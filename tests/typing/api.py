"""What mypy --strict sees of the public face. Only type-checked, never run: see test_typing.py."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type

from jitwarmup import (
    Coverage,
    Decision,
    Phase,
    Preparation,
    Report,
    Run,
    State,
    Summary,
    Verdict,
    Warmed,
    Warmup,
    by_bucket,
    by_shape,
    classify,
    is_warming,
    readiness,
    steady_state,
    until_steady,
    warmed,
)

# ------------------------------------------------------------------------------------------------ def


@warmed(iterations=5)
def generate(prompt: str, *, tokens: int = 16) -> bytes:
    return prompt.encode()


assert_type(generate("hi", tokens=3), bytes)
assert_type(generate.warm("hi"), Warmup)
assert_type(generate.measure("hi", tokens=3), Report)
assert_type(generate.ready, bool)
assert_type(generate.state, State)
assert_type(generate.flush(), None)
assert_type(generate.reset(), None)
generate(3)  # type: ignore[arg-type]
generate()  # type: ignore[call-arg]
generate("hi", nonsense=1)  # type: ignore[call-arg]
generate.warm(3)  # type: ignore[arg-type]
generate.measure("hi", tokens="3")  # type: ignore[arg-type]


@warmed
def bare(x: int) -> str:
    return str(x)


assert_type(bare(1), str)
assert_type(bare.measure(1), Report)
bare("1")  # type: ignore[arg-type]


@warmed()
def called(x: int) -> str:
    return str(x)


assert_type(called(1), str)


@warmed(iterations=until_steady(at_most=9) & until_steady(strict=True), budget_s=60.0)
def ruled(x: float) -> float:
    return x


assert_type(ruled(1.0), float)


def wants_a_function(function: Callable[[float], float]) -> None: ...


wants_a_function(ruled)

# ------------------------------------------------------------------------------------------------ the other kinds of callable


@warmed()
async def answer(question: str) -> bytes:
    return question.encode()


@warmed()
def stream(prompt: str) -> Iterator[str]:
    yield prompt


@warmed()
def send(prompt: str) -> Generator[str, int, bool]:
    return (yield prompt) > 0


@warmed()
async def later(prompt: str) -> AsyncIterator[str]:
    yield prompt


@warmed()
async def both(prompt: str) -> AsyncGenerator[str, int]:
    yield prompt


async def asynchronous() -> None:
    started: Coroutine[Any, Any, bytes] = answer("hi")
    assert_type(await started, bytes)
    assert_type(await answer("hi"), bytes)
    assert_type(await answer.warm("hi"), Warmup)
    assert_type(await answer.measure("hi"), Report)
    assert_type(later("hi"), AsyncIterator[str])
    assert_type(await later.warm("hi"), Warmup)
    assert_type(await later.measure("hi"), Report)
    assert_type(both("hi"), AsyncGenerator[str, int])
    assert_type(await both.measure("hi"), Report)
    async with steady_state(iterations=0) as steady:
        assert_type(steady.block, Run | None)


assert_type(stream("hi"), Iterator[str])
assert_type(stream.warm("hi"), Warmup)
assert_type(stream.measure("hi"), Report)
assert_type(send("hi"), Generator[str, int, bool])
assert_type(send.measure("hi"), Report)

# ------------------------------------------------------------------------------------------------ methods


class Service:
    @warmed(iterations=2)
    def generate(self, prompt: str) -> bytes:
        return prompt.encode()

    @warmed
    async def answer(self, prompt: str) -> bytes:
        return prompt.encode()

    @staticmethod
    @warmed()
    def below(x: int) -> str:
        return str(x)

    @warmed()
    @staticmethod
    def above(x: int) -> str:
        return str(x)

    def __call__(self, x: int) -> str:
        return str(x)

    def plain(self, x: int) -> str:
        return str(x)


service = Service()
assert_type(service.generate("hi"), bytes)
assert_type(service.generate.warm("hi"), Warmup)
assert_type(service.generate.measure("hi"), Report)
assert_type(service.generate.ready, bool)
assert_type(Service.generate(service, "hi"), bytes)
service.generate(3)  # type: ignore[arg-type]


async def asynchronous_methods() -> None:
    assert_type(await service.answer("hi"), bytes)
    assert_type(await service.answer.warm("hi"), Warmup)


assert_type(Service.below(1), str)
assert_type(Service.below.warm(1), Warmup)
assert_type(Service.above(1), str)
assert_type(Service.above.measure(1), Report)
assert_type(warmed()(service.plain)(1), str)
assert_type(warmed()(service)(1), str)
warmed()(service.plain)("1")  # type: ignore[arg-type]


class Child(Service):
    @warmed()
    def generate(self, prompt: str) -> bytes:
        return super().generate(prompt)


assert_type(Child().generate("hi"), bytes)

# ------------------------------------------------------------------------------------------------ blocks and reports

with steady_state(generate, "hi", iterations=5, measurements=20) as steady:
    for trial in steady.trials():
        with trial:
            assert_type(trial.phase, Phase)
assert_type(steady.reports, tuple[Report, ...])
assert_type(steady.block, Run | None)
assert_type(is_warming(), bool)


def read(report: Report, warmed_function: Warmed[[str], bytes]) -> None:
    assert_type(report.latency_s, float | None)
    assert_type(report.latency, Summary)
    assert_type(report.verdict, Verdict)
    assert_type(report.validation, Run | None)
    assert_type(report.warmup, tuple[Run, ...])
    assert_type(report.decision, Decision | None)
    assert_type(report.amortised(100), float | None)
    assert_type(report.explain(), str)
    assert_type(report.raise_for_failure(), None)
    assert_type(Report.from_dict(report.to_dict()), Report)
    assert_type(warmed_function("hi"), bytes)
    label: str = classify([1.0, 2.0]).label
    assert_type(label, str)
    report.latency_s = 1.0  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ in production

assert_type(generate.warm_all(["hi"], weights=[1.0], budget_s=3.0), Preparation)
assert_type(service.generate.warm_all(["hi"]), Preparation)
generate.warm_all(["hi"], polcy="ready")  # type: ignore[call-arg]
generate.warm_all(["hi"], policy=3)  # type: ignore[arg-type]
assert_type(generate.coverage(), Coverage)
assert_type(generate.status(), dict[str, Any])
assert_type(readiness(generate, service.generate).ready, bool)
warmed(key=by_shape)(generate)
warmed(key=by_bucket([16, 64]))(generate)


async def off_the_loop() -> None:
    assert_type(await generate.awarm("hi"), Warmup)
    assert_type(await answer.awarm("hi"), Warmup)
    assert_type(await answer.warm_all(["hi"]), Preparation)
    assert_type(await generate.awarm_all(["hi"]), Preparation)
    await generate.awarm(3)  # type: ignore[arg-type]
