"""What `assistantcron check` finds in a file. `tests/test_cli_kubectl.py` asks an API server the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistantcron.manifests import Finding, check
from assistantcron.schedule import Schedule
from tests.core.test_spec import nested

API = "assistantcron.dev/v1alpha1"
LEAST = {"schedule": "@daily", "assistant": "agent"}
DAILY = Schedule.parse(["@daily"])
BEYOND = "must be at most 63 letters and digits, with dashes, dots or _ between"
NAME = "metadata.name: must be at most 253 lower-case letters and digits, with dashes or dots between"
WEBHOOK = "spec.webhook: must be a URL that begins with http:// or https://"
HOST = "spec.deployment.url must name a host, such as https://agents.example.com"


def manifest(spec: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """The least that is fine, with changes; `metadata` instead of its own."""
    return {
        "apiVersion": API,
        "kind": "AssistantCron",
        "metadata": {"name": "x"},
        "spec": LEAST | (spec or {}),
    } | top


def metadata(**fields: Any) -> dict[str, Any]:
    return manifest(metadata={"name": "x"} | fields)


FINE: dict[str, dict[str, Any]] = {
    "the least": manifest(),
    "a namespace": metadata(namespace="team-a"),
    "a name of parts": metadata(name="a.b-c.1"),
    "a long name": metadata(name="a" * 253),
    "no name yet": manifest(metadata={"generateName": "x-"}),
    "labels and annotations": metadata(
        labels={"app": "x", "example.com/a_b.c": "", "n": None},
        annotations={"Example.com/run": "é\nany text"},
    ),
    "no labels": metadata(labels=None, annotations=None),
    "exported from a cluster": metadata(
        uid="0", generation=1, creationTimestamp=None, managedFields=[], finalizers=[]
    ),
    "a status": manifest(status={"consecutiveFailures": 1}),
    "nulls": manifest({"timeZone": None, "thread": None, "webhook": None, "config": {"configurable": None}}),
    "a float that is an integer": manifest({"failedRunsHistoryLimit": 3.0}),
    "configurable": manifest({"config": {"configurable": {str(n): n for n in range(1000)}}}),
    **{
        f"webhook {url!a}": manifest({"webhook": url})
        for url in (
            "http://hooks.example.com",
            "HTTPS://hooks.example.com:8443/a/%C3%A9?b=%zz&c",
            "http://user:pass%20word@a/",
            "http://a:/",
            "http://[2001:db8::1]:80/",
            "http://[fe80::1%25en0]/",
            "http://bücher.example/ü",
            "http://b%C3%BCcher.example/",
            "http://a_b/{c}|^`",
            "http://:80/",
        )
    },
    **{
        f"url {url!a}": manifest({"deployment": {"url": url}})
        for url in (
            "http://a",
            "https://agents.example.com:8123/v1/%41",
            "http://[2001:db8::1]:80/",
            "http://a:/",
        )
    },
}

# What an API server refuses, and what is said here.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a field beside spec": (manifest(specs={}), "specs: is not a field of an AssistantCron"),
    "an unknown field": (manifest({"timezone": "UTC"}), "spec.timezone: is not a field of an AssistantCron"),
    "an unknown null": (manifest({"timezone": None}), "spec.timezone: is not a field of an AssistantCron"),
    "an unknown null inside": (
        manifest({"thread": {"ids": None}}),
        "spec.thread.ids: is not a field of an AssistantCron",
    ),
    "an unknown null deep inside": (
        manifest({"deployment": {"serviceRef": {"name": "a", "ca": None}}}),
        "spec.deployment.serviceRef.ca: is not a field of an AssistantCron",
    ),
    "an unknown field of metadata": (metadata(label={}), "metadata.label: is not a field of metadata"),
    "no spec": (manifest(spec=None) | {"spec": None}, "spec: must be set, to an object"),
    "a list for spec": (manifest() | {"spec": []}, "spec: must be set, to an object"),
    "no metadata": (manifest(metadata=None), "metadata: must be an object with a name"),
    "no name": (manifest(metadata={}), "metadata.name: must be set"),
    "null for a name": (metadata(name=None), "metadata.name: must be set"),
    "nothing for a generated name": (manifest(metadata={"generateName": ""}), "metadata.name: must be set"),
    "a number for a name": (metadata(name=5), "metadata.name: must be text, so put it in quotes"),
    "an empty name": (metadata(name=""), NAME),
    "capitals": (metadata(name="Nightly"), NAME),
    "a name that ends with a dash": (metadata(name="a-"), NAME),
    "two dots": (metadata(name="a..b"), NAME),
    "a line feed": (metadata(name="a\n"), NAME),
    "too long a name": (metadata(name="a" * 254), NAME),
    "a number for a namespace": (metadata(namespace=5), "metadata.namespace: must be at most 63 lower-case"),
    "a namespace in capitals": (metadata(namespace="A"), "metadata.namespace: must be at most 63 lower-case"),
    "a list of labels": (metadata(labels=[]), "metadata.labels: must be an object"),
    "text for labels": (metadata(labels=""), "metadata.labels: must be an object"),
    "a number for a label": (
        metadata(labels={"a": 1}),
        "metadata.labels.a: must be text, so put it in quotes",
    ),
    "a truth for an annotation": (
        metadata(annotations={"a.example.com/b": True}),
        "metadata.annotations.a.example.com/b: must be text, so put it in quotes",
    ),
    "a label's key": (metadata(labels={"a b": "c"}), f"metadata.labels.a b: the key {BEYOND}"),
    "a label's capital prefix": (metadata(labels={"A/b": "c"}), f"metadata.labels.A/b: the key {BEYOND}"),
    "a label's empty prefix": (metadata(labels={"/b": "c"}), f"metadata.labels./b: the key {BEYOND}"),
    "a label's two prefixes": (metadata(labels={"a/b/c": "d"}), f"metadata.labels.a/b/c: the key {BEYOND}"),
    "a label's long key": (
        metadata(labels={"a" * 64: "c"}),
        f"metadata.labels.{'a' * 60!r}: the key {BEYOND}",
    ),
    "a label's value": (metadata(labels={"a": "b c"}), f"metadata.labels.a: {BEYOND}"),
    "a label's long value": (metadata(labels={"a": "b" * 64}), f"metadata.labels.a: {BEYOND}"),
    "an annotation's key": (metadata(annotations={"a-": "c"}), f"metadata.annotations.a-: the key {BEYOND}"),
    "text for configurable": (
        manifest({"config": {"configurable": "x"}}),
        "spec.config.configurable: must be an object",
    ),
    "too much configurable": (
        manifest({"config": {"configurable": {str(n): n for n in range(1001)}}}),
        "spec.config.configurable: must not have more than 1000 entries",
    ),
    "too much input": (manifest({"input": {str(n): n for n in range(1001)}}), "spec.input: "),
    "half a number": (manifest({"failedRunsHistoryLimit": 3.5}), "spec.failedRunsHistoryLimit: "),
    "a truth for a number": (manifest({"failedRunsHistoryLimit": True}), "spec.failedRunsHistoryLimit: "),
    "null in a list": (manifest({"interruptBefore": [None]}), "spec.interruptBefore.0: "),
    **{
        f"webhook {url!a}": (manifest({"webhook": url}), WEBHOOK)
        for url in (
            "http://a:80x/",
            "http://a:b:c/",
            "http://::1/",
            "http://[::1",
            "http://[]/",
            "http://[1::2::3]/",
            "http://[v1.x]/",
            "http://[::1]x/",
            "http://a%41/",
            "http://a%zz/",
            "http://a/%zz",
            "http://a/%4",
            "http://u%zz@a/",
            "http://u|x@a/",
            "http://a\\b/",
            "http://a{b}/",
            "http://a#b",
            "http://a/\x01",
            "http://a/?\x7f",
            "http://a/\t",
        )
    },
    "url %": (
        manifest({"deployment": {"url": "http://a/%zz"}}),
        "spec.deployment.url: must have two hexadecimal digits after each %",
    ),
    "url of no URL": (manifest({"deployment": {"url": "http://[::1"}}), "spec.deployment.url is not a URL"),
    "url of no host": (manifest({"deployment": {"url": "http://:80/"}}), HOST),
    "another version": (manifest(apiVersion="assistantcron.dev/v1"), f"apiVersion: must be {API}"),
    "another group": (manifest(apiVersion="example.com/v1alpha1"), f"apiVersion: must be {API}"),
    "no group": (manifest(apiVersion="v1"), f"apiVersion: must be {API}"),
    "another kind": (
        manifest(kind="Assistantcron"),
        "kind: must be AssistantCron, the only one of assistantcron.dev",
    ),
}

# What the API server lets pass and the operator refuses, beside the rows of `tests/test_cli_schedules.py`.
OPERATOR: dict[str, tuple[dict[str, Any], str]] = {
    "port": (manifest({"deployment": {"url": "http://a:65536/"}}), "spec.deployment.url is not a URL"),
    **{
        f"url {url!a}": (manifest({"deployment": {"url": url}}), HOST)
        for url in (
            "http://bücher.example",
            "http://a..b",
            "http://1.2.3",
            "http://a<b>",
            "http://[fe80::1%25en0]",
        )
    },
    "reserved": (manifest({"metadata": {"assistantcron_uid": 1}}), "spec: metadata may not have keys"),
    "deep": (manifest({"input": nested(101)}), "spec: input must not be nested more than 100 levels deep"),
}


def found(value: object) -> list[Finding]:
    return list(check(json.dumps(value)))


def only(value: object) -> Finding:
    (finding,) = found(value)
    return finding


@pytest.mark.parametrize("case", FINE)
def test_fine(case: str) -> None:
    finding = only(FINE[case])
    assert (finding.problems, finding.schedule, finding.suspended) == ((), DAILY, False)


@pytest.mark.parametrize("case", WRONG | OPERATOR)
def test_wrong_with_field_and_mend(case: str) -> None:
    value, message = (WRONG | OPERATOR)[case]
    assert only(value).problems[0].startswith(message)
    assert all("\n" not in problem for problem in only(value).problems)


def test_everything_that_is_wrong_is_said() -> None:
    value = manifest(
        {"assistant": "", "timezone": "UTC", "suspend": "yes"}, metadata={"labels": {"a": 1}}, specs={}
    )
    assert [problem.partition(": ")[0] for problem in only(value).problems] == [
        "specs",
        "metadata.name",
        "metadata.labels.a",
        "spec.assistant",
        "spec.suspend",
        "spec.timezone",
    ]


def test_what_stands_in_a_spec_beside_a_wrong_schedule_is_said_too() -> None:
    wrong = {"webhook": "http://a/%zz", "schedule": "soon", "deployment": {"url": "ftp://a"}}
    assert [problem[:10] for problem in only(manifest(wrong)).problems] == [
        "spec.webho",
        "spec.deplo",
        "schedule '",
    ]


@pytest.mark.parametrize("key", ["a\nb", "x" * 5000, "\u202e", "\ud800"])
def test_no_key_breaks_a_message(key: str) -> None:
    top = manifest() | {key: 1}
    for value in (manifest({key: 1}), top, metadata(**{key: 1}), metadata(labels={key: 1})):
        (problem,) = only(value).problems
        assert problem.isprintable()
        assert len(problem) < 200


@pytest.mark.parametrize("levels", [150, 900, 5000])
def test_any_depth_is_survived(levels: int) -> None:
    text = json.dumps(manifest({"input": {"deep": "HERE"}})).replace('"HERE"', "[" * levels + "]" * levels)
    (finding,) = check(text)
    assert "levels deep" in finding.problems[0]


class TestName:
    @pytest.mark.parametrize(
        ("fields", "where"),
        [
            ({}, "x"),
            ({"namespace": "team"}, "team/x"),
            ({"namespace": None}, "x"),
            ({"namespace": "a b"}, "x"),
            ({"name": "a b"}, "document 1 (line 1)"),
            ({"name": None, "namespace": "team"}, "document 1 (line 1)"),
        ],
    )
    def test_a_resource_is_named_if_its_name_can_be_said(self, fields: dict[str, Any], where: str) -> None:
        assert only(metadata(**fields)).where == where

    def test_else_it_is_counted(self) -> None:
        text = "kind: X\napiVersion: v1\n---\n# nothing\n---\na: 1\n---\n[\n"
        assert [finding.where for finding in check(text)] == [
            "document 1 (line 1)",
            "document 2 (line 6)",
            "document 3",
        ]


class TestOthers:
    @pytest.mark.parametrize("kind", ["ConfigMap", "CronJob", "List", "Assistantcron"])
    def test_other_kinds_are_passed_over(self, kind: str) -> None:
        value = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "other"}, "specs": 5, "a": {1: 2}}
        assert only(value) == Finding("other")

    @pytest.mark.parametrize("value", [5, "text", [1], [manifest()]])
    def test_what_is_no_object_is_no_resource(self, value: object) -> None:
        (finding,) = found(value)
        assert finding.problems == ("must be a resource, with apiVersion, kind, metadata and spec",)

    @pytest.mark.parametrize(
        "value", [{"a": 1}, {"kind": "X"}, {"apiVersion": "v1", "kind": 5}, {"apiVersion": "", "kind": "X"}]
    )
    def test_nor_is_one_that_does_not_say_what_it_is(self, value: object) -> None:
        assert only(value).problems == ("apiVersion and kind: must be set, to text",)


class TestLists:
    def test_items_are_resources(self) -> None:
        inner = {"apiVersion": "v1", "kind": "List", "items": [manifest(metadata={}), manifest()]}
        outer = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [manifest(), {"apiVersion": "v1", "kind": "X"}, inner, 5],
        }
        assert [(finding.where, len(finding.problems)) for finding in found(outer)] == [
            ("x", 0),
            ("document 1 (line 1), item 2", 0),
            ("document 1 (line 1), item 3, item 1", 1),
            ("x", 0),
            ("document 1 (line 1), item 4", 1),
        ]

    def test_items_of_our_own_list_need_not_say_what_they_are(self) -> None:
        bare = {"metadata": {"name": "x"}, "spec": LEAST}
        assert only({"apiVersion": API, "kind": "AssistantCronList", "items": [bare]}).problems == ()
        assert only({"apiVersion": "v1", "kind": "List", "items": [bare]}).problems
        assert only(
            {"apiVersion": API, "kind": "AssistantCronList", "items": [bare | {"kind": "X"}]}
        ).problems

    def test_a_list_of_nothing_is_nothing(self) -> None:
        assert found({"apiVersion": API, "kind": "AssistantCronList", "items": []}) == []

    def test_a_list_without_items_is_another_kind(self) -> None:
        assert only({"apiVersion": "v1", "kind": "List"}).problems == ()
        assert only({"apiVersion": API, "kind": "AssistantCronList"}).problems

    def test_lists_of_lists_are_survived(self) -> None:
        text = "[]"
        for _ in range(80):
            text = f'[{{"apiVersion": "v1", "kind": "List", "items": {text}}}]'
        assert list(check(text[1:-1])) == []


class TestTwice:
    YAML = """\
