"""A plain function: decorate it, call it, measure it."""

from jitwarmup import warmed


@warmed(iterations=5)
def total(n: int) -> int:
    return sum(i * i for i in range(n))


print(total(20_000))  # validated, warmed up 5 times in silence, then timed; this is the timed run's value
print(total(20_000))  # one timed run
report = total.measure(20_000)
print(report.explain())
