"""A deployment in memory, as `records.Server` sees one: threads and runs that a test sets by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from assistantcron.errors import NotFound, Transient
from assistantcron.records import Run, Thread
from tests.core.builders import at


class FakeServer:
    """`asked` is the ledger; `error` comes instead of an answer to what `failing` names, or to everything."""

    def __init__(self, url: str = "http://a") -> None:
        self.url = url
        self.threads: dict[str, Thread] = {}
        self.listed: dict[str, list[Run]] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.failing: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    # What a test does

    def put(
        self,
        thread_id: str,
        status: str = "idle",
        *runs: Run,
        error: Any = None,
        created: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """A thread and all its runs."""
        self.threads[thread_id] = Thread(
            thread_id=thread_id,
            status=status,
            metadata=dict(metadata or {}),
            created_at=created or at("08:00"),
            error=error,
        )
        self.listed[thread_id] = list(runs)

    def count(self, request: str) -> int:
        """How often that was asked; `request` may be the beginning."""
        return sum(one.startswith(request) for one in self.asked)

    # What the parts do

    async def _ask(self, request: str) -> None:
        self.asked.append(request)
        await self.gate.wait()
        if self.error is not None and (not self.failing or request in self.failing):
            raise self.error

    async def find_assistant(self, assistant: str) -> None:
        await self._ask(f"assistant {assistant}")
        if assistant != "agent":
            raise NotFound("no such graph", status=404)

    async def thread(self, thread_id: str) -> Thread:
        await self._ask(f"thread {thread_id}")
        if thread_id not in self.threads:
            raise NotFound("HTTP 404", status=404)
        return self.threads[thread_id]

    async def update_thread(self, thread_id: str, metadata: Mapping[str, Any]) -> None:
        await self._ask(f"update {thread_id}")
        self.threads[thread_id].metadata.update(metadata)

    async def delete_thread(self, thread_id: str) -> None:
        await self._ask(f"delete {thread_id}")
        self.threads.pop(thread_id, None)
        self.listed.pop(thread_id, None)

    async def run(self, thread_id: str, run_id: str) -> Run:
        await self._ask(f"run {run_id}")
        for one in self.listed.get(thread_id, []):
            if one.run_id == run_id:
                return one
        raise NotFound("HTTP 404", status=404)

    async def runs(self, thread_id: str) -> list[Run]:
        await self._ask(f"runs {thread_id}")
        if thread_id not in self.threads:
            raise NotFound("HTTP 404", status=404)
        return sorted(self.listed[thread_id], key=lambda run: run.created_at)

    async def search_threads(
        self, metadata: Mapping[str, Any], *, status: str | None = None, created_since: datetime | None = None
    ) -> list[Thread]:
        await self._ask("search")
        return [
            one
            for one in self.threads.values()
            if status in (None, one.status)
            and metadata.items() <= one.metadata.items()
            and (created_since is None or one.created_at >= created_since)
        ]


def a_run(name: str, status: str, time: str = "08:00", **metadata: Any) -> Run:
    """A run of thread `t`, begun at that time, ended half a minute later if it has."""
    begun = at(time)
    return Run(
        run_id=name,
        thread_id="t",
        status=status,
        created_at=begun,
        updated_at=begun.replace(second=30),
        metadata=metadata,
    )


DOWN = Transient("the connection was refused")
