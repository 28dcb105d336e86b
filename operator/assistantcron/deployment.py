"""The LangGraph-compatible server: one client per target, one method per call. Only here is httpx imported.

Every answer becomes a small checked record or an exception of `errors.py`; nothing of a body goes further
than the error text, cut short. `tests/test_contract.py` holds the real server to how it is read here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic import TypeAdapter, ValidationError

from assistantcron import __version__
from assistantcron.answers import refusal
from assistantcron.connections import check_literal, session, tls, unreachable
from assistantcron.egress import Policy, Target
from assistantcron.errors import AssistantCronError, InvalidSpec, NotFound, Refused, Transient, Unclear
from assistantcron.records import Run, Thread

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer: a page of 1,000 threads with their metadata fits, an endless body does not."""
TIMEOUT = httpx.Timeout(10.0, connect=5.0, pool=10.0)
TOTAL_SECONDS = 60.0
"""For a whole exchange: a server that sends a byte now and then would hold us up for ever."""
PAGE = 1000
MOST = 100_000
"""Threads that one search brings at the most: a server that ignores `offset` has no last page."""

T = TypeVar("T")

_ID = re.compile(r"[-0-9A-Za-z_]+")
_THREAD, _THREADS = TypeAdapter(Thread), TypeAdapter(list[Thread])
_RUN, _RUNS = TypeAdapter(Run), TypeAdapter(list[Run])
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_LIST: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
_SELECT = "".join(f"&select={field}" for field in Run.model_fields)
"""All but the inputs of the runs; servers that do not know it ignore it."""


class _TooLarge(Unclear):
    """The answer does not end where an answer must."""

    reason = "InvalidResponse"


