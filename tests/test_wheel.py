"""The wheel, as ``pip install .`` makes it: all that is needed at run time, no test, and it works outside of the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jitwarmup"
pytestmark = pytest.mark.slow


def run(*words, **options):
    done = subprocess.run(words, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git would commit, so that no build folder of this checkout gets in."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, run(*words, cwd=ROOT).split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source))
    (found,) = folder.glob("jitwarmup-*.whl")
    return found


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    paths = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT).as_posix() for path in paths if path.suffix != ".md"}
    assert held == wanted
    assert {"jitwarmup/py.typed", "jitwarmup/events/schema.json", "jitwarmup/testing/nvmlsim/nvmlsim.c"} <= held


def test_it_is_imported_in_an_empty_environment(wheel, tmp_path):
    """No dependency is installed: the import and the help of the command line need none."""
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COVERAGE_PROCESS_CONFIG")}
    run(python, "-m", "pip", "install", "-q", "--no-deps", str(wheel), env=env, cwd=tmp_path)
    where = run(
        python, "-c", "import jitwarmup; print(jitwarmup.__file__, jitwarmup.__version__)", env=env, cwd=tmp_path
    )
    assert where.startswith(str(tmp_path / "venv"))
    call = "import jitwarmup; f = jitwarmup.warmed(iterations=1)(lambda x: x + 1); assert f(1) == 2"
    run(python, "-c", call, env=env, cwd=tmp_path)
    assert "usage" in run(python, "-m", "jitwarmup", "--help", env=env, cwd=tmp_path).lower()
