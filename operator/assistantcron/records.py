"""What a LangGraph-compatible server tells of its threads and runs, and how the parts see it. Base layer.

Unknown fields are passed over: servers add some with every release. What goes on into a status has its
bounds here: what breaks them is an answer that is not LangGraph's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel

from assistantcron.resource import Identifier, Instant


class Thread(BaseModel):
    """A thread, as far as it concerns us. `status`: idle, busy, interrupted, error."""

    thread_id: str
    status: str = "idle"
    metadata: dict[str, Any] = {}
    created_at: Instant
    error: Any = None


class Run(BaseModel):
    """A run. `status`: pending, running, success, error, timeout, interrupted."""

    run_id: Identifier
    thread_id: Identifier
    status: str
    created_at: Instant
    updated_at: Instant | None = None
    metadata: dict[str, Any] = {}


class Server(Protocol):
    """What following, tidying and looking up need of `deployment.Deployment`, where each is described."""

    # ruff: noqa: D102 - the docstrings stand with the implementation
    url: str

    async def find_assistant(self, assistant: str) -> None: ...
    async def thread(self, thread_id: str) -> Thread: ...
    async def update_thread(self, thread_id: str, metadata: Mapping[str, Any]) -> None: ...
    async def delete_thread(self, thread_id: str) -> None: ...
    async def run(self, thread_id: str, run_id: str) -> Run: ...
    async def runs(self, thread_id: str) -> list[Run]: ...
    async def search_threads(
        self, metadata: Mapping[str, Any], *, status: str | None = None, created_since: datetime | None = None
    ) -> list[Thread]: ...
