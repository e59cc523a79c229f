"""
What stands between the engine and any monitor: it counts, it catches, and it never raises.

One `SharedMonitor` serves one monitor *object*, however many functions warm over it at once:

    f warms:  pause ............................ resume
    g warms:         pause ........ resume
    monitor:  pause()                            resume()      only the first pause and the last resume arrive
    h runs:       window -> not opened, so there is no reading
    k runs: [ window  ..........                             ]   interrupted: its reading is kept, marked ``partial``

A monitor is the user's object and may do anything; whatever `Exception` it raises becomes a reason, made of the
exception's type and the place, never of its message (interrupts pass: `is_interrupt`). How long a call may take is the monitor's own affair: while one
thread is held up inside the monitor, others wait for it `PATIENCE_S` at most and then go on, and the held-up thread
settles the state they asked for as soon as it returns.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from jitwarmup.gpu.degraded import Chained, Degraded, Listener
from jitwarmup.gpu.reading import as_interrupted
from jitwarmup.host.fork_safe import Locked
from jitwarmup.host.interrupts import is_interrupt
from jitwarmup.records.runs import DeviceReading

PATIENCE_S = 5.0  # longer than any sane monitor's own time-out, shorter than a person's patience with a hung program

INTERRUPTED = "interrupted by the warm-up of another function"


def _reason(failure: BaseException, place: str) -> str:
    """Type and place; a message could hold anything, so it is left out."""
    return f"{type(failure).__name__} in {place}"


class Uncounted:
    """A monitor whose own pauses its `SharedMonitor` counts too, and tells it of the first and the last of all."""

    _degraded: Degraded

    def _turn_to(self, *, paused: bool) -> None:
        raise NotImplementedError


class Turn(Locked):
    """Whose turn it is to call a monitor or its driver; reentrant, never waited for for ever, free in a forked child."""

    @contextmanager
    def taken(self, timeout_s: float) -> Iterator[bool]:
        """Wait for the turn, and give it back in the end; whether it came."""
        try:
            yield self._lock.acquire(timeout=timeout_s)
        finally:
            with suppress(RuntimeError):  # not ours: it did not come, or this is a child that was forked while it was
                self._lock.release()


class SharedWindow:
    """
    One window of a monitor, entered once. Neither entering nor leaving raises an `Exception` of the monitor's.

    After the exit ``reading`` is a DeviceReading, or None: the monitor was paused, or failed, as its problems say. An
    exception of the body always passes, even where the monitor's own window would swallow it.
    """

    __slots__ = ("__weakref__", "_inner", "_name", "_shared", "_value", "interrupted", "reading")

    def __init__(self, shared: SharedMonitor, name: str) -> None:
        self._shared = shared
        self._name = name
        self._inner: AbstractContextManager[Any] | None = None
        self._value: Any = None
        self.interrupted = False
        self.reading: DeviceReading | None = None

    def __enter__(self) -> Self:
        if not self._shared._admit(self):
            return self
        try:
            inner = self._shared.monitor.window(self._name)
            self._value = inner.__enter__()
            self._inner = inner
        except BaseException as failure:
            self._shared._dismiss(self)
            if is_interrupt(failure):
                raise
            if not self.interrupted:  # else it was refused, since a pause came between
                self._shared._note("window", _reason(failure, "window().__enter__"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        inner, self._inner = self._inner, None
        try:
            if inner is not None:
                inner.__exit__(kind, failure, trace)
                reading = getattr(self._value, "reading", None)
                if isinstance(reading, DeviceReading):
                    self.reading = as_interrupted(reading, INTERRUPTED) if self.interrupted else reading
                elif reading is not None:
                    self._shared._note("window", "not a DeviceReading")
        except BaseException as own:  # the monitor is the user's and may raise anything
            if own is not failure and is_interrupt(own):
                raise
            if own is not failure:  # a window may hand the body's exception back by raising it again
                self._shared._note("window", _reason(own, "window().__exit__"))
        finally:
            self._shared._dismiss(self)
            self._value = None


class SharedMonitor(Locked):
    """
    A monitor whose pauses and starts are counted over everybody who uses it, and whose failures are only noted.

    Get one with `SharedMonitor.of(monitor)` and hold it as long as pauses, starts or windows of it are open. ``problems``
    maps a place (``start``, ``stop``, ``pause``, ``resume``, ``window``) to the first reason seen there.
    ``on_degraded(place, reason)`` hears each of them once, and is handed on to a monitor that has such an attribute,
    beside the user's.
    """

    def __init__(self, monitor: Any, *, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self.monitor = monitor
        self._patience_s = patience_s
        self._degraded = Degraded()
        self._holders: list[object] = []  # who holds a pause
        self._starters: list[object] = []  # who is owed a stop
        self._paused = False
        self._open: weakref.WeakSet[SharedWindow] = weakref.WeakSet()
        self._turn = Turn()  # whose turn it is to call the monitor; ``_lock`` is never held meanwhile
        self._effective = True

    @classmethod
    def of(cls, monitor: Any) -> SharedMonitor:
        """The one of this monitor object, found by identity; with nobody holding it there is no pause to count."""
        if isinstance(monitor, SharedMonitor):
            return monitor
        with _guard._lock:
            known = _known.get(id(monitor))
            if known is None:
                known = _known[id(monitor)] = cls(monitor)
            return known

    @property
    def problems(self) -> dict[str, str]:
        """The first reason of each place that failed."""
        return dict(reversed(self._degraded.seen))

    @property
    def on_degraded(self) -> Listener | None:
        """Who hears of problems, as ``(metric, reason)``."""
        return self._degraded.listener

    @on_degraded.setter
    def on_degraded(self, listener: Listener | None) -> None:
        self._degraded.listener = listener
        try:
            if isinstance(self.monitor, Uncounted):
                self.monitor._degraded.listen("events", listener)
            elif hasattr(self.monitor, "on_degraded"):
                self.monitor.on_degraded = Chained(listener, self.monitor.on_degraded)
        except BaseException as failure:  # the monitor is the user's and may raise anything
            if is_interrupt(failure):
                raise
            self._note("on_degraded", _reason(failure, "on_degraded"))

    @property
    def running(self) -> bool | None:
        """Whether the monitor runs; None where it does not tell."""
        try:
            running = getattr(self.monitor, "running", None)
            return None if running is None else bool(running() if callable(running) else running)
        except BaseException as failure:  # as above
            if is_interrupt(failure):
                raise
            self._note("running", _reason(failure, "running"))
            return None

    @property
    def paused(self) -> bool:
        """Whether somebody holds a pause."""
        return bool(self._holders)

    def start(self, holder: object = None) -> bool:
        """Start the monitor if it has a ``start`` and nobody started it; counted. Whether a `stop` is owed for this."""
        with self._turn.taken(self._patience_s) as mine:
            if not mine:
                return self._held_up("start")
            if not self._starters:
                startable = callable(getattr(self.monitor, "start", None)) and not self.running
                if not startable or not self._call("start"):
                    return False
            self._starters.append(holder)
            return True

    def stop(self, holder: object = None) -> None:
        """Give back one `start` of the holder that returned True; the last one stops the monitor."""
        with self._turn.taken(self._patience_s) as mine:
            if not mine:
                self._held_up("stop")
            elif self._starters == [holder] and callable(getattr(self.monitor, "stop", None)):
                self._call("stop")
            if mine and holder in self._starters:
                self._starters.remove(holder)

    def pause(self, holder: object = None) -> None:
        """Hold a pause: only the first reaches the monitor; windows that are open are interrupted by it."""
        try:
            with self._lock:
                self._holders.append(holder)
                if len(self._holders) == 1:
                    for window in self._open:
                        window.interrupted = True
            self._settle()
        except BaseException:  # interrupted: the caller will not resume what it never got
            self.resume(holder)
            raise

    def resume(self, holder: object = None) -> None:
        """Give one pause of the holder back, if there is one: only the last of all reaches the monitor."""
        with self._lock:
            if holder in self._holders:
                self._holders.remove(holder)
        self._settle()

    def window(self, name: str) -> SharedWindow:
        """A window that never raises; see `SharedWindow`."""
        return SharedWindow(self, name)

    def _held_up(self, place: str) -> bool:
        """Another thread has not returned from the monitor: note that; always False."""
        self._note(place, f"another call has not returned for {self._patience_s:g} s")
        return False

    def _settle(self) -> None:
        """Bring the monitor to the state asked for; whoever holds the turn does it for those who gave up waiting."""
        with self._turn.taken(self._patience_s) as mine:
            if not mine:
                self._held_up("pause")
            while mine and self._turn_to_holders():
                pass

    def _turn_to_holders(self) -> bool:
        """
        One call of ``pause`` or ``resume``, where one is due; whether it was.

        A pause that failed is owed no resume, but is not tried again either.
        """
        uncounted = isinstance(self.monitor, Uncounted)
        wanted = bool(self._holders)
        if self._paused == wanted:
            return False
        self._paused = wanted  # nothing is called since the look: a signal handler may pause and resume in between
        try:
            if uncounted:
                self.monitor._turn_to(paused=wanted)
            elif wanted:
                self._effective = True
                self.monitor.pause()
            elif self._effective:
                self.monitor.resume()
        except BaseException as failure:
            if is_interrupt(failure):
                self._paused = True  # it may be or not, so it will be resumed
                raise
            self._effective = False
            place = "pause" if wanted else "resume"
            self._note(place, _reason(failure, f"{place}()"))
        return True

    def _call(self, place: str) -> bool:
        """Call a method of the monitor; whether it returned."""
        try:
            getattr(self.monitor, place)()
        except BaseException as failure:  # as above
            if is_interrupt(failure):
                raise
            self._note(place, _reason(failure, f"{place}()"))
            return False
        return True

    def _note(self, place: str, reason: str) -> None:
        """Remember why and tell it once."""
        self._degraded.note(place, reason)
        self._degraded.notify()

    def _admit(self, window: SharedWindow) -> bool:
        """Count the window as open, unless somebody holds a pause."""
        with self._lock:
            if self._holders:
                return False
            self._open.add(window)
            return True

    def _dismiss(self, window: SharedWindow) -> None:
        with self._lock:
            self._open.discard(window)


_known: weakref.WeakValueDictionary[int, SharedMonitor] = weakref.WeakValueDictionary()  # by id of the monitor
_guard = Locked()
