"""What a LangGraph-compatible server tells of its threads and runs. Base layer: data only, unknown fields passed over."""

from __future__ import annotations

from typing import Any

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
