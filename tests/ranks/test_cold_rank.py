"""One cold rank: the job's own collectives give up on it; warmed up together first, they never meet it cold."""

from concurrent.futures import ThreadPoolExecutor

import pytest

COLD_S, PATIENCE_S = "16", "12"


@pytest.mark.slow
def test_plain_fails_and_ours_finishes(launch, capsys):
    with ThreadPoolExecutor() as pool:  # both jobs mostly wait
        plain, ours = pool.map(
            lambda how: launch.run_job("cold", 2, how, COLD_S, PATIENCE_S), ("plain", "warmed"), timeout=120
        )
    ends = {how: [ended.documents[-1]["ended"] for ended in job] for how, job in (("plain", plain), ("warmed", ours))}
    with capsys.disabled():
        print(f"\none rank cold for {COLD_S} s, group time-out {PATIENCE_S} s: {ends}")
    assert ends["plain"][0] == "failed"
    assert plain[0].documents[-1]["step"] == 0
    assert ends["warmed"] == ["steps", "steps"]
    for ended in ours:
        assert ended.documents[-1]["total"] == [4.0, 4.0]
        assert ended.documents[0]["state"] == "warm"
        assert ended.documents[0]["cold_s"][1] > float(PATIENCE_S) > ended.documents[0]["cold_s"][0]
