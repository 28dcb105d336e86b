"""What the tests of exactly once are made of: trials, and a scene in which many of them wait together.

A trial is one resource with one deployment of its place: the place says where in the protocol something goes
wrong. A scene is a namespace with its operators. The waits of the protocol are real (10 s until a claim is
taken over, 60 s until a start on a shared thread is given up): all trials of a scene wait at the same time.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistantcron.resource import Slot, own_thread, slot_thread
from tests.bed.controlplane import ControlPlane
from tests.bed.operator import Namespace, Operator
from tests.bed.stub import Entry, StubDeployment
from tests.core.builders import at

Object = dict[str, Any]

KINDS: dict[str, Object] = {
    "deleted": {},
    "kept": {"onRunCompleted": "keep"},
    "given": {},
    "own": {"thread": {}},
}
"""The run is on a new thread, which goes or stays; on a thread that the spec names; on the resource's own."""
SHARED = ("given", "own")
FIRST, SECOND = "first", "second"
NEVER, EVERY_MINUTE = "0 0 1 1 *", "* * * * *"
LONG = {"seconds": 3600}

_numbers = itertools.count(1)


def request(token: str) -> str:
    """The name of the slot that a token asks for."""
    return Slot(at("08:00"), token).name


@dataclass
class Trial:
    """A resource, and what the scene has found of it in the end."""

    place: str
    kind: str
    stub: StubDeployment
    schedule: str = NEVER
    input: Object = field(default_factory=dict)
    object: Object = field(default_factory=dict)
    after_first: Object = field(default_factory=dict)
    """The status when the first request was answered and its run over."""
    slot: str = request(FIRST)
    """The slot that the place is about."""

    @property
    def name(self) -> str:
        return f"{self.place}-{self.kind}"

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def status(self) -> Object:
        status: Object = self.object.get("status") or {}
        return status

    @property
    def given_thread(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.name))

    def manifest(self) -> Object:
        thread = {"thread": {"id": self.given_thread}} if self.kind == "given" else {}
        spec = {"schedule": self.schedule, "assistant": "agent", "input": self.input}
        return {
            "apiVersion": "assistantcron.dev/v1alpha1",
            "kind": "AssistantCron",
            "metadata": {"name": self.name, "labels": {"place": self.place}},
            "spec": {**spec, "deployment": {"url": self.stub.url}, **KINDS[self.kind], **thread},
        }

    def run_thread(self, attempt: int = 1, slot: str | None = None) -> str:
        """Where a run of that attempt is."""
        if self.kind == "given":
            return self.given_thread
        return (
            own_thread(self.uid) if self.kind == "own" else slot_thread(self.uid, slot or self.slot, attempt)
        )

    def runs(self, slot: str | None = None) -> list[Object]:
        """The runs that were ever begun for the slot."""
        wanted = {"assistantcron_uid": self.uid, "assistantcron_slot": slot or self.slot}
        return [run for run in self.stub.started if wanted.items() <= run["metadata"].items()]

    def slots(self) -> set[str]:
        """All slots for which a run was ever begun."""
        runs = [
            one["metadata"]
            for one in self.stub.started
            if one["metadata"].get("assistantcron_uid") == self.uid
        ]
        return {str(metadata["assistantcron_slot"]) for metadata in runs}

    def starts(self, slot: str | None = None) -> list[Entry]:
        """The requests for a run of the slot that have reached the server, whatever it answered."""
        sent = self.stub.requests("POST", "/threads/[^/]+/runs")
        told = [(one, one.body.get("metadata", {})) for one in sent]
        return [
            one
            for one, metadata in told
            if (metadata.get("assistantcron_uid"), metadata.get("assistantcron_slot"))
            == (self.uid, slot or self.slot)
        ]

    def claims(self) -> list[Object]:
        """The slot threads that are on the server now."""
        wanted = {"assistantcron_uid": self.uid, "assistantcron": "run"}
        found = [one.document for one in list(self.stub.state.threads.values())]
        return [one for one in found if wanted.items() <= one["metadata"].items()]

    def left(self) -> set[str]:
        """The slot threads that ought to have gone."""
        kept = (
            {one["thread_id"] for slot in self.slots() for one in self.runs(slot)}
            if self.kind == "kept"
            else set()
        )
        claims = {one["thread_id"]: one["metadata"]["assistantcron_slot"] for one in self.claims()}
        about = (
            claims if self.schedule == NEVER else {one for one, slot in claims.items() if slot == self.slot}
        )
        return set(about) - kept

    def is_over(self, token: str, *, end: bool = False) -> bool:
        """Whether the request is answered and its run's end in status; `end` a run that works."""
        for run in self.runs(request(token)):
            if end and run["status"] == "running":
                self.stub.end_run(run["run_id"])
        answer = self.status.get("lastRunRequest") or {}
        return answer.get("token") == token and not self.status.get("active")

    def first_is_over(self) -> bool:
        """Whether what the place is about has come to an end."""
        if self.schedule == NEVER:
            return self.is_over(FIRST)
        through = self.status.get("accountedThrough", "")
        return through >= self.slot and self.slot not in [
            one["scheduledTime"] for one in self.status.get("active", [])
        ]


