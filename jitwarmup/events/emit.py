"""
Where an event goes, found at emit time: structlog, else standard logging, else short lines on stderr.

    structlog   where the application configured it, that is: set something other than structlog's built-in processors
                or factory. ``capture_logs()`` counts while it is open and no longer: afterwards structlog calls itself
                configured, with its defaults, which print to stdout.
    logging     where the logger ``jitwarmup`` or one above it has a handler; its level then decides.
    stderr      otherwise, so that whoever decorates a function sees its results without any set-up.

Emitters given to ``set_emitters`` get every event besides, wherever else it goes.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from jitwarmup.events.guard import Fanout, is_emitter, name_of
from jitwarmup.events.sinks import LoggingEmitter, Recorder, StderrLines, StructlogEmitter
from jitwarmup.records.errors import ArgumentError
from jitwarmup.records.protocols import Emitter

LOGGER: Final = "jitwarmup"
SILENT = os.environ.get("JITWARMUP_LOG", "").strip().lower() == "off"  # tests may set it


class DefaultEmitter:
    """Looks for the way out anew with each event, so a later ``structlog.configure`` or ``capture_logs`` counts."""

    def __init__(self) -> None:
        self._lines = StderrLines()

    def emit(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Emit to the first of structlog, logging and stderr that is open; with ``JITWARMUP_LOG=off`` none is."""
        if _CAPTURING:
            _CAPTURING[-1].emit(event, level, fields)
            return
        for sink in _ADDED.sinks:
            sink.emit(event, level, fields)
        if SILENT:
            return
        structlog = sys.modules.get("structlog")
        if structlog is not None and structlog_is_configured(structlog):
            StructlogEmitter(structlog.get_logger(LOGGER)).emit(event, level, fields)
        elif (logger := configured_logger()) is not None:
            LoggingEmitter(logger).emit(event, level, fields)
        else:
            self._lines.emit(event, level, fields)

    def warming(self, fields: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Around validation and warm-up: what the added emitters span it with."""
        return nullcontext() if _CAPTURING else _ADDED.warming(fields)


_CAPTURING: list[Emitter] = []
_ADDED = Fanout()


@contextmanager
def captured(emitter: Emitter) -> Iterator[None]:
    """Send what would go to the default emitter to ``emitter`` instead, for tests."""
    _CAPTURING.append(emitter)
    try:
        yield
    finally:
        _CAPTURING.remove(emitter)


_DEFAULT = DefaultEmitter()  # one for all, so that lines thin out by function and not by decorator


def default_emitter() -> Emitter:
    """The process's own emitter: structlog, standard logging or stderr, whichever the application left open."""
    return _DEFAULT


def set_emitters(*emitters: Emitter) -> None:
    """
    Let these emitters get every event that goes to the default emitter; none given: none does.

        set_emitters(PrometheusMetrics(), JsonLines("/var/log/service/events.jsonl"))

    They come besides the log: ``JITWARMUP_LOG=off`` silences the log and not them. What a block sends to its own
    ``log=`` they do not get. An emitter with ``warming(fields)`` spans each warm-up with the context manager it returns.
    """
    global _ADDED  # noqa: PLW0603 - one choice for the process, as in stamina
    _ADDED = Fanout(*emitters)


def structlog_is_configured(structlog: Any) -> bool:
    """Whether the application set processors or a factory other than structlog's built-in ones."""
    if not structlog.is_configured():
        return False
    config = structlog.get_config()
    ours = sys.modules.get("structlog._config")
    processors = getattr(ours, "_BUILTIN_DEFAULT_PROCESSORS", None)
    factory = getattr(ours, "_BUILTIN_DEFAULT_LOGGER_FACTORY", None)
    return config["logger_factory"] is not factory or list(config["processors"]) != processors


@functools.cache
def logger_of(logging: Any) -> Any:
    """Our logger, asked for once: ``getLogger`` takes a lock that an interrupt may leave locked for every other thread."""
    return logging.getLogger(LOGGER)


def configured_logger() -> Any | None:
    """The standard logger ``jitwarmup`` where a record of it would reach a handler that is no NullHandler."""
    logging = sys.modules.get("logging")
    logger = None if logging is None else logger_of(logging)
    step: Any = logger
    while step is not None and logging is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in step.handlers):
            return logger
        step = step.parent if step.propagate else None
    return None


def as_emitter(log: Any) -> Emitter:
    """
    The emitter for whatever was given as ``log=``: None, an Emitter, a structlog logger or a ``logging.Logger``.

    Raises ArgumentError for anything else. ``JITWARMUP_LOG=off`` silences all but a test's ``Recorder``.
    """
    logging = sys.modules.get("logging")
    if log is None:
        return default_emitter()
    if logging is not None and isinstance(log, logging.Logger):
        emitter: Emitter = LoggingEmitter(log)
    elif all(callable(getattr(type(log), name, None)) for name in ("bind", "unbind", "new")):
        emitter = StructlogEmitter(log)  # or what quacks as one; a lazy proxy is not made to assemble itself
    elif is_emitter(log):
        emitter = log
    else:
        raise ArgumentError(
            f"log= got {name_of(type(log))}; wanted None, an object with "
            "emit(event, level, fields), a structlog logger or a logging.Logger. "
            "Hand over structlog.get_logger(...) or logging.getLogger(...); of a handler or an adapter, its logger."
        )
    return Fanout() if SILENT and not isinstance(emitter, Recorder) else emitter
