"""Code that is no function: repeat an inline block until it is warm, then measure it."""

from jitwarmup import steady_state

numbers = list(range(50_000))
with steady_state(iterations=3, measurements=10, name="sort") as steady:
    for trial in steady.trials():
        with trial:
            sorted(numbers, key=lambda number: -number)
report = steady.reports[0]
print(report.explain())
print(f"the whole block took {steady.block.duration_s:.3f} s")
