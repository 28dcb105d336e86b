"""An AssistantCron as the operator knows it: identity, status, slots, and the IDs that follow from them.

Base layer: data only. `decide.py` turns a resource into the facts of `facts.py`, `status.py` folds them into
the next status.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic.alias_generators import to_camel

GROUP = "assistantcron.dev"
VERSION = "v1alpha1"
KIND = "AssistantCron"
PLURAL = "assistantcrons"
RUN_REQUEST = f"{GROUP}/run-requested-at"
"""The annotation that starts a run now; its value is a token, answered once in `status.lastRunRequest`."""

MAX_MESSAGE = 1024
MAX_SLOTS = 10
MAX_ACTIVE = 100
MAX_TOKEN = 256


def rfc3339(instant: datetime) -> str:
    """UTC, whole seconds, `Z`: the form in which every instant stands in status, metadata and logs."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("must have a time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999 in UTC") from None


def _cut(message: object) -> object:
    return message[:MAX_MESSAGE] if isinstance(message, str) else message


Instant = Annotated[datetime, AfterValidator(_utc), PlainSerializer(rfc3339, return_type=str)]
Message = Annotated[str, BeforeValidator(_cut), Field(max_length=MAX_MESSAGE)]
Reason = Annotated[str, Field(min_length=1, max_length=128)]
Identifier = Annotated[str, Field(min_length=1, max_length=64)]
Natural = Annotated[int, Field(ge=0)]


class Trigger(StrEnum):
    """Why a run was started."""

    SCHEDULE = "Schedule"
    MANUAL = "Manual"


Outcome = Literal["success", "error", "timeout", "interrupted", "lost"]
"""How a run ended, in the server's words; `lost`: run or thread vanished before the end was seen."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ActiveRun(_Model):
    """A run that has been started and not ended; `status: interrupted` while it waits for a human."""

    run_id: Identifier
    thread_id: Identifier
    scheduled_time: Instant
    start_time: Instant
    trigger: Trigger
    attempt: Annotated[int, Field(ge=1)]
    status: Literal["interrupted"] | None = None


class RunRecord(_Model):
    """An entry of the history; `completionTime` and a final status once the run has ended."""

    run_id: Identifier
    thread_id: Identifier
    scheduled_time: Instant
    start_time: Instant
    trigger: Trigger
    attempt: Annotated[int, Field(ge=1)]
    completion_time: Instant | None = None
    status: Outcome
    message: Message | None = None


class SlotRecord(_Model):
    """One slot, or `count` neighbours up to `through`, that did not run, and why."""

    scheduled_time: Instant
    through: Instant | None = None
    count: Annotated[int, Field(ge=1)]
    outcome: Literal["Skipped", "Missed"]
    reason: Reason
    message: Message | None = None


class Counts(_Model):
    """Totals since the resource was created; started = succeeded + failed + interrupted + those running."""

    started: Natural = 0
    succeeded: Natural = 0
    failed: Natural = 0
    interrupted: Natural = 0
    skipped: Natural = 0
    missed: Natural = 0


class Condition(_Model):
    """A `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: Natural | None = None
    last_transition_time: Instant
    reason: Reason
    message: Message


class RequestAnswer(_Model):
    """What became of a `run-requested-at` token."""

    token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)]
    time: Instant
    outcome: Literal["Started", "Skipped", "Missed", "Ignored"]
    run_id: Identifier | None = None
    reason: Reason | None = None
    message: Message | None = None


class Status(_Model):
    """`status` of an AssistantCron. Written by the operator alone, through the status subresource."""

    observed_generation: Natural | None = None
    observed_schedule: Annotated[str, Field(max_length=4096)] | None = None
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()
    next_schedule_time: Instant | None = None
    last_schedule_time: Instant | None = None
    last_successful_time: Instant | None = None
    last_failed_time: Instant | None = None
    accounted_through: Instant | None = None
    active: Annotated[tuple[ActiveRun, ...], Field(max_length=MAX_ACTIVE)] = ()
    last_run: RunRecord | None = None
    runs: Annotated[tuple[RunRecord, ...], Field(max_length=40)] = ()
    slots: Annotated[tuple[SlotRecord, ...], Field(max_length=MAX_SLOTS)] = ()
    counts: Counts = Counts()
    consecutive_failures: Natural = 0
    last_run_request: RequestAnswer | None = None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if it is there."""
        return next((entry for entry in self.conditions if entry.type == kind), None)

    def to_json(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, order=True)
class Key:
    """Which resource: what the wake heap, the logs and the metrics speak of."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def where(self) -> dict[str, str | None]:
        """The fields by which a log line is found; its `name` is called `cron` until it is printed."""
        return {"namespace": self.namespace, "cron": self.name}


@dataclass(frozen=True)
class Resource:
    """One observed version of the object. `spec` is as stored, not yet validated."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    spec: Mapping[str, Any]
    status: Status
    run_request: str | None

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Resource:
        """Read the API server's JSON. A status that is not ours counts as none, and none starts nothing."""
        meta = body["metadata"]
        try:
            status = Status.model_validate(body.get("status") or {})
        except ValidationError:
            status = Status()
        return cls(
            key=Key(meta["namespace"], meta["name"]),
            uid=meta["uid"],
            generation=meta.get("generation", 0),
            resource_version=meta["resourceVersion"],
            spec=body.get("spec") or {},
            status=status,
            run_request=_token((meta.get("annotations") or {}).get(RUN_REQUEST)),
        )


def _token(text: str | None) -> str | None:
    """The request's token as status can hold it: a long one stands there as its hash."""
    if text and len(text) > MAX_TOKEN:
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return text or None


@dataclass(frozen=True)
class Slot:
    """What is started exactly once: a scheduled instant, or the token of a request."""

    time: datetime
    token: str | None = None

    @property
    def trigger(self) -> Trigger:
        """Why it is to start."""
        return Trigger.SCHEDULE if self.token is None else Trigger.MANUAL

    @property
    def name(self) -> str:
        """The same in every process and after every restart; a token is hashed, for it can be any text."""
        if self.token is None:
            return rfc3339(self.time)
        return "manual-" + hashlib.sha256(self.token.encode()).hexdigest()[:32]


def slot_thread(uid: str, slot_name: str, attempt: int) -> str:
    """The thread that is a slot's lock: design §4. The server refuses to make it a second time."""
    return str(uuid5(UUID(uid), f"{slot_name}/{attempt}"))


def own_thread(uid: str) -> str:
    """The one thread of a resource with `thread: {}`; a re-created resource gets another."""
    return str(uuid5(UUID(uid), "own-thread"))


def slot_of(run: ActiveRun, status: Status) -> Slot | None:
    """The slot of a run in status; None for a request that a newer one has replaced there."""
    if run.trigger is Trigger.SCHEDULE:
        return Slot(run.scheduled_time)
    request = status.last_run_request
    if request is None or request.run_id != run.run_id:
        return None
    return Slot(run.scheduled_time, request.token)


def claim_thread(uid: str, run: ActiveRun, status: Status) -> str | None:
    """The slot thread of a run in status; None as for its slot.

    A run on a given or own thread has another `threadId` than this: there the claim is only the lock.
    """
    slot = slot_of(run, status)
    return None if slot is None else slot_thread(uid, slot.name, run.attempt)
