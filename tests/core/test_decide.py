"""Which slots start, which do not and why: design §3, one sentence a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from assistantcron.decide import REQUEST_PATIENCE, decide, did_not_start, due, undecided
from assistantcron.facts import Accounted, Answered, DidNotRun, Started
from assistantcron.resource import MAX_ACTIVE, Resource, Slot, Status, Trigger
from assistantcron.schedule import Schedule
from tests.core.builders import (
    asked,
    at,
    edited,
    ended,
    found,
    manual,
    only,
    passed,
    resource,
    retry,
    run,
    status,
    view,
)

DOWN = ("Missed", "OperatorDown")
SUSPENDED = ("Skipped", "Suspended")


def fates(facts: Any) -> list[tuple[str, str, str, str, int]]:
    """What did not run, in short: outcome, reason, first, last, count."""
    return [
        (fact.outcome, fact.reason, f"{fact.first:%H:%M}", f"{fact.last:%H:%M}", fact.count)
        for fact in only(facts, DidNotRun)
    ]


def suspended() -> Resource:
    return resource(suspend=True, status=status(next_schedule_time=None))


class TestFirstSight:
    def test_creating_starts_nothing_for_the_past(self) -> None:
        decision = decide(view(resource(status=Status())), at("08:00:30"))
        assert decision.start is None
        assert decision.facts == (Accounted(at("08:00:30")),)
        assert decision.wake == at("09:00")

    def test_a_slot_at_the_very_instant_of_creation_is_past(self) -> None:
        seen = passed(resource(status=Status()), at("08:00"))
        assert seen.decision.start is None
        assert passed(seen.resource, at("08:00")).decision.start is None

    def test_the_first_slot_after_creation_starts(self) -> None:
        seen = passed(resource(status=Status()), at("07:59:59.999"))
        assert seen.decision.wake == at("08:00")
        assert passed(seen.resource, at("08:00")).decision.start == Slot(at("08:00"))

    def test_a_request_that_is_already_there_is_recorded_and_not_obeyed(self) -> None:
        seen = passed(resource(status=Status(), request="restored"), at("08:10"))
        assert seen.decision.start is None
        answer = seen.resource.status.last_run_request
        assert answer is not None
        assert (answer.token, answer.outcome, answer.reason) == ("restored", "Ignored", "AlreadyThere")

    def test_the_same_request_is_not_obeyed_later_either(self) -> None:
        seen = passed(resource(status=Status(), request="restored"), at("08:10"))
        assert due(view(seen.resource), at("08:11")) == ()
        again = asked(asked(seen.resource, None), "restored")
        assert due(view(again), at("08:12")) == ()

    def test_a_new_request_after_it_is_obeyed(self) -> None:
        seen = passed(resource(status=Status(), request="restored"), at("08:10"))
        now = at("08:11")
        assert decide(view(asked(seen.resource, "now")), now).start == Slot(now, "now")

    @pytest.mark.parametrize("fields", [{}, {"suspend": True}, {"schedule": "nonsense"}])
    def test_a_second_look_writes_nothing(self, fields: dict[str, Any]) -> None:
        first = passed(resource(status=Status(), request="restored", **fields), at("08:10:00.4"))
        second = passed(first.resource, at("08:40:00.7"))
        assert first.wrote
        assert not second.wrote
        assert second.news == ()

    def test_a_status_that_cannot_be_read_is_none(self) -> None:
        body = Resource.from_body(
            {
                "metadata": {"namespace": "a", "name": "b", "uid": "c", "resourceVersion": "1"},
                "spec": {"schedule": "0 * * * *", "assistant": "agent"},
                "status": {"accountedThrough": "yesterday"},
            }
        )
        assert decide(view(body), at("08:00:30")).start is None


class TestDue:
    def test_nothing_is_due_before_the_slot(self) -> None:
        decision = decide(view(), at("07:59:59.999999"))
        assert decision.start is None
        assert decision.wake == at("08:00")
        assert fates(decision.facts) == []

    def test_a_slot_is_due_from_its_instant_on(self) -> None:
        assert decide(view(), at("08:00")).start == Slot(at("08:00"))

    def test_a_slot_that_has_started_is_not_due_again(self) -> None:
        seen = passed(resource(), at("08:00:00.2"), Started(run()))
        assert due(view(seen.resource), at("08:00:00.3")) == ()
        assert passed(seen.resource, at("08:59:59")).wrote is False

    def test_after_an_outage_the_newest_slot_starts_and_the_older_are_missed(self) -> None:
        decision = decide(view(), at("11:20"))
        assert decision.start == Slot(at("11:00"))
        assert fates(decision.facts) == [(*DOWN, "08:00", "10:00", 3)]

    def test_one_missed_slot_after_an_outage_starts_and_nothing_is_missed(self) -> None:
        decision = decide(view(), at("08:59"))
        assert decision.start == Slot(at("08:00"))
        assert fates(decision.facts) == []

    def test_an_outage_of_two_years_is_one_entry_with_the_exact_count(self) -> None:
        now = datetime(2028, 3, 2, 7, 30, tzinfo=UTC)
        decision = decide(view(resource(schedule="* * * * *", status=_minutely())), now)
        assert decision.start == Slot(now)
        (missed,) = only(decision.facts, DidNotRun)
        minutes = (now - at("07:00")) // timedelta(minutes=1)
        assert missed.count == minutes - 1
        assert (missed.first, missed.last) == (at("07:01"), now - timedelta(minutes=1))

    def test_slots_of_several_schedules_count_once(self) -> None:
        both = resource(
            schedules=["0 * * * *", "0,30 * * * *"],
            status=status(observed_schedule="0 * * * *; 0,30 * * * * | Etc/UTC"),
        )
        decision = decide(view(both), at("09:10"))
        assert decision.start == Slot(at("09:00"))
        assert fates(decision.facts) == [(*DOWN, "07:30", "08:30", 3)]

    def test_a_clock_that_was_set_back_starts_nothing_twice(self) -> None:
        seen = passed(resource(), at("08:00"), Started(run()))
        seen = passed(seen.resource, at("08:05"), ended=(ended(),))
        back = passed(seen.resource, at("06:59"))
        assert back.decision.start is None
        assert not back.wrote
        assert passed(back.resource, at("08:00")).decision.start is None
        assert passed(back.resource, at("09:00")).decision.start == Slot(at("09:00"))

    @pytest.mark.parametrize(
        "change", [{"schedule": "30 * * * *"}, {"suspend": True}, {"schedule": "nonsense"}]
    )
    def test_a_change_while_the_clock_is_set_back_does_not_move_the_watermark_back(
        self, change: dict[str, Any]
    ) -> None:
        seen = passed(edited(resource(), **change), at("05:00"))
        assert seen.resource.status.accounted_through == at("07:00")
        assert fates(seen.decision.facts) == []


class TestRetries:
    def test_a_start_that_failed_waits_for_its_time(self) -> None:
        tried = retry(at("08:00"), not_before=at("08:00:20"))
        decision = decide(view(retries=(tried,)), at("08:00:19"))
        assert decision.start is None
        assert decision.wake == at("08:00:20")
        assert fates(decision.facts) == []
        assert decide(view(retries=(tried,)), at("08:00:20")).start == Slot(at("08:00"))

    def test_a_newer_slot_overtakes_it_and_it_keeps_its_own_reason(self) -> None:
        tried = retry(at("08:00"), reason="DeploymentUnavailable")
        decision = decide(view(retries=(tried,)), at("09:00"))
        assert decision.start == Slot(at("09:00"))
        assert fates(decision.facts) == [("Missed", "DeploymentUnavailable", "08:00", "08:00", 1)]

    def test_slots_around_it_have_their_own_reason(self) -> None:
        tried = (retry(at("11:00")), retry(at("09:00"), reason="Throttled"))
        decision = decide(view(retries=tried), at("13:00"))
        assert fates(decision.facts) == [
            (*DOWN, "08:00", "08:00", 1),
            ("Missed", "Throttled", "09:00", "09:00", 1),
            (*DOWN, "10:00", "10:00", 1),
            ("Missed", "Unreachable", "11:00", "11:00", 1),
            (*DOWN, "12:00", "12:00", 1),
        ]

    def test_one_for_a_slot_that_is_accounted_for_is_past(self) -> None:
        decision = decide(view(retries=(retry(at("07:00")),)), at("09:00"))
        assert fates(decision.facts) == [(*DOWN, "08:00", "08:00", 1)]

    def test_a_slot_that_a_rule_forbids_by_now_is_skipped_and_not_kept_waiting(self) -> None:
        busy = resource(status=status(active=(manual(),)))
        tried = retry(at("08:00"), not_before=at("08:30"))
        decision = decide(view(busy, retries=(tried,)), at("08:01"))
        assert fates(decision.facts) == [("Skipped", "ConcurrencyForbidden", "08:00", "08:00", 1)]

    @pytest.mark.parametrize(
        ("change", "others"),
        [
            ({"schedule": "30 * * * *"}, DOWN),
            ({"timeZone": "Asia/Kathmandu"}, DOWN),
            ({"suspend": True}, SUSPENDED),
            ({"schedule": "nonsense"}, DOWN),
        ],
    )
    def test_a_change_ends_it_with_its_own_reason(
        self, change: dict[str, Any], others: tuple[str, str]
    ) -> None:
        tried = retry(at("08:00"), reason="DeploymentUnavailable")
        seen = passed(edited(resource(), **change), at("09:01"), retries=(tried,))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [
            ("Missed", "DeploymentUnavailable", "08:00", "08:00", 1),
            (*others, "09:00", "09:00", 1),
        ]
        assert seen.resource.status.accounted_through == at("09:01")


class TestEdits:
    @pytest.mark.parametrize(
        ("change", "next_slot"),
        [({"schedule": "15,45 * * * *"}, at("10:45")), ({"timeZone": "Asia/Kathmandu"}, at("11:15"))],
    )
    def test_editing_while_the_operator_was_down_starts_nothing_for_the_past(
        self, change: dict[str, Any], next_slot: datetime
    ) -> None:
        seen = passed(edited(resource(), **change), at("10:20"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [(*DOWN, "08:00", "10:00", 3)]
        assert seen.resource.status.accounted_through == at("10:20")
        assert seen.resource.status.next_schedule_time == next_slot == seen.decision.wake
        assert passed(seen.resource, next_slot).decision.start == Slot(next_slot)

    def test_a_second_look_after_an_edit_writes_nothing(self) -> None:
        seen = passed(edited(resource(), schedule="15 * * * *"), at("10:10:00.5"))
        assert not passed(seen.resource, at("10:10:00.6")).wrote

    def test_other_spelling_of_the_same_schedule_is_no_edit(self) -> None:
        decision = decide(view(edited(resource(), schedule=" 0  *   * * * ")), at("08:20"))
        assert decision.start == Slot(at("08:00"))

    def test_an_edit_of_the_input_leaves_what_is_due_alone(self) -> None:
        decision = decide(view(edited(resource(), input={"topic": "weather"})), at("09:20"))
        assert decision.start == Slot(at("09:00"))
        assert fates(decision.facts) == [(*DOWN, "08:00", "08:00", 1)]

    @pytest.mark.parametrize("generation", [3, 0])
    def test_more_generations_unseen_than_one_may_hide_a_suspension_and_start_nothing(
        self, generation: int
    ) -> None:
        seen = passed(edited(resource(), generation=generation), at("09:20"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [(*DOWN, "08:00", "09:00", 2)]
        assert not passed(seen.resource, at("09:21")).wrote

    def test_a_schedule_in_status_that_is_not_understood_any_more_stops_nothing(self) -> None:
        old = resource(status=status(observed_schedule="0 8 * * * | Mars/Olympus"))
        seen = passed(old, at("09:20"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == []
        assert seen.resource.status.next_schedule_time == at("10:00")
        assert passed(edited(old, schedule="nonsense"), at("09:20")).wrote

    def test_two_edits_in_a_row_lose_no_slot(self) -> None:
        seen = passed(edited(resource(), schedule="30 * * * *"), at("08:10"))
        seen = passed(edited(seen.resource, schedule="45 * * * *"), at("08:40"))
        assert fates(seen.decision.facts) == [(*DOWN, "08:30", "08:30", 1)]
        assert seen.resource.status.counts.missed == 2


class TestSuspension:
    def test_while_suspended_nothing_is_due_and_nothing_wakes(self) -> None:
        decision = decide(view(suspended()), at("10:20"))
        assert decision.start is None
        assert decision.wake is None
        assert fates(decision.facts) == []

    def test_suspending_accounts_for_what_came_before(self) -> None:
        seen = passed(edited(resource(), suspend=True), at("07:20"))
        assert seen.resource.status.accounted_through == at("07:20")
        assert seen.resource.status.next_schedule_time is None

    def test_a_second_look_while_suspended_writes_nothing(self) -> None:
        seen = passed(edited(resource(), suspend=True), at("07:20:00.9"))
        assert seen.wrote
        for later in ("07:20:01", "08:30", "23:00"):
            assert not passed(seen.resource, at(later)).wrote

    def test_resuming_starts_nothing_and_the_slots_in_between_are_skipped_with_their_exact_count(
        self,
    ) -> None:
        seen = passed(edited(resource(), suspend=True), at("07:20"))
        seen = passed(edited(seen.resource, suspend=False), at("11:20"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "11:00", 4)]
        assert seen.resource.status.counts.skipped == 4
        assert seen.resource.status.next_schedule_time == at("12:00") == seen.decision.wake
        assert not passed(seen.resource, at("11:21")).wrote

    def test_resuming_at_a_slot_skips_that_too(self) -> None:
        seen = passed(edited(suspended(), suspend=False), at("08:00"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "08:00", 1)]

    def test_resuming_before_any_slot_skips_none(self) -> None:
        seen = passed(edited(suspended(), suspend=False), at("07:40"))
        assert fates(seen.decision.facts) == []
        assert passed(seen.resource, at("08:00")).decision.start == Slot(at("08:00"))

    def test_slots_of_an_outage_that_ends_suspended_are_not_started_on_resuming(self) -> None:
        seen = passed(edited(resource(), suspend=True), at("09:20"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "09:00", 2)]
        seen = passed(edited(seen.resource, suspend=False), at("10:20"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "10:00", "10:00", 1)]
        assert seen.resource.status.counts.skipped == 3

    def test_resumed_and_edited_at_once_counts_by_the_schedule_that_was_suspended(self) -> None:
        seen = passed(edited(suspended(), suspend=False, schedule="*/10 * * * *"), at("09:25"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "09:00", 2)]
        assert seen.decision.start is None
        assert seen.resource.status.next_schedule_time == at("09:30")

    def test_edited_while_suspended_counts_each_schedule_in_its_turn(self) -> None:
        seen = passed(edited(suspended(), schedule="*/10 * * * *"), at("08:05"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "08:00", 1)]
        assert seen.resource.status.next_schedule_time is None
        assert not passed(seen.resource, at("08:15")).wrote
        seen = passed(edited(seen.resource, suspend=False), at("08:25"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:10", "08:20", 2)]

    def test_suspended_and_edited_at_once_while_the_operator_was_down(self) -> None:
        seen = passed(edited(resource(), suspend=True, schedule="*/10 * * * *"), at("09:25"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "09:00", 2)]
        assert seen.resource.status.accounted_through == at("09:25")

    def test_suspended_and_resumed_unseen_starts_nothing(self) -> None:
        seen = passed(edited(resource(), generation=3), at("09:20"))
        assert seen.decision.start is None
        assert seen.resource.status.counts.missed == 2

    def test_a_resource_created_suspended_skips_from_its_creation_on(self) -> None:
        seen = passed(resource(status=Status(), suspend=True), at("07:10"))
        seen = passed(edited(seen.resource, suspend=False), at("09:10"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "09:00", 2)]


class TestInvalidSpec:
    def test_nothing_starts_and_nothing_wakes(self) -> None:
        seen = passed(edited(resource(), schedule="nonsense"), at("09:20"))
        assert seen.decision.start is None
        assert seen.decision.wake is None
        assert fates(seen.decision.facts) == [(*DOWN, "08:00", "09:00", 2)]
        assert seen.resource.status.observed_schedule is None
        assert seen.resource.status.next_schedule_time is None

    def test_a_second_look_writes_nothing(self) -> None:
        seen = passed(edited(resource(), schedule="nonsense"), at("09:20:00.5"))
        for later in ("09:21", "12:00"):
            assert not passed(seen.resource, at(later)).wrote

    def test_slots_while_it_was_invalid_are_nobodys(self) -> None:
        seen = passed(edited(resource(), schedule="nonsense"), at("07:20"))
        seen = passed(edited(seen.resource, schedule="0 * * * *"), at("10:20"))
        assert seen.decision.start is None
        assert seen.resource.status.counts.missed == 0
        assert seen.resource.status.accounted_through == at("10:20")
        assert passed(seen.resource, at("11:00")).decision.start == Slot(at("11:00"))

    def test_mending_it_suspended_skips_from_the_mend_on(self) -> None:
        seen = passed(edited(resource(), schedule="nonsense"), at("07:20"))
        seen = passed(edited(seen.resource, schedule="0 * * * *", suspend=True), at("08:20"))
        assert not passed(seen.resource, at("08:30")).wrote
        seen = passed(edited(seen.resource, suspend=False), at("09:20"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "09:00", "09:00", 1)]

    def test_becoming_invalid_while_suspended_skips_the_slots_until_then(self) -> None:
        seen = passed(edited(suspended(), schedule="nonsense"), at("09:20"))
        assert fates(seen.decision.facts) == [(*SUSPENDED, "08:00", "09:00", 2)]

    def test_a_request_is_answered_with_what_is_wrong_once(self) -> None:
        broken = passed(edited(resource(), schedule="nonsense"), at("07:20")).resource
        seen = passed(asked(broken, "now"), at("07:30"))
        answer = seen.resource.status.last_run_request
        assert answer is not None
        assert (answer.outcome, answer.reason) == ("Missed", "InvalidSchedule")
        assert answer.message
        assert "nonsense" in answer.message
        assert not passed(seen.resource, at("07:31")).wrote

    def test_a_field_with_an_endless_name_is_named_in_short(self) -> None:
        broken = edited(asked(resource(), "now"), **{"x" * 5000: 1})
        seen = passed(broken, at("07:30"))
        answer = seen.resource.status.last_run_request
        assert answer is not None
        assert answer.message == f"spec.{'x' * 60!r}: is not a field of an AssistantCron"


class TestFoundRuns:
    """Runs that an earlier life has started and not written down."""

    def test_the_slot_that_is_due_is_not_started_again(self) -> None:
        seen = passed(resource(), at("08:00:20"), found=(found(run()),))
        assert seen.decision.start is None
        assert seen.resource.status.active == (run(),)
        assert fates(seen.decision.facts) == []
        assert due(view(seen.resource), at("08:00:21")) == ()

    def test_the_next_look_is_at_once(self) -> None:
        assert decide(view(found=(found(run()),)), at("08:00:20")).wake == at("08:00:20")

    def test_an_older_one_is_recorded_before_anything_newer_is_judged(self) -> None:
        old = run(slot=at("08:00"))
        seen = passed(resource(), at("10:20"), found=(found(old),))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == []
        assert seen.resource.status.accounted_through == at("08:00")
        # It ended long ago, as the next look shows: nothing forbids the newest.
        then = passed(seen.resource, at("10:20:01"), ended=(ended(),))
        assert then.decision.start == Slot(at("10:00"))
        assert fates(then.decision.facts) == [(*DOWN, "09:00", "09:00", 1)]

    def test_the_slots_before_it_are_missed_and_those_after_it_judged_later(self) -> None:
        seen = passed(resource(), at("11:20"), found=(found(run(slot=at("10:00"))),))
        assert fates(seen.decision.facts) == [(*DOWN, "08:00", "09:00", 2)]
        assert seen.resource.status.accounted_through == at("10:00")

    def test_two_of_them_are_recorded_oldest_first_with_what_lies_between(self) -> None:
        late, early = run("late", at("10:00")), run("early", at("08:00"))
        seen = passed(resource(), at("10:20"), found=(found(late), found(early)))
        assert [fact.run.run_id for fact in only(seen.decision.facts, Started)] == ["early", "late"]
        assert fates(seen.decision.facts) == [(*DOWN, "09:00", "09:00", 1)]
        assert seen.resource.status.counts.started == 2

    def test_a_slot_tried_in_vain_whose_run_has_been_found_did_run(self) -> None:
        tried = retry(at("08:00"))
        seen = passed(resource(), at("09:20"), found=(found(run()),), retries=(tried,))
        assert fates(seen.decision.facts) == []
        assert seen.resource.status.counts.started == 1

    def test_one_that_status_knows_does_not_count_as_in_flight(self) -> None:
        done = passed(resource(), at("08:00"), Started(run()))
        done = passed(done.resource, at("08:10"), ended=(ended(),))
        # The server keeps the thread, so it is found again.
        decision = decide(view(done.resource, found=(found(run()),)), at("09:00:20"))
        assert decision.start == Slot(at("09:00"))
        assert only(decision.facts, Started) == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"schedule": "30 * * * *"}, DOWN),
            ({"suspend": True}, SUSPENDED),
        ],
    )
    def test_one_from_before_a_change_is_recorded_in_its_place(
        self, change: dict[str, Any], expected: tuple[str, str]
    ) -> None:
        one = found(run(slot=at("09:00")))
        seen = passed(edited(resource(), **change), at("10:20"), found=(one,))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [
            (*expected, "08:00", "08:00", 1),
            (*expected, "10:00", "10:00", 1),
        ]
        assert seen.resource.status.counts.started == 1
        assert len(seen.resource.status.slots) == 2
        assert seen.resource.status.accounted_through == at("10:20")

    def test_the_run_of_the_request_answers_it(self) -> None:
        one = manual(seen=at("07:30"))
        seen = passed(asked(resource(), "now"), at("07:30:20"), found=(found(one, "now"),))
        assert seen.decision.start is None
        answer = seen.resource.status.last_run_request
        assert answer is not None
        assert (answer.token, answer.outcome, answer.run_id) == ("now", "Started", "run-m")
        assert seen.resource.status.accounted_through == at("07:00")

    def test_the_run_of_a_request_that_was_replaced_meanwhile_is_recorded_too(self) -> None:
        one = manual(seen=at("07:30"))
        seen = passed(asked(resource(), "newer"), at("07:30:20"), found=(found(one, "older"),))
        assert seen.resource.status.active == (one,)
        assert seen.resource.status.last_run_request is None
        then = passed(seen.resource, at("07:30:21"))
        answer = then.resource.status.last_run_request
        assert answer is not None
        assert (answer.token, answer.reason) == ("newer", "ConcurrencyForbidden")

    def test_without_any_request_left_it_is_recorded_too(self) -> None:
        seen = passed(resource(), at("08:00:20"), found=(found(manual(), "gone"),))
        assert seen.resource.status.active == (manual(),)

    def test_runs_of_requests_that_were_answered_are_not_recorded_again(self) -> None:
        first, second = manual("first", at("07:10")), manual("second", at("07:20"))
        seen = passed(asked(resource(), "1"), at("07:10"), Started(first, "1"))
        seen = passed(seen.resource, at("07:15"), ended=(ended("first"),))
        seen = passed(asked(seen.resource, "2"), at("07:20"), Started(second, "2"))
        seen = passed(seen.resource, at("07:25"), ended=(ended("second"),))
        both = (found(first, "1"), found(second, "2"))
        again = passed(seen.resource, at("08:00"), found=both)
        assert again.decision.start == Slot(at("08:00"))
        assert again.resource.status.counts.started == 2

    @pytest.mark.parametrize(("seen", "known"), [("07:19:59", True), ("07:20", False), ("07:21", False)])
    def test_a_requested_run_is_known_if_it_was_seen_before_the_last_answer(
        self, seen: str, known: bool
    ) -> None:
        """In the same second it is not: a run unseen would be worse than one counted twice."""
        answered = passed(asked(resource(), "2"), at("07:20"), Started(manual("second", at("07:20")), "2"))
        other = found(manual("other", at(seen)), "other")
        again = passed(answered.resource, at("07:30"), found=(other,))
        assert again.resource.status.counts.started == (1 if known else 2)

    def test_a_run_ahead_of_a_clock_that_was_set_back_is_recorded(self) -> None:
        seen = passed(resource(), at("08:30"), found=(found(run(slot=at("09:00"))),))
        assert fates(seen.decision.facts) == [(*DOWN, "08:00", "08:00", 1)]
        assert seen.resource.status.accounted_through == at("09:00")
        assert passed(seen.resource, at("09:00")).decision.start is None

    def test_it_is_looked_for_whenever_something_may_have_been_started(self) -> None:
        assert not undecided(view(), at("07:59"))
        assert undecided(view(), at("08:00"))
        assert undecided(view(asked(resource(), "now")), at("07:59"))
        assert undecided(view(edited(resource(), schedule="30 * * * *")), at("08:10"))
        assert undecided(view(edited(resource(), suspend=True)), at("08:10"))
        assert not undecided(view(resource(status=Status())), at("08:10"))


class TestRules:
    def test_forbid_skips_a_slot_while_a_run_is_in_flight(self) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00")),)))
        seen = passed(busy, at("08:00"))
        assert seen.decision.start is None
        assert fates(seen.decision.facts) == [("Skipped", "ConcurrencyForbidden", "08:00", "08:00", 1)]
        assert "run-0" in str(seen.resource.status.slots[0].message)
        assert seen.decision.wake == at("09:00")

    def test_a_forbidden_slot_is_never_started_late(self) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00")),)))
        seen = passed(busy, at("08:00"))
        then = passed(seen.resource, at("08:01"), ended=(ended("run-0"),))
        assert then.decision.start is None

    def test_a_run_that_has_just_ended_forbids_nothing(self) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00")),)))
        assert decide(view(busy, ended=(ended("run-0"),)), at("08:00")).start == Slot(at("08:00"))

    def test_a_run_that_waits_for_a_human_forbids_by_its_own_name(self) -> None:
        waiting = run("run-0", at("07:00"), status="interrupted")
        busy = resource(status=status(active=(run("run-x", at("06:00")), waiting)))
        decision = decide(view(busy), at("08:00"))
        assert fates(decision.facts) == [("Skipped", "AwaitingInput", "08:00", "08:00", 1)]
        assert "run-0" in only(decision.facts, DidNotRun)[0].message

    def test_a_run_that_has_just_begun_to_wait_does_so_too(self) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00")),)))
        pause = ended("run-0", "interrupted", awaiting=True)
        seen = passed(busy, at("08:00"), ended=(pause,))
        assert fates(seen.decision.facts) == [("Skipped", "AwaitingInput", "08:00", "08:00", 1)]
        assert seen.resource.status.active[0].status == "interrupted"

    def test_a_wait_that_has_ended_forbids_nothing(self) -> None:
        waiting = run("run-0", at("07:00"), status="interrupted")
        busy = resource(status=status(active=(waiting,)))
        assert decide(view(busy, ended=(ended("run-0"),)), at("08:00")).start == Slot(at("08:00"))

    @pytest.mark.parametrize("state", [None, "interrupted"])
    def test_allow_starts_beside_others(self, state: str | None) -> None:
        busy = resource(
            concurrencyPolicy="Allow", status=status(active=(run("run-0", at("07:00"), status=state),))
        )
        assert decide(view(busy), at("08:00")).start == Slot(at("08:00"))

    @pytest.mark.parametrize(("many", "starts"), [(MAX_ACTIVE - 1, True), (MAX_ACTIVE, False)])
    def test_allow_ends_at_as_many_runs_as_status_can_hold(self, many: int, starts: bool) -> None:
        active = tuple(run(f"run-{n}", at("07:00")) for n in range(many))
        busy = resource(concurrencyPolicy="Allow", status=status(active=active))
        decision = decide(view(busy), at("08:00"))
        assert (decision.start is not None) == starts
        if not starts:
            assert fates(decision.facts) == [("Skipped", "TooManyActive", "08:00", "08:00", 1)]

    def test_a_skip_after_an_outage_leaves_the_older_slots_missed(self) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00")),)))
        decision = decide(view(busy), at("10:20"))
        assert fates(decision.facts) == [
            (*DOWN, "08:00", "09:00", 2),
            ("Skipped", "ConcurrencyForbidden", "10:00", "10:00", 1),
        ]


class TestRequests:
    def test_a_new_token_starts_a_run_now(self) -> None:
        decision = decide(view(asked(resource(), "please")), at("07:20"))
        assert decision.start == Slot(at("07:20"), "please")
        assert decision.start.trigger is Trigger.MANUAL

    def test_it_starts_one_run_only(self) -> None:
        one = manual(seen=at("07:20"))
        seen = passed(asked(resource(), "please"), at("07:20"), Started(one, "please"))
        assert due(view(seen.resource), at("07:21")) == ()
        assert seen.resource.status.counts.started == 1

    def test_it_does_not_touch_the_schedule(self) -> None:
        one = manual(seen=at("07:20"))
        seen = passed(asked(resource(), "please"), at("07:20"), Started(one, "please"))
        assert seen.resource.status.accounted_through == at("07:00")
        assert seen.resource.status.next_schedule_time == at("08:00")
        assert seen.resource.status.last_schedule_time is None

    def test_it_is_obeyed_while_suspended(self) -> None:
        assert decide(view(asked(suspended(), "please")), at("09:20")).start == Slot(at("09:20"), "please")

    @pytest.mark.parametrize(
        ("state", "reason"), [(None, "ConcurrencyForbidden"), ("interrupted", "AwaitingInput")]
    )
    def test_it_is_skipped_while_a_run_is_in_flight(self, state: str | None, reason: str) -> None:
        busy = resource(status=status(active=(run("run-0", at("07:00"), status=state),)))
        seen = passed(asked(busy, "please"), at("07:20"))
        answer = seen.resource.status.last_run_request
        assert answer is not None
        assert (answer.token, answer.outcome, answer.reason) == ("please", "Skipped", reason)
        assert seen.resource.status.counts.skipped == 0
        assert not passed(seen.resource, at("07:21")).wrote

    def test_it_is_started_beside_others_if_they_are_allowed(self) -> None:
        busy = resource(concurrencyPolicy="Allow", status=status(active=(run("run-0", at("07:00")),)))
        assert decide(view(asked(busy, "please")), at("07:20")).start == Slot(at("07:20"), "please")

    def test_a_slot_that_is_due_comes_first_and_the_request_after_it_is_in_status(self) -> None:
        both = asked(resource(), "please")
        seen = passed(both, at("08:00"), Started(run()))
        assert seen.decision.start == Slot(at("08:00"))
        assert seen.decision.wake == at("08:00")
        then = passed(seen.resource, at("08:00:00.1"))
        answer = then.resource.status.last_run_request
        assert answer is not None
        assert answer.reason == "ConcurrencyForbidden"

    def test_a_slot_that_waits_for_its_retry_does_not_hold_it_up(self) -> None:
        tried = retry(at("08:00"), not_before=at("08:10"))
        decision = decide(view(asked(resource(), "please"), retries=(tried,)), at("08:01"))
        assert decision.start == Slot(at("08:01"), "please")

    def test_the_same_token_set_twice_is_one_request(self) -> None:
        seen = passed(asked(resource(), "please"), at("07:20"), Started(manual(), "please"))
        again = asked(asked(seen.resource, None), "please")
        assert due(view(again), at("07:30")) == ()

    def test_a_retry_of_it_keeps_the_time_at_which_it_was_first_seen(self) -> None:
        tried = retry(Slot(at("07:20"), "please"), not_before=at("07:21"))
        looked = view(asked(resource(), "please"), retries=(tried,))
        waiting = decide(looked, at("07:20:30"))
        assert waiting.start is None
        assert waiting.wake == at("07:21")
        assert decide(looked, at("07:22")).start == Slot(at("07:20"), "please")

    def test_it_is_not_obeyed_hours_later(self) -> None:
        tried = retry(Slot(at("07:20"), "please"), reason="DeploymentUnavailable")
        asking = asked(resource(), "please")
        assert decide(view(asking, retries=(tried,)), at("07:20") + REQUEST_PATIENCE).start is not None
        seen = passed(asking, at("07:25:00.001"), retries=(tried,))
        answer = seen.resource.status.last_run_request
        assert seen.decision.start is None
        assert answer is not None
        assert (answer.outcome, answer.reason) == ("Missed", "DeploymentUnavailable")

    def test_a_failed_start_of_an_older_token_is_not_taken_for_the_newer_ones(self) -> None:
        tried = retry(Slot(at("07:20"), "older"), not_before=at("07:50"))
        decision = decide(view(asked(resource(), "newer"), retries=(tried,)), at("07:21"))
        assert decision.start == Slot(at("07:21"), "newer")

    def test_a_failed_start_of_a_request_is_no_fate_of_a_slot(self) -> None:
        tried = retry(Slot(at("08:00"), "please"))
        decision = decide(view(asked(resource(), "please"), retries=(tried,)), at("09:00"))
        assert fates(decision.facts) == [(*DOWN, "08:00", "08:00", 1)]

    def test_ten_kilobytes_of_token_are_one_request_too(self) -> None:
        token = "x" * 10_000
        asking = asked(resource(), token)
        (slot,) = due(view(asking), at("07:20"))
        assert slot.token is not None
        assert len(slot.token) <= 256
        seen = passed(asking, at("07:20"), Started(manual(), slot.token))
        assert due(view(asked(seen.resource, token)), at("07:21")) == ()
        assert due(view(asked(seen.resource, token + "x")), at("07:21")) != ()

    def test_an_empty_token_is_none(self) -> None:
        assert due(view(asked(resource(), "")), at("07:20")) == ()

    def test_what_cannot_start_is_answered_by_the_fact_of_its_kind(self) -> None:
        now = at("08:00:05")
        slot = did_not_start(Slot(at("08:00")), "Missed", "Rejected", "HTTP 422", now)
        request = did_not_start(Slot(at("08:00"), "please"), "Skipped", "ThreadBusy", "busy", now)
        assert slot == DidNotRun("Missed", at("08:00"), at("08:00"), 1, "Rejected", "HTTP 422")
        assert isinstance(request, Answered)
        assert (request.answer.time, request.answer.outcome) == (now, "Skipped")


class TestWake:
    def test_the_next_look_is_at_the_next_slot(self) -> None:
        assert decide(view(), at("07:30")).wake == at("08:00")

    def test_an_earlier_retry_comes_first(self) -> None:
        tried = retry(Slot(at("07:20"), "please"), not_before=at("07:21"))
        assert decide(view(asked(resource(), "please"), retries=(tried,)), at("07:20")).wake == at("07:21")

    def test_a_suspended_request_that_failed_wakes_too(self) -> None:
        tried = retry(Slot(at("07:20"), "please"), not_before=at("07:21"))
        looked = view(asked(suspended(), "please"), retries=(tried,))
        assert decide(looked, at("07:20")).wake == at("07:21")


def _minutely() -> Status:
    return status(observed_schedule=str(Schedule.parse(["* * * * *"])), next_schedule_time=at("07:01"))
