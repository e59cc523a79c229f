"""
Carrying a sweep out: load, measure by the one engine, save, go on. One configuration's failure is its own.

Compile caches of the user's are left alone, and dynamo is not reset. Within one process models of one class therefore
share what dynamo has compiled, so that a later configuration may find its code warm; ``process=True`` gives each a
process of its own, and with it a true cold start.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from jitwarmup.api.steady import steady_state
from jitwarmup.host.environment import environment
from jitwarmup.integrations.sweep.configurations import Configuration, distinct
from jitwarmup.integrations.sweep.configurations import configuration as checked_configuration
from jitwarmup.integrations.sweep.loading import Loaded
from jitwarmup.integrations.sweep.loading import load as load_model
from jitwarmup.integrations.sweep.results import Fault, Result, ResultFile, fault_of, revision
from jitwarmup.integrations.transformers import warmed_generation
from jitwarmup.records.checks import seconds
from jitwarmup.records.errors import ArgumentError, MeasurementFailed
from jitwarmup.records.report import Report

CHILD = "from jitwarmup.integrations.sweep.runner import run_child; run_child()"  # for ``python -c``
Outcome = tuple[Report | None, Fault | None]


@dataclass
class Sweep:
    """
    Many configurations, one after another.

    Args:
        configurations: what to try; each is run once, whatever their number.
        results: the JSONL file that is appended to; configurations it holds already are not run again.
        load: from a configuration to a model and its inputs.
        monitor: an object with pause, resume and window(name), for configurations with ``monitoring``.
        process: run each configuration in a process of its own (``load`` is then the default one, ``monitor`` none).
        timeout_s: seconds for one such process.
        retry_failed: run those again that the file says have failed.
        on_result: called after each configuration with (done, all, result, seconds left as far as can be told).

    """

    configurations: Sequence[Configuration]
    results: str | Path
    _: KW_ONLY
    load: Callable[[Configuration], Loaded] = load_model
    monitor: Any = None
    process: bool = False
    timeout_s: float | None = None
    retry_failed: bool = False
    on_result: Callable[[int, int, Result, float], None] | None = None

    def __post_init__(self) -> None:
        self.configurations = distinct(self.configurations)
        seconds("timeout_s", self.timeout_s)
        self.file = ResultFile(self.results)
        self.unsaved: ArgumentError | None = None  # why results of this run are not in the file

    def missing(self) -> list[Configuration]:
        """What is still to be run."""
        done = self.file.read()
        kept = {name for name, result in done.items() if not (self.retry_failed and result.failed)}
        return [one for one in self.configurations if one.hash not in kept]

    def run(self) -> list[Result]:
        """Run what is missing; the results of all configurations, in their order, those that could not be saved too."""
        missing, made = self.missing(), {}
        self.file.append()  # nothing yet: a file that cannot be written is refused before anything is run
        spent_s = 0.0
        for number, configuration in enumerate(missing, start=1):
            result = made[configuration.hash] = self.one(configuration)
            try:
                self.file.append(result)
            except ArgumentError as error:
                self.unsaved = error
            spent_s += result.duration_s
            if self.on_result is not None:
                self.on_result(number, len(missing), result, spent_s / number * (len(missing) - number))
        done = self.file.read() | made
        return [done[one.hash] for one in self.configurations]

    def one(self, configuration: Configuration) -> Result:
        """Load and measure one configuration, in a process of its own where that is asked for."""
        started_at, began = time.time(), time.monotonic()
        outcome = in_child(configuration, self.timeout_s) if self.process else self._here(configuration)
        if isinstance(outcome, Result):
            return outcome
        report, fault = outcome
        return Result(
            hash=configuration.hash,
            name=configuration.name,
            configuration=configuration,
            started_at=started_at,
            duration_s=time.monotonic() - began,
            fault=fault,
            report=report,
            metadata={**environment(), **revision()},
        )

    def _here(self, configuration: Configuration) -> Outcome:
        """Run it in this process, and hand its memory back (never between runs); compile caches stay."""
        outcome = self._loaded_and_measured(configuration)
        gc.collect()  # its model, before the next one is loaded
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
        return outcome

    def _loaded_and_measured(self, configuration: Configuration) -> Outcome:
        try:
            loaded = self.load(configuration)
        except Exception as error:  # noqa: BLE001 - a model that does not load ends its configuration, not the sweep
            return None, fault_of(error, "load", traceback.format_exc())
        report = measured(configuration, loaded, self.monitor if configuration.monitoring else None)
        failure = report.failure
        if failure is None:
            return report, None
        return report, fault_of(failure.exception or Exception(failure.message), failure.phase.value, failure.traceback)


def measured(one: Configuration, loaded: Loaded, monitor: Any) -> Report:
    """Validate, warm up and measure: the one engine, on ``model.generate`` with its token times and facts."""
    import torch

    model = loaded.model
    wanted = (one.batch, one.prompt_tokens + one.new_tokens)

    def generate(**inputs: Any) -> Any:
        with torch.inference_mode(), loaded.around():
            tokens = model.generate(**inputs)
        if tuple(tokens.shape) != wanted:  # in every run: fewer would look faster
            raise MeasurementFailed(f"generate() returned {tuple(tokens.shape)}; wanted {wanted} tokens")
        return tokens

    warmed = warmed_generation(generate, model=model, iterations=one.iterations, measurements=one.measurements)
    with steady_state(monitor=monitor, name=one.name) as block:
        report: Report = block.measure(warmed, **loaded.inputs)
    return report


def in_child(configuration: Configuration, timeout_s: float | None) -> Result | Outcome:
    """Run it in a python of its own: what that has stored, or how it ended where it stored nothing."""
    with tempfile.TemporaryDirectory() as folder:
        answer = ResultFile(Path(folder) / "result.jsonl")
        command, document = [sys.executable, "-c", CHILD, str(answer.path)], json.dumps(configuration.to_dict())
        try:
            done = subprocess.run(  # noqa: S603 - our own module, no shell
                command, input=document, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            fault = Fault(kind="timeout", phase="process", type="TimeoutExpired", message=f"more than {timeout_s} s")
        else:
            code, words = done.returncode, done.stderr[-4000:]
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            fault = Fault(kind="crashed", phase="process", type="ChildDied", message=how, traceback=words)
        return answer.read().get(configuration.hash) or (None, fault)


def run_child() -> None:
    """The child's own program: one configuration from stdin, its result appended to the file that is named."""
    chosen = checked_configuration(json.load(sys.stdin))
    sweep = Sweep([chosen], sys.argv[1])
    sweep.file.append(sweep.one(chosen))


def exit_code(results: Sequence[Result]) -> int:
    """0 all are well, 1 some have failed, 3 all have."""
    failed = sum(result.failed for result in results)
    return 0 if not failed else 3 if failed == len(results) else 1
