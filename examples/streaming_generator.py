"""A generator: extra runs are drained in silence, yours streams live; first item and gaps are timed."""

from collections.abc import Iterator

from jitwarmup import warmed


@warmed(iterations=2, measurements=5)
def stream(text: str) -> Iterator[str]:
    for word in text.split():
        sum(range(20_000))  # the work behind one token
        yield word


for word in stream("warm up once and stream ever after"):
    print(word, end=" ", flush=True)
report = stream.measure("warm up once and stream ever after")
print(f"\nfirst item after {report.first_item.median_s:.6f} s, then one every {report.item_gap.median_s:.6f} s")
