"""What is to happen now: the rules, as data in and data out. Core: no I/O, no clock.

`reconciler.py` gathers a `View`, calls `decide`, carries out the one start it may ask for, and hands all
facts to `status.py`. The order is fixed: account for what a person changed (`_since`), for runs of an earlier
life and slots that can no longer start (`_past`), then judge what is due by `rules.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from assistantcron.errors import InvalidSpec
from assistantcron.facts import Accounted, Answered, DidNotRun, Fact, Started
from assistantcron.resource import RequestAnswer, Resource, Slot, Trigger
from assistantcron.rules import Retry, View, Wait, judge, tried
from assistantcron.schedule import Schedule

REQUEST_PATIENCE = timedelta(minutes=5)
"""How long a run asked for "now" is retried: nobody wants it hours later."""

Unrun = Literal["Skipped", "Missed"]
_DOWN: tuple[Unrun, str, str] = ("Missed", "OperatorDown", "the operator was not there when the slot came")
_SUSPENDED: tuple[Unrun, str, str] = ("Skipped", "Suspended", "the resource was suspended")
_ALREADY_THERE = (
    "the annotation was there before the operator first saw the resource: creating starts nothing"
)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Decision:
    """Facts for status, at most one slot to start, when to look again (None: when something happens)."""

    facts: tuple[Fact, ...]
    start: Slot | None = None
    wake: datetime | None = None


def due(view: View, now: datetime) -> tuple[Slot, ...]:
    """What asks to be started: the newest slot that has come and is not accounted for, and a request."""
    since, _ = _judged_from(view, now)
    newest = None if view.spec.suspend else view.schedule.last_through(now, after=since)
    slots = [] if newest is None else [Slot(newest)]
    if request := _request(view, now):
        slots.append(request)
    return tuple(slots)


def undecided(view: View, now: datetime) -> bool:
    """Whether slots or a request have come that an earlier life may have started unrecorded."""
    _, left = _judged_from(view, now)
    return bool(due(view, now)) or any(isinstance(fact, DidNotRun) for fact in left)


def decide(view: View, now: datetime) -> Decision:
    """Judge everything that is due at `now` (aware UTC)."""
    since, left = _judged_from(view, now)
    facts: list[Fact] = [*view.ended, *left]
    if view.unrecorded:
        # Whether these still run is to be seen before anything else is judged.
        return Decision((*facts, *_adopted(view, since, now)), None, now)
    slots = due(view, now)
    if slots and slots[0].token is None:
        facts += _past(view.schedule, since, slots[0].time, view.fates)
    wakes = [] if view.spec.suspend else [view.schedule.next_after(now)]
    for slot in slots:
        retry = view.retry(slot)
        if slot.token is not None and retry is not None and now - slot.time > REQUEST_PATIENCE:
            facts.append(did_not_start(slot, "Missed", retry.reason, retry.message, now))
            continue
        verdict = judge(view, slot, now)
        if verdict is None:
            # One start a pass: what else is due is judged when this one is in status.
            return Decision(tuple(facts), slot, now)
        if isinstance(verdict, Wait):
            wakes.append(verdict.until)
        else:
            facts.append(did_not_start(slot, "Skipped", verdict.reason, verdict.message, now))
    return Decision(tuple(facts), None, min(filter(None, wakes), default=None))


def decide_invalid(
    resource: Resource, error: InvalidSpec, now: datetime, retries: Sequence[Retry] = ()
) -> Decision:
    """A spec that cannot be obeyed: nothing is armed, and a request is answered with what is wrong."""
    _, facts = _since(resource, None, suspended=False, fates=tried(retries), now=now)
    request = _unanswered(resource)
    if request is not None and resource.status.accounted_through is not None:
        facts.append(did_not_start(Slot(now, request), "Missed", error.reason, error.message, now))
    return Decision(tuple(facts))


def did_not_start(slot: Slot, outcome: Unrun, reason: str, message: str, now: datetime) -> Fact:
    """The fact that a slot or request came to nothing: Skipped (a rule) or Missed (nobody could)."""
    if slot.token is not None:
        return _answered(slot.token, outcome, reason, message, now)
    return DidNotRun(outcome, slot.time, slot.time, 1, reason, message)


def _judged_from(view: View, now: datetime) -> tuple[datetime, list[Fact]]:
    return _since(view.resource, view.schedule, suspended=view.spec.suspend, fates=view.fates, now=now)


def _since(
    resource: Resource,
    schedule: Schedule | None,
    *,
    suspended: bool,
    fates: Mapping[datetime, Fact],
    now: datetime,
) -> tuple[datetime, list[Fact]]:
    """From when on slots count, and what is left behind.

    No decision of a person fires for its past (design §3.2).
    """
    status, token = resource.status, _unanswered(resource)
    through = status.accounted_through
    if through is None:
        ignored = [_answered(token, "Ignored", "AlreadyThere", _ALREADY_THERE, now)] if token else []
        return now, [Accounted(now), *ignored]
    old = _readable(status.observed_schedule)
    # An armed resource always has a next slot in status.
    was_suspended = old is not None and status.next_schedule_time is None
    edited = status.observed_schedule != (None if schedule is None else str(schedule))
    # More than one generation unseen may hide a suspension and its end.
    unseen = not 0 <= resource.generation - (status.observed_generation or 0) <= 1
    if not (edited or suspended != was_suspended or unseen):
        return through, [Accounted(through)]
    others = _SUSPENDED if suspended or was_suspended else _DOWN
    left = [] if old is None else _past(old, through, now + _INSTANT, fates, others)
    return now, [*left, Accounted(now)]


def _past(
    schedule: Schedule,
    after: datetime,
    before: datetime,
    fates: Mapping[datetime, Fact],
    others: tuple[Unrun, str, str] = _DOWN,
) -> Iterator[Fact]:
    """The slots strictly between the two instants, oldest first: each its own fate, or that of the others."""
    for at, fate in sorted(fates.items(), key=lambda item: item[0]):
        if after < at < before:
            yield from _unrun(schedule, after, at - _INSTANT, others)
            yield fate
            after = at
    yield from _unrun(schedule, after, before - _INSTANT, others)


def _unrun(
    schedule: Schedule, after: datetime, through: datetime, fate: tuple[Unrun, str, str]
) -> Iterator[Fact]:
    first, last = schedule.next_after(after), schedule.last_through(through, after=after)
    if first is not None and last is not None:
        outcome, reason, message = fate
        yield DidNotRun(outcome, first, last, schedule.count(after, through), reason, message)


def _adopted(view: View, since: datetime, now: datetime) -> Iterator[Fact]:
    """The runs of an earlier life, and the slots before them that nobody has started."""
    scheduled = [one.run.scheduled_time for one in view.unrecorded if one.run.trigger is Trigger.SCHEDULE]
    if scheduled:
        yield from _past(view.schedule, since, max(scheduled) + _INSTANT, view.fates)
    request = _request(view, now)
    for found in view.unrecorded:
        if found.run.trigger is Trigger.MANUAL:
            answered = request if request is not None and request.name == found.slot_name else None
            yield Started(found.run, answered.token if answered else None)


def _readable(text: str | None) -> Schedule | None:
    """The schedule as status has it; None also if this version does not understand it any more."""
    try:
        return None if text is None else Schedule.from_text(text)
    except InvalidSpec:
        return None


def _unanswered(resource: Resource) -> str | None:
    answered = resource.status.last_run_request
    return resource.run_request if answered is None or answered.token != resource.run_request else None


def _request(view: View, now: datetime) -> Slot | None:
    token = _unanswered(view.resource)
    if token is None or view.resource.status.accounted_through is None:
        return None
    retry = view.retry(Slot(now, token))
    return retry.slot if retry else Slot(now, token)


def _answered(
    token: str, outcome: Literal["Skipped", "Missed", "Ignored"], reason: str, message: str, now: datetime
) -> Fact:
    return Answered(RequestAnswer(token=token, time=now, outcome=outcome, reason=reason, message=message))
