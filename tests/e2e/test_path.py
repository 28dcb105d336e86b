"""The whole path on real servers: apply, the slot, a run, its outcome in status, its thread gone or kept.

One slot, a minute or so ahead, comes for all resources of the fixture `slot` together; what needs none is
tested while it is awaited. Each test asserts on resources of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from assistantcron.payload import slot_metadata
from assistantcron.resource import Resource, Slot, own_thread, rfc3339, slot_thread
from assistantcron.schedule import Schedule
from tests.bed.client import Client
from tests.bed.controlplane import ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.operator import DEADLINE, Namespace, Object, Operator, only_status_was_written, wait_for

PREPARATION = timedelta(seconds=20)
"""Longer than the fixture `slot` takes."""
DAY = timedelta(days=1)
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
WORDS = "$(CRON_NAMESPACE)/$(CRON_NAME), $(SCHEDULED_TIME), $(SCHEDULED_DATE), $$(CRON_NAME)"
READY = ("True", "Scheduled")
COUNTERS = {
    "started": ("runs_started", None),
    "succeeded": ("runs_ended", "success"),
    "failed": ("runs_ended", "error"),
    "skipped": ("slots_skipped", None),
    "missed": ("slots_missed", None),
}
"""The metric of each of `status.counts`, and its label `status`."""


@pytest.fixture(scope="module")
def space(control_plane: ControlPlane) -> Namespace:
    control_plane.kubectl("create", "namespace", "path")
    return Namespace(control_plane, "path")


@pytest.fixture(scope="module")
def operator(
    space: Namespace, dev_server: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operator")
    operator = Operator(space.plane, dev_server.url, folder, NAMESPACES=space.name)
    try:
        yield operator.start()
    finally:
        operator.kill()


@pytest.fixture(scope="module")
def server(dev_server: DevServer) -> Iterator[Client]:
    with Client(dev_server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def log(operator: Operator) -> Iterator[None]:
    """pytest shows what the operator logged meanwhile if the test fails."""
    before = len(operator.text())
    yield
    print(operator.text()[before:])


@pytest.fixture(scope="module")
def stranger(server: Client) -> str:
    """A thread of somebody else's, with a failed run on it."""
    thread = server.make_thread()
    run = server.start(thread, input={"fail": "the stranger's"})
    wait_for(lambda: server.run(thread, run)["status"], lambda status: status == "error")
    return thread


@pytest.fixture(scope="module", autouse=True)
def slot(space: Namespace, operator: Operator, stranger: str) -> datetime:
    """The one instant at which everything scheduled here comes, once all is prepared."""
    at = (datetime.now(UTC) + PREPARATION).replace(second=0, microsecond=0) + timedelta(minutes=1)
    schedule = _daily(at)
    until = (at - datetime.now(UTC)).total_seconds()
    space.apply(
        "kept",
        schedule=_daily(at.astimezone(ZoneInfo("Asia/Kolkata"))),
        timeZone="Asia/Kolkata",
        input={
            "seconds": 1,
            "messages": [{"role": "user", "content": WORDS}],
        },
        metadata={"team": "of $(CRON_NAME)"},
        config={"tags": ["nightly"], "recursion_limit": 7},
        onRunCompleted="keep",
    )
    space.apply("deleted", schedule=schedule, input=HELLO)
    space.apply("failing", schedule=schedule, input={"fail": "no luck"})
    space.apply("given", schedule=schedule, input=HELLO, thread={"id": stranger})
    space.apply("own", schedule=schedule, input=HELLO, thread={})
    space.apply("asking", schedule=schedule, input={"ask": "Publish?"})
    space.apply("forbid", schedule=schedule, input={"seconds": until + 5})
    space.apply("allow", schedule=schedule, input={"seconds": until + 5}, concurrencyPolicy="Allow")
    space.apply("suspended", schedule=schedule, input=HELLO, onRunCompleted="keep")
    space.apply("edited", schedule=schedule, input=HELLO)
    space.apply("withdrawn", schedule=schedule, input=HELLO, onRunCompleted="keep")
    space.wait_ready("own", "asking", "forbid", "allow", "suspended", "edited", "withdrawn")
    for name in ("own", "asking", "forbid", "allow"):
        space.run_now(name, "before the slot")
    space.edit("suspended", suspend=True)
    space.edit("edited", schedule="0 0 1 1 *")
    space.kubectl("delete", "acron", "withdrawn")
    space.wait_ready("suspended", "edited")
    assert datetime.now(UTC) < at, "PREPARATION is too short for this machine"
    return at


