"""Files that are no files, too large, torn, foreign or full of nonsense: one line, exit code 2, and nothing lost."""