class Scene:
    """`add`, `start`, make it go wrong, `finish`; at the end `stop`."""

    def __init__(self, plane: ControlPlane, folder: Path, *, operators: int = 1) -> None:
        self.space = Namespace(plane, f"scene-{next(_numbers)}")
        plane.kubectl("create", "namespace", self.space.name)
        self.trials: dict[tuple[str, str], Trial] = {}
        self.stubs: dict[str, StubDeployment] = {}
        self.operators: list[Operator] = []
        for number in range(operators):
            own = folder / f"{self.space.name}-{number}"
            own.mkdir()
            self.operators.append(Operator(plane, None, own, NAMESPACES=self.space.name))

    def add(self, place: str, *, schedule: str = NEVER, given: Object | None = None) -> StubDeployment:
        """One trial of each kind at that place, on a deployment of their own."""
        stub = self.stubs[place] = StubDeployment().start()
        for kind in KINDS:
            trial = self.trials[place, kind] = Trial(place, kind, stub, schedule, given or {})
            stub.state.create_thread(trial.given_thread, {}, if_exists="do_nothing")
        return stub

    def at(self, *places: str) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.place in places]

    def start(self) -> None:
        """Apply everything, start the operators, and wait until all resources are ready."""
        documents = [trial.manifest() for trial in self.trials.values()]
        self.space.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        )
        for operator in self.operators:
            operator.start()
        self.wait(
            lambda trial: (
                "True"
                in [one["status"] for one in trial.status.get("conditions", []) if one["type"] == "Ready"]
            )
        )

    def ask(self, token: str, *places: str) -> None:
        """Ask for a run of all the trials at these places, by one command."""
        self.space.kubectl(
            "annotate",
            "--overwrite",
            "acron",
            f"--selector=place in ({','.join(places)})",
            f"assistantcron.dev/run-requested-at={token}",
        )

    def look(self) -> None:
        """Read all objects."""
        found = {
            one["metadata"]["name"]: one
            for one in self.space.plane.get(f"--namespace={self.space.name}", "acron")["items"]
        }
        for trial in self.trials.values():
            trial.object = found[trial.name]

    def wait(self, true: Callable[[Trial], object], *places: str, seconds: float = 30.0) -> bool:
        """Until it is true of all trials (at these places); whether that came to be."""
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            if all(map(true, self.at(*places) if places else self.trials.values())):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)

    def finish(self) -> None:
        """Wait until all has settled; ask for a second run each, and wait until nothing is left to tidy.

        Nothing is asserted here: a test finds its own trial as far as it has come.
        """
        self.wait(Trial.first_is_over, seconds=100)
        for trial in self.trials.values():
            trial.after_first = trial.status
        asked = [trial for trial in self.trials.values() if trial.schedule == NEVER]
        self.ask(SECOND, *{trial.place for trial in asked})
        self.wait(lambda trial: trial not in asked or trial.is_over(SECOND, end=True), seconds=30)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and any(trial.left() for trial in self.trials.values()):
            time.sleep(0.3)

    def log(self) -> Iterator[str]:
        """What the operators have said."""
        for operator in self.operators:
            yield operator.text()

    def stop_operators(self) -> None:
        for operator in self.operators:
            operator.kill()

    def stop(self) -> None:
        self.stop_operators()
        for stub in self.stubs.values():
            stub.stop()


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
