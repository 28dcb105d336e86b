"""What people are told, once a transition."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from assistantcron.announce import REASONS, Event, events
from assistantcron.facts import Accounted, Answered, DidNotRun, Fact, Started
from assistantcron.resource import Condition, Outcome, RequestAnswer, Status
from tests.core.builders import GOOD, asked, at, edited, ended, manual, passed, resource, run


def told(*news: Fact, old: Status | None = None, new: Status | None = None) -> list[Event]:
    return list(events(news, old or Status(), new or old or Status()))


def ready(value: Literal["True", "False", "Unknown"], reason: str, message: str = "m") -> Status:
    condition = Condition(
        type="Ready", status=value, last_transition_time=at("08:00"), reason=reason, message=message
    )
    return Status(conditions=(condition,))


class TestRuns:
    def test_a_scheduled_start_is_not_told(self) -> None:
        assert told(Started(run()), Accounted(at("08:00")), GOOD) == []

    def test_a_requested_start_is(self) -> None:
        expected = Event("Normal", "RunRequestStarted", "run run-m started on request")
        assert told(Started(manual(), "please")) == [expected]

    @pytest.mark.parametrize(
        ("outcome", "kind", "reason"),
        [
            ("success", "Normal", "RunCompleted"),
            ("interrupted", "Normal", "RunInterrupted"),
            ("error", "Warning", "RunFailed"),
            ("timeout", "Warning", "RunFailed"),
            ("lost", "Warning", "RunFailed"),
        ],
    )
    def test_an_end_is_told_by_its_outcome(self, outcome: Outcome, kind: str, reason: str) -> None:
        (event,) = told(ended(status=outcome))
        assert (event.kind, event.reason, event.message) == (kind, reason, f"run run-1 ended: {outcome}")

    def test_the_cause_is_told_with_it(self) -> None:
        assert told(ended(status="error", message="no luck"))[0].message == "run run-1 ended: error: no luck"

    def test_a_pause_is_told_as_what_it_is(self) -> None:
        pause = ended(status="interrupted", awaiting=True)
        assert told(pause) == [Event("Normal", "RunAwaitingInput", "run run-1 waits for a human")]


class TestSlots:
    def test_one_slot_is_told_by_its_instant(self) -> None:
        fact = DidNotRun("Skipped", at("08:00"), at("08:00"), 1, "Suspended", "it was suspended")
        expected = Event("Normal", "SlotSkipped", "2026-03-02T08:00:00Z: Suspended: it was suspended")
        assert told(fact) == [expected]

    def test_several_are_one_event_with_their_count(self) -> None:
        (event,) = told(DidNotRun("Missed", at("08:00"), at("11:00"), 4, "OperatorDown", "away"))
        assert (event.kind, event.reason) == ("Warning", "SlotMissed")
        assert event.message.startswith("4 slots from 2026-03-02T08:00:00Z to 2026-03-02T11:00:00Z: ")


class TestRequests:
    @pytest.mark.parametrize(
        ("outcome", "kind"), [("Skipped", "Normal"), ("Missed", "Warning"), ("Ignored", "Normal")]
    )
    def test_an_answer_is_told(self, outcome: Any, kind: str) -> None:
        answer = RequestAnswer(token="t", time=at("08:00"), outcome=outcome, reason="Why", message="because")
        assert told(Answered(answer)) == [Event(kind, f"RunRequest{outcome}", "Why: because")]  # type: ignore[arg-type]


class TestReadiness:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            (None, ready("True", "Scheduled"), None),
            (None, ready("True", "Suspended"), "Suspended"),
            (None, ready("False", "InvalidSchedule"), "NotReady"),
            (ready("True", "Scheduled"), ready("True", "Scheduled"), None),
            (ready("True", "Scheduled"), ready("True", "Suspended"), "Suspended"),
            (ready("True", "Suspended"), ready("True", "Scheduled"), "Resumed"),
            (ready("True", "Suspended"), ready("False", "InvalidSpec"), "NotReady"),
            (ready("True", "Scheduled"), ready("False", "DeploymentUnavailable"), "NotReady"),
            (ready("False", "A"), ready("False", "B"), "NotReady"),
            (ready("False", "A", "one"), ready("False", "A", "another"), None),
            (ready("False", "A"), ready("True", "Scheduled"), "Ready"),
            (ready("True", "Scheduled"), ready("Unknown", "NotLooked"), None),
            (ready("True", "Scheduled"), None, None),
        ],
    )
    def test_a_change_is_told_once(
        self, old: Status | None, new: Status | None, expected: str | None
    ) -> None:
        happened = list(events((), old or Status(), new or Status()))
        assert [event.reason for event in happened] == ([expected] if expected else [])
        assert all(event.kind == ("Warning" if expected == "NotReady" else "Normal") for event in happened)

    def test_what_is_wrong_is_in_the_message(self) -> None:
        assert told(new=ready("False", "InvalidSchedule", "spec.schedule: no"))[0].message == (
            "InvalidSchedule: spec.schedule: no"
        )


class TestWholePasses:
    def test_one_that_changes_nothing_tells_nothing(self) -> None:
        first = passed(resource(), at("08:00"), Started(run()))
        second = passed(first.resource, at("08:00:01"))
        assert told(*second.news, old=first.resource.status, new=second.resource.status) == []

    def test_an_invalid_spec_is_told_once(self) -> None:
        broken = edited(asked(passed(resource(), at("07:10")).resource, "now"), schedule="nonsense")
        first = passed(broken, at("09:10"))
        reasons = [event.reason for event in events(first.news, broken.status, first.resource.status)]
        assert reasons == ["NotReady", "SlotMissed", "RunRequestMissed"]
        second = passed(first.resource, at("09:11"))
        assert told(*second.news, old=first.resource.status, new=second.resource.status) == []

    def test_every_reason_is_of_the_closed_list(self) -> None:
        facts: list[Fact] = [Started(manual(), "t"), ended(status="interrupted", awaiting=True)]
        facts += [ended(status=outcome) for outcome in ("success", "error", "interrupted")]
        for outcome in ("Skipped", "Missed", "Ignored"):
            facts.append(
                Answered(RequestAnswer(token="t", time=at("08:00"), outcome=outcome, reason="R", message="m"))
            )
        facts.append(DidNotRun("Skipped", at("08:00"), at("08:00"), 1, "R", "m"))
        facts.append(DidNotRun("Missed", at("08:00"), at("08:00"), 1, "R", "m"))
        used = {event.reason for event in told(*facts)}
        chain = [ready("True", "Suspended"), ready("True", "Scheduled"), ready("False", "X")]
        for old, new in zip([None, *chain], [*chain, chain[1]], strict=True):
            used |= {event.reason for event in told(old=old or Status(), new=new)}
        assert used == set(REASONS)
