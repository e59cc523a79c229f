"""NVIDIA's binding: found, missing, too old, or hidden by a package that took its name."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jitwarmup.gpu import binding as module
from jitwarmup.gpu.binding import LASTING, Binding, Refused, Unavailable, conflict, load

START = (
    "from jitwarmup import GPUMonitor\n"
    "with GPUMonitor() as gpu, gpu.window('x') as w: pass\n"
    "print(w.reading.status, '|', w.reading.missing['device'])"
)


def started_with(tmp_path, **files):
    """What a monitor says in a process where these modules come first."""
    for name, text in files.items():
        target = tmp_path / name.replace("__", "/")
        target.parent.mkdir(exist_ok=True)
        target.with_suffix(".py").write_text(text)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", START],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_deprecated_package_that_hides_the_module_is_named_with_the_way_out(tmp_path):
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml" / "__init__.py").write_text("from .nvml import *\n")
    (tmp_path / "pynvml" / "nvml.py").write_text("def nvmlInit(): pass\ndef _nvmlGetFunctionPointer(name): pass\n")
    result = started_with(tmp_path)
    assert result.startswith("unavailable | the deprecated package pynvml hides NVIDIA's module")
    assert result.endswith("pip uninstall pynvml && pip install --force-reinstall nvidia-ml-py")


def test_a_binding_that_is_too_old_is_named_with_the_way_out(tmp_path):
    result = started_with(tmp_path, pynvml="def _nvmlGetFunctionPointer(name): pass\n")
    assert result == "unavailable | this nvidia-ml-py is too old: pip install nvidia-ml-py --upgrade"


def test_a_binding_whose_import_fails_is_said(tmp_path):
    result = started_with(tmp_path, pynvml="raise FutureWarning('the pynvml package is deprecated')\n")
    assert result.startswith("unavailable | importing pynvml raised FutureWarning: pip uninstall pynvml")


def test_no_binding_at_all_is_said_with_the_line_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unavailable) as caught:
        load()
    assert caught.value.reason == "nvidia-ml-py is not installed: pip install nvidia-ml-py"
    assert caught.value.status == "unavailable"


def test_a_working_binding_beside_the_deprecated_package_is_said_too(monkeypatch):
    assert conflict() is None
    monkeypatch.setattr(module.importlib.metadata, "distribution", lambda name: name)
    assert "pip uninstall pynvml" in conflict()


def test_the_conflict_is_told_by_the_monitor_and_it_works_all_the_same(make_monitor, nvmlsim, monkeypatch):
    monkeypatch.setattr(module.importlib.metadata, "distribution", lambda name: name)
    gpu = make_monitor()
    with gpu, gpu.window("x") as window:
        nvmlsim.advance(0.2)
    assert window.reading.status == "ok"
    assert [metric for metric, _ in gpu.received] == ["binding"]


class FakeError(Exception):
    def __init__(self, value):
        self.value = value


def fail(failure):
    raise failure


@pytest.mark.parametrize(
    ("failure", "code", "lasting"),
    [
        (FakeError(3), "NOT_SUPPORTED", True),
        (FakeError(10), "TIMEOUT", False),
        (FakeError(12345), "UNKNOWN", False),
        (AttributeError("no such function"), "FUNCTION_NOT_FOUND", True),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "UnicodeDecodeError", False),
    ],
)
def test_whatever_a_call_raises_has_a_name(failure, code, lasting):
    fake = SimpleNamespace(NVMLError=FakeError, NVML_ERROR_NOT_SUPPORTED=3, NVML_ERROR_TIMEOUT=10)
    fake.nvmlThing = lambda: fail(failure)
    met = Binding(fake)
    with pytest.raises(Refused) as caught:
        met.ask("nvmlThing")
    assert (caught.value.code, caught.value.code in LASTING.split(), met.calls) == (code, lasting, 1)
