"""What the tests of the core begin with, so that a test states only what differs.

Unless a test says otherwise: an hourly schedule in UTC, accounted for through 07:00 on Monday, 2 March 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from assistantcron.decide import Decision, decide, decide_invalid
from assistantcron.errors import InvalidSpec
from assistantcron.facts import Ended, Fact, Health
from assistantcron.resource import RUN_REQUEST, ActiveRun, Outcome, Resource, Slot, Status, Trigger
from assistantcron.rules import Found, Retry, View
from assistantcron.schedule import Schedule
from assistantcron.spec import AssistantCronSpec, parse_spec
from assistantcron.status import Frame, fold

Kind = TypeVar("Kind")
UID = "5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b10"
HOURLY = "0 * * * *"
GOOD = Health(ready=True, reason="Scheduled", message="the next slot is armed")
SUSPENDED = Health(ready=True, reason="Suspended", message="no slot starts")


def at(text: str, *, day: int = 2) -> datetime:
    """`at("08:00")`, `at("08:00:30.5")`: that time of a day in March 2026, in UTC."""
    return datetime.fromisoformat(f"2026-03-{day:02}T{text}").replace(tzinfo=UTC)


def raw_spec(**fields: Any) -> dict[str, Any]:
    """As in a manifest; None leaves a field out."""
    fields = {"assistant": "agent", "schedule": HOURLY} | fields
    if fields.get("schedules") is not None:
        del fields["schedule"]
    return {name: value for name, value in fields.items() if value is not None}


def spec(**fields: Any) -> AssistantCronSpec:
    return parse_spec(raw_spec(**fields))


def body(
    *,
    generation: int = 1,
    version: str = "10",
    uid: str = UID,
    name: str = "nightly",
    request: str | None = None,
    status: Status | dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """An object as the API server sends it."""
    meta: dict[str, Any] = {
        "namespace": "team",
        "name": name,
        "uid": uid,
        "generation": generation,
        "resourceVersion": version,
    }
    if request is not None:
        meta["annotations"] = {RUN_REQUEST: request}
    found: dict[str, Any] = {"metadata": meta, "spec": raw_spec(**fields)}
    if status is not None:
        found["status"] = status.to_json() if isinstance(status, Status) else status
    return found


def status(**changes: Any) -> Status:
    """The status of an armed resource, of which nothing has run so far."""
    fields: dict[str, Any] = {
        "observed_generation": 1,
        "observed_schedule": f"{HOURLY} | Etc/UTC",
        "accounted_through": at("07:00"),
        "next_schedule_time": at("08:00"),
    }
    return Status(**fields | changes)


def resource(*, status: Status | None = None, **rest: Any) -> Resource:
    """An armed resource; `Status()` makes it one that the operator has never seen."""
    return Resource.from_body(body(status=_armed() if status is None else status, **rest))


_armed = status


def edited(one: Resource, *, generation: int | None = None, **fields: Any) -> Resource:
    """The resource after its author has applied a spec with these fields."""
    new = raw_spec(**{**one.spec, **fields}) if fields else dict(one.spec)
    return replace(one, spec=new, generation=one.generation + 1 if generation is None else generation)


def asked(one: Resource, token: str | None) -> Resource:
    """The resource after somebody has set, or removed, the annotation that asks for a run."""
    return Resource.from_body(
        {
            **body(request=token, generation=one.generation),
            "spec": one.spec,
            "status": one.status.to_json(),
        }
    )


def run(name: str = "run-1", slot: datetime | None = None, **changes: Any) -> ActiveRun:
    slot = slot or at("08:00")
    fields: dict[str, Any] = {
        "run_id": name,
        "thread_id": f"thread-of-{name}",
        "scheduled_time": slot,
        "start_time": slot,
        "trigger": Trigger.SCHEDULE,
        "attempt": 1,
    }
    return ActiveRun(**fields | changes)


def manual(name: str = "run-m", seen: datetime | None = None, **changes: Any) -> ActiveRun:
    return run(name, seen or at("07:30"), trigger=Trigger.MANUAL, **changes)


def ended(
    name: str = "run-1", status: Outcome = "success", time: datetime | None = None, **changes: Any
) -> Ended:
    return Ended(name, status, time or at("08:10"), **changes)


def found(one: ActiveRun, token: str | None = None) -> Found:
    return Found(Slot(one.scheduled_time, token).name, one)


def retry(slot: Slot | datetime, *, not_before: datetime | None = None, reason: str = "Unreachable") -> Retry:
    slot = slot if isinstance(slot, Slot) else Slot(slot)
    return Retry(slot, reason, "no answer", not_before or slot.time, 1)


def view(one: Resource | None = None, **seen: Any) -> View:
    """All that a decision looks at; `seen`: ended, found, retries."""
    one = one or resource()
    parsed = parse_spec(one.spec)
    return View(one, parsed, Schedule.parse(parsed.expressions, parsed.time_zone), **seen)


def frame(one: Resource, now: datetime) -> Frame:
    """The frame in which the reconciler folds for this resource."""
    try:
        seen = view(one)
    except InvalidSpec:
        return Frame(one.generation, None, suspended=False, now=now)
    return Frame(
        one.generation,
        seen.schedule,
        seen.spec.suspend,
        now,
        seen.spec.successful_runs_history_limit,
        seen.spec.failed_runs_history_limit,
    )


@dataclass(frozen=True)
class Pass:
    """What one pass came to."""

    resource: Resource
    decision: Decision
    news: tuple[Fact, ...]
    wrote: bool


def passed(one: Resource, now: datetime, *acted: Fact, **seen: Any) -> Pass:
    """One pass as the reconciler makes it, on a server that needs no asking: decide, fold, write, read back.

    `acted`: the facts that carrying out the decision brought.
    """
    try:
        looked = view(one, **seen)
        health = SUSPENDED if looked.spec.suspend else GOOD
        decision = decide(looked, now)
    except InvalidSpec as error:
        health = Health(ready=False, reason=error.reason, message=error.message, stalled=True)
        decision = decide_invalid(one, error, now, seen.get("retries", ()))
    new, news = fold(one.status, (*decision.facts, *acted, health), frame(one, now))
    written = replace(one, status=Status.model_validate(new.to_json()))
    return Pass(written, decision, news, wrote=new != one.status)


def only(facts: Iterable[object], kind: type[Kind]) -> list[Kind]:
    """The facts of one kind, in their order."""
    return [fact for fact in facts if isinstance(fact, kind)]
