"""The operator's parts in this process: a real client on the stub deployment, and a Kubernetes of one dict.

Time is the real one, because the stub's is, and whatever a test turns it ahead. Nothing goes on by itself: a
test says `look`, `sweep`, `tidy`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any

from assistantcron.deployment import Deployment
from assistantcron.egress import Policy, Target
from assistantcron.errors import Conflict, InvalidSpec, NotFound, Transient
from assistantcron.follower import Follower
from assistantcron.kube import Kube
from assistantcron.lookups import Lookups
from assistantcron.reconciler import Reconciler
from assistantcron.recorder import Recorder
from assistantcron.records import Run, Thread
from assistantcron.resource import RUN_REQUEST, Key, Resource, Status
from assistantcron.schedule import Schedule
from assistantcron.settings import Settings
from assistantcron.spec import parse_spec
from assistantcron.starter import Order, Starter
from assistantcron.table import Memory, Table
from assistantcron.targets import Targets
from assistantcron.telemetry import Telemetry
from assistantcron.tidier import GRACE, Tidier
from tests.bed.stub import StubDeployment
from tests.core.builders import UID

Json = dict[str, Any]

KEY = Key("team", "nightly")
NEVER = "0 0 1 1 *"
LONG = {"seconds": 3600}
"""The input of a run that goes on until `stub.end_run`."""
GIVEN = "7f0c3b52-52a4-4b0e-8a25-3a5c1f1f5a01"
KINDS: dict[str, Json] = {
    "deleted": {},
    "kept": {"onRunCompleted": "keep"},
    "given": {"thread": {"id": GIVEN}},
    "own": {"thread": {}},
}
"""What becomes of a run's thread, by what the spec says of it."""


class Clock:
    """The real one, and so far ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Meddled(Deployment):
    """A client at whose requests something else happens: `before` and `after`, by method, once each."""

    def __init__(self, url: str, **headers: Any) -> None:
        target = Target(url=url, host="127.0.0.1", trusted=True, **headers)
        super().__init__(target, Policy(()), observe=lambda *_: None)
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}

    async def create_thread(
        self, thread_id: str, metadata: Mapping[str, Any], *, if_exists: str = "raise"
    ) -> Thread:
        await self._happens(self.before, "create_thread")
        made = await super().create_thread(thread_id, metadata, if_exists=if_exists)
        await self._happens(self.after, "create_thread")
        return made

    async def create_run(self, thread_id: str, body: Mapping[str, Any], *, request_id: str) -> Run:
        what = "fence" if request_id.endswith("/fence") else "create_run"
        await self._happens(self.before, what)
        run = await super().create_run(thread_id, body, request_id=request_id)
        await self._happens(self.after, what)
        return run

    async def cancel_run(self, thread_id: str, run_id: str) -> None:
        await self._happens(self.before, "cancel_run")
        await super().cancel_run(thread_id, run_id)

    @staticmethod
    async def _happens(when: dict[str, Callable[[], object]], what: str) -> None:
        if what in when and isawaitable(done := when.pop(what)()):
            await done


class FakeKube(Kube):
    """As an API server keeps objects: each change makes a version, and a write names the one it is for."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.events: list[tuple[str, str]] = []
        self.writes: list[Status] = []
        self.down = False
        self.loses_answers = False
        self.meanwhile: list[Callable[[], object]] = []
        """What somebody else does just before a write comes in, one for each."""
        self._version = 0

    # People

    def apply(
        self,
        *,
        key: Key = KEY,
        uid: str = UID,
        status: Status | None = None,
        token: str | None = None,
        **spec: Any,
    ) -> None:
        """Create an object, by default one that nothing is due for."""
        meta = {"namespace": key.namespace, "name": key.name, "uid": uid, "generation": 1, "annotations": {}}
        if token is not None:
            meta["annotations"] = {RUN_REQUEST: token}
        shown = {} if status is None else {"status": status.to_json()}
        raw = {
            "assistant": "agent",
            "input": LONG,
            **({} if "schedules" in spec else {"schedule": NEVER}),
            **spec,
        }
        self.objects[key] = {"metadata": meta, "spec": raw, **shown}
        self._changed(key)

    def edit(self, *, key: Key = KEY, **spec: Any) -> None:
        """Change the spec; None takes a field away."""
        body = self.objects[key]
        body["spec"] = {name: value for name, value in {**body["spec"], **spec}.items() if value is not None}
        body["metadata"]["generation"] += 1
        self._changed(key)

    def ask(self, token: str, *, key: Key = KEY) -> None:
        """Ask for a run now."""
        self.objects[key]["metadata"]["annotations"] = {RUN_REQUEST: token}
        self._changed(key)

    def status(self, *, key: Key = KEY) -> Status:
        """As it is stored."""
        return Status.model_validate(self.objects[key].get("status") or {})

    # The operator

    async def get(self, key: Key) -> Mapping[str, Any] | None:
        self._answers()
        return copy.deepcopy(self.objects.get(key))

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        self._answers()
        body = self.objects.get(resource.key)
        if body is None:
            raise NotFound("not there", status=404)
        if body["metadata"]["resourceVersion"] != resource.resource_version:
            raise Conflict("another version", status=409)
        body["status"] = dict(status)
        self.writes.append(self.status(key=resource.key))
        self._changed(resource.key)
        if self.loses_answers:
            self.loses_answers = False
            raise Transient("no answer", reason="ClusterUnavailable")
        return copy.deepcopy(body)

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        self._answers()
        if name not in self.secrets:
            raise InvalidSpec(f"no Secret {namespace}/{name}", reason="SecretNotFound")
        return dict(self.secrets[name])

    async def post_event(
        self, _resource: Resource, _kind: str, reason: str, message: str, _now: datetime
    ) -> None:
        self._answers()
        self.events.append((reason, message))

    def _answers(self) -> None:
        if self.down:
            raise Transient("no answer", reason="ClusterUnavailable")

    def _changed(self, key: Key) -> None:
        self._version += 1
        self.objects[key]["metadata"]["resourceVersion"] = str(self._version)