def coming(*expressions: str, zone: str = "Etc/UTC") -> str:
    """The next slot from now."""
    following = Schedule.parse(expressions, zone).next_after(datetime.now(UTC))
    assert following is not None
    return rfc3339(following)


def _daily(at: datetime) -> str:
    return f"{at.minute} {at.hour} * * *"


def once_come(
    space: Namespace, name: str, slot: datetime, what: Callable[[Object], Any] = lambda status: status["runs"]
) -> Object:
    """The status when the slot has come and `what` is true; by default, when a run has ended."""
    wait = max((slot - datetime.now(UTC)).total_seconds(), 0) + DEADLINE
    return space.wait(name, what, wait)


def requested(space: Namespace, server: Client, name: str, token: str) -> Object:
    """Ask for a run, and wait for the end of it: its entry in the history."""
    space.run_now(name, token)
    status = space.wait(
        name,
        lambda status: (
            status.get("lastRunRequest", {}).get("token") == token
            and status.get("lastRun", {}).get("runId") == status["lastRunRequest"]["runId"]
        ),
    )
    return dict(status["lastRun"])


# While the slot is awaited: requests


def test_a_run_now_is_followed_to_its_end_and_its_thread_goes_only_after_that_is_in_status(
    space: Namespace, operator: Operator, server: Client
) -> None:
    space.apply("now", input={"seconds": 2, **HELLO})
    space.wait_ready("now")
    space.run_now("now", "first")
    [active] = space.wait("now", lambda status: status.get("active"))["active"]
    body = space.get("now")
    name = Slot(datetime.now(UTC), "first").name
    thread = slot_thread(body["metadata"]["uid"], name, 1)
    assert active == {
        "runId": active["runId"],
        "threadId": thread,
        "scheduledTime": body["status"]["lastRunRequest"]["time"],
        "startTime": active["startTime"],
        "trigger": "Manual",
        "attempt": 1,
    }
    [run] = server.runs(thread)
    assert run["run_id"] == active["runId"]
    assert run["kwargs"]["config"]["configurable"]["langgraph_request_id"] == f"path/now/{name}"
    while True:
        # In this order: were the thread deleted too early, it would be seen gone before there is an outcome.
        found, status = server.thread(thread), space.status("now")
        if found is None:
            break
        assert "lastRun" not in status or status["lastRun"]["status"] == "success"
    assert status["lastRun"]["status"] == "success"
    assert status["lastRunRequest"] == {
        "token": "first",
        "time": active["scheduledTime"],
        "outcome": "Started",
        "runId": active["runId"],
    }
    assert status["active"] == []
    assert "lastScheduleTime" not in status
    assert status["nextScheduleTime"] == coming("0 0 1 1 *")
    assert space.wait_event("now", "RunRequestStarted") == f"run {active['runId']} started on request"
    assert space.wait_event("now", "RunCompleted") == f"run {active['runId']} ended: success"
    told = [(line["message"], line["slot"]) for line in operator.lines() if line.get("name") == "now"]
    assert told == [("run started", name), ("run ended: success", name), ("thread deleted", name)]
    only_status_was_written(space, "now")


