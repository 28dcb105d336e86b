"""What the operator knows of each resource, and when it is news."""

from __future__ import annotations

from typing import Any

import pytest

from assistantcron import payload
from assistantcron.facts import Started
from assistantcron.records import Thread
from assistantcron.resource import Key, RequestAnswer, Slot, Status, own_thread, slot_thread
from assistantcron.table import Table
from tests.core.builders import UID, at, body, manual, resource, run, status

KEY = Key("team", "nightly")
OTHER = "5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b11"


def claim(slot: Slot, *, uid: str = UID, attempt: int = 1, **metadata: Any) -> Thread:
    """The claim of a slot, as the server tells of it."""
    told = payload.slot_metadata(resource(uid=uid), slot, attempt) | metadata
    return Thread(
        thread_id=slot_thread(uid, slot.name, attempt), created_at=slot.time, metadata=told, status="idle"
    )


def table(**fields: Any) -> Table:
    filled = Table()
    filled.put(body(**fields))
    return filled


class TestObserving:
    def test_a_new_object_is_news(self) -> None:
        seen = Table()
        news = seen.put(body())
        assert news is not None
        memory, replaced = news
        assert replaced is None
        assert memory is seen.get(KEY)
        assert memory.unsure
        assert len(seen) == 1

    def test_the_same_version_again_is_none(self) -> None:
        seen = table()
        assert seen.put(body()) is None
        assert seen.put(body(), listed=True) is None

    def test_a_newer_version_keeps_what_is_remembered(self) -> None:
        seen = table()
        before = seen.get(KEY)
        assert before is not None
        before.unsure = False
        before.facts = (Started(run()),)
        news = seen.put(body(version="11", generation=2))
        assert news is not None
        assert news[0] is before
        assert news[1] is None
        assert before.resource.generation == 2
        assert before.facts == (Started(run()),)

    def test_an_older_version_from_the_watch_is_passed_over(self) -> None:
        seen = table(version="100")
        assert seen.put(body(version="99")) is None

    def test_a_list_is_always_right(self) -> None:
        seen = table(version="100")
        assert seen.put(body(version="99"), listed=True) is not None

    def test_versions_that_are_no_numbers_are_taken_as_they_come(self) -> None:
        seen = table(version="b")
        assert seen.put(body(version="a")) is not None

    def test_a_resource_made_again_under_the_same_name_is_another(self) -> None:
        seen = table()
        old = seen.get(KEY)
        assert old is not None
        old.facts = (Started(run()),)
        news = seen.put(body(uid=OTHER, version="5"))
        assert news is not None
        memory, replaced = news
        assert replaced is old
        assert memory is not old
        assert memory.facts == ()
        assert memory is seen.get(KEY)

    def test_two_names_are_two_resources(self) -> None:
        seen = table()
        seen.put(body(name="hourly", uid=OTHER))
        assert len(seen) == 2


class TestRemoving:
    def test_a_deleted_resource_is_forgotten(self) -> None:
        seen = table()
        memory = seen.get(KEY)
        assert seen.remove(KEY, UID) is memory
        assert seen.get(KEY) is None
        assert len(seen) == 0

    def test_the_deletion_of_one_that_was_made_again_meanwhile_is_not_its_own(self) -> None:
        seen = table(uid=OTHER)
        assert seen.remove(KEY, UID) is None
        assert seen.get(KEY) is not None

    def test_the_deletion_of_an_unknown_one_is_nothing(self) -> None:
        assert Table().remove(KEY, UID) is None


class TestRecordedClaims:
    """Whether the thread that is a slot's lock may be deleted."""

    def test_that_of_a_slot_that_is_accounted_for_may(self) -> None:
        assert table(status=status()).recorded(claim(Slot(at("07:00"))))

    def test_that_of_a_slot_to_come_may_not(self) -> None:
        assert not table(status=status()).recorded(claim(Slot(at("08:00"))))

    def test_that_of_a_run_in_flight_may_not(self) -> None:
        slot = Slot(at("07:00"))
        busy = status(active=(run(slot=slot.time, thread_id=slot_thread(UID, slot.name, 1)),))
        assert not table(status=busy).recorded(claim(slot))

    def test_that_of_a_run_in_flight_on_a_shared_thread_may_not_either(self) -> None:
        busy = status(active=(run(slot=at("07:00"), thread_id=own_thread(UID)),))
        assert not table(status=busy).recorded(claim(Slot(at("07:00"))))

    def test_that_of_an_attempt_that_was_given_up_may(self) -> None:
        slot = Slot(at("07:00"))
        busy = status(active=(run(slot=slot.time, attempt=2, thread_id=slot_thread(UID, slot.name, 2)),))
        assert table(status=busy).recorded(claim(slot, attempt=1))

    def test_before_the_first_status_none_may(self) -> None:
        assert not table(status=Status()).recorded(claim(Slot(at("07:00"))))
        assert not table(status=Status()).recorded(claim(Slot(at("07:00"), "now")))

    @pytest.mark.parametrize("metadata", [{payload.UID: OTHER}, {payload.NAME: "x"}, {payload.NAME: None}])
    def test_of_an_unknown_resource_it_is_not_known(self, metadata: dict[str, Any]) -> None:
        assert table(status=status()).recorded(claim(Slot(at("07:00")), **metadata)) is None

    def test_that_of_the_request_that_was_answered_last_may(self) -> None:
        # The server's clock is behind ours.
        answer = RequestAnswer(token="now", time=at("07:29"), outcome="Started", run_id="run-m")
        assert table(status=status(last_run_request=answer)).recorded(claim(Slot(at("07:30"), "now")))

    def test_that_of_an_older_request_may(self) -> None:
        answer = RequestAnswer(token="second", time=at("07:40"), outcome="Started", run_id="run-m")
        answered = table(status=status(last_run_request=answer))
        assert answered.recorded(claim(Slot(at("07:30"), "first")))
        assert not answered.recorded(claim(Slot(at("07:50"), "third")))
        # In the same second it cannot be told.
        assert not answered.recorded(claim(Slot(at("07:40"), "third")))

    def test_that_of_a_requested_run_in_flight_may_not(self) -> None:
        slot = Slot(at("07:30"), "now")
        answer = RequestAnswer(token="now", time=at("07:30"), outcome="Started", run_id="run-m")
        busy = status(active=(manual(thread_id=own_thread(UID)),), last_run_request=answer)
        assert not table(status=busy).recorded(claim(slot))
