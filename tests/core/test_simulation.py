"""Weeks of a resource's life in simulated time: each slot has one fate, and no run is unseen.

A small world stands for the cluster, the server and the operator's memory: edits, suspensions, requests,
outages, crashes between start and write, lost writes, failing starts, a clock set back. The decisions and the
folding are the real ones.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from assistantcron.decide import Decision, decide, decide_invalid, did_not_start, undecided
from assistantcron.errors import InvalidSpec
from assistantcron.facts import Accounted, Answered, Ended, Fact, Health, Started
from assistantcron.resource import ActiveRun, Outcome, Resource, Slot, Status, Trigger, rfc3339
from assistantcron.rules import Found, Retry
from assistantcron.schedule import Schedule
from assistantcron.status import fold
from tests.core.builders import GOOD, SUSPENDED, at, edited, frame, only, resource, run, view

STEPS = 250
SCHEDULES: tuple[dict[str, Any], ...] = (
    {"schedule": "0 * * * *", "schedules": None},
    {"schedule": "*/15 * * * *", "schedules": None},
    {"schedule": "7,37 8-18 * * MON-FRI", "schedules": None},
    {"schedule": "30 2 * * *", "schedules": None},
    {"schedule": None, "schedules": ["0 8 * * *", "*/20 * * * *"]},
)
ZONES = ("Etc/UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
OUTCOMES: tuple[Outcome, ...] = ("success", "success", "error", "timeout", "interrupted", "lost")
SECOND = timedelta(seconds=1)


@dataclass
class ServerRun:
    """A run as the server has it; `outcome` once it has ended, `waits` while it waits for a human."""

    run: ActiveRun
    slot: Slot
    ends: datetime
    outcome: Outcome | None = None
    waits: bool = False


@dataclass
class Turn:
    """The time for which one schedule was in force, as far as it has been accounted for."""

    schedule: str | None
    since: datetime
    before: int = 0
    """Slots of the turns before it."""

    def slots(self, through: datetime) -> int:
        if self.schedule is None:
            return self.before
        return self.before + Schedule.from_text(self.schedule).count(self.since, through)


@dataclass
class World:
    chance: random.Random
    now: datetime
    resource: Resource
    server: dict[str, ServerRun] = field(default_factory=dict)
    recorded: dict[str, ActiveRun] = field(default_factory=dict)
    turn: Turn | None = None
    tokens: int = 0
    # The operator's memory, lost with it.
    up: bool = True
    unsure: bool = True
    retries: dict[str, Retry] = field(default_factory=dict)
    pending: tuple[Fact, ...] = ()
    settled: bool = False
    """Whether the last pass has been written."""

    @property
    def unseen(self) -> set[str]:
        """Runs of which status has never told."""
        return {one.run.run_id for one in self.server.values()} - set(self.recorded)

    @property
    def invalid(self) -> bool:
        return self.resource.spec.get("schedule") == "nonsense"

    def step(self) -> None:
        """Something happens, and then some time passes."""
        happening = self.chance.choice(
            (
                self.edit,
                self.edit_something_else,
                self.suspend_or_resume,
                self.suspend_or_resume,
                self.ask,
                self.ask,
                self.spoil_or_mend,
                self.die,
                self.set_the_clock_back,
                self.wait,
                self.wait,
                self.wait,
                self.wait,
            )
        )
        happening()
        self.live(self.now + timedelta(seconds=self.chance.choice((0.3, 20, 600, 3000, 9000, 30_000))))

    # What people and machines do.

    def edit(self) -> None:
        if not self.invalid:
            self.apply(**self.chance.choice(SCHEDULES), timeZone=self.chance.choice(ZONES))

    def edit_something_else(self) -> None:
        limits = (0, 1, 3)
        self.apply(
            input={"n": self.resource.generation},
            concurrencyPolicy=self.chance.choice(("Forbid", "Forbid", "Allow")),
            successfulRunsHistoryLimit=self.chance.choice(limits),
            failedRunsHistoryLimit=self.chance.choice(limits),
        )

    def suspend_or_resume(self) -> None:
        self.apply(suspend=not self.resource.spec.get("suspend", False))

    def ask(self) -> None:
        # Status has whole seconds: of two requests in one, an earlier life's is not told from the other.
        self.now += SECOND
        self.tokens += 1
        self.resource = replace(self.resource, run_request=f"token-{self.tokens}")

    def spoil_or_mend(self) -> None:
        if self.invalid:
            self.apply(schedule="0 * * * *", schedules=None)
        elif self.settled and not self.unsure:
            # An operator that cannot read the spec does not know where to look for what it has started.
            self.apply(schedule="nonsense", schedules=None)

    def die(self) -> None:
        self.up, self.unsure, self.settled = False, True, False
        self.retries, self.pending = {}, ()

    def set_the_clock_back(self) -> None:
        back = self.now - timedelta(seconds=self.chance.choice((5, 4000)))
        answer = self.resource.status.last_run_request
        quiet = self.up and not self.unsure and not self.retries
        if quiet and (answer is None or answer.time < back):
            self.now = back

    def wait(self) -> None:
        pass

    def apply(self, **fields: Any) -> None:
        self.resource = edited(self.resource, **fields)

    # Time.

    def live(self, until: datetime) -> None:
        """The operator looks when something has happened and when it is due, if it is there."""
        self.up = self.up or self.chance.random() < 0.5
        wake: datetime | None = self.now
        looks = 0
        while self.up and wake is not None and wake <= until:
            self.now = max(self.now, wake)
            wake = self.look()
            looks += 1
            assert looks < 200, "it looks again and again"
        self.now = max(self.now, until)

    def look(self) -> datetime | None:
        """One pass, as the reconciler makes it; when to make the next."""
        within = frame(self.resource, self.now)
        known = replace(self.resource, status=fold(self.resource.status, self.pending, within)[0])
        retries = tuple(self.retries.values())
        over = self.observed(known.status)
        try:
            looked = view(known, ended=over, retries=retries)
        except InvalidSpec as error:
            health = Health(ready=False, reason=error.reason, message=error.message, stalled=True)
            decision = decide_invalid(known, error, self.now, retries)
            return self.write(decision, (*over, *decision.facts, health))
        if self.unsure and undecided(looked, self.now):
            there = tuple(Found(one.slot.name, one.run) for one in self.server.values())
            looked = replace(looked, found=there)
        self.unsure = False
        decision = decide(looked, self.now)
        started = self.start(decision.start, looked.spec.concurrency_policy) if decision.start else ()
        if not self.up:
            return None
        return self.write(decision, (*decision.facts, *started, SUSPENDED if looked.spec.suspend else GOOD))

    def observed(self, status: Status) -> tuple[Ended, ...]:
        """What a look at the server tells of the runs in flight."""
        ends = []
        for one in status.active:
            on_server = next(theirs for theirs in self.server.values() if theirs.run.run_id == one.run_id)
            if self.now < on_server.ends:
                continue
            if on_server.outcome is None and not on_server.waits and self.chance.random() < 0.15:
                on_server.waits, on_server.ends = True, self.now + timedelta(hours=2)
                ends.append(Ended(one.run_id, "interrupted", self.now, "waits", awaiting=True))
                continue
            drawn: Outcome = self.chance.choice(OUTCOMES)
            on_server.outcome = on_server.outcome or drawn
            ends.append(Ended(one.run_id, on_server.outcome, self.now, "m" * 300))
        return tuple(ends)

    def start(self, slot: Slot, policy: str) -> tuple[Fact, ...]:
        if slot.name in self.server:
            return (Started(self.server[slot.name].run, slot.token),)
        if policy == "Forbid":
            going_on = [
                one.run for one in self.server.values() if one.outcome is None and self.now < one.ends
            ]
            assert not going_on, "two at once"
        roll = self.chance.random()
        if roll < 0.15:
            old = self.retries.get(slot.name)
            wait = timedelta(seconds=self.chance.choice((1, 60, 2000)))
            tried = Retry(old.slot if old else slot, "DeploymentUnavailable", "down", self.now + wait, 1)
            self.retries[slot.name] = tried
            return ()
        if roll < 0.25:
            outcome, reason = ("Missed", "Rejected") if roll < 0.2 else ("Skipped", "ThreadBusy")
            return (did_not_start(slot, outcome, reason, "no", self.now),)  # type: ignore[arg-type]
        one = run(
            f"run-{len(self.server)}", slot.time, start_time=self.now, trigger=slot.trigger, thread_id="t"
        )
        length = timedelta(seconds=self.chance.choice((1, 300, 5000)))
        self.server[slot.name] = ServerRun(one, slot, self.now + length)
        if roll < 0.35:
            self.die()
        return (Started(one, slot.token),)

    def write(self, decision: Decision, facts: tuple[Fact, ...]) -> datetime | None:
        """As the recorder does; the API server may fail, or fail to say that it has not."""
        facts = (*self.pending, *facts)
        within, old = frame(self.resource, self.now), self.resource.status
        new, _ = fold(old, facts, within)
        self.pending = tuple(fact for fact in facts if not isinstance(fact, Health | Accounted))
        roll = self.chance.random()
        self.settled = roll >= 0.15
        if roll < 0.1:
            return self.now + SECOND
        stored = Status.model_validate(new.to_json())
        self.resource = replace(self.resource, status=stored)
        for fact in only(facts, Started):
            self.recorded[fact.run.run_id] = fact.run
        self.check(old, stored, facts)
        if not self.settled:
            return self.now + SECOND
        self.pending = ()
        self.forget_retries()
        wakes = [decision.wake, *(tried.not_before for tried in self.retries.values())]
        wakes += [one.ends for one in self.server.values() if one.run in stored.active]
        return min(filter(None, wakes), default=None)

    def forget_retries(self) -> None:
        status, wanted = self.resource.status, self.resource.run_request
        through, answer = status.accounted_through, status.last_run_request
        for name, tried in list(self.retries.items()):
            token = tried.slot.token
            if token is None:
                over = self.invalid or (through is not None and tried.slot.time <= through)
            else:
                over = self.invalid or token != wanted or (answer is not None and answer.token == token)
            if over:
                del self.retries[name]

    # What must always hold.

    def check(self, old: Status, new: Status, facts: tuple[Fact, ...]) -> None:
        within = frame(self.resource, self.now)
        through = new.accounted_through
        assert through is not None
        assert old.accounted_through is None or old.accounted_through <= through
        assert len(json.dumps(new.to_json())) < 16_000

        if self.turn is None:
            self.turn = Turn(new.observed_schedule, through)
        elif self.turn.schedule != new.observed_schedule:
            self.turn = Turn(new.observed_schedule, through, self.turn.slots(through))
        scheduled = [one for one in self.recorded.values() if one.trigger is Trigger.SCHEDULE]
        assert len({one.scheduled_time for one in scheduled}) == len(scheduled)
        counts = new.counts
        assert len(scheduled) + counts.skipped + counts.missed == self.turn.slots(through)
        assert counts.started == len(self.recorded)
        running = sum(1 for one in new.active if one.status is None)
        assert counts.started == counts.succeeded + counts.failed + counts.interrupted + running

        # Status tells of the last request only, and of a run that came and went what history keeps.
        answers = [*only(facts, Answered), *(fact for fact in only(facts, Started) if fact.token)]
        gone = {fact.run.run_id for fact in only(facts, Started)} & {
            fact.run_id for fact in only(facts, Ended)
        }
        if len(answers) < 2 and not gone:
            once_more, news = fold(new, facts, replace(within, now=self.now + SECOND))
            assert once_more.to_json() == new.to_json()
            assert news == ()
        for condition in new.conditions:
            before = old.condition(condition.type)
            flipped = before is None or before.status != condition.status
            moved = before is None or rfc3339(before.last_transition_time) != rfc3339(
                condition.last_transition_time
            )
            assert flipped or not moved
        armed = None if within.suspended else within.schedule
        if only(facts, Accounted):
            assert new.next_schedule_time == (armed.next_after(through) if armed else None)

    def check_at_rest(self) -> None:
        """With nothing due and nothing new, a pass writes nothing: it would write in a loop."""
        if not self.settled or self.invalid or self.retries:
            return
        looked = view(self.resource)
        decision = decide(looked, self.now)
        if not undecided(looked, self.now) and decision.start is None:
            health = SUSPENDED if looked.spec.suspend else GOOD
            new, _ = fold(self.resource.status, (*decision.facts, health), frame(self.resource, self.now))
            assert new == self.resource.status


@pytest.mark.parametrize("seed", range(6))
def test_every_slot_has_one_fate_and_no_run_is_unseen(seed: int) -> None:
    world = World(
        random.Random(seed), at("07:12:34.567"), resource(status=Status(), concurrencyPolicy="Forbid")
    )
    for _ in range(STEPS):
        world.step()
        world.check_at_rest()
    if world.invalid:
        world.spoil_or_mend()
    # Left alone, status comes to tell of every run that the server has ever had.
    for _ in range(100):
        if world.unseen:
            world.live(world.now + timedelta(hours=1))
    assert not world.unseen
    counts = world.resource.status.counts
    assert min(counts.started, counts.succeeded, counts.failed, counts.interrupted) > 0
    assert min(counts.skipped, counts.missed) > 0
