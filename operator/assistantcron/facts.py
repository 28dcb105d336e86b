"""What one pass found out: the only things that change a status. Base layer: data only.

`decide.py` brings some, acting in `reconciler.py` and following runs in `follower.py` the others; `status.py`
folds them. Folding the same fact twice changes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from assistantcron.resource import ActiveRun, Outcome, RequestAnswer


@dataclass(frozen=True)
class Accounted:
    """Everything up to `through` is accounted for by the spec as it was read: now it counts as observed."""

    through: datetime


@dataclass(frozen=True)
class DidNotRun:
    """`count` scheduled slots from `first` to `last` that did not run, and why."""

    outcome: Literal["Skipped", "Missed"]
    first: datetime
    last: datetime
    count: int
    reason: str
    message: str


@dataclass(frozen=True)
class Started:
    """A run that the server has accepted, now or in an earlier life; with `token`, it was asked for."""

    run: ActiveRun
    token: str | None = None


@dataclass(frozen=True)
class Ended:
    """An active run's end; with `awaiting` it has only paused for a human and stays active."""

    run_id: str
    status: Outcome
    time: datetime
    message: str | None = None
    awaiting: bool = False


@dataclass(frozen=True)
class Answered:
    """The answer to a request."""

    answer: RequestAnswer


@dataclass(frozen=True)
class Health:
    """What the `Ready` and `Stalled` conditions are to say. `ready=None`: not known yet."""

    ready: bool | None
    reason: str
    message: str
    stalled: bool = False


Fact = Accounted | DidNotRun | Started | Ended | Answered | Health
