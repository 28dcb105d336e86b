"""The next status, folded from the last one and the facts of one pass. Core: no I/O, no clock.

The only place that changes a status. Folding a fact that is already in it changes nothing, so a pass that was
interrupted before its write, or whose write met a conflict, is simply folded again on what is there now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from assistantcron.facts import Accounted, Answered, DidNotRun, Ended, Fact, Health, Started
from assistantcron.resource import MAX_SLOTS, Condition, RequestAnswer, RunRecord, SlotRecord, Status
from assistantcron.schedule import Schedule
from assistantcron.spec import MAX_HISTORY

FAILED = ("error", "timeout", "lost")


@dataclass(frozen=True)
class Frame:
    """What the fold needs beside the facts. `schedule`: None if the spec cannot be obeyed; history stays."""

    generation: int
    schedule: Schedule | None
    suspended: bool
    now: datetime
    successful_runs_history_limit: int = MAX_HISTORY
    failed_runs_history_limit: int = MAX_HISTORY


def fold(old: Status, facts: Iterable[Fact], frame: Frame) -> tuple[Status, tuple[Fact, ...]]:
    """The status after these facts, equal to `old` when they bring nothing new; and those that were news.

    Without an `Accounted` among them the spec does not count as observed: what it changed is not judged yet.
    """
    new, news, facts = old, [], tuple(facts)
    for fact in facts:
        after = _apply(new, fact, frame)
        if after != new and not isinstance(fact, Accounted | Health):
            news.append(fact)
        new = after
    if any(isinstance(fact, Accounted) for fact in facts):
        new = _observed(new, frame)
    return _with(new, conditions=_conditions(new, frame), runs=_trimmed(new.runs, frame)), tuple(news)


def _observed(status: Status, frame: Frame) -> Status:
    armed = None if frame.suspended else frame.schedule
    through = status.accounted_through
    return _with(
        status,
        observed_generation=frame.generation,
        observed_schedule=None if frame.schedule is None else str(frame.schedule),
        next_schedule_time=armed.next_after(through) if armed and through else None,
    )


def _with(status: Status, **changes: Any) -> Status:  # noqa: ANN401 - one value per field, each of its own type
    return status.model_copy(update=changes)


def _apply(status: Status, fact: Fact, frame: Frame) -> Status:
    match fact:
        case Accounted():
            return _with(status, accounted_through=_later(status.accounted_through, fact.through))
        case DidNotRun():
            return _did_not_run(status, fact)
        case Started():
            return _started(status, fact)
        case Ended():
            return _ended(status, fact)
        case Answered():
            return _answered(status, fact.answer)
        case _:
            return _with(status, conditions=_health(status, fact, frame))


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _did_not_run(status: Status, fact: DidNotRun) -> Status:
    if status.accounted_through is not None and fact.last <= status.accounted_through:
        return status
    field = "skipped" if fact.outcome == "Skipped" else "missed"
    entry = SlotRecord(
        scheduled_time=fact.first,
        through=fact.last if fact.count > 1 else None,
        count=fact.count,
        outcome=fact.outcome,
        reason=fact.reason,
        message=fact.message,
    )
    slots = list(status.slots)
    if slots and _neighbours(slots[0], entry, status.last_schedule_time):
        entry = entry.model_copy(
            update={
                "scheduled_time": slots[0].scheduled_time,
                "through": fact.last,
                "count": slots[0].count + fact.count,
            }
        )
        del slots[0]
    return _with(
        status,
        accounted_through=fact.last,
        slots=(entry, *slots)[:MAX_SLOTS],
        counts=status.counts.model_copy(update={field: getattr(status.counts, field) + fact.count}),
    )


def _neighbours(older: SlotRecord, newer: SlotRecord, last_start: datetime | None) -> bool:
    """Whether the two can be one entry: the same fate, and no slot between them that ran."""
    same = (older.outcome, older.reason) == (newer.outcome, newer.reason)
    return same and (last_start is None or last_start < older.scheduled_time)


def _started(status: Status, fact: Started) -> Status:
    run = fact.run
    if fact.token is not None:
        answer = RequestAnswer(token=fact.token, time=run.start_time, outcome="Started", run_id=run.run_id)
        status = _answered(status, answer)
    known = (*status.active, *status.runs, *((status.last_run,) if status.last_run else ()))
    if any(other.run_id == run.run_id for other in known):
        return status
    changes: dict[str, Any] = {
        "active": (*status.active, run),
        "counts": status.counts.model_copy(update={"started": status.counts.started + 1}),
    }
    if run.trigger == "Schedule":
        changes["accounted_through"] = _later(status.accounted_through, run.scheduled_time)
        changes["last_schedule_time"] = _later(status.last_schedule_time, run.scheduled_time)
    return _with(status, **changes)


def _answered(status: Status, answer: RequestAnswer) -> Status:
    """A token is answered once."""
    old = status.last_run_request
    return status if old is not None and old.token == answer.token else _with(status, last_run_request=answer)


def _ended(status: Status, fact: Ended) -> Status:
    run = next((run for run in status.active if run.run_id == fact.run_id), None)
    if run is None or (fact.awaiting and run.status == "interrupted"):
        return status
    record = RunRecord(
        **run.model_dump(exclude={"status"}),
        status=fact.status,
        completion_time=None if fact.awaiting else fact.time,
        message=fact.message,
    )
    counts = status.counts.model_dump()
    if run.status == "interrupted":
        counts["interrupted"] -= 1
    field = "failed" if fact.status in FAILED else {"success": "succeeded"}.get(fact.status, "interrupted")
    counts[field] += 1
    others = tuple(entry for entry in status.runs if entry.run_id != run.run_id)
    waiting = (run.model_copy(update={"status": "interrupted"}),) if fact.awaiting else ()
    rest = tuple(other for other in status.active if other.run_id != run.run_id)
    changes: dict[str, Any] = {
        "active": (*rest, *waiting),
        "counts": status.counts.model_copy(update=counts),
        "runs": tuple(sorted((record, *others), key=lambda entry: entry.start_time, reverse=True)),
    }
    if status.last_run is None or status.last_run.start_time <= record.start_time:
        changes["last_run"] = record
    if field == "succeeded":
        changes |= {
            "last_successful_time": _later(status.last_successful_time, fact.time),
            "consecutive_failures": 0,
        }
    elif field == "failed":
        changes |= {
            "last_failed_time": _later(status.last_failed_time, fact.time),
            "consecutive_failures": status.consecutive_failures + 1,
        }
    return _with(status, **changes)


def _trimmed(runs: tuple[RunRecord, ...], frame: Frame) -> tuple[RunRecord, ...]:
    """The newest of each kind; what waits for a human or was cancelled counts as not failed."""
    failed = [run.run_id for run in runs if run.status in FAILED][: frame.failed_runs_history_limit]
    others = [run.run_id for run in runs if run.status not in FAILED][: frame.successful_runs_history_limit]
    return tuple(run for run in runs if run.run_id in {*failed, *others})


def _health(status: Status, fact: Health, frame: Frame) -> tuple[Condition, ...]:
    ready: Literal["True", "False", "Unknown"] = (
        "Unknown" if fact.ready is None else "True" if fact.ready else "False"
    )
    conditions = [_condition(status, "Ready", ready, fact.reason, fact.message, frame)]
    if fact.stalled:
        conditions.append(_condition(status, "Stalled", "True", fact.reason, fact.message, frame))
    return (*conditions, *(entry for entry in status.conditions if entry.type == "LastRunSucceeded"))


def _conditions(status: Status, frame: Frame) -> tuple[Condition, ...]:
    """`LastRunSucceeded` from the last run; the others as the pass found them."""
    last = status.last_run
    if last is None:
        outcome = _condition(status, "LastRunSucceeded", "Unknown", "NoRunYet", "no run has ended yet", frame)
    elif last.status == "success":
        outcome = _condition(
            status, "LastRunSucceeded", "True", "Success", f"run {last.run_id} succeeded", frame
        )
    elif last.status == "interrupted":
        waits = last.completion_time is None
        reason, said = ("AwaitingInput", "waits for a human") if waits else ("Interrupted", "was interrupted")
        outcome = _condition(
            status, "LastRunSucceeded", "Unknown", reason, f"run {last.run_id} {said}", frame
        )
    else:
        said = last.message or f"the run ended with status {last.status}"
        outcome = _condition(
            status, "LastRunSucceeded", "False", last.status.capitalize(), f"run {last.run_id}: {said}", frame
        )
    return (*(entry for entry in status.conditions if entry.type != "LastRunSucceeded"), outcome)


def _condition(
    status: Status,
    kind: str,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    frame: Frame,
) -> Condition:
    old = status.condition(kind)
    return Condition(
        type=kind,
        status=value,
        observed_generation=frame.generation,
        # Kubernetes API conventions: the time of the last flip, not of the last look.
        last_transition_time=old.last_transition_time if old and old.status == value else frame.now,
        reason=reason,
        message=message,
    )