apiVersion: {api}
kind: {kind}
metadata: {{name: x}}
spec: {{schedule: "@daily", assistant: agent, suspend: on, suspend: off}}
"""

    def test_a_key_that_is_there_twice_is_a_mistake_of_ours(self) -> None:
        (finding,) = check(self.YAML.format(api=API, kind="AssistantCron"))
        assert finding.problems == ("line 4: the key 'suspend' is there twice",)

    def test_and_nobodys_in_another_kind(self) -> None:
        (finding,) = check(self.YAML.format(api="v1", kind="ConfigMap"))
        assert finding.problems == ()

    def test_in_a_list_it_is_said_once(self) -> None:
        items = [{"apiVersion": "v1", "kind": "X"}, manifest(), manifest()]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        (other, first, second) = check(text[:-1] + ',\n"kind": "List"}')
        assert (other.problems, len(first.problems), second.problems) == ((), 1, ())


def test_a_manifest_as_people_write_it() -> None:
    text = """\
# Every night.
apiVersion: assistantcron.dev/v1alpha1
kind: AssistantCron
metadata:
  name: nightly
  namespace: team
  annotations:
    assistantcron.dev/run-requested-at: 2026-03-02T08:00:00Z
spec:
  schedules:
    - 0 8 * * MON-FRI
    - "@weekly"
  timeZone: Europe/Berlin
  assistant: agent
  input: {since: 2026-01-01T00:00:00Z, at: 8:30, days: [mon, on]}
  suspend: yes
"""
    (finding,) = check(text)
    schedule = Schedule.parse(["0 8 * * MON-FRI", "@weekly"], "Europe/Berlin")
    assert finding == Finding("team/nightly", (), schedule, suspended=True)