def test_a_request_that_is_there_at_creation_is_recorded_and_not_obeyed(
    space: Namespace, server: Client
) -> None:
    space.apply("synced", annotations={"assistantcron.dev/run-requested-at": "in Git"}, onRunCompleted="keep")
    answer = space.wait("synced", lambda status: status.get("lastRunRequest"))["lastRunRequest"]
    assert (answer["token"], answer["outcome"], answer["reason"]) == ("in Git", "Ignored", "AlreadyThere")
    assert "creating starts nothing" in space.wait_event("synced", "RunRequestIgnored")
    # The next one is obeyed; applying the manifest anew takes nothing back.
    assert requested(space, server, "synced", "by hand")["status"] == "success"
    assert space.status("synced")["counts"]["started"] == 1
    assert len(server.threads(assistantcron_uid=space.uid("synced"))) == 1
    only_status_was_written(space, "synced")


def test_a_request_runs_also_while_suspended(space: Namespace, server: Client) -> None:
    space.apply("resting", suspend=True, onRunCompleted="keep")
    space.wait_ready("resting")
    assert space.conditions("resting")["Ready"] == ("True", "Suspended")
    run = requested(space, server, "resting", "now")
    assert (run["status"], run["trigger"]) == ("success", "Manual")
    assert space.conditions("resting") == {
        "Ready": ("True", "Suspended"),
        "LastRunSucceeded": ("True", "Success"),
    }
    assert "nextScheduleTime" not in space.status("resting")
    only_status_was_written(space, "resting")


def test_a_token_starts_one_run_whatever_else_is_changed(space: Namespace, server: Client) -> None:
    space.apply("tokens", onRunCompleted="keep")
    space.wait_ready("tokens")
    first = requested(space, server, "tokens", "one")
    space.run_now("tokens", "one")
    space.poke("tokens")
    space.edit("tokens", input=HELLO)
    space.wait_ready("tokens")
    # Longer than what status repeats.
    space.run_now("tokens", "two " + "x" * 300)
    status = space.wait("tokens", lambda status: len(status["runs"]) == 2)
    assert status["counts"]["started"] == 2
    assert status["runs"][1] == first
    assert status["lastRunRequest"]["runId"] == status["runs"][0]["runId"]
    assert len(server.threads(assistantcron_uid=space.uid("tokens"))) == 2
    only_status_was_written(space, "tokens", generation=2)


# While the slot is awaited: edits


def test_an_edit_of_the_zone_moves_the_next_slot(space: Namespace) -> None:
    space.apply("zone")
    space.wait_ready("zone")
    assert space.status("zone")["nextScheduleTime"] == coming("0 0 1 1 *")
    space.edit("zone", timeZone="America/New_York")
    status = space.wait("zone", lambda status: status["observedGeneration"] == 2)
    assert status["nextScheduleTime"] == coming("0 0 1 1 *", zone="America/New_York")
    assert status["nextScheduleTime"].endswith("-01-01T05:00:00Z")
    assert status["observedSchedule"] == "0 0 1 1 * | America/New_York"
    assert (status["counts"]["started"], status["slots"]) == (0, [])
    only_status_was_written(space, "zone", generation=2)


def test_an_edit_of_the_schedule_fires_for_no_slot_before_it(space: Namespace, server: Client) -> None:
    space.apply("minutely", onRunCompleted="keep")
    space.wait_ready("minutely")
    before = datetime.now(UTC)
    space.edit("minutely", schedule="* * * * *")
    status = space.wait("minutely", lambda status: status["observedGeneration"] == 2)
    coming = datetime.fromisoformat(status["nextScheduleTime"])
    assert before < coming <= before + timedelta(minutes=2)
    space.edit("minutely", schedule="0 0 1 1 *")
    space.wait("minutely", lambda status: status["observedGeneration"] == 3)
    started = server.threads(assistantcron_uid=space.uid("minutely"))
    times = [one["metadata"]["assistantcron_scheduled_time"] for one in started]
    # A minute may have begun meanwhile.
    assert all(time > rfc3339(before) for time in times)
    only_status_was_written(space, "minutely", generation=3)


