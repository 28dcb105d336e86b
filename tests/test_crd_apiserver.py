"""The CRD on a real API server: what it refuses, with which words, what it fills in, how it looks."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assistantcron.egress import parse_url
from assistantcron.errors import InvalidSpec
from assistantcron.resource import (
    GROUP,
    KIND,
    MAX_ACTIVE,
    MAX_MESSAGE,
    MAX_SLOTS,
    MAX_TOKEN,
    VERSION,
    ActiveRun,
    Condition,
    Counts,
    RequestAnswer,
    RunRecord,
    SlotRecord,
    Status,
    Trigger,
)
from assistantcron.schedule import Schedule
from assistantcron.spec import MAX_HISTORY, parse_spec
from tests.bed.controlplane import ControlPlane, KubectlError

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
LEAST = {"schedule": "0 8 * * *", "assistant": "agent"}
THREAD_ID = "0b6e1d5c-6a0f-4d38-9d0a-2f4c7f6b1e55"
DEFAULTS = {
    "timeZone": "Etc/UTC",
    "suspend": False,
    "concurrencyPolicy": "Forbid",
    "successfulRunsHistoryLimit": 3,
    "failedRunsHistoryLimit": 3,
}

FIVE_FIELDS = "must have five fields (minute hour day-of-month month day-of-week) or be one of @hourly"
ONE_SCHEDULE = "must have exactly one of schedule and schedules"
ONE_DEPLOYMENT = "must have exactly one of url, serviceRef and secretRef"
BARE_URL = "may not contain a user, query or fragment: put credentials in a Secret and use secretRef"
HTTP_URL = "must be a URL that begins with http:// or https://"
BOTH = "context and config.configurable may not both be set: move all of it to context"

ACCEPTED: dict[str, dict[str, Any]] = {
    "least": {},
    "macro": {"schedule": "@daily"},
    "names": {"schedule": "0 8 * JAN,jul mon-fri"},
    "last day, first monday": {"schedule": "0 8 L * MON#1"},
    "question mark": {"schedule": "0 8 ? * *"},
    "several": {"schedule": None, "schedules": ["0 8 * * *", "@weekly"]},
    "zone in three parts": {"timeZone": "America/Argentina/Buenos_Aires"},
    "zone with a sign": {"timeZone": "Etc/GMT+5"},
    "payloads": {"input": {"a": {"b": [1, None]}}, "metadata": {"team": "x"}, "config": {"tags": ["x"]}},
    "context and other config": {"context": {"a": 1}, "config": {"recursion_limit": 50}},
    "configurable": {"config": {"configurable": {"a": 1}}},
    "webhook": {"webhook": "https://hooks.example.com/x?y=z"},
    "interrupts": {"interruptBefore": ["*"], "interruptAfter": ["a", "b"]},
    "durability": {"durability": "exit"},
    "own thread": {"thread": {}},
    "given thread": {"thread": {"id": THREAD_ID, "multitaskStrategy": "rollback"}},
    "keep with thread": {"thread": {}, "onRunCompleted": "keep"},
    "delete": {"onRunCompleted": "delete"},
    "no history": {"successfulRunsHistoryLimit": 0, "failedRunsHistoryLimit": 0},
    "url with port and path": {"deployment": {"url": "http://agents.example.com:8123/a/@b"}},
    "url of an address": {"deployment": {"url": "HTTPS://[2001:db8::1]:8123"}},
    "service": {"deployment": {"serviceRef": {"name": "server"}}},
    "service in full": {
        "deployment": {"serviceRef": {"name": "1server", "port": 443, "scheme": "https", "path": "/v1"}}
    },
    "secret": {"deployment": {"secretRef": {"name": "my.secret-1"}}},
}

# Name: fields, where the API server sees the fault, what it says, and what is said offline if that differs.
REFUSED: dict[str, tuple[dict[str, Any], str, str, str | None]] = {
    "no schedule": ({"schedule": None}, "spec", ONE_SCHEDULE, None),
    "two schedules": ({"schedules": ["0 9 * * *"]}, "spec", ONE_SCHEDULE, None),
    "empty schedules": (
        {"schedule": None, "schedules": []},
        "spec.schedules",
        "should have at least 1",
        "at least 1",
    ),
    "four fields": ({"schedule": "0 8 * *"}, "spec.schedule", FIVE_FIELDS, "must have five"),
    "six fields": ({"schedule": "0 0 8 * * *"}, "spec.schedule", FIVE_FIELDS, "must have five"),
    "every": ({"schedule": "@every 5m"}, "spec.schedule", FIVE_FIELDS, "is not one of @hourly"),
    "reboot": ({"schedule": "@reboot"}, "spec.schedule", FIVE_FIELDS, "is not one of @hourly"),
    "zone in schedule": (
        {"schedule": "TZ=UTC 0 8 * * *"},
        "spec.schedule",
        "goes into timeZone",
        "set spec.timeZone",
    ),
    "zone in cron": (
        {"schedule": "CRON_TZ=UTC @daily"},
        "spec.schedule",
        "goes into timeZone",
        "set spec.timeZone",
    ),
    "long schedule": (
        {"schedule": "0,0" + ",0" * 50 + " * * * *"},
        "spec.schedule",
        "may not be more than 100",
        "100",
    ),
    "one of several": (
        {"schedule": None, "schedules": ["0 8 * * *", "soon"]},
        "spec.schedules[1]",
        FIVE_FIELDS,
        "must have five",
    ),
    "zone of no form": ({"timeZone": "Europe/ Berlin"}, "spec.timeZone", "must be an IANA name", "time zone"),
    "no assistant": ({"assistant": None}, "spec.assistant", "Required value", "required"),
    "empty assistant": ({"assistant": ""}, "spec.assistant", "should be at least 1", "at least 1"),
    "input that is a list": ({"input": [1]}, "spec.input", "must be of type object", "dictionary"),
    "context and configurable": ({"context": {}, "config": {"configurable": {}}}, "spec.context", BOTH, None),
    "delete with thread": (
        {"thread": {}, "onRunCompleted": "delete"},
        "spec.onRunCompleted",
        "onRunCompleted: delete may not be set with thread, which outlives its runs: remove one of them",
        None,
    ),
    "thread in capitals": (
        {"thread": {"id": THREAD_ID.upper()}},
        "spec.thread.id",
        "must be the UUID of a thread, in lower case and with its dashes",
        None,
    ),
    "strategy": (
        {"thread": {"multitaskStrategy": "wait"}},
        "spec.thread.multitaskStrategy",
        "rollback",
        None,
    ),
    "durability": ({"durability": "never"}, "spec.durability", "supported values", "should be 'sync'"),
    "policy of the future": (
        {"concurrencyPolicy": "Replace"},
        "spec.concurrencyPolicy",
        '"Forbid", "Allow"',
        "Forbid",
    ),
    "suspend as text": ({"suspend": "true"}, "spec.suspend", "must be of type boolean", "valid boolean"),
    "limit as text": (
        {"failedRunsHistoryLimit": "3"},
        "spec.failedRunsHistoryLimit",
        "type integer",
        "valid integer",
    ),
    "limit over 20": (
        {"failedRunsHistoryLimit": 21},
        "spec.failedRunsHistoryLimit",
        "less than or equal to 20",
        None,
    ),
    "limit under 0": (
        {"successfulRunsHistoryLimit": -1},
        "spec.successfulRunsHistoryLimit",
        "greater than or equal to 0",
        None,
    ),
    "no node": ({"interruptBefore": []}, "spec.interruptBefore", "should have at least 1", "at least 1"),
    "webhook without host": ({"webhook": "/done"}, "spec.webhook", HTTP_URL, None),
    "webhook by mail": ({"webhook": "mailto:a@example.com"}, "spec.webhook", HTTP_URL, None),
    "webhook with a space": ({"webhook": "http://a.example.com/b c"}, "spec.webhook", HTTP_URL, None),
    "deployment of none": ({"deployment": {}}, "spec.deployment", ONE_DEPLOYMENT, None),
    "deployment of two": (
        {"deployment": {"url": "http://a.example.com", "secretRef": {"name": "a"}}},
        "spec.deployment",
        ONE_DEPLOYMENT,
        None,
    ),
    "url without scheme": (
        {"deployment": {"url": "agents.example.com"}},
        "spec.deployment.url",
        HTTP_URL,
        "must begin with http:// or https://",
    ),
    "url of a file": (
        {"deployment": {"url": "file:///etc/passwd"}},
        "spec.deployment.url",
        HTTP_URL,
        "must begin with http:// or https://",
    ),
    "url without host": (
        {"deployment": {"url": "http://:80"}},
        "spec.deployment.url",
        HTTP_URL,
        "must name a host",
    ),
    "url with a space": (
        {"deployment": {"url": "http://a/b c"}},
        "spec.deployment.url",
        HTTP_URL,
        "may not contain white space",
    ),
    "url with user": (
        {"deployment": {"url": "http://u:p@a"}},
        "spec.deployment.url",
        BARE_URL,
        "may not contain a user",
    ),
    "url with query": (
        {"deployment": {"url": "http://a?key=b"}},
        "spec.deployment.url",
        BARE_URL,
        "may not have a query",
    ),
    "url with fragment": (
        {"deployment": {"url": "http://a#b"}},
        "spec.deployment.url",
        BARE_URL,
        "may not have a query",
    ),
    "service of no name": (
        {"deployment": {"serviceRef": {}}},
        "spec.deployment.serviceRef.name",
        "Required",
        "required",
    ),
    "service in capitals": (
        {"deployment": {"serviceRef": {"name": "Server"}}},
        "spec.deployment.serviceRef.name",
        "must be the name of a Service: lower-case letters, digits and dashes",
        None,
    ),
    "service elsewhere": (
        {"deployment": {"serviceRef": {"name": "a.other"}}},
        "spec.deployment.serviceRef.name",
        "must be the name of a Service: lower-case letters, digits and dashes",
        None,
    ),
    "port 0": (
        {"deployment": {"serviceRef": {"name": "a", "port": 0}}},
        "spec.deployment.serviceRef.port",
        "greater than or equal to 1",
        None,
    ),
    "path without slash": (
        {"deployment": {"serviceRef": {"name": "a", "path": "v1"}}},
        "spec.deployment.serviceRef.path",
        "must begin with / and may not contain anything but letters, digits and -._~/",
        None,
    ),
    "secret with a slash": (
        {"deployment": {"secretRef": {"name": "other/secret"}}},
        "spec.deployment.secretRef.name",
        "must be the name of a Secret: lower-case letters, digits, dashes and dots",
        None,
    ),
}


def manifest(spec: dict[str, Any], name: str = "trial") -> str:
    document = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": spec}
    return json.dumps(document)


def fields(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (LEAST | changes).items() if value is not None}


def offline(spec: dict[str, Any]) -> None:
    """What the operator, and `assistantcron check`, think of it; raises `InvalidSpec`."""
    parsed = parse_spec(spec)
    Schedule.parse(parsed.expressions, parsed.time_zone)
    if parsed.deployment is not None and parsed.deployment.url is not None:
        parse_url(parsed.deployment.url, "spec.deployment.url")


# What is accepted and refused, here and offline


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(control_plane: ControlPlane, case: str) -> None:
    spec = fields(ACCEPTED[case])
    offline(spec)
    control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest(spec))


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_message_that_names_field_and_mend(control_plane: ControlPlane, case: str) -> None:
    changes, path, message, otherwise = REFUSED[case]
    spec = fields(changes)
    with pytest.raises(KubectlError) as refusal:
        control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest(spec))
    complaints = str(refusal.value)
    assert f"{path}: " in complaints
    assert message in complaints
    with pytest.raises(InvalidSpec) as error:
        offline(spec)
    assert (otherwise or message) in error.value.message


def test_every_rule_has_a_refused_case(control_plane: ControlPlane) -> None:
    crd = control_plane.get("crd", "assistantcrons.assistantcron.dev")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def messages(node: dict[str, Any]) -> set[str]:
        found = {rule["message"] for rule in node.get("x-kubernetes-validations", [])}
        for child in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])):
            found |= messages(child)
        return found

    tried = [message for _, _, message, _ in REFUSED.values()]
    assert [text for text in messages(schema) if not any(message in text for message in tried)] == []


def test_a_change_is_held_to_the_same_rules(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=manifest(LEAST))
    patch = json.dumps({"spec": {"schedules": ["@daily"]}})
    with pytest.raises(KubectlError, match=ONE_SCHEDULE):
        control_plane.kubectl("-n", namespace, "patch", "acron", "trial", "--type=merge", "-p", patch)


def test_kubectl_refuses_a_field_that_is_not_there(control_plane: ControlPlane, namespace: str) -> None:
    text = manifest(LEAST | {"timezone": "Europe/Berlin"})
    with pytest.raises(KubectlError, match=r'unknown field "spec\.timezone"'):
        control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=text)


def test_an_unknown_field_is_pruned_where_nobody_validates(
    control_plane: ControlPlane, namespace: str
) -> None:
    text = manifest(LEAST | {"timezone": "Europe/Berlin", "input": {"anything": {"goes": None}}})
    control_plane.kubectl("-n", namespace, "create", "--validate=ignore", "-f", "-", stdin=text)
    stored = control_plane.get("-n", namespace, "acron", "trial")["spec"]
    assert stored == LEAST | DEFAULTS | {"input": {"anything": {"goes": None}}}


# What is filled in


def test_defaults_are_visible_and_nothing_else_is_added(control_plane: ControlPlane, namespace: str) -> None:
    spec = LEAST | {"thread": {}, "config": {"tags": []}, "deployment": {"serviceRef": {"name": "server"}}}
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(spec))
    stored = control_plane.get("-n", namespace, "acron", "trial")["spec"]
    service = {"name": "server", "port": 8000, "scheme": "http"}
    assert stored == spec | DEFAULTS | {"deployment": {"serviceRef": service}}


def test_null_counts_as_absent(control_plane: ControlPlane, namespace: str) -> None:
    nulls: dict[str, Any] = {
        "timeZone": None,
        "thread": None,
        "webhook": None,
        "config": {"configurable": None},
        "context": {},
    }
    nulls |= {"deployment": {"url": None, "serviceRef": {"name": "server", "path": None}}}
    offline(LEAST | nulls)
    control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=manifest(LEAST | nulls))
    stored = control_plane.get("-n", namespace, "acron", "trial")["spec"]
    service = {"name": "server", "port": 8000, "scheme": "http"}
    expected = LEAST | DEFAULTS | {"config": {}, "context": {}, "deployment": {"serviceRef": service}}
    assert stored == expected


# Status


def full_status() -> Status:
    """Everything set, every list at its longest, every text at its longest."""
    at = datetime(2020, 2, 29, 8, 0, tzinfo=UTC)
    text = "x" * MAX_MESSAGE
    name = "0" * 64
    run: dict[str, Any] = {
        "run_id": name,
        "thread_id": name,
        "scheduled_time": at,
        "start_time": at,
        "attempt": 1,
    }
    active = ActiveRun(**run, trigger=Trigger.MANUAL, status="interrupted")
    record = RunRecord(**run, trigger=Trigger.SCHEDULE, status="lost", completion_time=at, message=text)
    slot = SlotRecord(
        scheduled_time=at, through=at, count=9, outcome="Missed", reason="OperatorDown", message=text
    )
    conditions = tuple(
        Condition(
            type=kind,
            status="True",
            observed_generation=1,
            last_transition_time=at,
            reason="Good",
            message=text,
        )
        for kind in ("Ready", "Stalled", "LastRunSucceeded")
    )
    return Status(
        observed_generation=1,
        observed_schedule="0 8 * * * | Etc/UTC",
        conditions=conditions,
        next_schedule_time=datetime(2199, 1, 1, tzinfo=UTC),
        last_schedule_time=at,
        last_successful_time=at,
        last_failed_time=at,
        accounted_through=at,
        active=(active,) * MAX_ACTIVE,
        last_run=record,
        runs=(record,) * (2 * MAX_HISTORY),
        slots=(slot,) * MAX_SLOTS,
        counts=Counts(started=1, succeeded=2, failed=3, interrupted=4, skipped=5, missed=6),
        consecutive_failures=7,
        last_run_request=RequestAnswer(
            token="x" * MAX_TOKEN, time=at, outcome="Started", run_id=name, reason="Good", message=text
        ),
    )


def write_status(control_plane: ControlPlane, namespace: str, status: dict[str, Any]) -> None:
    patch = control_plane.folder / "status.json"
    patch.write_text(json.dumps({"status": status}), encoding="utf-8")
    arguments = ["patch", "acron", "trial", "--subresource=status", "--type=merge", f"--patch-file={patch}"]
    control_plane.kubectl("-n", namespace, *arguments)


def test_the_fullest_status_is_stored_as_the_model_has_it(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(LEAST))
    written = full_status()
    assert all(value is not None for value in written.model_dump().values())
    write_status(control_plane, namespace, written.to_json())
    stored = control_plane.get("-n", namespace, "acron", "trial")
    assert stored["status"] == written.to_json()
    assert Status.model_validate(stored["status"]) == written
    assert stored["metadata"]["generation"] == 1


def test_an_emptier_status_is_stored_as_the_model_has_it(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(LEAST))
    write_status(control_plane, namespace, Status().to_json())
    stored = control_plane.get("-n", namespace, "acron", "trial")
    assert Status.model_validate(stored["status"]) == Status()


@pytest.mark.parametrize("kind", ["active", "runs", "slots"])
def test_status_is_bounded(control_plane: ControlPlane, namespace: str, kind: str) -> None:
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(LEAST))
    status = full_status().to_json()
    status[kind] = [*status[kind], status[kind][0]]
    with pytest.raises(KubectlError, match=rf"status\.{kind}: Too many"):
        write_status(control_plane, namespace, status)


def test_an_author_cannot_write_status(control_plane: ControlPlane, namespace: str) -> None:
    document = json.loads(manifest(LEAST)) | {"status": {"consecutiveFailures": 5}}
    control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(document))
    assert "status" not in control_plane.get("-n", namespace, "acron", "trial")


def test_kubectl_waits_for_ready(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(LEAST))
    write_status(control_plane, namespace, full_status().to_json())
    control_plane.kubectl("-n", namespace, "wait", "--for=condition=Ready", "acron/trial", "--timeout=10s")


# How it looks


def table(printed: str) -> list[dict[str, str]]:
    """kubectl's table; columns begin where their titles do, and are at least three spaces apart."""
    header, *lines = printed.splitlines()
    titles = list(re.finditer(r"\S+(?: \S+)*", header))
    ends = [title.start() for title in titles[1:]] + [None]
    return [
        {title.group(): line[title.start() : end].strip() for title, end in zip(titles, ends, strict=True)}
        for line in lines
    ]


