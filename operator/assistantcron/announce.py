"""What people are told: the Kubernetes Events of one pass. Core: no I/O, no clock.

One per transition, none per pass, none for a scheduled start: its end tells of it. The reasons are a closed
list, `REASONS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from assistantcron.facts import Answered, DidNotRun, Ended, Fact, Started
from assistantcron.resource import Status, rfc3339

REASONS = (
    "RunCompleted",
    "RunFailed",
    "RunAwaitingInput",
    "RunInterrupted",
    "SlotSkipped",
    "SlotMissed",
    "RunRequestStarted",
    "RunRequestSkipped",
    "RunRequestMissed",
    "RunRequestIgnored",
    "NotReady",
    "Ready",
    "Suspended",
    "Resumed",
)


@dataclass(frozen=True)
class Event:
    """`kind` is Kubernetes' type of Event."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(news: Iterable[Fact], old: Status, new: Status) -> Iterator[Event]:
    """The Events that this change of status is worth."""
    yield from _readiness(old, new)
    for fact in news:
        match fact:
            case Started(run, token) if token is not None:
                yield Event("Normal", "RunRequestStarted", f"run {run.run_id} started on request")
            case Ended():
                yield _end(fact)
            case DidNotRun(outcome, first, last, count, reason, message):
                which = (
                    rfc3339(first)
                    if count == 1
                    else f"{count} slots from {rfc3339(first)} to {rfc3339(last)}"
                )
                kind: Literal["Normal", "Warning"] = "Normal" if outcome == "Skipped" else "Warning"
                yield Event(kind, f"Slot{outcome}", f"{which}: {reason}: {message}")
            case Answered(answer):
                kind = "Warning" if answer.outcome == "Missed" else "Normal"
                yield Event(kind, f"RunRequest{answer.outcome}", f"{answer.reason}: {answer.message}")


def _end(fact: Ended) -> Event:
    if fact.awaiting:
        return Event("Normal", "RunAwaitingInput", f"run {fact.run_id} waits for a human")
    said = f"run {fact.run_id} ended: {fact.status}" + (f": {fact.message}" if fact.message else "")
    if fact.status == "success":
        return Event("Normal", "RunCompleted", said)
    if fact.status == "interrupted":
        return Event("Normal", "RunInterrupted", said)
    return Event("Warning", "RunFailed", said)


def _readiness(old: Status, new: Status) -> Iterator[Event]:
    before, after = old.condition("Ready"), new.condition("Ready")
    if after is None or (before and (before.status, before.reason) == (after.status, after.reason)):
        return
    if after.status == "False":
        yield Event("Warning", "NotReady", f"{after.reason}: {after.message}")
    elif before is not None and before.status == "False":
        yield Event("Normal", "Ready", after.message)
    elif after.reason == "Suspended":
        yield Event("Normal", "Suspended", after.message)
    elif before is not None and before.reason == "Suspended":
        yield Event("Normal", "Resumed", after.message)
