"""The operator as a process on the real API server, killed at each step of the protocol, or without answers.

Whatever happens: one run for the slot, which status tells of; no thread stays for ever; the next request
works. The deployment is the stub, for it can hang and drop at a chosen place, and its ledger has all that was
ever started. What happens between two requests is in `tests/parts/test_starter.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from assistantcron.resource import slot_thread
from tests.bed.controlplane import ControlPlane
from tests.e2e.scenes import EVERY_MINUTE, FIRST, KINDS, LONG, SECOND, SHARED, Scene, Trial, request, until

CLAIM, START = "/threads", "/threads/[^/]+/runs"
LATE = 13.0
"""Seconds by which a start comes late: more than the client waits for its answer."""


@dataclass
class Scenes:
    """A crash, answers that do not come, and two operators at once, all at the same time."""

    crash: Scene
    lost: Scene
    two: Scene

    def __iter__(self) -> Iterator[Scene]:
        return iter((self.crash, self.lost, self.two))


@pytest.fixture(scope="module")
def all_scenes(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    folder = tmp_path_factory.mktemp("scenes")
    scenes = Scenes(
        Scene(control_plane, folder), Scene(control_plane, folder), Scene(control_plane, folder, operators=2)
    )
    try:
        lose_answers(scenes.lost)
        run_two(scenes.two)
        crash(scenes.crash)
        for scene in scenes:
            scene.finish()
        yield scenes
    finally:
        for scene in scenes:
            scene.stop()


@pytest.fixture
def scenes(all_scenes: Scenes) -> Iterator[Scenes]:
    """Its logs are shown with each test that fails."""
    yield all_scenes
    for scene in all_scenes:
        for text in scene.log():
            print(text)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def crash(scene: Scene) -> None:
    """SIGKILL while one resource after the other is at its place; then the operator starts again."""
    scene.add("in-flight", given=LONG)
    scene.add("before-delete")
    hanging = [
        scene.add("before-claim").fault("POST", CLAIM, times=None, end="hang"),
        scene.add("after-claim").fault("POST", CLAIM, times=None, end="hang", after=True),
        scene.add("before-start").fault("POST", START, times=None, end="hang"),
        scene.add("after-start").fault("POST", START, times=None, end="hang", after=True),
    ]
    slots = [
        scene.add("slot-before-start", schedule=EVERY_MINUTE).fault("POST", START, times=None, end="hang"),
        scene.add("slot-after-start", schedule=EVERY_MINUTE).fault(
            "POST", START, times=None, end="hang", after=True
        ),
    ]
    scene.start()
    scene.ask(FIRST, "in-flight")
    assert scene.wait(lambda trial: trial.status.get("active"), "in-flight")
    until(lambda: all(fault.hits == len(KINDS) for fault in slots), 90)
    for trial in scene.at("slot-before-start", "slot-after-start"):
        (claim,) = trial.claims()
        trial.slot = claim["metadata"]["assistantcron_slot"]
    scene.ask(FIRST, "before-claim", "after-claim", "before-start", "after-start", "before-delete")
    assert scene.wait(lambda trial: trial.is_over(FIRST), "before-delete")
    until(lambda: all(fault.hits == len(KINDS) for fault in hanging))
    scene.operators[0].kill()
    assert all(trial.claims() for trial in scene.at("before-delete")), "it was not killed before the deletion"
    for stub in scene.stubs.values():
        stub.faults.clear()
    scene.operators[0].start()
    for trial in scene.at("in-flight"):
        trial.stub.end_run(trial.status["active"][0]["runId"])


def lose_answers(scene: Scene) -> None:
    """No crash, but connections that break at the wrong moment, errors, and a server that is away."""
    all_claims = len(KINDS)
    scene.add("claim-dropped-before").fault("POST", CLAIM, times=all_claims, end="drop")
    scene.add("claim-dropped-after").fault("POST", CLAIM, times=all_claims, end="drop", after=True)
    scene.add("claim-answered-500").fault("POST", CLAIM, times=all_claims, status=500, body="Oh", after=True)
    for place in (
        "start-dropped-before",
        "start-dropped-after",
        "start-answered-500",
        "start-put-off",
        "late",
    ):
        scene.add(place)
    scene.add("away")
    scene.start()
    for trial in scene.trials.values():
        path = f"/threads/{trial.run_thread()}/runs"
        match trial.place:
            case "start-dropped-before":
                trial.stub.fault("POST", path, end="drop")
            case "start-dropped-after":
                trial.stub.fault("POST", path, end="drop", after=True)
            case "start-answered-500":
                trial.stub.fault("POST", path, status=500, body="Internal Server Error", after=True)
            case "start-put-off":
                trial.stub.fault(
                    "POST", path, status=429, headers={"retry-after": "2"}, body={"detail": "later"}
                )
            case "late":
                trial.stub.fault("POST", path, delay=LATE)
    scene.stubs["away"].refuse()
    scene.ask(FIRST, *scene.stubs)
    time.sleep(3)
    scene.stubs["away"].listen()


def run_two(scene: Scene) -> None:
    """Two operators that know nothing of each other: the slot's thread decides."""
    scene.add("request")
    scene.add("slot", schedule=EVERY_MINUTE)
    scene.start()
    for trial in scene.at("slot"):
        # The first one that comes after it was seen.
        trial.slot = trial.status["nextScheduleTime"]
    scene.ask(FIRST, "request")


