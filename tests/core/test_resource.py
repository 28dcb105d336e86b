"""What is read from the API server, and the names that every process must agree on."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from assistantcron.resource import (
    MAX_MESSAGE,
    MAX_TOKEN,
    ActiveRun,
    Key,
    RequestAnswer,
    Resource,
    Slot,
    Status,
    Trigger,
    claim_thread,
    own_thread,
    rfc3339,
    slot_thread,
)
from tests.core.builders import UID, at, body, manual, run, status


class TestInstants:
    def test_they_are_written_in_utc_by_the_second(self) -> None:
        nepal = datetime(2026, 3, 2, 13, 45, 0, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=45)))
        assert rfc3339(nepal) == "2026-03-02T08:00:00Z"

    def test_they_are_read_as_utc_whatever_zone_they_are_written_in(self) -> None:
        read = Status.model_validate({"accountedThrough": "2026-03-02T13:45:00+05:45"})
        assert read.accounted_through == at("08:00")
        assert read.accounted_through is not None
        assert read.accounted_through.tzinfo is UTC

    def test_one_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must have a time zone"):
            Status(accounted_through=datetime(2026, 3, 2))  # noqa: DTZ001 - the mistake under test


class TestReading:
    def test_a_new_object_has_no_status_and_no_request(self) -> None:
        read = Resource.from_body(body())
        assert read.key == Key("team", "nightly")
        assert str(read.key) == "team/nightly"
        assert (read.uid, read.generation, read.resource_version) == (UID, 1, "10")
        assert read.status == Status()
        assert read.run_request is None

    def test_a_status_is_read_as_it_was_written(self) -> None:
        old = status(active=(run(),))
        assert Resource.from_body(body(status=old)).status == old

    def test_unknown_fields_of_a_status_are_passed_over(self) -> None:
        newer = status().to_json() | {"phase": "Running"}
        assert Resource.from_body(body(status=newer)).status == status()

    @pytest.mark.parametrize(
        "broken",
        [
            {"accountedThrough": "soon"},
            {"active": [{"runId": "r"}]},
            {"active": 5},
            {"counts": {"started": -1}},
            {"conditions": [{"type": "Ready", "status": "Perhaps"}]},
        ],
    )
    def test_a_status_that_is_not_ours_counts_as_none(self, broken: dict[str, Any]) -> None:
        assert Resource.from_body(body(status=status().to_json() | broken)).status == Status()

    def test_empty_parts_are_as_absent_ones(self) -> None:
        bare = body()
        bare["metadata"]["annotations"] = None
        del bare["metadata"]["generation"]
        read = Resource.from_body(bare | {"spec": None, "status": None})
        assert (read.spec, read.status, read.run_request, read.generation) == ({}, Status(), None, 0)

    def test_absent_values_are_left_out_of_what_is_written(self) -> None:
        written = Status(active=(run(),)).to_json()
        assert "nextScheduleTime" not in written
        assert "status" not in written["active"][0]
        assert written["counts"]["started"] == 0


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_status_with_an_instant_that_utc_has_not_counts_as_none(instant: str) -> None:
    assert Resource.from_body(body(status={"accountedThrough": instant})).status == Status()


class TestTokens:
    def test_a_token_is_any_text(self) -> None:
        assert Resource.from_body(body(request=" ü\n")).run_request == " ü\n"

    def test_an_empty_one_asks_for_nothing(self) -> None:
        assert Resource.from_body(body(request="")).run_request is None

    def test_as_long_a_one_as_status_holds_stands_there_itself(self) -> None:
        longest = "ü" * MAX_TOKEN
        assert Resource.from_body(body(request=longest)).run_request == longest

    def test_a_longer_one_stands_there_as_its_hash(self) -> None:
        first = Resource.from_body(body(request="x" * 10_000)).run_request
        second = Resource.from_body(body(request="x" * 9_999)).run_request
        assert first is not None
        assert first.startswith("sha256:")
        assert first != second
        assert RequestAnswer(token=first, time=at("08:00"), outcome="Started").token == first

    def test_a_message_is_cut_to_what_status_holds(self) -> None:
        def answer(message: Any) -> RequestAnswer:
            return RequestAnswer(token="t", time=at("08:00"), outcome="Missed", message=message)

        assert answer("x" * 5000).message == "x" * MAX_MESSAGE
        with pytest.raises(ValueError, match="string"):
            answer(5)


class TestSlots:
    def test_a_scheduled_slot_is_named_by_its_instant_in_every_zone(self) -> None:
        nepal = at("08:00").astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert Slot(at("08:00")).name == Slot(nepal).name == "2026-03-02T08:00:00Z"
        assert Slot(at("08:00")).trigger is Trigger.SCHEDULE

    def test_a_request_is_named_by_its_token_whenever_it_is_seen(self) -> None:
        assert Slot(at("08:00"), "now").name == Slot(at("09:00"), "now").name
        assert Slot(at("08:00"), "now").name != Slot(at("08:00"), "now ").name
        assert Slot(at("08:00"), "now").trigger is Trigger.MANUAL

    def test_no_token_can_pass_for_a_slot(self) -> None:
        name = Slot(at("08:00")).name
        assert Slot(at("08:00"), name).name != name

    def test_a_name_is_short_whatever_the_token(self) -> None:
        assert len(Slot(at("08:00"), "\n" * 256).name) == len("manual-") + 32


class TestThreads:
    def test_the_thread_of_a_slot_is_the_same_in_every_process(self) -> None:
        assert slot_thread(UID, "2026-03-02T08:00:00Z", 1) == "89c2f232-c7ff-50d1-897f-5e641edf788c"

    def test_another_resource_slot_or_attempt_has_another_thread(self) -> None:
        other = "5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b11"
        names = {
            slot_thread(UID, "a", 1),
            slot_thread(UID, "a", 2),
            slot_thread(UID, "b", 1),
            slot_thread(other, "a", 1),
            own_thread(UID),
            own_thread(other),
        }
        assert len(names) == 6
        assert all(str(uuid.UUID(name)) == name for name in names)

    def test_the_claim_of_a_scheduled_run_follows_from_its_slot_and_attempt(self) -> None:
        later = run(attempt=3)
        assert claim_thread(UID, later, Status()) == slot_thread(UID, "2026-03-02T08:00:00Z", 3)

    @pytest.mark.parametrize(("one", "known"), [(manual("run-m"), True), (manual("run-before"), False)])
    def test_the_claim_of_a_requested_run_is_known_while_its_answer_is(
        self, one: ActiveRun, known: bool
    ) -> None:
        answer = RequestAnswer(token="now", time=at("07:30"), outcome="Started", run_id="run-m")
        expected = slot_thread(UID, Slot(at("07:30"), "now").name, 1) if known else None
        assert claim_thread(UID, one, status(last_run_request=answer)) == expected
        assert claim_thread(UID, one, status()) is None
