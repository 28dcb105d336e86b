"""The resources that the operator knows, each with what one process remembers of it. No I/O.

`handlers.py` puts observed objects in;
`reconciler.py` and `recorder.py` read them and put back what they wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assistantcron import payload
from assistantcron.facts import Fact
from assistantcron.records import Server, Thread
from assistantcron.resource import Key, Resource, Slot, claim_thread, rfc3339
from assistantcron.rules import Retry


@dataclass
class Memory:
    """What is lost with the process, and can be: everything else is in status or on the server."""

    resource: Resource
    unsure: bool = True
    """An earlier life, or a pass that broke off, may have started something that status does not know."""
    retries: dict[str, Retry] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    """Found out, but not yet written: the API server did not answer."""
    unanswered: tuple[Resource, tuple[Fact, ...]] | None = None
    """A write that may have been carried out though it failed: of what, and news that nobody was told."""
    client: Server | None = None
    """The deployment as the last pass knew it."""


class Table:
    """By key, and by UID: a resource that was deleted and made again is another one."""

    def __init__(self) -> None:
        self._memories: dict[Key, Memory] = {}

    def __len__(self) -> int:
        return len(self._memories)

    def get(self, key: Key) -> Memory | None:
        """The resource of that name, if there is one."""
        return self._memories.get(key)

    def put(self, body: Mapping[str, Any], *, listed: bool = False) -> tuple[Memory, Memory | None] | None:
        """Take an observed object in: its memory, and that of the one that it replaces under its name.

        None if it is no news: a watch may still bring versions older than what we have written since. A list
        (`listed`) is always right.
        """
        resource = Resource.from_body(body)
        memory = self._memories.get(resource.key)
        if memory is None:
            memory = self._memories[resource.key] = Memory(resource)
            return memory, None
        old = memory.resource
        if old.uid != resource.uid:
            replaced, memory = memory, Memory(resource)
            self._memories[resource.key] = memory
            return memory, replaced
        if old.resource_version == resource.resource_version or (not listed and _older(resource, old)):
            return None
        memory.resource = resource
        return memory, None

    def remove(self, key: Key, uid: str) -> Memory | None:
        """Forget a deleted resource; None if it is not the one we know."""
        memory = self._memories.get(key)
        if memory is None or memory.resource.uid != uid:
            return None
        return self._memories.pop(key)

    def recorded(self, claim: Thread) -> bool | None:
        """Whether the slot of this claim is in a status that needs the thread no more.

        None for an unknown resource: it has been deleted, or is another operator's.
        """
        told = claim.metadata
        key = Key(str(told.get(payload.NAMESPACE)), str(told.get(payload.NAME)))
        memory = self._memories.get(key)
        if memory is None or memory.resource.uid != told.get(payload.UID):
            return None
        uid, status = memory.resource.uid, memory.resource.status
        if any(claim.thread_id in (run.thread_id, claim_thread(uid, run, status)) for run in status.active):
            return False
        if told.get(payload.TRIGGER) == "Manual":
            request = status.last_run_request
            if request is None:
                return False
            # Requests are answered in their order, and status tells of the last.
            slot, seen = told.get(payload.SLOT), str(told.get(payload.SCHEDULED_TIME))
            return slot == Slot(request.time, request.token).name or seen < rfc3339(request.time)
        through = status.accounted_through
        return through is not None and str(told.get(payload.SLOT)) <= Slot(through).name


def _older(one: Resource, other: Resource) -> bool:
    """Resource versions of one object are numbers that grow (Kubernetes 1.35 and later promise it)."""
    try:
        return int(one.resource_version) < int(other.resource_version)
    except ValueError:
        return False
