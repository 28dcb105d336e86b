"""What a LangGraph-compatible server tells of its threads and runs, and how the parts see it. Base layer.

Unknown fields are passed over: servers add some with every release.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from pydantic import AwareDatetime, BaseModel


class Thread(BaseModel):
    """A thread, as far as it concerns us. `status`: idle, busy, interrupted, error."""

    thread_id: str
    status: str = "idle"
    metadata: dict[str, Any] = {}
    created_at: AwareDatetime
    error: Any = None


class Run(BaseModel):
    """A run. `status`: pending, running, success, error, timeout, interrupted."""

    run_id: str
    thread_id: str
    status: str
    created_at: AwareDatetime
    updated_at: AwareDatetime | None = None
    metadata: dict[str, Any] = {}


class Server(Protocol):
    """What following, tidying and looking up need of `deployment.Deployment`, where each is described."""

    # ruff: noqa: D102 - the docstrings stand with the implementation
    async def find_assistant(self, assistant: str) -> None: ...
    async def thread(self, thread_id: str) -> Thread: ...
    async def delete_thread(self, thread_id: str) -> None: ...
    async def run(self, thread_id: str, run_id: str) -> Run: ...
    async def runs(self, thread_id: str) -> list[Run]: ...
    async def search_threads(
        self, metadata: Mapping[str, Any], *, status: str | None = None, created_since: datetime | None = None
    ) -> list[Thread]: ...
