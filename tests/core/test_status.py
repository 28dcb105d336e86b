"""What a status becomes: each fact once, whole, and nothing that no fact has said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from assistantcron.facts import Accounted, Answered, DidNotRun, Fact, Health, Started
from assistantcron.resource import MAX_MESSAGE, MAX_SLOTS, Outcome, RequestAnswer, Status
from assistantcron.status import Frame, fold
from tests.core.builders import GOOD, at, ended, frame, manual, resource, run, status

HOURLY = frame(resource(), at("08:30"))


def folded(old: Status, *facts: Fact, within: Frame = HOURLY, now: datetime | None = None) -> Status:
    """The status after these facts, read back as the API server has stored it."""
    new, _ = fold(old, facts, within if now is None else replace(within, now=now))
    return Status.model_validate(new.to_json())


def unrun(slot: str, reason: str = "OperatorDown", outcome: Any = "Missed", **changes: Any) -> DidNotRun:
    fields: dict[str, Any] = {"first": at(slot), "last": at(slot), "count": 1, "message": "m"} | changes
    return DidNotRun(outcome=outcome, reason=reason, **fields)


def skipped(slot: str, reason: str = "ConcurrencyForbidden") -> DidNotRun:
    return unrun(slot, reason, "Skipped")


def answered(token: str, **changes: Any) -> Answered:
    fields: dict[str, Any] = {"time": at("08:00:00.25"), "outcome": "Skipped", "reason": "ThreadBusy"}
    return Answered(RequestAnswer(token=token, **fields | changes))


def busy(*runs: Any) -> Status:
    """A status with these runs in flight, started and counted."""
    return folded(status(), *(Started(one) for one in runs))


class TestFolding:
    def test_no_facts_and_nothing_new_is_an_equal_status(self) -> None:
        once = folded(status(), Accounted(at("07:00")), GOOD)
        again, news = fold(once, (Accounted(at("07:00")), GOOD), replace(HOURLY, now=at("12:00")))
        assert again == once
        assert news == ()

    @pytest.mark.parametrize(
        "facts",
        [
            (Accounted(at("08:20:00.5")),),
            (unrun("08:00"), unrun("09:00")),
            (unrun("08:00", last=at("11:00"), count=4), skipped("12:00")),
            (Started(run()),),
            (Started(manual(), "please"),),
            (Started(run(start_time=at("08:00:00.731"))), ended(time=at("08:10:00.5"))),
            (Started(run()), ended(status="interrupted", awaiting=True)),
            (Started(run()), ended(status="interrupted", awaiting=True), ended(status="error")),
            (answered("please"),),
            (Health(ready=False, reason="X", message="y", stalled=True),),
            (Started(run()), unrun("09:00"), Started(run("run-2", at("10:00"))), ended("run-2")),
        ],
    )
    def test_folding_the_same_facts_twice_is_folding_them_once(self, facts: tuple[Fact, ...]) -> None:
        once = folded(status(), *facts)
        again, news = fold(once, facts, replace(HOURLY, now=at("23:00")))
        assert again.to_json() == once.to_json()
        assert news == ()

    def test_news_are_the_facts_that_changed_something(self) -> None:
        old = folded(status(), Started(run()), unrun("09:00"))
        facts = (Accounted(at("10:30")), Started(run()), unrun("09:00"), ended(), unrun("10:00"), GOOD)
        _, news = fold(old, facts, HOURLY)
        assert news == (ended(),)

    def test_the_watermark_never_moves_back(self) -> None:
        new = folded(status(), Accounted(at("06:00")), Started(run(slot=at("05:00"))), unrun("06:00"))
        assert new.accounted_through == at("07:00")

    def test_what_is_stored_is_read_back_as_it_was(self) -> None:
        new = folded(status(), Started(run()), ended(), unrun("09:00"), answered("please"), GOOD)
        assert Status.model_validate(new.to_json()) == new
        assert all("_" not in field for field in new.to_json())


class TestObservedSpec:
    """A spec counts as observed only with what it leaves behind."""

    edited = replace(frame(resource(schedule="30 * * * *"), at("08:30")), generation=2)

    def test_with_the_watermark_comes_the_spec_that_was_judged(self) -> None:
        new = folded(status(), Accounted(at("08:20")), within=self.edited)
        assert new.observed_generation == 2
        assert new.observed_schedule == "30 * * * * | Etc/UTC"
        assert new.next_schedule_time == at("08:30")

    def test_without_it_an_edit_is_still_to_be_seen(self) -> None:
        old = busy(run())
        new = folded(old, ended(), within=self.edited)
        assert new.observed_generation == 1
        assert new.observed_schedule == "0 * * * * | Etc/UTC"
        assert new.next_schedule_time == old.next_schedule_time
        assert new.counts.succeeded == 1

    def test_the_next_slot_follows_the_watermark(self) -> None:
        new = folded(status(), Accounted(at("07:00")), Started(run()))
        assert new.next_schedule_time == at("09:00")

    def test_a_suspended_resource_has_no_next_slot(self) -> None:
        new = folded(status(), Accounted(at("07:20")), within=replace(HOURLY, suspended=True))
        assert new.next_schedule_time is None
        assert new.observed_schedule == "0 * * * * | Etc/UTC"

    def test_a_spec_that_cannot_be_obeyed_has_neither_schedule_nor_next_slot(self) -> None:
        new = folded(
            status(), Accounted(at("07:20")), within=Frame(2, None, suspended=False, now=at("07:20"))
        )
        assert new.next_schedule_time is None
        assert new.observed_schedule is None
        assert new.observed_generation == 2


class TestSlotsThatDidNotRun:
    def test_each_is_counted_and_has_an_entry_newest_first(self) -> None:
        new = folded(status(), unrun("08:00"), skipped("09:00"))
        assert (new.counts.missed, new.counts.skipped) == (1, 1)
        assert [entry.reason for entry in new.slots] == ["ConcurrencyForbidden", "OperatorDown"]
        assert new.slots[0].through is None
        assert new.accounted_through == at("09:00")

    def test_several_at_once_are_one_entry_with_the_last_and_the_count(self) -> None:
        new = folded(status(), unrun("08:00", last=at("11:00"), count=4))
        (entry,) = new.slots
        assert (entry.scheduled_time, entry.through, entry.count) == (at("08:00"), at("11:00"), 4)
        assert new.counts.missed == 4

    def test_neighbours_of_the_same_fate_become_one_entry(self) -> None:
        new = folded(status(), skipped("08:00"), skipped("09:00"), skipped("10:00"))
        (entry,) = new.slots
        assert (entry.scheduled_time, entry.through, entry.count) == (at("08:00"), at("10:00"), 3)
        assert new.counts.skipped == 3

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (skipped("08:00", "ThreadBusy"), skipped("09:00", "ConcurrencyForbidden")),
            (unrun("08:00", "Rejected", "Missed"), unrun("09:00", "Rejected", "Skipped")),
        ],
    )
    def test_another_reason_or_outcome_is_another_entry(self, first: Fact, second: Fact) -> None:
        assert len(folded(status(), first, second).slots) == 2

    def test_a_run_that_started_in_between_keeps_them_apart(self) -> None:
        new = folded(status(), skipped("08:00"), Started(run(slot=at("09:00"))), skipped("10:00"))
        assert [entry.count for entry in new.slots] == [1, 1]

    def test_a_run_that_started_before_them_does_not(self) -> None:
        new = folded(status(), Started(run(slot=at("08:00"))), skipped("09:00"), skipped("10:00"))
        assert [entry.count for entry in new.slots] == [2]

    def test_a_requested_run_in_between_is_no_slot(self) -> None:
        new = folded(status(), skipped("08:00"), Started(manual(seen=at("08:30")), "t"), skipped("09:00"))
        assert [entry.count for entry in new.slots] == [2]

    def test_the_last_ten_are_kept_and_all_are_counted(self) -> None:
        facts = [skipped(f"{8 + n:02}:00", f"Reason{n % 2}") for n in range(MAX_SLOTS + 2)]
        new = folded(status(), *facts)
        assert len(new.slots) == MAX_SLOTS
        assert new.slots[0].scheduled_time == at("19:00")
        assert new.slots[-1].scheduled_time == at("10:00")
        assert new.counts.skipped == MAX_SLOTS + 2

    def test_one_that_is_accounted_for_changes_nothing(self) -> None:
        old = folded(status(), Started(run()))
        assert folded(old, unrun("08:00")) == old

    def test_a_long_message_is_cut(self) -> None:
        new = folded(status(), unrun("08:00", message="x" * 5000))
        assert len(str(new.slots[0].message)) == MAX_MESSAGE


class TestStarts:
    def test_a_scheduled_start_accounts_for_its_slot(self) -> None:
        new = busy(run())
        assert new.active == (run(),)
        assert new.counts.started == 1
        assert new.accounted_through == new.last_schedule_time == at("08:00")

    def test_a_start_found_late_does_not_move_the_last_slot_back(self) -> None:
        new = busy(run("late", at("10:00")), run("early", at("09:00")))
        assert new.last_schedule_time == at("10:00")
        assert new.counts.started == 2

    def test_a_requested_start_answers_its_token(self) -> None:
        new = folded(status(), Started(manual(), "please"))
        assert new.last_run_request == RequestAnswer(
            token="please", time=manual().start_time, outcome="Started", run_id="run-m"
        )
        assert new.accounted_through == at("07:00")

    def test_a_known_run_is_not_started_again(self) -> None:
        done = folded(busy(run()), ended())
        assert folded(done, Started(run())) == done
        # Not even when history keeps nothing: the last run is known.
        forgetful = replace(HOURLY, successful_runs_history_limit=0)
        done = folded(busy(run()), ended(), within=forgetful)
        assert done.runs == ()
        assert folded(done, Started(run()), within=forgetful) == done

    def test_a_token_is_answered_once(self) -> None:
        first = folded(status(), answered("please"))
        assert folded(first, answered("please", time=at("09:00"), outcome="Missed")) == first
        assert folded(first, Started(manual(), "please")).last_run_request == first.last_run_request
        other = folded(first, answered("another"))
        assert other.last_run_request is not None
        assert other.last_run_request.token == "another"


class TestEnds:
    @pytest.mark.parametrize(
        ("outcome", "field"),
        [
            ("success", "succeeded"),
            ("error", "failed"),
            ("timeout", "failed"),
            ("lost", "failed"),
            ("interrupted", "interrupted"),
        ],
    )
    def test_each_outcome_has_its_counter_and_its_record(self, outcome: Outcome, field: str) -> None:
        new = folded(busy(run()), ended(status=outcome, message="why"))
        counts = new.counts.model_dump()
        assert {name: value for name, value in counts.items() if value} == {"started": 1, field: 1}
        assert new.active == ()
        (record,) = new.runs
        assert record == new.last_run
        assert (record.run_id, record.thread_id, record.status) == ("run-1", "thread-of-run-1", outcome)
        assert (record.completion_time, record.message) == (at("08:10"), "why")
        assert (new.last_successful_time == at("08:10")) == (field == "succeeded")
        assert (new.last_failed_time == at("08:10")) == (field == "failed")

    def test_the_end_of_a_run_that_is_not_in_flight_changes_nothing(self) -> None:
        old = folded(status())
        assert folded(old, ended()) == old

    def test_failures_in_a_row_are_counted_and_a_success_ends_the_row(self) -> None:
        new = busy(run("a"), run("b", at("09:00")), run("c", at("10:00")), run("d", at("11:00")))
        new = folded(new, ended("a", "error"), ended("b", "lost"))
        assert new.consecutive_failures == 2
        new = folded(new, ended("c", "interrupted"))
        assert new.consecutive_failures == 2
        assert folded(new, ended("d", "success")).consecutive_failures == 0

    def test_a_long_message_is_cut(self) -> None:
        new = folded(busy(run()), ended(status="error", message="x" * 5000))
        assert len(str(new.runs[0].message)) == MAX_MESSAGE

    def test_the_last_run_is_the_one_that_started_last_not_the_one_that_ended_last(self) -> None:
        new = busy(run("early", at("08:00")), run("late", at("09:00")))
        new = folded(new, ended("late", "success", at("09:05")))
        new = folded(new, ended("early", "error", at("09:30")))
        assert new.last_run is not None
        assert new.last_run.run_id == "late"
        assert [record.run_id for record in new.runs] == ["late", "early"]
        assert new.last_failed_time == at("09:30")

    def test_times_of_overlapping_runs_do_not_move_back(self) -> None:
        new = busy(run("a"), run("b", at("09:00")))
        new = folded(new, ended("b", "success", at("09:05")), ended("a", "success", at("09:01")))
        assert new.last_successful_time == at("09:05")


class TestAwaitingInput:
    pause = ended(status="interrupted", awaiting=True, time=at("08:05"))

    def test_it_stays_in_flight_and_is_shown_without_completion(self) -> None:
        new = folded(busy(run()), self.pause)
        assert new.active == (run(status="interrupted"),)
        assert new.last_run is not None
        assert new.last_run.status == "interrupted"
        assert new.last_run.completion_time is None
        assert new.counts.interrupted == 1
        assert (new.last_successful_time, new.last_failed_time) == (None, None)

    def test_a_second_pause_is_no_news(self) -> None:
        old = folded(busy(run()), self.pause)
        assert fold(old, (replace(self.pause, time=at("08:20")),), HOURLY) == (old, ())

    @pytest.mark.parametrize(
        ("outcome", "field"), [("success", "succeeded"), ("error", "failed"), ("interrupted", "interrupted")]
    )
    def test_the_final_outcome_replaces_it(self, outcome: Outcome, field: str) -> None:
        new = folded(folded(busy(run()), self.pause), ended(status=outcome))
        assert new.active == ()
        assert [(record.status, record.completion_time) for record in new.runs] == [(outcome, at("08:10"))]
        assert new.last_run == new.runs[0]
        counts = new.counts.model_dump()
        assert {name: value for name, value in counts.items() if value} == {"started": 1, field: 1}

    def test_the_final_outcome_of_one_that_others_overtook_is_no_last_run(self) -> None:
        new = folded(busy(run(), run("run-2", at("09:00"))), self.pause, ended("run-2", time=at("09:10")))
        new = folded(new, ended("run-1", "error", at("10:00")))
        assert new.last_run is not None
        assert new.last_run.run_id == "run-2"
        assert [record.status for record in new.runs] == ["success", "error"]
        assert new.consecutive_failures == 1


class TestHistory:
    def history(self, successful: int, failed: int) -> list[str]:
        within = replace(HOURLY, successful_runs_history_limit=successful, failed_runs_history_limit=failed)
        new = status()
        outcomes: tuple[Outcome, ...] = ("success", "error", "success", "lost", "interrupted", "timeout")
        for hour, outcome in enumerate(outcomes, start=8):
            name = f"{hour}-{outcome}"
            new = folded(new, Started(run(name, at(f"{hour:02}:00"))), within=within)
            new = folded(new, ended(name, outcome, at(f"{hour:02}:01")), within=within)
        assert new.last_run is not None
        assert new.last_run.run_id == "13-timeout"
        assert new.counts.started == len(outcomes)
        return [record.run_id for record in new.runs]

    def test_the_newest_of_each_kind_are_kept_newest_first(self) -> None:
        assert self.history(2, 1) == ["13-timeout", "12-interrupted", "10-success"]

    def test_a_limit_of_none_keeps_none_of_that_kind(self) -> None:
        assert self.history(0, 3) == ["13-timeout", "11-lost", "9-error"]
        assert self.history(1, 0) == ["12-interrupted"]
        assert self.history(0, 0) == []

    def test_a_limit_set_lower_drops_what_is_too_many(self) -> None:
        new = busy(run("a"), run("b", at("09:00")))
        new = folded(new, ended("a"), ended("b"))
        new = folded(new, within=replace(HOURLY, successful_runs_history_limit=1))
        assert [record.run_id for record in new.runs] == ["b"]

    def test_a_spec_that_cannot_be_obeyed_drops_nothing(self) -> None:
        wide = replace(HOURLY, successful_runs_history_limit=20)
        new = status()
        for hour in range(8, 16):
            new = folded(new, Started(run(f"{hour}", at(f"{hour:02}:00"))), ended(f"{hour}"), within=wide)
        assert len(folded(new, within=Frame(2, None, suspended=False, now=at("16:00"))).runs) == 8

    def test_with_a_history_of_none_a_pause_is_still_replaced(self) -> None:
        within = replace(HOURLY, successful_runs_history_limit=0, failed_runs_history_limit=0)
        pause = ended(status="interrupted", awaiting=True)
        new = folded(status(), Started(run()), pause, within=within)
        assert new.runs == ()
        new = folded(new, ended(status="success"), within=within)
        assert (new.counts.interrupted, new.counts.succeeded) == (0, 1)
        assert new.last_run is not None
        assert new.last_run.status == "success"


class TestConditions:
    def said(self, new: Status, kind: str) -> tuple[str, str]:
        condition = new.condition(kind)
        assert condition is not None
        return condition.status, condition.reason

    @pytest.mark.parametrize(("ready", "value"), [(True, "True"), (False, "False"), (None, "Unknown")])
    def test_ready_is_what_the_pass_found(self, ready: bool | None, value: str) -> None:
        new = folded(status(), Health(ready=ready, reason="Why", message="because"))
        assert self.said(new, "Ready") == (value, "Why")
        assert new.condition("Stalled") is None

    def test_stalled_is_there_only_while_a_person_must_act(self) -> None:
        bad = Health(ready=False, reason="AssistantNotFound", message="no such assistant", stalled=True)
        new = folded(status(), bad)
        assert self.said(new, "Stalled") == ("True", "AssistantNotFound")
        assert [condition.type for condition in new.conditions] == ["Ready", "Stalled", "LastRunSucceeded"]
        assert folded(new, GOOD).condition("Stalled") is None

    def test_every_condition_carries_the_generation(self) -> None:
        new = folded(status(), GOOD, within=replace(HOURLY, generation=7))
        assert {condition.observed_generation for condition in new.conditions} == {7}

    def test_the_transition_time_moves_on_flips_only(self) -> None:
        bad = Health(ready=False, reason="Unreachable", message="no answer")
        worse = Health(ready=False, reason="TLSError", message="bad certificate")
        times = []
        new = status()
        for minute, health in enumerate((GOOD, GOOD, bad, worse, GOOD), start=1):
            new = folded(new, health, now=at(f"08:0{minute}"))
            condition = new.condition("Ready")
            assert condition is not None
            assert condition.reason == health.reason
            times.append(condition.last_transition_time)
        assert times == [at("08:01"), at("08:01"), at("08:03"), at("08:03"), at("08:05")]

    def test_a_pass_without_news_of_health_leaves_it(self) -> None:
        old = folded(status(), GOOD)
        assert folded(old, now=at("12:00")) == old

    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [
            ("success", ("True", "Success")),
            ("error", ("False", "Error")),
            ("timeout", ("False", "Timeout")),
            ("lost", ("False", "Lost")),
            ("interrupted", ("Unknown", "Interrupted")),
        ],
    )
    def test_last_run_succeeded_says_how_the_last_run_ended(
        self, outcome: Outcome, expected: tuple[str, str]
    ) -> None:
        new = folded(busy(run()), ended(status=outcome))
        assert self.said(new, "LastRunSucceeded") == expected
        condition = new.condition("LastRunSucceeded")
        assert condition is not None
        assert "run-1" in condition.message

    def test_the_cause_of_a_failure_is_in_its_message(self) -> None:
        new = folded(busy(run()), ended(status="error", message="ValueError: bad"))
        condition = new.condition("LastRunSucceeded")
        assert condition is not None
        assert "ValueError: bad" in condition.message

    def test_it_is_unknown_before_the_first_run_and_while_one_waits(self) -> None:
        assert self.said(folded(status()), "LastRunSucceeded") == ("Unknown", "NoRunYet")
        waiting = folded(busy(run()), ended(status="interrupted", awaiting=True))
        assert self.said(waiting, "LastRunSucceeded") == ("Unknown", "AwaitingInput")

    def test_a_failed_run_never_touches_ready(self) -> None:
        old = folded(status(), GOOD)
        new = folded(old, Started(run()), ended(status="error"))
        assert new.condition("Ready") == old.condition("Ready")