# While the slot is awaited: deletion


def test_deletion_lets_a_run_in_flight_end_and_its_thread_goes_after_it(
    space: Namespace, server: Client
) -> None:
    names = {"leaves": "delete", "stays": "keep"}
    for name, what in names.items():
        space.apply(name, input={"seconds": 4, **HELLO}, onRunCompleted=what)
    space.wait_ready(*names)
    threads, uids = {}, {}
    for name in names:
        space.run_now(name, "last words")
        [active] = space.wait(name, lambda status: status.get("active"))["active"]
        threads[name], uids[name] = active["threadId"], space.uid(name)
        # It ends at once: there is no finalizer.
        space.kubectl("delete", "acron", name, "--timeout=10s")
        assert [run["status"] for run in server.runs(active["threadId"])] in (["pending"], ["running"])
    wait_for(lambda: server.runs(threads["stays"])[0]["status"], lambda status: status == "success")
    wait_for(lambda: server.thread(threads["leaves"]) is None)
    assert [one["thread_id"] for one in server.threads(assistantcron_uid=uids["stays"])] == [threads["stays"]]
    assert server.threads(assistantcron_uid=uids["leaves"]) == []


def test_a_resource_of_the_same_name_is_another_one(space: Namespace, server: Client) -> None:
    space.apply("again", onRunCompleted="keep")
    space.wait_ready("again")
    first, uid = requested(space, server, "again", "token"), space.uid("again")
    space.kubectl("delete", "acron", "again")
    space.apply("again", onRunCompleted="keep")
    space.wait_ready("again")
    assert space.status("again")["counts"]["started"] == 0
    second = requested(space, server, "again", "token")
    assert second["threadId"] != first["threadId"]
    assert len(server.threads(assistantcron_uid=uid)) == 1


# While the slot is awaited: kubectl


def test_kubectl_waits_for_it_and_shows_it(space: Namespace, server: Client) -> None:
    space.apply("shown", schedules=["0 0 1 1 *", "0 0 2 1 *"], schedule=None, timeZone="Asia/Tokyo")
    said = space.kubectl("wait", "--for=condition=Ready", "acron/shown", "--timeout=30s")
    assert said == "assistantcron.assistantcron.dev/shown condition met\n"
    requested(space, server, "shown", "now")
    header, line = (re.split(r" {2,}", row) for row in space.kubectl("get", "acron", "shown").splitlines())
    assert header == ["NAME", "SCHEDULE", "SUSPEND", "READY", "LAST STATUS", "LAST RUN", "NEXT RUN", "AGE"]
    assert line[:5] == ["shown", '["0 0 1 1 *","0 0 2 1 *"]', "false", "True", "success"]
    assert line[6] == coming("0 0 1 1 *", "0 0 2 1 *", zone="Asia/Tokyo")
    assert all(re.fullmatch(r"\d+s", line[column]) for column in (5, 7))
    header, line = (
        re.split(r" {2,}", row) for row in space.kubectl("get", "acron", "shown", "-o", "wide").splitlines()
    )
    assert header[8:] == ["TIME ZONE", "ASSISTANT", "ACTIVE", "REASON"]
    # What is empty leaves no word: nothing is active.
    assert line[8:] == ["Asia/Tokyo", "agent", "Scheduled"]
    space.wait_event("shown", "RunCompleted")
    described = space.kubectl("describe", "acron", "shown")
    assert re.search(r"Normal +RunCompleted +\S+ +assistantcron +run \S+ ended: success", described)
    assert "Deployment and assistant" not in described
    assert "deployment and assistant are known; the next slot is armed" in described
    only_status_was_written(space, "shown")


# Once the slot has come


