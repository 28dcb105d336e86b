"""What people and deployments get wrong: said where it is looked for, and everything else goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assistantcron.resource import Slot, slot_thread
from tests.bed.controlplane import CRDS, RBAC, ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.operator import Namespace, Object, Operator, only_status_was_written, wait_for
from tests.bed.process import answers
from tests.bed.stub import StubDeployment
from tests.e2e.conftest import StartOperator

NOBODY = "0b6e1d5c-6a0f-4d38-9d0a-2f4c7f6b1e55"
READY = ("True", "Scheduled")
LONGEST = 300
"""Characters of a message that a person still reads in a line or two."""


class World(NamedTuple):
    """A namespace, an operator that watches it, and the deployment that it knows."""

    space: Namespace
    operator: Operator


# What an author gets wrong


class Mistake(NamedTuple):
    """A spec that the schema lets through, how what is said of it begins, and the edit that mends it."""

    spec: dict[str, Any]
    reason: str
    said: str
    mend: dict[str, Any]


def schedule(expression: str, said: str) -> Mistake:
    return Mistake(
        {"schedule": expression},
        "InvalidSchedule",
        f"schedule {expression!r} {said}",
        {"schedule": "0 0 1 1 *"},
    )


def deployment(url: str, reason: str, said: str) -> Mistake:
    return Mistake({"deployment": {"url": url}}, reason, said, {"deployment": None})


MISTAKES: dict[str, Mistake] = {
    "never-comes": schedule("0 0 31 2 *", "never comes: none of its months has such a day"),
    "wraps": schedule("5-1 * * * *", "has '5-1' for minute, which wraps around: write it as two ranges"),
    "hashed": schedule("H 8 * * *", "has 'H' for minute, which must be 0 to 59"),
    "no-step": schedule("*/0 * * * *", "has the step 0 for minute: a step begins at 1"),
    "too-late": schedule("0 24 * * *", "has '24' for hour, which must be 0 to 23"),
    "weekday": schedule("0 8 * * 15W", "has '15W' for day of week, which must be 0 to 7, or SUN to SAT"),
    "one-of-two": Mistake(
        {"schedules": ["0 8 * * *", "0 8 32 * *"]},
        "InvalidSchedule",
        "schedule '0 8 32 * *' has '32' for day of month, which must be 1 to 31, or L for the last day",
        {"schedules": ["0 8 * * *"]},
    ),
    "zone": Mistake(
        {"timeZone": "Mars/Olympus"},
        "InvalidTimeZone",
        "time zone 'Mars/Olympus' must be an IANA name, such as Europe/Berlin or Etc/UTC",
        {"timeZone": "Europe/Berlin"},
    ),
    "graph": Mistake(
        {"assistant": "agnet"},
        "AssistantNotFound",
        "spec.assistant: the deployment has no assistant agnet; "
        "it must be a graph of its langgraph.json or an assistant's UUID",
        {"assistant": "agent"},
    ),
    "assistant": Mistake(
        {"assistant": NOBODY},
        "AssistantNotFound",
        f"spec.assistant: the deployment has no assistant {NOBODY}; "
        "it must be a graph of its langgraph.json or an assistant's UUID",
        {"assistant": "agent"},
    ),
    "thread": Mistake(
        {"thread": {"id": NOBODY}},
        "ThreadNotFound",
        f"spec.thread.id: the deployment has no thread {NOBODY}; "
        "it must be the UUID of a thread that is there",
        {"thread": None},
    ),
    "metadata": Mistake(
        {"metadata": {"assistantcron_uid": "mine"}},
        "InvalidSpec",
        "spec: metadata may not have keys that begin with assistantcron: they are the operator's",
        {"metadata": None},
    ),
    "nested": Mistake(
        {"context": {"a": json.loads("[" * 100 + "]" * 100)}},
        "InvalidSpec",
        "spec: context must not be nested more than 100 levels deep",
        {"context": None},
    ),
    "url": deployment(
        "http://127.1/",
        "InvalidURL",
        "spec.deployment.url must name a host, such as https://agents.example.com",
    ),
    "metadata-service": deployment(
        "http://169.254.169.254/latest",
        "HostNotAllowed",
        "the deployment: 169.254.169.254 is a link-local address, which resources may not call",
    ),
}


@pytest.fixture(scope="module")
def world(
    control_plane: ControlPlane, dev_server: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """All `MISTAKES` and a neighbour who has made none."""
    control_plane.kubectl("create", "namespace", "mistakes")
    space = Namespace(control_plane, "mistakes")
    folder = tmp_path_factory.mktemp("operator")
    operator = Operator(control_plane, dev_server.url, folder, NAMESPACES=space.name)
    try:
        operator.start()
        for name, mistake in MISTAKES.items():
            space.apply(name, **mistake.spec)
        space.apply("neighbour", onRunCompleted="keep")
        yield World(space, operator)
    finally:
        operator.kill()
        print(operator.text())


def test_whoever_has_made_no_mistake_goes_on(world: World) -> None:
    space = world.space
    for name in MISTAKES:
        space.wait_ready(name, value="False")
    space.wait_ready("neighbour")
    space.run_now("neighbour", "now")
    status = space.wait("neighbour", lambda status: status.get("lastRun"))
    assert status["lastRun"]["status"] == "success"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_mend_once_and_gone_when_it_is_mended(world: World, name: str) -> None:
    space, mistake = world.space, MISTAKES[name]
    space.wait_ready(name, value="False")
    for condition in ("Ready", "Stalled"):
        assert space.conditions(name)[condition][1] == mistake.reason
        assert space.condition(name, condition)["message"].startswith(mistake.said)
    assert space.conditions(name)["Stalled"][0] == "True"
    # A request is answered with the same, and what was said is not said again.
    space.run_now(name, "in vain")
    answer = space.wait(name, lambda status: status.get("lastRunRequest"))["lastRunRequest"]
    assert (answer["outcome"], answer["reason"]) == ("Missed", mistake.reason)
    assert space.wait_event(name, "NotReady").startswith(f"{mistake.reason}: {mistake.said}")
    space.wait_event(name, "RunRequestMissed")

    space.edit(name, **mistake.mend)
    space.wait_ready(name)
    assert space.conditions(name) == {"Ready": READY, "LastRunSucceeded": ("Unknown", "NoRunYet")}
    status = space.status(name)
    assert "nextScheduleTime" in status
    assert (status["counts"]["started"], status["slots"]) == (0, [])
    space.wait_event(name, "Ready")
    space.wait_event(name, "NotReady")
    only_status_was_written(space, name, generation=2)


SECRETS: dict[str, tuple[dict[str, str] | None, str, str]] = {
    "missing": (
        None,
        "SecretNotFound",
        "spec.deployment.secretRef: there is no Secret missing in namespace mistakes",
    ),
    "without-url": (
        {"apiKey": "key"},
        "InvalidSecret",
        "Secret without-url must have the key url: its credentials go to that URL only",
    ),
    "no-url": (
        {"url": "agents.example.com"},
        "InvalidSecret",
        "Secret no-url, key url: must begin with http:// or https://",
    ),
    "user-in-url": (
        {"url": "https://me:password@agents.example.com"},
        "InvalidSecret",
        "Secret user-in-url, key url: may not contain a user or password: put credentials in a Secret",
    ),
    "two-lines": (
        {"url": "https://agents.example.com", "apiKey": "one\ntwo"},
        "InvalidSecret",
        "Secret two-lines, key apiKey: must be one line of printable ASCII",
    ),
    "authority": (
        {"url": "https://agents.example.com", "ca.crt": "not a certificate"},
        "InvalidSecret",
        "spec.deployment.secretRef: the Secret's key ca.crt must be a certificate in PEM",
    ),
}
"""What is in the Secret, the reason, and what is said."""


def test_a_secrets_mistake_is_named_and_gone_soon_after_it_is_mended(
    world: World, dev_server: DevServer
) -> None:
    space = world.space
    for name, (data, _, _) in SECRETS.items():
        if data is not None:
            space.secret(name, **data)
        space.apply(name, deployment={"secretRef": {"name": name}})
    for name, (_, reason, said) in SECRETS.items():
        space.wait_ready(name, value="False")
        assert space.conditions(name)["Stalled"] == ("True", reason)
        assert space.condition(name, "Stalled")["message"] == said
        assert space.wait_event(name, "NotReady") == f"{reason}: {said}"
    for name in SECRETS:
        space.secret(name, url=dev_server.url)
    # Secrets are not watched: the operator may read them by name, not list them.
    for name in SECRETS:
        wait_for(lambda name=name: space.conditions(name)["Ready"], lambda found: found == READY, 60)  # type: ignore[misc]
        assert "Stalled" not in space.conditions(name)
        space.wait_event(name, "NotReady")
        only_status_was_written(space, name)


def test_no_mistake_left_a_traceback_or_a_secret_in_the_log(world: World) -> None:
    text = world.operator.text()
    assert "Traceback" not in text
    assert "password@" not in text
    assert [line for line in world.operator.lines() if line["level"] in ("ERROR", "CRITICAL")] == []


# What a deployment gets wrong

MARK = "INTERNAL-DETAIL"
PAGE = f"<!doctype html><title>Oops</title>{f'<p>{MARK}</p>' * 5000}"
HTML = {"content-type": "text/html"}
GARBAGE: dict[str, dict[str, Any]] = {
    "html": {"status": 200, "body": PAGE, "headers": HTML},
    "malformed": {"status": 200, "body": f'{{"run_id": "{MARK}'},
    "wrong-types": {"status": 200, "body": {"run_id": 5, "thread_id": None, "status": [MARK]}},
    "list": {"status": 200, "body": [MARK]},
    "bytes": {"status": 200, "body": b"\xff\xfe" + MARK.encode()},
    "deep": {"status": 200, "body": "[" * 100_000 + "]" * 100_000},
    "nothing": {"status": 200, "body": ""},
    "error-page": {"status": 500, "body": PAGE, "headers": HTML},
    "gateway": {"status": 502, "body": PAGE, "headers": HTML},
    "error-of-types": {"status": 500, "body": {"detail": {"trace": MARK}}},
}
"""Answers that may hide what the deployment has done."""
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "page": ({"status": 400, "body": PAGE, "headers": HTML}, "Rejected", "HTTP 400"),
    "several-lines": (
        {"status": 422, "body": {"detail": f"is not valid\n\nOn instance: {MARK}"}},
        "Rejected",
        "HTTP 422",
    ),
    "wrong-type": ({"status": 422, "body": {"detail": [{"input": MARK}]}}, "Rejected", "HTTP 422"),
    "long": (
        {"status": 413, "body": {"detail": "too large " * 50}},
        "Rejected",
        f"HTTP 413: {'too large ' * 19}too large…",
    ),
    "redirect": (
        {"status": 307, "body": MARK, "headers": {"location": f"http://{MARK}.example.com"}},
        "Rejected",
        "HTTP 307: a redirect, which is not followed",
    ),
}
"""Answers that are final: answer, reason, message."""
AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
TOKEN = "now"


class Faulty(NamedTuple):
    """What the tests of one deployment's faults share."""

    space: Namespace
    operator: Operator
    stub: StubDeployment

    def thread(self, name: str) -> str:
        """The thread of the run that will be asked for."""
        return slot_thread(self.space.uid(name), Slot(datetime.now(UTC), TOKEN).name, 1)

    def started(self, name: str) -> int:
        """How many runs of the resource have ever begun."""
        uid = self.space.uid(name)
        return sum(run["metadata"].get("assistantcron_uid") == uid for run in self.stub.started)


