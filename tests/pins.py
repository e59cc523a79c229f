"""Says which installed packages tests/constraints.txt does not pin; fails if there are any. Run by .ci/run."""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

PINS = Path(__file__).with_name("constraints.txt")
OURS = {"jitwarmup"}
TOOLS = {"pip", "wheel"}  # what comes with a virtual environment


def canonical(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Name -> version in the constraints."""
    lines = (line.split("#")[0].strip() for line in PINS.read_text(encoding="utf-8").splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def installed() -> dict[str, str]:
    """Name -> version in this environment; a local label such as torch's "+cpu" is dropped."""
    return {canonical(one.name): one.version.partition("+")[0] for one in distributions()}


def main() -> int:
    """Print each difference that lets another day install something else."""
    pins = pinned()
    loose = {name: version for name, version in installed().items() if pins.get(name) != version}
    loose = {name: version for name, version in loose.items() if name not in OURS | TOOLS}
    for name, version in sorted(loose.items()):
        print(f"not pinned in {PINS.name}: {name}=={version} (pinned: {pins.get(name, 'not at all')})")
    print(f"{len(pins)} packages pinned, {len(loose)} installed that are not")
    return 1 if loose else 0


if __name__ == "__main__":
    sys.exit(main())