def test_a_run_of_its_own_whose_thread_is_kept(
    space: Namespace, operator: Operator, server: Client, slot: datetime
) -> None:
    status = once_come(space, "kept", slot)
    body, at = space.get("kept"), rfc3339(slot)
    thread = slot_thread(body["metadata"]["uid"], at, 1)
    run = status["lastRun"]
    assert run == {
        "runId": run["runId"],
        "threadId": thread,
        "scheduledTime": at,
        "startTime": run["startTime"],
        "completionTime": run["completionTime"],
        "trigger": "Schedule",
        "attempt": 1,
        "status": "success",
    }
    assert at <= run["startTime"] <= run["completionTime"]
    assert status["runs"] == [run]
    assert (status["active"], status["slots"]) == ([], [])
    counts = {"started": 1, "succeeded": 1, "failed": 0, "interrupted": 0, "skipped": 0, "missed": 0}
    assert (status["counts"], status["consecutiveFailures"]) == (counts, 0)
    assert status["lastScheduleTime"] == status["accountedThrough"] == at
    assert status["lastSuccessfulTime"] == run["completionTime"]
    assert status["nextScheduleTime"] == rfc3339(slot + DAY)
    assert space.conditions("kept") == {"Ready": READY, "LastRunSucceeded": ("True", "Success")}
    assert all(one["observedGeneration"] == 1 for one in status["conditions"])

    [seen] = server.runs(thread)
    assert (seen["run_id"], seen["status"]) == (run["runId"], "success")
    date = slot.astimezone(ZoneInfo("Asia/Kolkata")).date().isoformat()
    said = f"path/kept, {at}, {date}, $(CRON_NAME)"
    assert seen["kwargs"]["input"] == {"seconds": 1, "messages": [{"role": "user", "content": said}]}
    assert seen["kwargs"]["config"]["tags"] == ["nightly"]
    assert seen["kwargs"]["config"]["recursion_limit"] == 7
    assert seen["kwargs"]["config"]["configurable"]["langgraph_request_id"] == f"path/kept/{at}"
    ours = slot_metadata(Resource.from_body(body), Slot(slot), 1)
    assert seen["metadata"].items() >= {"team": "of kept", **ours}.items()
    assert seen["multitask_strategy"] == "reject"
    found = server.thread(thread)
    assert found is not None
    assert found["values"]["messages"][-1]["content"] == f"I was told: {said}"
    assert found["metadata"].items() >= {**ours, "assistantcron_on_run_completed": "keep"}.items()

    assert space.wait_event("kept", "RunCompleted") == f"run {run['runId']} ended: success"
    assert [one["reason"] for one in space.events("kept")] == ["RunCompleted"]
    where = {"namespace": "path", "name": "kept", "slot": at, "run_id": run["runId"]}
    told = [line for line in operator.lines() if line.items() >= where.items()]
    assert [line["message"] for line in told] == ["run started", "run ended: success"]
    only_status_was_written(space, "kept")


def test_a_run_of_its_own_whose_thread_is_deleted(space: Namespace, server: Client, slot: datetime) -> None:
    run = once_come(space, "deleted", slot)["lastRun"]
    thread = slot_thread(space.uid("deleted"), rfc3339(slot), 1)
    assert (run["threadId"], run["status"], run["trigger"]) == (thread, "success", "Schedule")
    wait_for(lambda: server.thread(thread) is None)
    assert server.threads(assistantcron_uid=space.uid("deleted")) == []
    # That the thread is gone changes nothing of what is known of the run.
    space.poke("deleted")
    assert space.status("deleted")["lastRun"] == run
    only_status_was_written(space, "deleted")


