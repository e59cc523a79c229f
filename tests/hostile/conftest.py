"""Reports made of numbers, and the commands in this process: (exit code, stdout, stderr)."""

import sys

import pytest
from reports import *  # noqa: F403 - fixtures are found by name

from jitwarmup import probes
from jitwarmup.cli import main


@pytest.fixture(autouse=True)
def probes_look_again():
    """A probe that was made to fail is out for as long as the process lives; here only for the test."""
    yield
    usual = probes.probe_set_of(None)
    if usual._broken:
        usual._broken.clear()
        usual.disarm()


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run a command in the test's own folder. Whatever it raises fails the test: a traceback is never an answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words):
        capsys.readouterr()
        try:
            code = main([*map(str, words)])
        except SystemExit as error:  # argparse's
            code = error.code
        return code, *capsys.readouterr()

    return run
