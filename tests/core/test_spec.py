"""What an author may write, and what a mistake is called."""

from __future__ import annotations

from typing import Any

import pytest

from assistantcron.errors import InvalidSpec
from assistantcron.spec import MAX_DEPTH, RESERVED, parse_spec
from tests.core.builders import raw_spec, spec

THREAD = "0b0f6c0e-6a0f-4f59-a1c3-3b6ad1c1c001"


def nested(levels: int, innermost: object = 1) -> dict[str, Any]:
    """An object with so many levels of objects and lists, made without recursion."""
    value = innermost
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


def refusal(**fields: Any) -> str:
    """The message with which a spec of these fields is refused."""
    with pytest.raises(InvalidSpec) as caught:
        spec(**fields)
    assert caught.value.reason == "InvalidSpec"
    assert "\n" not in caught.value.message
    return caught.value.message


class TestDefaults:
    def test_the_least_that_can_be_written_is_enough(self) -> None:
        least = parse_spec({"schedule": "0 8 * * *", "assistant": "agent"})
        assert least.expressions == ("0 8 * * *",)
        assert (least.time_zone, least.suspend, least.concurrency_policy) == ("Etc/UTC", False, "Forbid")
        assert (least.successful_runs_history_limit, least.failed_runs_history_limit) == (3, 3)
        assert least.deployment is None

    def test_several_schedules_are_all_there(self) -> None:
        assert spec(schedules=["0 8 * * *", "@daily"]).expressions == ("0 8 * * *", "@daily")

    def test_null_is_absent_two_levels_down_too(self) -> None:
        raw: dict[str, Any] = raw_spec() | {
            "timeZone": None,
            "schedules": None,
            "thread": {"id": None, "multitaskStrategy": None},
            "deployment": {"url": None, "serviceRef": {"name": "agents", "port": None, "path": None}},
        }
        parsed = parse_spec(raw)
        assert parsed.time_zone == "Etc/UTC"
        assert parsed.thread is not None
        assert parsed.thread.id is None
        assert parsed.deployment is not None
        assert parsed.deployment.service_ref is not None
        assert parsed.deployment.service_ref.port == 8000

    def test_null_inside_a_payload_stays(self) -> None:
        assert spec(input={"topic": None}).input == {"topic": None}

    def test_a_service_is_http_on_port_8000_without_a_path(self) -> None:
        deployment = spec(deployment={"serviceRef": {"name": "agents"}}).deployment
        assert deployment is not None
        service = deployment.service_ref
        assert service is not None
        assert (service.scheme, service.port, service.path) == ("http", 8000, None)


class TestThreads:
    @pytest.mark.parametrize(
        ("fields", "deletes"),
        [
            ({}, True),
            ({"onRunCompleted": "delete"}, True),
            ({"onRunCompleted": "keep"}, False),
            ({"thread": {}}, False),
            ({"thread": {"id": THREAD}}, False),
            ({"thread": {}, "onRunCompleted": "keep"}, False),
        ],
    )
    def test_only_a_runs_own_new_thread_is_deleted(self, fields: dict[str, Any], deletes: bool) -> None:
        assert spec(**fields).deletes_threads is deletes

    def test_an_explicit_delete_with_a_thread_is_refused(self) -> None:
        assert "onRunCompleted: delete" in refusal(thread={}, onRunCompleted="delete")

    @pytest.mark.parametrize("thread", ["", "nightly", THREAD.upper(), THREAD + "\n", f"{THREAD}/runs"])
    def test_a_thread_is_named_by_a_uuid_in_lower_case(self, thread: str) -> None:
        assert refusal(thread={"id": thread}).startswith("spec.thread.id: ")


class TestFieldsTogether:
    @pytest.mark.parametrize("fields", [{"schedule": None}, {"schedules": []}])
    def test_no_schedule_is_refused(self, fields: dict[str, Any]) -> None:
        refusal(**fields)

    def test_schedule_and_schedules_are_refused(self) -> None:
        with pytest.raises(InvalidSpec, match="exactly one of schedule and schedules"):
            parse_spec({**raw_spec(), "schedules": ["0 9 * * *"]})

    @pytest.mark.parametrize("configurable", [{"model": "m"}, {}])
    def test_context_and_configurable_are_refused(self, configurable: dict[str, Any]) -> None:
        message = refusal(context={"user": "u"}, config={"configurable": configurable})
        assert "move all of it to context" in message

    def test_context_beside_any_other_config_is_fine(self) -> None:
        assert spec(context={}, config={"recursion_limit": 5}).context == {}

    @pytest.mark.parametrize(
        "deployment",
        [
            {},
            {"url": "http://a.example", "secretRef": {"name": "s"}},
            {"serviceRef": {"name": "s"}, "secretRef": {"name": "s"}},
        ],
    )
    def test_a_deployment_is_exactly_one_of_three(self, deployment: dict[str, Any]) -> None:
        message = refusal(deployment=deployment)
        assert message == "spec.deployment: must have exactly one of url, serviceRef and secretRef"

    @pytest.mark.parametrize("key", [RESERVED, f"{RESERVED}_uid", f"{RESERVED}_fence"])
    def test_the_operators_own_metadata_keys_are_refused(self, key: str) -> None:
        assert "metadata may not have keys" in refusal(metadata={"team": "a", key: True})
        assert spec(metadata={f"my-{key}": True}).metadata == {f"my-{key}": True}


