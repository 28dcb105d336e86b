"""Where runs go, and with which credentials: default, `url`, `secretRef`, `serviceRef`; on stubs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.operator import Namespace, Object, Operator, only_status_was_written, wait_for
from tests.bed.stub import Entry, StubDeployment
from tests.e2e.conftest import StartOperator

KEY, OPERATORS_KEY, NEW_KEY = "the-teams-key", "the-operators-key", "the-new-key"


@pytest.fixture
def other() -> Iterator[StubDeployment]:
    """A second deployment."""
    with StubDeployment() as deployment:
        yield deployment


def credentials(entries: list[Entry]) -> set[tuple[str | None, str | None]]:
    """Which were sent; the open paths, which need none, do not count."""
    return {(one.headers.get("x-api-key"), one.headers.get("authorization")) for one in entries}


def run(space: Namespace, name: str, token: str) -> Object:
    """Ask for a run, and wait until it has ended well."""
    space.run_now(name, token)
    status = space.wait(
        name,
        lambda status: (
            status.get("lastRunRequest", {}).get("token") == token
            and status.get("lastRun", {}).get("runId") == status["lastRunRequest"].get("runId")
        ),
        60,
    )
    assert status["lastRun"]["status"] == "success"
    return status


def nowhere(secret: str, space: Namespace, operator: Operator) -> None:
    """Assert that nobody can read it where the operator writes."""
    written = json.dumps(space.plane.get(f"--namespace={space.name}", "acron,events"))
    assert secret not in written
    assert secret not in operator.text()


def test_the_default_deployments_key_goes_there_alone(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, other: StubDeployment
) -> None:
    stub.api_key = OPERATORS_KEY
    operator = start_operator(stub.url, DEPLOYMENT_API_KEY=OPERATORS_KEY, LOG_LEVEL="DEBUG")
    space.apply("default")
    space.apply("by-url", deployment={"url": f"{other.url}/"})
    space.wait_ready("default", "by-url")
    run(space, "default", "now")
    run(space, "by-url", "now")
    assert credentials(stub.ledger) == {(OPERATORS_KEY, None)}
    assert credentials(other.ledger) == {(None, None)}
    assert [len(deployment.started) for deployment in (stub, other)] == [1, 1]
    # An edit moves the resource; what comes next goes to the other deployment, without the key.
    space.edit("default", deployment={"url": other.url})
    space.wait_ready("default")
    run(space, "default", "moved")
    assert [len(deployment.started) for deployment in (stub, other)] == [1, 2]
    assert credentials(other.ledger) == {(None, None)}
    nowhere(OPERATORS_KEY, space, operator)
    only_status_was_written(space, "by-url")


def test_an_edit_of_the_deployment_does_not_lose_the_run_in_flight(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, other: StubDeployment
) -> None:
    start_operator(stub.url)
    space.apply("moves", input={"seconds": 3})
    space.wait_ready("moves")
    space.run_now("moves", "here")
    space.wait("moves", lambda status: status.get("active"))
    space.edit("moves", deployment={"url": other.url})
    status = space.wait("moves", lambda status: status.get("lastRun"))
    assert (status["lastRun"]["status"], len(stub.started), len(other.started)) == ("success", 1, 0)
    wait_for(lambda: stub.state.threads == {})


def test_a_secrets_credentials_go_to_its_own_url_alone(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, other: StubDeployment
) -> None:
    operator = start_operator(stub.url, LOG_LEVEL="DEBUG")
    other.api_key = KEY
    space.secret("team", url=other.url, apiKey=f"{KEY}\n", authorization="Bearer teams-token")
    space.apply("by-secret", deployment={"secretRef": {"name": "team"}})
    space.apply("by-url", deployment={"url": other.url})
    space.wait_ready("by-secret")
    run(space, "by-secret", "now")
    # The same URL without the Secret gets nothing of it.
    space.wait_ready("by-url", value="False")
    assert space.conditions("by-url")["Stalled"] == ("True", "Unauthorized")
    assert "use spec.deployment.secretRef" in space.condition("by-url", "Stalled")["message"]
    assert credentials(other.ledger) == {(KEY, "Bearer teams-token"), (None, None)}
    assert credentials(stub.ledger) <= {(None, None)}
    nowhere(KEY, space, operator)
    nowhere("teams-token", space, operator)


def test_a_key_that_is_changed_on_both_sides_costs_nothing(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(None)
    stub.api_key = KEY
    space.secret("team", url=stub.url, apiKey=KEY)
    space.apply("rotated", input={"seconds": 4}, deployment={"secretRef": {"name": "team"}})
    space.apply("at-rest", deployment={"secretRef": {"name": "team"}})
    space.wait_ready("rotated", "at-rest")
    space.run_now("rotated", "with the old key")
    space.wait("rotated", lambda status: status.get("active"))
    stub.api_key = NEW_KEY
    space.secret("team", url=stub.url, apiKey=NEW_KEY)
    # A start with the old key is refused, and tried again with the new one.
    run(space, "at-rest", "now")
    # The run in flight was started with the old key; its end is seen all the same, and its thread goes.
    status = space.wait("rotated", lambda status: status.get("lastRun"), 60)
    assert status["lastRun"]["status"] == "success"
    assert len(stub.started) == 2
    wait_for(lambda: stub.state.threads == {})
    for secret in (KEY, NEW_KEY):
        nowhere(secret, space, operator)


def test_a_key_that_is_changed_on_the_server_first_is_asked_for_and_works_again(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    start_operator(None)
    stub.api_key = KEY
    space.secret("team", url=stub.url, apiKey=KEY)
    space.apply("locked-out", deployment={"secretRef": {"name": "team"}})
    space.wait_ready("locked-out")
    stub.api_key = NEW_KEY
    space.run_now("locked-out", "too early")
    answer = space.wait("locked-out", lambda status: status.get("lastRunRequest"))["lastRunRequest"]
    said = "the deployment: HTTP 403: Invalid token; check apiKey and authorization in Secret team"
    assert (answer["outcome"], answer["reason"]) == ("Missed", "Unauthorized")
    assert answer["message"] == said
    space.wait_ready("locked-out", value="False")
    assert space.conditions("locked-out")["Stalled"] == ("True", "Unauthorized")
    assert space.condition("locked-out", "Stalled")["message"] == said
    space.secret("team", url=stub.url, apiKey=NEW_KEY)
    wait_for(
        lambda: space.conditions("locked-out").get("Ready"), lambda found: found == ("True", "Scheduled"), 60
    )
    assert "Stalled" not in space.conditions("locked-out")
    run(space, "locked-out", "in time")
    assert len(stub.started) == 1


def test_the_default_deployments_key_file_is_read_again_when_it_changes(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    stub.api_key = KEY
    operator = start_operator(stub.url, DEPLOYMENT_API_KEY_FILE=str(key))
    space.apply("default")
    space.wait_ready("default")
    stub.api_key = NEW_KEY
    key.write_text(NEW_KEY, encoding="utf-8")
    run(space, "default", "now")
    assert [line for line in operator.lines() if line["level"] not in ("DEBUG", "INFO")] == []
    nowhere(NEW_KEY, space, operator)


def test_a_service_that_does_not_answer_is_a_passing_cause(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(stub.url)
    space.apply("service", deployment={"serviceRef": {"name": "agents", "path": "/graphs"}})
    space.apply("neighbour")
    space.wait_ready("service", value="False")
    assert space.conditions("service")["Ready"] == ("False", "DeploymentUnavailable")
    assert "Stalled" not in space.conditions("service")
    said = space.condition("service", "Ready")["message"]
    assert said == "the deployment: the host name cannot be resolved"
    # Requests are not lost meanwhile: they are retried, for a while.
    space.run_now("service", "now")
    run(space, "neighbour", "now")
    assert "lastRunRequest" not in space.status("service")
    assert "Traceback" not in operator.text()
    only_status_was_written(space, "service")


def test_an_operator_without_a_default_says_so(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    start_operator(None)
    space.apply("nowhere")
    space.wait_ready("nowhere", value="False")
    assert space.conditions("nowhere")["Stalled"] == ("True", "DeploymentNotConfigured")
    said = space.condition("nowhere", "Stalled")["message"]
    assert said == (
        "spec.deployment must be set: the operator has no default deployment (ASSISTANTCRON_DEPLOYMENT_URL)"
    )
    assert space.wait_event("nowhere", "NotReady") == f"DeploymentNotConfigured: {said}"
    space.run_now("nowhere", "in vain")
    answer = space.wait("nowhere", lambda status: status.get("lastRunRequest"))["lastRunRequest"]
    assert (answer["outcome"], answer["reason"]) == ("Missed", "DeploymentNotConfigured")
    space.edit("nowhere", deployment={"url": stub.url})
    space.wait_ready("nowhere")
    run(space, "nowhere", "now")


def test_resources_may_not_call_loopback_unless_the_operator_lets_them(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment, other: StubDeployment
) -> None:
    # The default is chosen by who runs the operator, wherever it is.
    start_operator(stub.url, ALLOW_LOOPBACK="false")
    names = {"number": "127.0.0.1", "name": "localhost", "mapped": "[::ffff:127.0.0.1]"}
    for name, host in names.items():
        space.apply(name, deployment={"url": f"http://{host}:{other.port}"})
    space.secret("team", url=other.url, apiKey=KEY)
    space.apply("by-secret", deployment={"secretRef": {"name": "team"}})
    space.apply("default")
    space.wait_ready("default")
    for name in (*names, "by-secret"):
        space.wait_ready(name, value="False")
        assert space.conditions(name)["Stalled"] == ("True", "HostNotAllowed")
        assert "loopback" in space.condition(name, "Stalled")["message"]
    assert other.ledger == []
    run(space, "default", "now")
