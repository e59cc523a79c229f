"""What users hold: the decorator, the block, trials, side by side, processes, readiness, many inputs."""