def test_columns(control_plane: ControlPlane, namespace: str) -> None:
    several = fields({"schedule": None, "schedules": ["0 8 * * *", "@weekly"]})
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(LEAST))
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest(several, "untouched"))
    status = full_status()
    status = status.model_copy(update={"active": status.active[:2]})
    write_status(control_plane, namespace, status.to_json())

    trial, untouched = table(control_plane.kubectl("-n", namespace, "get", "acron"))
    assert re.fullmatch(r"\d+y(\d+d)?", trial.pop("LAST RUN"))
    assert re.fullmatch(r"\d+s", trial.pop("AGE"))
    assert trial == {
        "NAME": "trial",
        "SCHEDULE": "0 8 * * *",
        "SUSPEND": "false",
        "READY": "True",
        "LAST STATUS": "lost",
        "NEXT RUN": "2199-01-01T00:00:00Z",  # not <invalid>, as a date column would print it
    }
    assert untouched["SCHEDULE"] == '["0 8 * * *","@weekly"]'
    assert untouched["READY"] == untouched["LAST RUN"] == untouched["NEXT RUN"] == ""

    wide = table(control_plane.kubectl("-n", namespace, "get", "langgraph", "-o", "wide"))
    assert list(wide[0])[-4:] == ["TIME ZONE", "ASSISTANT", "ACTIVE", "REASON"]
    assert list(wide[0].values())[-4:] == ["Etc/UTC", "agent", "0" * 64, "Good"]