class TestMistakes:
    @pytest.mark.parametrize(
        ("fields", "where"),
        [
            ({"assistant": None}, "spec.assistant: "),
            ({"assistant": ""}, "spec.assistant: "),
            ({"assistant": 7}, "spec.assistant: "),
            ({"assistant": "a" * 257}, "spec.assistant: "),
            ({"schedule": ""}, "spec.schedule: "),
            ({"schedule": ["0 * * * *"]}, "spec.schedule: "),
            ({"schedules": "0 * * * *"}, "spec.schedules: "),
            ({"schedules": ["0 * * * *", None]}, "spec.schedules.1: "),
            ({"schedules": ["0 * * * *"] * 21}, "spec.schedules: "),
            ({"timeZone": ""}, "spec.timeZone: "),
            ({"suspend": "yes"}, "spec.suspend: "),
            ({"suspend": 1}, "spec.suspend: "),
            ({"successfulRunsHistoryLimit": -1}, "spec.successfulRunsHistoryLimit: "),
            ({"successfulRunsHistoryLimit": 21}, "spec.successfulRunsHistoryLimit: "),
            ({"failedRunsHistoryLimit": "3"}, "spec.failedRunsHistoryLimit: "),
            ({"failedRunsHistoryLimit": True}, "spec.failedRunsHistoryLimit: "),
            ({"concurrencyPolicy": "Replace"}, "spec.concurrencyPolicy: "),
            ({"concurrencyPolicy": "forbid"}, "spec.concurrencyPolicy: "),
            ({"onRunCompleted": "Delete"}, "spec.onRunCompleted: "),
            ({"durability": "never"}, "spec.durability: "),
            ({"input": []}, "spec.input: "),
            ({"input": "{}"}, "spec.input: "),
            ({"webhook": ""}, "spec.webhook: "),
            ({"interruptBefore": []}, "spec.interruptBefore: "),
            ({"interruptAfter": ["n" * 257]}, "spec.interruptAfter.0: "),
            ({"thread": []}, "spec.thread: "),
            ({"thread": {"multitaskStrategy": "queue"}}, "spec.thread.multitaskStrategy: "),
            ({"deployment": {"serviceRef": {"port": 80}}}, "spec.deployment.serviceRef.name: "),
            ({"deployment": {"serviceRef": {"name": "A"}}}, "spec.deployment.serviceRef.name: "),
            ({"deployment": {"serviceRef": {"name": "a.b"}}}, "spec.deployment.serviceRef.name: "),
            ({"deployment": {"serviceRef": {"name": "a", "port": 0}}}, "spec.deployment.serviceRef.port: "),
            (
                {"deployment": {"serviceRef": {"name": "a", "path": "x?y"}}},
                "spec.deployment.serviceRef.path: ",
            ),
            ({"deployment": {"secretRef": {"name": "../a"}}}, "spec.deployment.secretRef.name: "),
            ({"deployment": {"secretRef": {"name": "a", "key": "k"}}}, "spec.deployment.secretRef.key: "),
            ({1: 2}, "spec.1: "),
        ],
    )
    def test_the_message_names_the_field(self, fields: dict[Any, Any], where: str) -> None:
        with pytest.raises(InvalidSpec) as caught:
            parse_spec(raw_spec() | fields)
        assert caught.value.message.startswith(where)

    @pytest.mark.parametrize(
        "fields", [{"shedule": "0 * * * *"}, {"time_zone": "Europe/Berlin"}, {"suspended": True}]
    )
    def test_an_unknown_field_is_called_that(self, fields: dict[str, Any]) -> None:
        (name,) = fields
        assert refusal(**fields) == f"spec.{name}: is not a field of an AssistantCron"

    def test_python_names_of_fields_are_unknown_further_down_too(self) -> None:
        assert "multitask_strategy" in refusal(thread={"multitask_strategy": "reject"})

    def test_a_value_is_never_repeated(self) -> None:
        assert "hunter2" not in refusal(deployment={"url": ["hunter2"]})
        assert "hunter2" not in refusal(concurrencyPolicy="hunter2")


class TestDepth:
    @pytest.mark.parametrize("field", ["input", "config", "context", "metadata"])
    @pytest.mark.parametrize("innermost", [1, {}, []])
    def test_a_hundred_levels_are_fine_and_one_more_is_not(self, field: str, innermost: object) -> None:
        levels = MAX_DEPTH if innermost == 1 else MAX_DEPTH - 1
        assert getattr(spec(**{field: nested(levels, innermost)}), field)
        message = refusal(**{field: nested(levels + 1, innermost)})
        assert message == f"spec: {field} must not be nested more than 100 levels deep"

    @pytest.mark.parametrize("field", ["input", "config", "context", "metadata"])
    def test_thousands_of_levels_are_refused_and_survived(self, field: str) -> None:
        assert "more than 100 levels" in refusal(**{field: nested(5000)})

    @pytest.mark.parametrize(
        "fields",
        [
            {"config": {"configurable": nested(5000)}},
            {"nonsense": nested(5000)},
            {"schedule": nested(5000)},
            {"interruptBefore": [nested(5000)]},
            {"thread": nested(5000)},
            {"thread": {"id": nested(5000)}},
            {"deployment": {"serviceRef": nested(5000)}},
        ],
    )
    def test_wherever_they_are(self, fields: dict[str, Any]) -> None:
        refusal(**fields)

    def test_breadth_is_no_depth(self) -> None:
        assert spec(input={"items": [{"n": [n]} for n in range(20_000)]}).input
