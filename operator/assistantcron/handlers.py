"""kopf's side: an event becomes "look at this key". Edge: nothing is decided and nothing is written here.

`on.event` alone, so that kopf adds no finalizer, no annotation and no progress to anybody's object. Settings
as measured in the project's notes on kopf: no peering, no scanning, no Events of its own, endless back-off.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import cast

import kopf

from assistantcron.background import backoff
from assistantcron.kube import Kube
from assistantcron.resource import GROUP, PLURAL, VERSION, Key
from assistantcron.table import Memory, Table

TOKEN_LIFE = timedelta(minutes=10)
"""After which kopf asks for the credentials again; a projected token is rotated well before it expires."""


class EndlessBackoff:
    """Seconds between kopf's tries of one request: iterated anew for each request, and never used up."""

    def __iter__(self) -> Iterator[float]:
        for failures in itertools.count(1):
            yield backoff(failures, first=0.5, longest=30.0) * random.uniform(0.5, 1.0)


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf's record of what it has handled: with `on.event` alone nobody reads it.

    kopf would copy and compare every object for it, and trust what stands in the object's annotations.
    """

    def build(self, **_: object) -> kopf.BodyEssence:
        return cast(kopf.BodyEssence, {})

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """kopf's record of handlers under way, likewise."""

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None

    def purge(self, **_: object) -> None:
        return None

    def touch(self, **_: object) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def build(
    kube: Kube,
    table: Table,
    *,
    changed: Callable[[Key], None],
    gone: Callable[[Memory], None],
    now: Callable[[], datetime],
) -> tuple[kopf.OperatorRegistry, kopf.OperatorSettings]:
    """What `kopf.operator()` is started with. `changed(key)` and `gone(memory)` are called for news only."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: object) -> kopf.ConnectionInfo:
        access = await kube.access()
        return kopf.ConnectionInfo(
            server=access.server,
            token=access.token,
            ca_path=access.ca_path,
            certificate_path=access.certificate_path,
            private_key_path=access.private_key_path,
            insecure=access.insecure,
            # Also makes the answer differ from the last one: kopf gives up on one that it has seen fail.
            expiration=(now() + TOKEN_LIFE).replace(tzinfo=None),
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def observe(event: kopf.RawEvent, **_: object) -> None:
        body = event["object"]
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        if event["type"] == "DELETED":
            if (known := table.remove(key, body["metadata"]["uid"])) is not None:
                gone(known)
            return
        news = table.put(body, listed=event["type"] is None)
        if news is not None:
            if (replaced := news[1]) is not None:
                gone(replaced)
            changed(key)

    return registry, _settings()


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # kopf kills the process 10 minutes after a crash otherwise.
    settings.process.ultimate_exiting_timeout = None
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 1.0
    settings.queueing.idle_timeout = 1.0
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = EndlessBackoff()
    settings.networking.enforce_retry_after = True
    return settings