def test_runs_on_a_given_thread_among_those_of_others(
    space: Namespace, server: Client, slot: datetime, stranger: str
) -> None:
    run = once_come(space, "given", slot)["lastRun"]
    assert (run["threadId"], run["status"]) == (stranger, "success")
    theirs, ours = server.runs(stranger)
    assert (theirs["status"], ours["run_id"]) == ("error", run["runId"])
    assert ours["multitask_strategy"] == "enqueue"
    # What others do there afterwards is not ours either.
    later = server.start(stranger, input={"fail": "the stranger's again"})
    wait_for(lambda: server.run(stranger, later)["status"], lambda status: status == "error")
    again = requested(space, server, "given", "once more")
    assert (again["threadId"], again["status"]) == (stranger, "success")
    status = space.status("given")
    assert [one["runId"] for one in status["runs"]] == [again["runId"], run["runId"]]
    assert (status["counts"]["started"], status["counts"]["failed"]) == (2, 0)
    uid = space.uid("given")
    wait_for(lambda: server.thread(slot_thread(uid, rfc3339(slot), 1)) is None)
    wait_for(lambda: server.threads(assistantcron_uid=uid) == [])
    only_status_was_written(space, "given")
    space.kubectl("delete", "acron", "given")
    assert [one["run_id"] for one in server.runs(stranger)] == [
        theirs["run_id"],
        run["runId"],
        later,
        again["runId"],
    ]


def test_one_thread_of_its_own_for_all_its_runs(space: Namespace, server: Client, slot: datetime) -> None:
    status = once_come(space, "own", slot, lambda status: len(status.get("runs", [])) == 2)
    uid = space.uid("own")
    thread = own_thread(uid)
    assert [run["threadId"] for run in status["runs"]] == [thread, thread]
    assert [run["trigger"] for run in status["runs"]] == ["Schedule", "Manual"]
    assert [run["run_id"] for run in server.runs(thread)] == [run["runId"] for run in status["runs"][::-1]]
    found = server.thread(thread)
    assert found is not None
    told = [one["content"] for one in found["values"]["messages"] if one["type"] == "ai"]
    assert told == ["I was told: Hello"] * 2
    # The claims of both runs go, the thread stays.
    wait_for(lambda: [one["thread_id"] for one in server.threads(assistantcron_uid=uid)] == [thread])
    only_status_was_written(space, "own")


def test_a_failed_run_says_why_and_does_not_touch_ready(
    space: Namespace, server: Client, slot: datetime
) -> None:
    status = once_come(space, "failing", slot)
    run = status["lastRun"]
    assert (run["status"], run["message"]) == ("error", "ValueError: no luck")
    assert (status["counts"]["failed"], status["counts"]["succeeded"]) == (1, 0)
    assert status["consecutiveFailures"] == 1
    assert status["lastFailedTime"] == run["completionTime"]
    assert "lastSuccessfulTime" not in status
    assert space.conditions("failing") == {"Ready": READY, "LastRunSucceeded": ("False", "Error")}
    said = f"run {run['runId']}: ValueError: no luck"
    assert space.condition("failing", "LastRunSucceeded")["message"] == said
    assert space.wait_event("failing", "RunFailed") == f"run {run['runId']} ended: error: ValueError: no luck"
    assert status["nextScheduleTime"] == rfc3339(slot + DAY)
    wait_for(lambda: server.thread(run["threadId"]) is None)
    # A run that succeeds ends the row of failures.
    space.edit("failing", input={"fail": None, **HELLO})
    assert requested(space, server, "failing", "mended")["status"] == "success"
    status = space.status("failing")
    assert (status["consecutiveFailures"], status["counts"]["failed"]) == (0, 1)
    assert [run["status"] for run in status["runs"]] == ["success", "error"]
    only_status_was_written(space, "failing", generation=2)


