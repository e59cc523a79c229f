"""An async function: fifty tasks race the first call, and one of them warms up for all."""

import asyncio

from jitwarmup import warmed

runs = 0


@warmed(iterations=5)
async def answer(question: str) -> str:
    global runs
    runs += 1
    await asyncio.sleep(0)
    return question.upper()


async def main() -> None:
    answers = await asyncio.gather(*(answer("why?") for _ in range(50)))
    print(f"{len(answers)} answers, {runs} runs: 1 validation, 5 warm-ups, and one for each caller")
    report = await answer.measure("why?")
    print(f"{report.latency_s:.9f} s at the median")


asyncio.run(main())