@pytest.fixture(scope="module")
def faulty(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """A deployment that gives each of these answers to the start of one resource's run."""
    control_plane.kubectl("create", "namespace", "faults")
    space = Namespace(control_plane, "faults")
    with StubDeployment() as stub:
        folder = tmp_path_factory.mktemp("operator")
        operator = Operator(control_plane, stub.url, folder, NAMESPACES=space.name)
        shared = Faulty(space, operator, stub)
        faults = {name: answer for name, (answer, _, _) in REFUSALS.items()}
        faults |= {f"late-{name}": {**answer, "after": True} for name, answer in GARBAGE.items()}
        faults |= {f"early-{name}": answer for name, answer in GARBAGE.items()}
        try:
            operator.start()
            for name in faults:
                space.apply(name)
            space.wait_ready(*faults)
            for name, fault in faults.items():
                stub.fault("POST", f"/threads/{shared.thread(name)}/runs", **fault)
                space.run_now(name, TOKEN)
            yield shared
        finally:
            operator.kill()
            print(operator.text())


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_an_outcome_with_a_short_message(faulty: Faulty, name: str) -> None:
    _, reason, said = REFUSALS[name]
    space = faulty.space
    answer = space.wait(name, lambda status: status.get("lastRunRequest"))["lastRunRequest"]
    said = f"the deployment: {said}"
    assert (answer["outcome"], answer["reason"], answer["message"]) == ("Missed", reason, said)
    assert space.wait_event(name, "RunRequestMissed") == f"{reason}: {said}"
    assert faulty.started(name) == 0


@pytest.mark.parametrize("when", ["late", "early"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_unreadable_answer_to_a_start_neither_loses_nor_doubles_the_run(
    faulty: Faulty, garbage: str, when: str
) -> None:
    name = f"{when}-{garbage}"
    status = faulty.space.wait(name, lambda status: status.get("lastRun"), 60)
    assert status["lastRunRequest"]["outcome"] == "Started"
    assert (status["lastRun"]["status"], status["counts"]["started"]) == ("success", 1)
    assert faulty.started(name) == 1
    wait_for(lambda: faulty.space.conditions(name)["Ready"], lambda found: found == READY)


def test_unreadable_answers_to_all_else_are_waited_out(faulty: Faulty) -> None:
    space, stub = faulty.space, faulty.stub
    places = {
        "looked-up": ("GET", f"/assistants/{AGENT}"),
        "followed": ("GET", "/threads/{thread}/runs/[^/]+"),
        "thread-read": ("GET", "/threads/{thread}"),
        "tidied": ("DELETE", "/threads/{thread}"),
    }
    answers_ = [GARBAGE[name] for name in ("html", "wrong-types", "error-page")]
    for name, (method, path) in places.items():
        if name == "looked-up":
            stub.fault(method, path, **answers_[0])
        space.apply(name, assistant=AGENT if name == "looked-up" else "agent")
        # To a deletion, JSON of whatever shape is a success.
        bad = [] if name == "looked-up" else answers_[::2] if name == "tidied" else answers_
        for fault in bad:
            stub.fault(method, path.format(thread=faulty.thread(name)), **fault)
    # All look for what is busy, and claim, with the same path.
    for fault in answers_:
        stub.fault("POST", "/threads", **fault)
        stub.fault("POST", "/threads/search", **fault)
    space.wait_ready("looked-up", value="False")
    assert space.conditions("looked-up")["Ready"] == ("False", "InvalidResponse")
    assert "Stalled" not in space.conditions("looked-up")
    for name in places:
        space.run_now(name, TOKEN)
    for name in places:
        status = space.wait(name, lambda status: status.get("lastRun"), 90)
        assert (status["lastRun"]["status"], status["counts"]["started"]) == ("success", 1)
        assert faulty.started(name) == 1
    wait_for(lambda: space.conditions("looked-up")["Ready"], lambda found: found == READY)
    wait_for(lambda: faulty.thread("tidied") not in stub.state.threads, seconds=60)
    assert [fault.hits for fault in stub.faults if fault.hits != fault.times] == []


def test_nothing_of_an_answers_body_is_repeated_and_no_message_is_long(faulty: Faulty) -> None:
    found = faulty.space.plane.get("--namespace=faults", "acron,events")
    assert MARK not in json.dumps(found)
    assert MARK not in faulty.operator.text()
    assert "Traceback" not in faulty.operator.text()
    assert [text for text in _messages(found) if len(text) > LONGEST or "\n" in text] == []
    assert [line for line in faulty.operator.lines() if len(line["message"]) > LONGEST] == []


def _messages(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("message"), str):
            yield value["message"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _messages(item)


# What one author can do to all others


def deep(name: str, levels: int, field: str) -> str:
    """A resource nested so deep; by multiplication, for Python's own writer would not get through it."""
    head = {"apiVersion": "assistantcron.dev/v1alpha1", "kind": "AssistantCron", "metadata": {"name": name}}
    value = '{"a":' * levels + "1" + "}" * levels
    spec = f'{{"schedule": "* * * * *", "assistant": "agent", "{field}": {value}}}'
    return f'{json.dumps(head)[:-1]}, "spec": {spec}}}'


@pytest.mark.parametrize(("levels", "field"), [(5_000, "metadata"), (9_990, "input")])
def test_a_bottomless_resource_is_refused_and_everybody_else_goes_on(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, levels: int, field: str
) -> None:
    def conditions(name: str) -> list[Object]:
        # As a whole, the object is too deep for this process, too.
        text = space.kubectl("get", "acron", name, "-o", "jsonpath={.status.conditions}")
        return list(json.loads(text or "[]"))

    space.kubectl("create", "-f", "-", stdin=deep("listed", levels, field))
    operator = start_operator(stub.url)
    space.apply("neighbour")
    space.kubectl("create", "-f", "-", stdin=deep("watched", levels, field))
    for name in ("listed", "watched"):
        found = {one["type"]: one for one in wait_for(lambda name=name: conditions(name))}  # type: ignore[misc]
        assert (found["Ready"]["status"], found["Stalled"]["reason"]) == ("False", "InvalidSpec")
        said = f"spec: {field} must not be nested more than 100 levels deep"
        assert found["Stalled"]["message"] == said
        assert space.wait_event(name, "NotReady") == f"InvalidSpec: {said}"
    space.wait_ready("neighbour")
    space.run_now("neighbour", "now")
    assert space.wait("neighbour", lambda status: status.get("lastRun"))["lastRun"]["status"] == "success"
    space.edit("watched", **{field: None, "schedule": "0 0 1 1 *"})
    space.wait_ready("watched")
    space.kubectl("delete", "acron", "listed")
    space.apply("later")
    space.wait_ready("later")
    assert operator.metrics()["assistantcron_watch_restarts_total"] == 0
    assert [line for line in operator.lines() if line["level"] not in ("DEBUG", "INFO")] == []
    assert operator.stop() == 0


# What is wrong with the operator's own surroundings


SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "url": (
        {"DEPLOYMENT_URL": "ftp://x"},
        "ASSISTANTCRON_DEPLOYMENT_URL must begin with http:// or https://",
    ),
    "user in url": (
        {"DEPLOYMENT_URL": "http://me:hidden@x"},
        "ASSISTANTCRON_DEPLOYMENT_URL may not contain a user or password: put credentials in a Secret",
    ),
    "address": (
        {"HTTP_ADDRESS": "8080"},
        "ASSISTANTCRON_HTTP_ADDRESS: must be host:port, such as 0.0.0.0:8080",
    ),
    "level": (
        {"LOG_LEVEL": "chatty"},
        "ASSISTANTCRON_LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
    ),
    "namespaces": (
        {"NAMESPACES": "good, Bad"},
        "ASSISTANTCRON_NAMESPACES: entry 2 is not the name of a namespace",
    ),
    "hosts": (
        {"ALLOWED_HOSTS": "10.0.0.1/8"},
        "ASSISTANTCRON_ALLOWED_HOSTS: entry 1 must be a host name, *.suffix or CIDR without host bits",
    ),
    "key without url": (
        {"DEPLOYMENT_API_KEY": "hidden"},
        "ASSISTANTCRON_DEPLOYMENT_URL must be set too: an API key goes to one URL only",
    ),
    "misspelt": (
        {"ALLOWED_HOST": "example.com"},
        "ASSISTANTCRON_ALLOWED_HOST: is not a setting; `assistantcron run --help` lists them",
    ),
    "key file": (
        {"DEPLOYMENT_URL": "http://x", "DEPLOYMENT_API_KEY_FILE": "/nonexistent/key"},
        "ASSISTANTCRON_DEPLOYMENT_API_KEY_FILE: cannot read /nonexistent/key (FileNotFoundError)",
    ),
}


def refused(operator: Operator) -> list[str]:
    """The lines of the log of an operator that does not start."""
    operator.start(ready=False)
    assert operator.server is not None
    assert operator.server.process.wait(30) == 1
    return operator.text().splitlines()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_is_one_line_and_the_end(
    control_plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    settings, said = SETTINGS[name]
    [line] = refused(Operator(control_plane, None, tmp_path, **settings))
    assert line.endswith(f"CRITICAL {said}")
    assert "hidden" not in line


def test_a_port_that_is_taken_is_one_line_and_the_end(control_plane: ControlPlane, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        refused(operator := Operator(control_plane, None, tmp_path, HTTP_ADDRESS=address))
    said = f"ASSISTANTCRON_HTTP_ADDRESS: cannot listen on {address}: Address already in use"
    assert [line["message"] for line in operator.lines() if line["level"] == "CRITICAL"] == [said]
    assert "Traceback" not in operator.text()


KUBECONFIGS: dict[str, str | None] = {
    "not there": None,
    "empty": "",
    "not yaml": "clusters: [",
    "another document": "- a\n- b\n",
    "no context": "apiVersion: v1\nkind: Config\n",
}


@pytest.mark.parametrize("name", KUBECONFIGS)
def test_an_unusable_kubeconfig_is_one_line_and_the_end(
    control_plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    operator = Operator(control_plane, None, tmp_path)
    path, text = tmp_path / "kubeconfig", KUBECONFIGS[name]
    if text is not None:
        path.write_text(text, encoding="utf-8")
    operator._environment["KUBECONFIG"] = str(path)
    lines = refused(operator)
    assert all(line.startswith("{") for line in lines)
    [said] = [line["message"] for line in operator.lines() if line["level"] not in ("DEBUG", "INFO")]
    assert said.startswith(
        "no Kubernetes access: neither an in-cluster service account nor a usable KUBECONFIG"
    )


def test_a_kubeconfig_may_be_one_of_several(control_plane: ControlPlane, tmp_path: Path) -> None:
    operator = Operator(control_plane, None, tmp_path)
    operator._environment["KUBECONFIG"] = f"{tmp_path / 'missing'}:{control_plane.operator_kubeconfig}"
    try:
        operator.start()
        assert operator.stop() == 0
    finally:
        operator.kill()
        print(operator.text())


def test_a_cluster_gets_ready_for_the_operator_step_by_step(tmp_path: Path, stub: StubDeployment) -> None:
    plane = ControlPlane()
    operator = Operator(plane, stub.url, tmp_path)
    try:
        plane.start()
        # Without the CRD.
        refused(operator)
        [complaint] = [line["message"] for line in operator.lines() if line["level"] != "INFO"]
        said = "the CRD assistantcrons.assistantcron.dev is not installed in this cluster"
        assert complaint == f"{said}: kubectl apply -f crds/"
        # Not there at all: it waits, and says so.
        plane.kubectl("apply", "-f", str(CRDS))
        plane.stop_apiserver()
        operator.start(ready=False)
        wait_for(operator.text, lambda text: text.count("waiting for the cluster: ") >= 2)
        assert answers(f"{operator.url}/livez")
        assert not answers(f"{operator.url}/readyz")
        # There, but the operator may do nothing.
        plane.start_apiserver()
        said = "list assistantcrons in all namespaces: the API server answered 403 Forbidden"
        wait_for(operator.text, lambda text: said in text)
        assert not answers(f"{operator.url}/readyz")
        plane.kubectl("apply", "-f", str(RBAC))
        wait_for(lambda: answers(f"{operator.url}/readyz"))
        plane.kubectl("create", "namespace", "late")
        space = Namespace(plane, "late")
        space.apply("one")
        space.wait_ready("one")
        assert operator.stop() == 0
        assert "Traceback" not in operator.text()
    finally:
        operator.kill()
        plane.stop()
        print(operator.text())