def test_a_run_that_waits_for_a_human_is_neither_success_nor_failure_until_somebody_answers(
    space: Namespace, operator: Operator, server: Client, slot: datetime
) -> None:
    status = once_come(space, "asking", slot, lambda status: status["counts"]["skipped"])
    [waiting] = status["active"]
    run_id, thread = waiting["runId"], waiting["threadId"]
    assert (waiting["status"], waiting["trigger"]) == ("interrupted", "Manual")
    assert status["lastRun"] == {**waiting, "message": "waits for a human"}
    assert status["runs"] == [status["lastRun"]]
    assert (status["counts"]["started"], status["counts"]["interrupted"]) == (1, 1)
    assert status["consecutiveFailures"] == 0
    reason = f"run {run_id} waits for a human"
    assert status["slots"] == [
        {
            "scheduledTime": rfc3339(slot),
            "count": 1,
            "outcome": "Skipped",
            "reason": "AwaitingInput",
            "message": reason,
        }
    ]
    assert space.conditions("asking") == {"Ready": READY, "LastRunSucceeded": ("Unknown", "AwaitingInput")}
    assert space.wait_event("asking", "RunAwaitingInput") == reason
    assert space.wait_event("asking", "SlotSkipped") == f"{rfc3339(slot)}: AwaitingInput: {reason}"
    space.run_now("asking", "meanwhile")
    answer = space.wait("asking", lambda status: status["lastRunRequest"]["token"] == "meanwhile")
    assert answer["lastRunRequest"]["outcome"] == "Skipped"
    assert answer["lastRunRequest"]["message"] == reason
    found = server.thread(thread)
    assert found is not None
    assert found["status"] == "interrupted"

    server.start(thread, command={"resume": "yes"})
    status = space.wait("asking", lambda status: not status["active"])
    assert {**status["lastRun"], "completionTime": ""} == {
        **waiting,
        "status": "success",
        "completionTime": "",
    }
    assert status["runs"] == [status["lastRun"]]
    counts = {"started": 1, "succeeded": 1, "failed": 0, "interrupted": 0, "skipped": 1, "missed": 0}
    assert status["counts"] == counts
    assert space.conditions("asking") == {"Ready": READY, "LastRunSucceeded": ("True", "Success")}
    assert space.wait_event("asking", "RunCompleted") == f"run {run_id} ended: success"
    wait_for(lambda: server.thread(thread) is None)
    told = [line["message"] for line in operator.lines() if line.get("thread_id") == thread]
    assert told == ["run started", "run waits for a human", "run ended: success", "thread deleted"]
    only_status_was_written(space, "asking")


def test_forbid_skips_a_slot_that_comes_during_a_run(
    space: Namespace, server: Client, slot: datetime
) -> None:
    status = once_come(space, "forbid", slot, lambda status: status["counts"]["skipped"])
    run_id = status["lastRunRequest"]["runId"]
    [skipped] = status["slots"]
    assert (skipped["scheduledTime"], skipped["outcome"]) == (rfc3339(slot), "Skipped")
    assert (skipped["reason"], skipped["count"]) == ("ConcurrencyForbidden", 1)
    assert skipped["message"] == f"run {run_id} was still in flight"
    said = f"{rfc3339(slot)}: ConcurrencyForbidden: run {run_id} was still in flight"
    assert space.wait_event("forbid", "SlotSkipped") == said
    assert space.conditions("forbid")["Ready"] == READY
    assert status["nextScheduleTime"] == rfc3339(slot + DAY)
    # It is never started late.
    status = once_come(space, "forbid", slot)
    space.poke("forbid")
    assert (status["counts"]["started"], status["lastRun"]["runId"]) == (1, run_id)
    assert "lastScheduleTime" not in status
    only_status_was_written(space, "forbid")


def test_allow_starts_a_slot_that_comes_during_a_run(
    space: Namespace, server: Client, slot: datetime
) -> None:
    status = once_come(space, "allow", slot)
    requested, scheduled = status["runs"][-1], (*status["active"], *status["runs"])[0]
    assert (requested["trigger"], scheduled["trigger"]) == ("Manual", "Schedule")
    assert scheduled["threadId"] == slot_thread(space.uid("allow"), rfc3339(slot), 1)
    assert scheduled["scheduledTime"] == status["lastScheduleTime"] == rfc3339(slot)
    assert scheduled["startTime"] < requested["completionTime"]
    assert (status["counts"]["started"], status["counts"]["skipped"], status["slots"]) == (2, 0, [])
    # The end of the one has left the other in flight.
    [_, line] = space.kubectl("get", "acron", "allow", "-o", "wide").splitlines()
    assert (scheduled["runId"] in line) == bool(status["active"])
    only_status_was_written(space, "allow")


