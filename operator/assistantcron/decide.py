"""What is to happen now: the rules, as data in and data out. Core: no I/O, no clock.

`reconciler.py` gathers a `View`, calls `decide`, carries out the one start it may ask for, and hands all facts to
`status.py`. The order is fixed: account for what a person changed (`_since`), then for slots that can no longer
start (`_overtaken`), then judge what is due by `RULES`, first match wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from assistantcron.errors import InvalidSpec
from assistantcron.resource import (
    MAX_ACTIVE,
    Accounted,
    ActiveRun,
    Answered,
    DidNotRun,
    Ended,
    Fact,
    RequestAnswer,
    Resource,
    Slot,
    Started,
)
from assistantcron.schedule import Schedule
from assistantcron.spec import AssistantCronSpec

REQUEST_PATIENCE = timedelta(minutes=5)
"""How long a run asked for "now" is retried: nobody wants it hours later."""

Unrun = Literal["Skipped", "Missed"]
_INSTANT = timedelta(microseconds=1)


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
    """A run that the server already has for a slot that status does not know."""

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
        """The runs in flight once `ended` and `found` are counted in; one that waits for a human is in flight."""
        ends = {end.run_id: end for end in self.ended}
        known = [run for run in self.resource.status.active if run.run_id not in ends or ends[run.run_id].awaiting]
        marked = [run.model_copy(update={"status": "interrupted"}) if run.run_id in ends else run for run in known]
        return (*marked, *(found.run for found in self.found))

    def retry(self, slot: Slot) -> Retry | None:
        """The failed start of that slot, if there was one."""
        return next((retry for retry in self.retries if retry.slot.name == slot.name), None)


@dataclass(frozen=True)
class Decision:
    """Facts for status, at most one slot to start, and when to look again (None: only when something happens)."""

    facts: tuple[Fact, ...]
    start: Slot | None = None
    wake: datetime | None = None


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


def due(view: View, now: datetime) -> tuple[Slot, ...]:
    """What asks to be started at `now`: the newest slot that has come and is not accounted for, and a request."""
    since, _ = _since(view, now)
    newest = None if view.spec.suspend else view.schedule.last_through(now, after=since)
    slots = [] if newest is None else [Slot(newest)]
    if request := _request(view, now):
        slots.append(request)
    return tuple(slots)


def decide(view: View, now: datetime) -> Decision:
    """Judge everything that is due at `now` (aware UTC)."""
    since, left = _since(view, now)
    slots = due(view, now)
    facts: list[Fact] = [*view.ended, *left]
    if not view.spec.suspend:
        facts += _overtaken(view, since, next((slot.time for slot in slots if slot.token is None), None))
    wakes = [] if view.spec.suspend else [view.schedule.next_after(now)]
    for slot in slots:
        if ran := next((found.run for found in view.found if found.slot_name == slot.name), None):
            facts.append(Started(ran, slot.token))
            continue
        retry = view.retry(slot)
        if slot.token is not None and retry is not None and now - slot.time > REQUEST_PATIENCE:
            facts.append(did_not_start(slot, "Missed", retry.reason, retry.message, now))
            continue
        verdict = next((verdict for rule in RULES if (verdict := rule(view, slot, now)) is not None), None)
        if verdict is None:
            # One start a pass: what else is due is judged when this one is in status.
            return Decision(tuple(facts), slot, now)
        if isinstance(verdict, Wait):
            wakes.append(verdict.until)
        else:
            facts.append(did_not_start(slot, "Skipped", verdict.reason, verdict.message, now))
    return Decision(tuple(facts), None, min(filter(None, wakes), default=None))


def decide_invalid(resource: Resource, error: InvalidSpec, now: datetime) -> Decision:
    """A spec that cannot be obeyed: nothing is armed, a person must act, and a request is answered with that."""
    facts: list[Fact] = []
    status = resource.status
    if status.accounted_through is not None and status.observed_schedule is not None:
        facts += [*_left_behind(resource, Schedule.from_text(status.observed_schedule), (), now), Accounted(now)]
    if status.accounted_through is None:
        facts.append(Accounted(now))
    if request := _unanswered(resource):
        facts.append(_ignored(request, now) if status.accounted_through is None else Answered(
            RequestAnswer(token=request, time=now, outcome="Missed", reason=error.reason, message=error.message)
        ))
    return Decision(tuple(facts))


def did_not_start(slot: Slot, outcome: Unrun, reason: str, message: str, now: datetime) -> Fact:
    """The fact that a slot or a request came to nothing. `outcome`: Skipped (a rule) or Missed (nobody could)."""
    if slot.token is not None:
        return Answered(RequestAnswer(token=slot.token, time=now, outcome=outcome, reason=reason, message=message))
    return DidNotRun(outcome, slot.time, slot.time, 1, reason, message)


def _since(view: View, now: datetime) -> tuple[datetime, list[Fact]]:
    """From when on slots count, and what that leaves behind. No decision of a person fires for its past (design §3.2)."""
    status, resource = view.resource.status, view.resource
    if status.accounted_through is None:
        first: list[Fact] = [Accounted(now)]
        if request := _unanswered(resource):
            first.append(_ignored(request, now))
        return now, first
    if status.observed_schedule is None:
        return now, [Accounted(now)]
    edited = status.observed_schedule != str(view.schedule)
    resumed = not view.spec.suspend and _was_suspended(resource)
    # More than one generation unseen may hide a suspension and its end.
    unseen = not 0 <= resource.generation - (status.observed_generation or 0) <= 1
    if edited or resumed or unseen:
        old = Schedule.from_text(status.observed_schedule)
        return now, [*_left_behind(resource, old, view.retries, now), Accounted(now)]
    return status.accounted_through, []


def _was_suspended(resource: Resource) -> bool:
    """Armed resources always have a next slot in status; a suspended one has none."""
    return resource.status.observed_schedule is not None and resource.status.next_schedule_time is None


def _left_behind(resource: Resource, old: Schedule, retries: Sequence[Retry], now: datetime) -> Iterator[Fact]:
    """The slots of the schedule as it was, up to now, that nobody will start any more."""
    after = resource.status.accounted_through or now
    if _was_suspended(resource):
        yield from _unrun(old, after, now, "Skipped", "Suspended", "the resource was suspended")
        return
    newest = old.last_through(now, after=after)
    if newest is not None:
        yield from _missed(old, after, newest + _INSTANT, retries)


def _overtaken(view: View, since: datetime, newest: datetime | None) -> Iterator[Fact]:
    """Slots before `newest`, which is due: those that ran after all, and those that never will."""
    cursor = since
    for found in sorted(view.found, key=lambda f: f.run.scheduled_time):
        at = found.run.scheduled_time
        if found.slot_name == Slot(at).name and cursor < at and at != newest:
            yield from _missed(view.schedule, cursor, at, view.retries)
            yield Started(found.run)
            cursor = at
    if newest is not None:
        yield from _missed(view.schedule, cursor, newest, view.retries)


def _missed(schedule: Schedule, after: datetime, before: datetime, retries: Sequence[Retry]) -> Iterator[Fact]:
    """Missed slots strictly between the two instants; one whose start was tried has its own reason."""
    for retry in sorted(retries, key=lambda r: r.slot.time):
        at = retry.slot.time
        if retry.slot.token is None and after < at < before:
            yield from _unrun(schedule, after, at - _INSTANT, "Missed", "OperatorDown", _DOWN)
            yield DidNotRun("Missed", at, at, 1, retry.reason, retry.message)
            after = at
    yield from _unrun(schedule, after, before - _INSTANT, "Missed", "OperatorDown", _DOWN)


_DOWN = "the operator was not there when the slot came"


def _unrun(
    schedule: Schedule, after: datetime, through: datetime, outcome: Unrun, reason: str, message: str
) -> Iterator[Fact]:
    first, last = schedule.next_after(after), schedule.last_through(through, after=after)
    if first is not None and last is not None:
        yield DidNotRun(outcome, first, last, schedule.count(after, through), reason, message)


def _unanswered(resource: Resource) -> str | None:
    answered = resource.status.last_run_request
    return resource.run_request if answered is None or answered.token != resource.run_request else None


def _request(view: View, now: datetime) -> Slot | None:
    token = _unanswered(view.resource)
    if token is None or view.resource.status.accounted_through is None:
        return None
    retry = view.retry(Slot(now, token))
    return retry.slot if retry else Slot(now, token)


def _ignored(token: str, now: datetime) -> Fact:
    return Answered(
        RequestAnswer(
            token=token,
            time=now,
            outcome="Ignored",
            reason="AlreadyThere",
            message="the annotation was there before the operator first saw the resource: creating starts nothing",
        )
    )

