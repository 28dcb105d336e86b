"""Whether one slot may start now: what is looked at, and the rules in their order. Core: no I/O, no clock.

`decide.py` asks for each slot that is due;
a rule that the product gains is one function and one line of `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from assistantcron.facts import DidNotRun, Ended, Fact, Started
from assistantcron.resource import MAX_ACTIVE, ActiveRun, Resource, Slot, Status, Trigger
from assistantcron.schedule import Schedule
from assistantcron.spec import AssistantCronSpec


@dataclass(frozen=True)
class Retry:
    """A start that failed for a passing reason, remembered between passes of one process."""

    slot: Slot
    reason: str
    message: str
    not_before: datetime
    failures: int


@dataclass(frozen=True)
class Found:
    """A run that the server already has for a slot, which status may not know."""

    slot_name: str
    run: ActiveRun


@dataclass(frozen=True)
class View:
    """All that one decision looks at."""

    resource: Resource
    spec: AssistantCronSpec
    schedule: Schedule
    ended: tuple[Ended, ...] = ()
    found: tuple[Found, ...] = ()
    retries: tuple[Retry, ...] = ()

    @property
    def active(self) -> tuple[ActiveRun, ...]:
        """The runs in flight once `ended` is counted in; one that waits for a human is in flight."""
        ends = {end.run_id: end for end in self.ended}
        status = self.resource.status
        known = [run for run in status.active if run.run_id not in ends or ends[run.run_id].awaiting]
        return tuple(
            run.model_copy(update={"status": "interrupted"}) if run.run_id in ends else run for run in known
        )

    @property
    def unrecorded(self) -> tuple[Found, ...]:
        """Of `found`, what status does not account for."""
        return tuple(found for found in self.found if not _recorded(found.run, self.resource.status))

    @property
    def fates(self) -> dict[datetime, Fact]:
        """What is known of single slots that have come: tried in vain, or started in an earlier life."""
        runs = [found.run for found in self.unrecorded if found.run.trigger is Trigger.SCHEDULE]
        return tried(self.retries) | {run.scheduled_time: Started(run) for run in runs}

    def retry(self, slot: Slot) -> Retry | None:
        """The failed start of that slot, if there was one."""
        return next((retry for retry in self.retries if retry.slot.name == slot.name), None)


@dataclass(frozen=True)
class Skip:
    """The slot does not run, by a rule."""

    reason: str
    message: str


@dataclass(frozen=True)
class Wait:
    """The slot may still run, not before that instant."""

    until: datetime


Rule = Callable[[View, Slot, datetime], Skip | Wait | None]


def awaiting_input(view: View, _slot: Slot, _now: datetime) -> Skip | None:
    """An agent that waits for a human would only ask the same again."""
    waiting = [run for run in view.active if run.status == "interrupted"]
    if view.spec.concurrency_policy == "Forbid" and waiting:
        return Skip("AwaitingInput", f"run {waiting[0].run_id} waits for a human")
    return None


def overlap_forbidden(view: View, _slot: Slot, _now: datetime) -> Skip | None:
    """CronJob's `Forbid`: skipped at once, never started late."""
    if view.spec.concurrency_policy == "Forbid" and view.active:
        return Skip("ConcurrencyForbidden", f"run {view.active[0].run_id} was still in flight")
    return None


def too_many_active(view: View, _slot: Slot, _now: datetime) -> Skip | None:
    """Status can hold so many runs in flight; one more would be started and forgotten."""
    if len(view.active) >= MAX_ACTIVE:
        return Skip("TooManyActive", f"{MAX_ACTIVE} runs were in flight")
    return None


def backing_off(view: View, slot: Slot, now: datetime) -> Wait | None:
    """Its start failed a moment ago."""
    retry = view.retry(slot)
    return Wait(retry.not_before) if retry and now < retry.not_before else None


RULES: tuple[Rule, ...] = (
    awaiting_input,  # before overlap: the more telling reason of the two
    overlap_forbidden,
    too_many_active,
    backing_off,  # last: a slot that a rule forbids is not kept waiting
)


def judge(view: View, slot: Slot, now: datetime) -> Skip | Wait | None:
    """The verdict of the first rule that has one; None: it may start."""
    return next((verdict for rule in RULES if (verdict := rule(view, slot, now)) is not None), None)


def tried(retries: Sequence[Retry]) -> dict[datetime, Fact]:
    """Slots whose start has failed so far: should it come to nothing, that is the reason."""
    slots = {retry.slot.time: retry for retry in retries if retry.slot.token is None}
    return {at: DidNotRun("Missed", at, at, 1, retry.reason, retry.message) for at, retry in slots.items()}


def _recorded(run: ActiveRun, status: Status) -> bool:
    """Whether status accounts for a run that the server has; requests are answered in their order."""
    if run.trigger is Trigger.SCHEDULE:
        return status.accounted_through is None or run.scheduled_time <= status.accounted_through
    answer = status.last_run_request
    return answer is not None and (answer.run_id == run.run_id or run.scheduled_time < answer.time)
