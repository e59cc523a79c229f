"""Pure numbers over runs: statistics, rest, recurrence, verdicts, comparisons."""