def test_kubectl_explains_every_field(control_plane: ControlPlane) -> None:
    for path, words in {
        "acron": "Runs a LangGraph assistant on a cron schedule",
        "acron.spec.schedule": "Cron expression",
        "acron.spec.deployment.secretRef": "A Secret of the resource's namespace",
        "acron.status.slots.reason": "One word for programs.",
    }.items():
        assert words in " ".join(control_plane.kubectl("explain", path).split())


# Examples


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_applies_and_does_not_drift(
    control_plane: ControlPlane, namespace: str, file: Path
) -> None:
    control_plane.kubectl("-n", namespace, "apply", "-f", str(file))
    # kubectl diff ends with 1 if there is a difference.
    assert control_plane.kubectl("-n", namespace, "diff", "-f", str(file)) == ""
    assert "configured" not in control_plane.kubectl("-n", namespace, "apply", "-f", str(file))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_server_side_apply_changes_nothing_twice(
    control_plane: ControlPlane, namespace: str, file: Path
) -> None:
    def apply() -> list[str]:
        control_plane.kubectl("-n", namespace, "apply", "--server-side", "-f", str(file))
        found = control_plane.get("-n", namespace, "acron")["items"]
        return [item["metadata"]["resourceVersion"] for item in found]

    first = apply()
    assert first
    assert apply() == first
    assert control_plane.kubectl("-n", namespace, "diff", "--server-side", "-f", str(file)) == ""