@dataclass
class Life:
    """One operator process, from start to crash; another one begins where the servers stand."""

    kube: FakeKube
    url: str
    clock: Clock
    may_act: bool = True
    wakes: dict[Key, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table = Table()
        self.telemetry = Telemetry()
        settings = Settings(deployment_url=self.url, allow_loopback=True)
        self.targets = Targets(self.kube, settings, now=self.clock, observe=self.telemetry.request)
        self.tidier = Tidier(now=self.clock, recorded=self.table.recorded)
        self.follower = Follower(lambda key: self.wake(key, self.clock()), now=self.clock)
        self.recorder = Recorder(self.kube, self.table, self.tidier, self.telemetry, now=self.clock)
        self.starter = Starter(
            f"process-{id(self)}",
            may_act=lambda: self.may_act,
            now=self.clock,
            spent=lambda order, thread: self.tidier.later(
                order.client, thread, order.resource.uid, self.clock() + GRACE, tombstone=True
            ),
        )
        self.reconciler = Reconciler(
            self.table,
            self.targets,
            Lookups(now=self.clock),
            self.starter,
            self.follower,
            self.recorder,
            self.wake,
            self.clock,
        )

    @property
    def memory(self) -> Memory:
        found = self.table.get(KEY)
        assert found is not None
        return found

    def wake(self, key: Key, at: datetime) -> None:
        self.wakes[key] = min(at, self.wakes.get(key, at))

    def watch(self) -> None:
        """Hear of every change, and be woken by it."""
        for body in copy.deepcopy(list(self.kube.objects.values())):
            news = self.table.put(body)
            if news is not None:
                if news[1] is not None:
                    self.reconciler.gone(news[1])
                self.wake(news[0].resource.key, self.clock())

    def delete(self) -> None:
        """Somebody deletes the object, and the watch tells."""
        uid = self.kube.objects.pop(KEY)["metadata"]["uid"]
        if (memory := self.table.remove(KEY, uid)) is not None:
            self.reconciler.gone(memory)

    async def look(self, *, watch: bool = True) -> None:
        """One pass, now."""
        if watch:
            self.watch()
        self.wakes.pop(KEY, None)
        await self.reconciler.look(KEY)

    async def go_on(self, seconds: float) -> None:
        """All passes that come within that time, and without news from the watch."""
        end = self.clock() + timedelta(seconds=seconds)
        for _ in range(100):
            if (at := self.wakes.get(KEY, end)) >= end:
                return
            self.clock.forward(max((at - self.clock()).total_seconds(), 0.0))
            await self.look(watch=False)
        raise AssertionError("it looks again and again")

    async def see(self) -> None:
        """Look how the runs in flight are doing, and at the resource."""
        await self.follower.look(self.memory.resource.uid)
        await self.look()

    async def tidy(self, seconds: float = 0.0) -> None:
        """Delete what is due by then."""
        self.clock.forward(seconds)
        due = sorted((at, number, job) for number, (job, at) in enumerate(self.tidier._jobs.items()))
        for at, _, job in due:
            if at <= self.clock():
                await self.tidier._tidy(job)

    async def sweep(self) -> None:
        """Look for what an earlier life has left, and delete it."""
        self.clock.forward(GRACE.total_seconds() + 1)
        for client in self.targets.clients():
            await self.tidier.sweep(client)
        await self.tidy()

    async def flush(self) -> list[str]:
        """The reasons of the Events posted so far."""
        queue = self.recorder._events
        while not queue.empty():
            resource, event = queue.get_nowait()
            await self.kube.post_event(resource, event.kind, event.reason, event.message, self.clock())
        return [reason for reason, _ in self.kube.events]

    async def close(self) -> None:
        await self.targets.close()


def order(client: Deployment, *, uid: str = UID, **spec: Any) -> Order:
    """What a starter is told."""
    meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": uid, "generation": 1, "resourceVersion": "1"}
    raw = {"schedule": NEVER, "assistant": "agent", "input": LONG, **spec}
    resource = Resource.from_body({"metadata": meta, "spec": raw})
    parsed = parse_spec(raw)
    return Order(resource, parsed, Schedule.parse(parsed.expressions, parsed.time_zone), client)


def edited(one: Order, **spec: Any) -> Order:
    """The same resource with another spec; None takes a field away."""
    fields = {name: value for name, value in {**one.resource.spec, **spec}.items() if value is not None}
    return replace(one, spec=parse_spec(fields))


def accepted(stub: StubDeployment, slot: str) -> list[str | None]:
    """The runs that the server has ever accepted for a slot, by ID."""
    starts = [one for one in stub.requests("POST", "/threads/[^/]+/runs") if one.status == 200]
    told = [(one.run, one.body["metadata"]) for one in starts]
    return [run for run, metadata in told if metadata.get("assistantcron_slot") == slot]


def claims(stub: StubDeployment) -> list[Json]:
    """The slot threads that are there now."""
    threads = [one.document for one in stub.state.threads.values()]
    return [one for one in threads if one["metadata"].get("assistantcron") == "run"]


def fences(stub: StubDeployment) -> list[Json]:
    """The fences that are pending now."""
    runs = [run.document for one in stub.state.threads.values() for run in one.runs.values()]
    return [one for one in runs if one["metadata"].get("assistantcron_fence") and one["status"] == "pending"]