def test_a_slot_inside_a_suspension_is_skipped_and_resuming_starts_nothing(
    space: Namespace, server: Client, slot: datetime
) -> None:
    wait_for(lambda: datetime.now(UTC) > slot + timedelta(seconds=1), seconds=120)
    status = space.status("suspended")
    assert "nextScheduleTime" not in status
    assert space.conditions("suspended")["Ready"] == ("True", "Suspended")
    assert "no slot starts" in space.wait_event("suspended", "Suspended")
    space.edit("suspended", suspend=False)
    status = space.wait("suspended", lambda status: status["observedGeneration"] == 3)
    assert status["slots"] == [
        {
            "scheduledTime": rfc3339(slot),
            "count": 1,
            "outcome": "Skipped",
            "reason": "Suspended",
            "message": "the resource was suspended",
        }
    ]
    assert (status["counts"]["started"], status["counts"]["skipped"]) == (0, 1)
    assert status["nextScheduleTime"] == rfc3339(slot + DAY)
    assert space.conditions("suspended")["Ready"] == READY
    space.wait_event("suspended", "Resumed")
    said = f"{rfc3339(slot)}: Suspended: the resource was suspended"
    assert space.wait_event("suspended", "SlotSkipped") == said
    assert server.threads(assistantcron_uid=space.uid("suspended")) == []
    only_status_was_written(space, "suspended", generation=3)


def test_a_slot_that_was_edited_or_deleted_away_does_not_come(
    space: Namespace, server: Client, slot: datetime
) -> None:
    once_come(space, "kept", slot)
    status = space.status("edited")
    assert (status["counts"]["started"], status["slots"]) == (0, [])
    assert status["nextScheduleTime"] == coming("0 0 1 1 *")
    assert server.threads(assistantcron_uid=space.uid("edited")) == []
    assert server.threads(assistantcron_namespace="path", assistantcron_name="withdrawn") == []
    only_status_was_written(space, "edited", generation=2)


# In the end


def test_the_counters_agree_with_status(space: Namespace, operator: Operator, slot: datetime) -> None:
    once_come(space, "kept", slot)
    # A run may end between the two looks.
    wait_for(lambda: list(_disagreements(space, operator)), lambda found: found == [])
    metrics = operator.metrics()
    assert metrics["assistantcron_start_delay_seconds_count"] >= 3
    skipped = "assistantcron_slots_skipped_total"
    assert metrics[f'{skipped}{{name="forbid",namespace="path",reason="ConcurrencyForbidden"}}'] == 1
    # Of a resource that is gone, nothing is left.
    assert [sample for sample in metrics if 'name="leaves"' in sample] == []


def _disagreements(space: Namespace, operator: Operator) -> Iterator[tuple[str, str, float, int]]:
    """Resource, counter, its value, and what status says."""
    metrics = operator.metrics()
    for found in space.plane.get(f"--namespace={space.name}", "acron")["items"]:
        name, counts = found["metadata"]["name"], found["status"]["counts"]
        for field, (metric, status) in COUNTERS.items():
            wanted = {"name": name, "namespace": "path", **({"status": status} if status else {})}.items()
            total = sum(
                value
                for sample, value in metrics.items()
                if sample.startswith(f"assistantcron_{metric}_total{{")
                and wanted <= dict(re.findall(r'(\w+)="([^"]*)"', sample)).items()
            )
            if total != counts[field]:
                yield name, field, total, counts[field]


def test_nothing_went_wrong_that_nobody_saw(operator: Operator) -> None:
    assert [line for line in operator.lines() if line["level"] not in ("DEBUG", "INFO")] == []
    assert "Traceback" not in operator.text()
