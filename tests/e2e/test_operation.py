"""The life of the operator itself: it stops, the API server goes and comes, and nothing is lost or doubled.

The deployment is the stub, which knows every run that has ever begun.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.error import HTTPError

import pytest

from assistantcron.resource import rfc3339, slot_thread
from tests.bed.controlplane import ControlPlane
from tests.bed.operator import Namespace, Operator, only_status_was_written, wait_for
from tests.bed.process import fetch
from tests.bed.stub import StubDeployment
from tests.e2e.conftest import StartOperator

HOUR = timedelta(hours=1)


def probe(operator: Operator, path: str) -> tuple[int, str]:
    """Status and text of a probe's answer."""
    try:
        return 200, fetch(operator.url + path)
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_probes_and_metrics_answer(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(stub.url)
    assert probe(operator, "/livez") == (200, "ok\n")
    assert probe(operator, "/readyz") == (200, "ok\n")
    assert probe(operator, "/nowhere")[0] == 404
    space.apply("one")
    space.wait_ready("one")
    metrics = operator.metrics()
    assert metrics["assistantcron_resources"] == 1
    assert metrics["assistantcron_runs_in_flight"] == 0
    assert metrics['assistantcron_status_writes_total{result="written"}'] == 1
    assert any(name.startswith("assistantcron_build_info{") for name in metrics)


def test_term_lets_a_start_under_way_be_recorded_and_the_next_operator_follows_the_run(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(stub.url)
    space.apply("handed-over", input={"seconds": 5})
    space.wait_ready("handed-over")
    slow = stub.fault("POST", "/threads/[^/]+/runs", delay=2.0)
    space.run_now("handed-over", "now")
    wait_for(lambda: slow.hits)
    assert operator.server is not None
    operator.server.signal(signal.SIGTERM)
    assert wait_for(lambda: probe(operator, "/readyz"), lambda answer: answer[0] != 200) == (
        503,
        "stopping\n",
    )
    assert probe(operator, "/livez") == (200, "ok\n")
    assert operator.stop() == 0
    [run] = space.status("handed-over")["active"]
    assert [one["run_id"] for one in stub.started] in ([], [run["runId"]])
    assert operator.lines()[-1]["message"] == "assistantcron has stopped"
    assert "Traceback" not in operator.text()

    operator.start()
    status = space.wait("handed-over", lambda status: status.get("lastRun"))
    assert (status["lastRun"]["runId"], status["lastRun"]["status"]) == (run["runId"], "success")
    assert status["counts"]["started"] == len(stub.started) == 1
    wait_for(lambda: stub.state.threads == {})
    assert operator.stop() == 0
    assert [line for line in operator.lines() if line["level"] not in ("DEBUG", "INFO")] == []
    only_status_was_written(space, "handed-over")


def test_an_idle_operator_stops_at_once_also_on_interrupt(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(stub.url)
    assert operator.server is not None
    operator.server.signal(signal.SIGINT)
    assert operator.server.process.wait(20) == 0
    assert operator.lines()[-1]["message"] == "assistantcron has stopped"


def test_a_request_is_answered_once_across_restarts(
    space: Namespace, start_operator: StartOperator, stub: StubDeployment
) -> None:
    operator = start_operator(stub.url)
    space.apply("once", onRunCompleted="keep")
    space.wait_ready("once")
    space.run_now("once", "first")
    answer = space.wait("once", lambda status: status.get("lastRun"))["lastRunRequest"]
    assert operator.stop() == 0
    operator.start()
    space.poke("once")
    operator.kill()
    # Asked while nobody was there: it is answered by whoever comes.
    space.run_now("once", "second")
    operator.start()
    status = space.wait("once", lambda status: len(status["runs"]) == 2)
    assert status["lastRunRequest"]["token"] == "second"
    assert answer["token"] == "first"
    operator.stop()
    operator.start()
    space.poke("once")
    space.apply("other")
    space.wait_ready("other")
    assert space.status("once") == status
    assert len(stub.started) == len(stub.requests("POST", "/threads")) == 2
    only_status_was_written(space, "once")


# What an outage of the operator has left


@dataclass(frozen=True)
class Restored:
    """A resource as an outage, or the restoring of a backup, has left it, and what is to become of it."""

    spec: dict[str, Any] = field(default_factory=dict)
    edits: int = 0
    """Edits by a person since the status was written."""
    status: dict[str, Any] | None = field(default_factory=dict)
    """What differs from an armed resource that is accounted for up to three slots ago; None: no status."""
    started: int = 0
    entry: tuple[str, str, int] | None = None
    """Outcome, reason and count in `status.slots`."""


DOWN, SUSPENDED = ("Missed", "OperatorDown"), ("Skipped", "Suspended")
RESTORED: dict[str, Restored] = {
    "down": Restored(started=1, entry=(*DOWN, 2)),
    "down-for-one-slot": Restored(status={"accountedThrough": "{before last}"}, started=1),
    "nothing-missed": Restored(status={"accountedThrough": "{last}"}),
    "without-status": Restored(status=None),
    "edited": Restored(edits=1, started=1, entry=(*DOWN, 2)),
    "edited-twice": Restored(edits=2, entry=(*DOWN, 3)),
    "rescheduled": Restored(edits=1, status={"observedSchedule": "{another} | Etc/UTC"}, entry=(*DOWN, 3)),
    "suspended": Restored({"suspend": True}, edits=1, entry=(*SUSPENDED, 3)),
    "still-suspended": Restored({"suspend": True}, status={"nextScheduleTime": None}),
    "resumed": Restored(edits=1, status={"nextScheduleTime": None}, entry=(*SUSPENDED, 3)),
}


class Outage(NamedTuple):
    """What its tests share."""

    space: Namespace
    stub: StubDeployment
    last: datetime
    """The newest slot that has come; the others are whole hours before it."""


@pytest.fixture(scope="module")
def outage(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """All of `RESTORED`, and an operator that comes upon them."""
    control_plane.kubectl("create", "namespace", "outage")
    space = Namespace(control_plane, "outage")
    last = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    schedule, another = (f"{at.minute} * * * *" for at in (last, last - timedelta(minutes=5)))
    words = {"last": rfc3339(last), "before last": rfc3339(last - HOUR), "another": another}
    for name, case in RESTORED.items():
        space.apply(name, schedule=schedule, onRunCompleted="keep", **case.spec)
        for number in range(case.edits):
            space.edit(name, input={"edit": number})
        if case.status is not None:
            status = {
                "observedGeneration": 1,
                "observedSchedule": f"{schedule} | Etc/UTC",
                "accountedThrough": rfc3339(last - 3 * HOUR),
                "nextScheduleTime": rfc3339(last - 2 * HOUR),
                **case.status,
            }
            filled = {key: _filled(value, words) for key, value in status.items()}
            space.set_status(name, filled)
    with StubDeployment() as stub:
        folder = tmp_path_factory.mktemp("operator")
        operator = Operator(control_plane, stub.url, folder, NAMESPACES=space.name)
        try:
            operator.start()
            space.wait_ready(*RESTORED)
            yield Outage(space, stub, last)
        finally:
            operator.kill()
            print(operator.text())


def _filled(value: Any, words: dict[str, str]) -> Any:
    for word, meaning in words.items():
        value = value.replace(f"{{{word}}}", meaning) if isinstance(value, str) else value
    return value


@pytest.mark.parametrize("name", RESTORED)
def test_what_an_outage_has_left(outage: Outage, name: str) -> None:
    space, last, case = outage.space, outage.last, RESTORED[name]
    status = space.wait(name, lambda status: len(status["runs"]) == case.started)
    uid = space.uid(name)
    assert [
        (run["scheduledTime"], run["trigger"], run["status"], run["threadId"]) for run in status["runs"]
    ] == [(rfc3339(last), "Schedule", "success", slot_thread(uid, rfc3339(last), 1))] * case.started
    entries = [(one["outcome"], one["reason"], one["count"]) for one in status["slots"]]
    assert entries == ([case.entry] if case.entry else [])
    counts = {outcome: count for outcome, _, count in entries}
    assert status["counts"]["missed"] == counts.get("Missed", 0)
    assert status["counts"]["skipped"] == counts.get("Skipped", 0)
    assert status["counts"]["started"] == case.started
    following = None if case.spec.get("suspend") else rfc3339(last + HOUR)
    assert status.get("nextScheduleTime") == following
    only_status_was_written(space, name, generation=1 + case.edits)


def test_the_slots_of_an_outage_are_named(outage: Outage) -> None:
    space, last = outage.space, outage.last
    [entry] = space.status("down")["slots"]
    first, through = rfc3339(last - 2 * HOUR), rfc3339(last - HOUR)
    said = "the operator was not there when the slot came"
    assert entry == {
        "scheduledTime": first,
        "through": through,
        "count": 2,
        "outcome": "Missed",
        "reason": "OperatorDown",
        "message": said,
    }
    told = space.wait_event("down", "SlotMissed")
    assert told == f"2 slots from {first} to {through}: OperatorDown: {said}"
    assert "SlotMissed" not in [one["reason"] for one in space.events("down-for-one-slot")]


def test_nothing_else_was_started_after_the_outage(outage: Outage) -> None:
    names = [run["metadata"]["assistantcron_name"] for run in outage.stub.started]
    assert sorted(names) == sorted(name for name, case in RESTORED.items() if case.started)


# Outages at a real slot


def test_a_slot_comes_while_the_api_server_is_down_and_another_while_the_operator_is(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=15)).replace(second=0, microsecond=0) + timedelta(minutes=1)
    with StubDeployment() as stub:
        operators, spaces = {}, {}
        for name in ("stays", "goes"):
            control_plane.kubectl("create", "namespace", name)
            space = spaces[name] = Namespace(control_plane, name)
            folder = tmp_path_factory.mktemp(name)
            operators[name] = Operator(control_plane, stub.url, folder, NAMESPACES=name).start()
            space.apply(name, schedule=f"{at.minute} {at.hour} * * *", input={"seconds": 2})
            space.wait_ready(name)
        try:
            assert operators["goes"].stop() == 0
            control_plane.stop_apiserver()
            assert datetime.now(UTC) < at, "too slow for this machine"
            # The slot is started though its start cannot be written down.
            wait_for(lambda: len(stub.started), seconds=90)
            # And its run ends before the API server is back.
            wait_for(lambda: [run["status"] for run in stub.started], lambda seen: seen == ["success"])
            control_plane.start_apiserver()
            operators["goes"].start()
            for name, space in spaces.items():
                status = space.wait(name, lambda status: status.get("lastRun"), 60)
                run = status["lastRun"]
                assert (run["scheduledTime"], run["status"]) == (rfc3339(at), "success")
                assert run["threadId"] == slot_thread(space.uid(name), rfc3339(at), 1)
                assert (status["counts"]["started"], status["slots"]) == (1, [])
                # The watch has been taken up again, too.
                space.run_now(name, "afterwards")
                space.wait(name, lambda status: len(status["runs"]) == 2, 60)
                only_status_was_written(space, name)
            names = [run["metadata"]["assistantcron_name"] for run in stub.started]
            assert sorted(names) == ["goes", "goes", "stays", "stays"]
            wait_for(lambda: stub.state.threads == {})
            assert "Traceback" not in operators["stays"].text()
            assert [operator.stop() for operator in operators.values()] == [0, 0]
        finally:
            if control_plane.apiserver is not None and control_plane.apiserver.process.poll() is not None:
                control_plane.start_apiserver()
            for operator in operators.values():
                operator.kill()
                print(operator.text())