class Deployment:
    """A client for one target.

    Methods raise `Refused` (also `NotFound`, `Conflict`), `Transient`, `Unclear`, `Denied`.
    """

    def __init__(self, target: Target, policy: Policy, *, observe: Callable[[str, str], None]) -> None:
        """`observe(method, result)` is called once per request, for the metrics."""
        self.url = target.url
        self._observe = observe
        self._target = target
        self._policy = policy
        headers = {
            "user-agent": f"assistantcron/{__version__}",
            "accept": "application/json",
            # What is not compressed is as large as it looks.
            "accept-encoding": "identity",
        }
        if target.api_key:
            headers["x-api-key"] = target.api_key
        if target.authorization:
            headers["authorization"] = target.authorization
        try:
            # httpx looks into a host name only here, and then with exceptions of its own.
            _ = httpx.URL(target.url).host
        except (httpx.InvalidURL, ValueError):
            raise InvalidSpec("the deployment's URL cannot be called", reason="InvalidURL") from None
        # The transport calls it at the first request; `verify` keeps it from reading certificates of its own.
        transport = AiohttpTransport(verify=tls(target.ca), client=lambda: session(target, policy))
        self._http = httpx.AsyncClient(
            transport=transport,
            headers=headers,
            # What a server sets with one answer does not go with another request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def create_thread(
        self, thread_id: str, metadata: Mapping[str, Any], *, if_exists: str = "raise"
    ) -> Thread:
        """Claim `thread_id`; `Conflict` if it is taken and `if_exists` is `raise`."""
        body = {"thread_id": thread_id, "metadata": metadata, "if_exists": if_exists}
        return await self._call("POST", "/threads", _THREAD, body)

    async def thread(self, thread_id: str) -> Thread:
        """Read a thread; `NotFound` if it is gone."""
        return await self._call("GET", _thread(thread_id), _THREAD)

    async def update_thread(self, thread_id: str, metadata: Mapping[str, Any]) -> None:
        """Merge `metadata` into the thread's."""
        await self._call("PATCH", _thread(thread_id), _ANYTHING, {"metadata": metadata})

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with its runs; one that is gone already is fine."""
        try:
            await self._call("DELETE", _thread(thread_id), _ANYTHING)
        except NotFound:
            return

    async def search_threads(
        self, metadata: Mapping[str, Any], *, status: str | None = None, created_since: datetime | None = None
    ) -> list[Thread]:
        """All threads whose metadata contain these, by pages; with `created_since`, only the younger ones."""
        found: dict[str, Thread] = {}
        limit, offset = PAGE, 0
        while offset < MOST:
            body = {
                "metadata": metadata,
                "limit": limit,
                "offset": offset,
                "sort_by": "thread_id" if created_since is None else "created_at",
                "sort_order": "desc",
                **({"status": status} if status else {}),
            }
            try:
                page = await self._call("POST", "/threads/search", _THREADS, body)
            except _TooLarge:
                # With each thread comes its state, and not every server can leave that out.
                if limit == 1:
                    raise
                limit //= 10
                continue
            before, offset = len(found), offset + len(page)
            found |= {thread.thread_id: thread for thread in page}
            if (
                len(page) < limit
                or len(found) == before
                or (created_since is not None and page[-1].created_at < created_since)
            ):
                return [
                    one for one in found.values() if created_since is None or one.created_at >= created_since
                ]
        raise Unclear(f"the search does not end after {MOST} threads", reason="InvalidResponse")

    async def create_run(self, thread_id: str, body: Mapping[str, Any], *, request_id: str) -> Run:
        """Start a run; `Unclear` means that it may have started."""
        return await self._call(
            "POST", _thread(thread_id) + "/runs", _RUN, body, {"x-request-id": request_id}
        )

    async def runs(self, thread_id: str) -> list[Run]:
        """The thread's runs, oldest first: servers differ in order and paging, so all are sorted here."""
        found = await self._call("GET", f"{_thread(thread_id)}/runs?limit=1000{_SELECT}", _RUNS)
        return sorted(found, key=lambda run: run.created_at)

    async def run(self, thread_id: str, run_id: str) -> Run:
        """Read one run."""
        return await self._call("GET", _run(thread_id, run_id), _RUN)

    async def cancel_run(self, thread_id: str, run_id: str) -> None:
        """Stop a run; one that has ended or is gone is fine."""
        try:
            await self._call("POST", _run(thread_id, run_id) + "/cancel?action=interrupt&wait=1", _ANYTHING)
        except NotFound:
            return

    async def find_assistant(self, assistant: str) -> None:
        """Look a graph name or assistant UUID up; `NotFound` if the server does not know it."""
        if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", assistant):
            await self._call("GET", f"/assistants/{assistant}", _ANYTHING)
            return
        found = await self._call("POST", "/assistants/search", _LIST, {"graph_id": assistant, "limit": 1})
        if not found:
            raise NotFound("no such graph", status=404)

    async def _call(
        self,
        method: str,
        path: str,
        answer: TypeAdapter[T],
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        result = "Aborted"
        try:
            check_literal(self._target, self._policy)
            found = await self._exchange(method, path, answer, _written(body), headers)
            result = "ok"
        except AssistantCronError as error:
            result = error.reason
            raise
        else:
            return found
        finally:
            self._observe(method, result)

    async def _exchange(
        self,
        method: str,
        path: str,
        answer: TypeAdapter[T],
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> T:
        if self._http.is_closed:
            raise Transient("its connections have just been closed")
        if body is not None:
            headers = {"content-type": "application/json", **(headers or {})}
        request = self._http.stream(method, self.url + path, content=body, headers=headers)
        try:
            async with asyncio.timeout(TOTAL_SECONDS), request as response:
                content = await _bounded(response)
        except httpx.UnsupportedProtocol:
            raise Refused("the deployment's URL cannot be called", reason="InvalidURL") from None
        except httpx.HTTPError as error:
            # The transport calls a connection that was dropped later a connect error, too: its cause decides.
            raise unreachable(error.__cause__) from None
        except TimeoutError:
            raise Unclear("the answer did not end in time") from None
        except (OSError, aiohttp.ClientError) as error:
            raise Unclear(f"the connection failed ({type(error).__name__})") from None
        if response.is_success:
            try:
                return answer.validate_json(content or b"null")
            except ValidationError:
                raise Unclear(
                    f"HTTP {response.status_code} with an answer that is not LangGraph's",
                    reason="InvalidResponse",
                ) from None
        raise refusal(response.status_code, response.headers, content)


def _thread(thread_id: str) -> str:
    return f"/threads/{_safe(thread_id)}"


def _run(thread_id: str, run_id: str) -> str:
    return f"/threads/{_safe(thread_id)}/runs/{_safe(run_id)}"


def _safe(identifier: str) -> str:
    """An ID comes from a status, which people can forge: it must not lead to another path."""
    if not _ID.fullmatch(identifier):
        raise NotFound("no server gives such an ID", status=404)
    return identifier


def _written(body: Mapping[str, Any] | None) -> bytes | None:
    try:
        return None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise Refused(
            "the spec has something that JSON cannot say, such as a number that is not finite or half "
            "of a surrogate pair",
            reason="InvalidSpec",
        ) from None


async def _bounded(response: httpx.Response) -> bytes:
    """The body, up to the limit; an error's only as far as its message can reach."""
    limit = MAX_BODY if response.is_success else 64 * 1024
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > limit:
            if response.is_success:
                raise _TooLarge(f"the answer is larger than {MAX_BODY} bytes")
            break
    return bytes(content[:limit])