def check_once(trial: Trial, *, attempt: int | None = None) -> None:
    """One run, which status tells of; nothing is left; and the next request worked."""
    status = trial.after_first
    answer = status.get("lastRunRequest", {})
    assert (answer.get("token"), answer.get("outcome")) == (FIRST, "Started"), status
    (run,) = trial.runs()
    last = status["lastRun"]
    assert answer["runId"] == last["runId"] == run["run_id"]
    assert last["threadId"] == run["thread_id"] == trial.run_thread(last["attempt"])
    assert (last["status"], last["trigger"]) == ("success", "Manual")
    assert attempt in (None, last["attempt"])
    assert status["counts"] == {**NOTHING, "started": 1, "succeeded": 1}
    assert not status.get("active")
    assert not status.get("slots")
    check_the_next_request(trial)
    check_nothing_is_left(trial)


NOTHING = {"started": 0, "succeeded": 0, "failed": 0, "interrupted": 0, "skipped": 0, "missed": 0}


def check_the_next_request(trial: Trial) -> None:
    answer = trial.status["lastRunRequest"]
    assert (answer["token"], answer["outcome"]) == (SECOND, "Started")
    assert [run["run_id"] for run in trial.runs(request(SECOND))] == [answer["runId"]]
    assert trial.status["counts"] == {**NOTHING, "started": 2, "succeeded": 2}
    assert trial.status["lastRun"]["runId"] == answer["runId"]


def check_nothing_is_left(trial: Trial) -> None:
    assert trial.left() == set()
    there = {one["thread_id"] for one in trial.claims()}
    if trial.kind == "kept":
        assert {run["thread_id"] for slot in (FIRST, SECOND) for run in trial.runs(request(slot))} <= there
        pending = [run for one in there for run in trial.stub.state.runs(one) if run["status"] == "pending"]
        assert pending == []
    if trial.kind in SHARED:
        assert trial.run_thread() in trial.stub.state.threads


def check_slots_once(trial: Trial) -> None:
    """Of a schedule that goes on: every slot at most one run, and none without an outcome."""
    for slot in trial.slots():
        assert len(trial.runs(slot)) == 1, slot
    begun = {run["run_id"] for slot in trial.slots() for run in trial.runs(slot)}
    told = {one["runId"] for one in (*trial.status.get("active", []), *trial.status.get("runs", []))}
    assert told <= begun
    counts = trial.status["counts"]
    running = len(trial.status.get("active", []))
    assert counts["started"] == counts["succeeded"] + running
    assert abs(len(begun) - counts["started"]) <= 1, "one may be on its way into status"
    assert trial.left() == set()


