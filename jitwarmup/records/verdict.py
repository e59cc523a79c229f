"""The outcome of a whole measurement: a state, and its reasons as data; ``views`` puts them into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

VerdictState = Literal["steady", "unsteady", "contaminated", "degraded", "undecided", "invalid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """
    One finding: its ``kind``, its ``numbers`` (name -> number, units in the names), and the ``subject`` that it is about
    (a kind of work, a probe, a class of series), if any.

    Kinds that the audit gives, the weightiest first: ``not_compiled``, ``compiled_code_given_up``,
    ``recompiles_every_run``, ``one_time_work`` (subject: its kind), ``flat_but_not_cause_clean``, ``still_falling``,
    ``not_flat`` (subject: the class of the measured runs), ``cause_clean_but_drifting``, ``too_few_runs``,
    ``too_noisy``, ``contended``, ``host_disagrees`` (subject: the class of the wall times, waits included),
    ``causes_not_watched``, ``process_stopped``.
    """

    kind: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    Whether the measured runs show the steady state, so far, for the inputs seen.

    Fields:
        state: ``steady``; ``unsteady``: the times still move; ``contaminated``: a measured run paid one-time work;
            ``degraded``: compiled code was given up, or never ran; ``undecided``: too few runs or too much noise;
            ``invalid``: the measurement failed.
        reasons: all findings, the weightiest (which gives the state) first.
        watched: the probes that could look.
        unwatched: probe -> why it could not; its silence is never "no work".
        label: the class that ``classify`` gives the whole series, warm-up and measured runs, waits for a CPU taken off.
        tolerance: the share by which levels may differ under that label.
    """

    state: VerdictState
    reasons: tuple[Reason, ...] = ()
    watched: tuple[str, ...] = ()
    unwatched: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    tolerance: float | None = None
