"""What a person sees and does on a deployment, over plain HTTP: threads, runs, an answer to a question."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

Object = dict[str, Any]


class Client:
    """A `with` block on the URL of a deployment. Not the operator's client: it looks at what that one did."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def thread(self, thread_id: str) -> Object | None:
        """The thread; None if there is none."""
        answer = self._http.get(f"/threads/{thread_id}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def runs(self, thread_id: str) -> list[Object]:
        """The thread's runs, oldest first."""
        found: list[Object] = self._get(f"/threads/{thread_id}/runs?limit=1000")
        return sorted(found, key=lambda run: str(run["created_at"]))

    def run(self, thread_id: str, run_id: str) -> Object:
        """A run."""
        found: Object = self._get(f"/threads/{thread_id}/runs/{run_id}")
        return found

    def threads(self, **metadata: Any) -> list[Object]:
        """The threads with these metadata."""
        found: list[Object] = self._post("/threads/search", {"metadata": metadata, "limit": 1000})
        return found

    def make_thread(self) -> str:
        """A thread, as a person makes one."""
        return str(self._post("/threads", {})["thread_id"])

    def start(self, thread_id: str, **body: Any) -> str:
        """A run of a person's own; its ID."""
        return str(self._post(f"/threads/{thread_id}/runs", {"assistant_id": "agent", **body})["run_id"])

    def _get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def _post(self, path: str, body: Object) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()