class TestKilled:
    """SIGKILL; the operator is started again at once."""

    def test_before_the_claim_reaches_the_server(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["before-claim", kind], attempt=1)

    def test_after_the_claim_and_before_its_answer(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["after-claim", kind], attempt=2)

    def test_after_the_claim_and_before_the_start_reaches_the_server(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["before-start", kind], attempt=2)

    def test_after_the_start_and_before_its_answer(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["after-start", kind], attempt=1)

    def test_between_write_1_and_the_end_of_the_run(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["in-flight", kind], attempt=1)

    def test_between_write_2_and_the_deletion_of_the_thread(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.crash.trials["before-delete", kind], attempt=1)

    def test_in_a_slot_after_the_start_and_before_its_answer(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.crash.trials["slot-after-start", kind]
        (run,) = trial.runs()
        assert run["metadata"]["assistantcron_trigger"] == "Schedule"
        assert trial.status["counts"]["missed"] == 0
        check_slots_once(trial)

    def test_in_a_slot_before_the_start_reaches_the_server(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.crash.trials["slot-before-start", kind]
        # On a shared thread its start is waited for until a newer slot takes its place.
        missed = [one["reason"] for one in trial.status.get("slots", []) if one["outcome"] == "Missed"]
        assert len(trial.runs()) + len(missed) == 1
        assert missed == (["StartUnclear"] if kind in SHARED and not trial.runs() else [])
        check_slots_once(trial)


class TestAnAnswerThatIsLost:
    """The process lives on; the answer, or the request, has gone."""

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_to_the_claim(self, scenes: Scenes, kind: str, when: str) -> None:
        check_once(scenes.lost.trials[f"claim-dropped-{when}", kind], attempt=1)

    @pytest.mark.parametrize(("when", "attempt"), [("before", 2), ("after", 1)])
    def test_to_the_start(self, scenes: Scenes, kind: str, when: str, attempt: int) -> None:
        check_once(scenes.lost.trials[f"start-dropped-{when}", kind], attempt=attempt)

    @pytest.mark.parametrize("what", ["claim", "start"])
    def test_a_500_that_hides_that_it_was_carried_out(self, scenes: Scenes, kind: str, what: str) -> None:
        # The server closes the connection after it, perhaps with another's start on it: any attempt is fine.
        check_once(scenes.lost.trials[f"{what}-answered-500", kind])

    def test_a_429_is_obeyed(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.lost.trials["start-put-off", kind]
        check_once(trial, attempt=1)
        assert len(trial.starts()) == 1

    def test_a_server_that_is_away_for_a_while(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.lost.trials["away", kind], attempt=1)


class TestALateOriginal:
    """It was given up by the client, and is carried out when the operator has moved on."""

    @pytest.mark.parametrize("kind", ["deleted", "kept"], indirect=True)
    def test_is_refused_by_the_fence(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.lost.trials["late", kind]
        check_once(trial, attempt=2)
        answers = {one.thread: one.status for one in trial.starts()}
        assert answers == {
            slot_thread(trial.uid, trial.slot, 1): 409,
            slot_thread(trial.uid, trial.slot, 2): 200,
        }

    @pytest.mark.parametrize("kind", SHARED, indirect=True)
    def test_on_a_shared_thread_is_waited_for(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.lost.trials["late", kind]
        check_once(trial, attempt=1)
        assert [one.status for one in trial.starts()] == [200]


class TestTwoOperatorsAtOnce:
    """There is no Lease yet; with one there are two leaders for a moment, and the same must hold."""

    def test_start_what_is_asked_for_once(self, scenes: Scenes, kind: str) -> None:
        check_once(scenes.two.trials["request", kind], attempt=1)

    def test_start_each_slot_once(self, scenes: Scenes, kind: str) -> None:
        trial = scenes.two.trials["slot", kind]
        assert len(trial.runs()) == 1
        assert trial.status["counts"]["missed"] == trial.status["counts"]["skipped"] == 0
        check_slots_once(trial)


@pytest.fixture(scope="module")
def cut_off(
    all_scenes: Scenes, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Killed while it cannot write: the API server is away. After the others, which need it."""
    for scene in all_scenes:
        scene.stop_operators()
    scene = Scene(control_plane, tmp_path_factory.mktemp("cut-off"))
    try:
        scene.add("before-write-2", given=LONG)
        slow = scene.add("before-write-1").fault("POST", START, times=len(KINDS), delay=3.0)
        scene.start()
        scene.ask(FIRST, "before-write-2")
        assert scene.wait(lambda trial: trial.status.get("active"), "before-write-2")
        scene.ask(FIRST, "before-write-1")
        until(lambda: slow.hits == len(KINDS))
        control_plane.stop_apiserver()
        for trial in scene.at("before-write-2"):
            trial.stub.end_run(trial.status["active"][0]["runId"])
        until(lambda: all(trial.runs() for trial in scene.at("before-write-1")))
        operator = scene.operators[0]
        failed = f"could not write the status of {scene.space.name}/"
        until(lambda: all(f"{failed}{trial.name}:" in operator.text() for trial in scene.trials.values()))
        operator.kill()
        control_plane.start_apiserver()
        operator.start()
        scene.finish()
        yield scene
    finally:
        scene.stop()


class TestKilledWhileTheApiServerIsAway:
    @pytest.fixture
    def scene(self, cut_off: Scene) -> Iterator[Scene]:
        yield cut_off
        print(*cut_off.log())

    def test_after_the_start_and_before_write_1(self, scene: Scene, kind: str) -> None:
        check_once(scene.trials["before-write-1", kind], attempt=1)

    def test_after_the_end_was_seen_and_before_write_2(self, scene: Scene, kind: str) -> None:
        check_once(scene.trials["before-write-2", kind], attempt=1)
