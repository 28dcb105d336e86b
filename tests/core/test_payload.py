"""What is sent to the server to start a run."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from assistantcron.payload import ATTEMPT, is_claim, run_body, slot_metadata, substitute, variables
from assistantcron.records import Thread
from assistantcron.resource import Slot, slot_thread
from assistantcron.schedule import load_zone
from tests.core.builders import UID, at, resource, spec

OWN: dict[str, Any] = {"assistantcron": "run"}
VALUES = {"CRON_NAME": "nightly", "SCHEDULED_TIME": "2026-03-02T08:00:00Z"}


class TestSubstitution:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("$(CRON_NAME)", "nightly"),
            ("for $(CRON_NAME) at $(SCHEDULED_TIME).", "for nightly at 2026-03-02T08:00:00Z."),
            ("$(CRON_NAME)$(CRON_NAME)", "nightlynightly"),
            ("$$(CRON_NAME)", "$(CRON_NAME)"),
            ("$$$(CRON_NAME)", "$nightly"),
            ("$$$$(CRON_NAME)", "$$(CRON_NAME)"),
            ("$$(anything at all)", "$(anything at all)"),
            ("$$()", "$()"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$(cron_name)", "$(cron_name)"),
            ("$(CRON_NAME", "$(CRON_NAME"),
            ("$( CRON_NAME )", "$( CRON_NAME )"),
            ("$()", "$()"),
            ("$CRON_NAME", "$CRON_NAME"),
            ("${CRON_NAME}", "${CRON_NAME}"),
            ("costs $5 or $$5", "costs $5 or $$5"),
            ("$$", "$$"),
            ("$(echo $(CRON_NAME))", "$(echo nightly)"),
            ("", ""),
        ],
    )
    def test_it_is_kubernetes_rule(self, text: str, expected: str) -> None:
        assert substitute(text, VALUES) == expected

    def test_a_value_is_not_substituted_again(self) -> None:
        assert substitute("$(A)", {"A": "$(B)", "B": "no"}) == "$(B)"

    def test_strings_anywhere_are_reached_and_all_else_keeps_its_type(self) -> None:
        value = {"a": ["$(CRON_NAME)", 1, 1.5, True, None, {"b": ["$(CRON_NAME)"]}], "$(CRON_NAME)": {}}
        assert substitute(value, VALUES) == {
            "a": ["nightly", 1, 1.5, True, None, {"b": ["nightly"]}],
            "$(CRON_NAME)": {},
        }

    def test_what_was_given_is_not_changed(self) -> None:
        value = {"a": ["$(CRON_NAME)"]}
        substitute(value, VALUES)
        assert value == {"a": ["$(CRON_NAME)"]}

    @pytest.mark.parametrize("piece", ["$", "$$(", "$(", "$(A", "$$(A)"])
    def test_text_made_to_be_slow_is_not(self, piece: str) -> None:
        """Quadratic work on a megabyte would not end while anybody waits."""
        text = piece * (1_000_000 // len(piece))
        assert len(substitute(text, VALUES)) <= len(text)

    def test_the_date_is_the_one_in_the_zone(self) -> None:
        slot = Slot(at("23:30"))
        apia = variables(resource(), slot, load_zone("Pacific/Apia"))
        assert apia == {
            "SCHEDULED_TIME": "2026-03-02T23:30:00Z",
            "SCHEDULED_DATE": "2026-03-03",
            "CRON_NAME": "nightly",
            "CRON_NAMESPACE": "team",
        }
        assert variables(resource(), slot, ZoneInfo("Etc/UTC"))["SCHEDULED_DATE"] == "2026-03-02"


class TestMetadata:
    def test_a_slot_is_found_again_by_it(self) -> None:
        assert slot_metadata(resource(), Slot(at("08:00")), 2) == {
            "assistantcron": "run",
            "assistantcron_uid": UID,
            "assistantcron_slot": "2026-03-02T08:00:00Z",
            "assistantcron_attempt": 2,
            "assistantcron_namespace": "team",
            "assistantcron_name": "nightly",
            "assistantcron_trigger": "Schedule",
            "assistantcron_scheduled_time": "2026-03-02T08:00:00Z",
        }

    def test_a_requests_token_is_not_shown_to_the_server(self) -> None:
        told = slot_metadata(resource(), Slot(at("08:00"), "a secret reason"), 1)
        assert told["assistantcron_trigger"] == "Manual"
        assert "a secret reason" not in str(told)


class TestBody:
    def test_what_is_absent_is_left_out_but_for_the_input(self) -> None:
        assert run_body(spec(), VALUES, OWN) == {
            "assistant_id": "agent",
            "input": {},
            "metadata": OWN,
            "multitask_strategy": "reject",
        }

    def test_what_is_given_is_passed_on(self) -> None:
        fields: dict[str, Any] = {
            "input": {"topic": "$(CRON_NAME)"},
            "config": {"tags": ["$(CRON_NAME)"], "recursion_limit": 5},
            "context": {"user": "$(CRON_NAME)"},
            "metadata": {"cron": "$(CRON_NAME)"},
            "webhook": "https://hooks.example/$(CRON_NAME)",
            "durability": "sync",
            "interruptBefore": ["ask"],
            "interruptAfter": ["ask", "answer"],
        }
        assert run_body(spec(**fields), VALUES, OWN) == {
            "assistant_id": "agent",
            "input": {"topic": "nightly"},
            "config": {"tags": ["nightly"], "recursion_limit": 5},
            "context": {"user": "nightly"},
            "metadata": {"cron": "nightly", "assistantcron": "run"},
            "multitask_strategy": "reject",
            "webhook": "https://hooks.example/$(CRON_NAME)",
            "durability": "sync",
            "interrupt_before": ["ask"],
            "interrupt_after": ["ask", "answer"],
        }

    def test_empty_objects_are_not_absent(self) -> None:
        body = run_body(spec(config={}, context={}), VALUES, OWN)
        assert (body["config"], body["context"]) == ({}, {})

    @pytest.mark.parametrize("nodes", [["*"], ["ask", "*"]])
    def test_all_nodes_are_the_servers_star(self, nodes: list[str]) -> None:
        body = run_body(spec(interruptBefore=nodes), VALUES, OWN)
        assert body["interrupt_before"] == "*"
        assert "interrupt_after" not in body

    @pytest.mark.parametrize(
        ("thread", "strategy"),
        [(None, "reject"), ({}, "enqueue"), ({"multitaskStrategy": "rollback"}, "rollback")],
    )
    def test_only_on_a_shared_thread_may_a_run_wait_for_others(
        self, thread: dict[str, Any] | None, strategy: str
    ) -> None:
        assert run_body(spec(thread=thread), VALUES, OWN)["multitask_strategy"] == strategy


class TestClaims:
    """A person's copy of a thread has its metadata, too: it must not be taken for the claim, or deleted."""

    @pytest.mark.parametrize("attempt", [1, 2])
    def test_the_thread_with_the_id_of_its_slot_and_attempt_is_one(self, attempt: int) -> None:
        slot = Slot(at("08:00"))
        thread = slot_thread(UID, slot.name, attempt)
        assert is_claim(told(thread, slot_metadata(resource(), slot, attempt)))

    @pytest.mark.parametrize("changes", [{ATTEMPT: 2}, {"assistantcron_uid": "x"}, {"assistantcron_slot": 1}])
    def test_one_that_tells_of_another_is_none(self, changes: dict[str, Any]) -> None:
        slot = Slot(at("08:00"))
        thread = slot_thread(UID, slot.name, 1)
        assert not is_claim(told(thread, slot_metadata(resource(), slot, 1) | changes))

    def test_one_of_somebody_else_is_none(self) -> None:
        assert not is_claim(told(slot_thread(UID, "x", 1), {}))


def told(thread_id: str, metadata: dict[str, Any]) -> Thread:
    return Thread(thread_id=thread_id, created_at=at("08:00"), metadata=metadata)
