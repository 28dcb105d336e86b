"""The LangGraph-compatible server: one client per target, one method per call. Only here is httpx imported.

Every answer becomes a small checked record or an exception of `errors.py`; nothing of a body goes further
than the error text, cut short. `tests/test_contract.py` holds the real server to how it is read here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport
from pydantic import TypeAdapter, ValidationError

from assistantcron import __version__
from assistantcron.answers import refusal
from assistantcron.egress import Policy, Target
from assistantcron.errors import (
    AssistantCronError,
    InvalidSpec,
    NotFound,
    Transient,
    Unclear,
)
from assistantcron.records import Run, Thread

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one answer: a page of 1,000 threads with their metadata fits, an endless body does not."""
CONNECTIONS = 50
TIMEOUT = httpx.Timeout(10.0, connect=5.0, pool=10.0)
PAGE = 1000

T = TypeVar("T")


_THREAD, _THREADS = TypeAdapter(Thread), TypeAdapter(list[Thread])
_RUN, _RUNS = TypeAdapter(Run), TypeAdapter(list[Run])
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_LIST: TypeAdapter[list[Any]] = TypeAdapter(list[Any])


class _CheckingResolver(AbstractResolver):
    """Lets only permitted addresses through; the connection is made to just these (no rebinding)."""

    def __init__(self, check: Callable[[str, str], None]) -> None:
        self._check = check
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - aiohttp's own signature
        found = await self._resolver.resolve(host, port, family)
        for entry in found:
            self._check(host, entry["host"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


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
        headers = {"user-agent": f"assistantcron/{__version__}", "accept": "application/json"}
        if target.api_key:
            headers["x-api-key"] = target.api_key
        if target.authorization:
            headers["authorization"] = target.authorization
        try:
            tls = ssl.create_default_context(cadata=target.ca)
        except (ssl.SSLError, ValueError):
            raise InvalidSpec(
                "the Secret's key ca.crt must be a certificate in PEM", reason="InvalidSecret"
            ) from None
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(client=lambda: self._session(tls)),
            headers=headers,
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
        )

    def _session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        resolver = None if self._target.trusted else _CheckingResolver(self._policy.check_address)
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS,
            ssl=tls,
            resolver=resolver,
            # Below the 5 s after which servers close an idle connection.
            keepalive_timeout=4.0,
        )
        return aiohttp.ClientSession(connector=connector, auto_decompress=False)

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
        return await self._call("GET", f"/threads/{thread_id}", _THREAD)

    async def update_thread(self, thread_id: str, metadata: Mapping[str, Any]) -> None:
        """Merge `metadata` into the thread's."""
        await self._call("PATCH", f"/threads/{thread_id}", _ANYTHING, {"metadata": metadata})

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with its runs; one that is gone already is fine."""
        try:
            await self._call("DELETE", f"/threads/{thread_id}", _ANYTHING)
        except NotFound:
            return

    async def search_threads(
        self, metadata: Mapping[str, Any], *, status: str | None = None, created_since: datetime | None = None
    ) -> list[Thread]:
        """All threads whose metadata contain these, by pages; with `created_since`, only the younger ones."""
        found: list[Thread] = []
        while True:
            body = {
                "metadata": metadata,
                "limit": PAGE,
                "offset": len(found),
                "sort_by": "thread_id" if created_since is None else "created_at",
                "sort_order": "desc",
                **({"status": status} if status else {}),
            }
            page = await self._call("POST", "/threads/search", _THREADS, body)
            found += page
            if len(page) < PAGE or (created_since is not None and page[-1].created_at < created_since):
                return [one for one in found if created_since is None or one.created_at >= created_since]

    async def create_run(self, thread_id: str, body: Mapping[str, Any], *, request_id: str) -> Run:
        """Start a run; `Unclear` means that it may have started."""
        return await self._call(
            "POST", f"/threads/{thread_id}/runs", _RUN, body, {"x-request-id": request_id}
        )

    async def runs(self, thread_id: str) -> list[Run]:
        """The thread's runs, oldest first: servers differ in order and paging, so all are sorted here."""
        found = await self._call("GET", f"/threads/{thread_id}/runs?limit=1000", _RUNS)
        return sorted(found, key=lambda run: run.created_at)

    async def run(self, thread_id: str, run_id: str) -> Run:
        """Read one run."""
        return await self._call("GET", f"/threads/{thread_id}/runs/{run_id}", _RUN)

    async def cancel_run(self, thread_id: str, run_id: str) -> None:
        """Stop a run; one that has ended or is gone is fine."""
        try:
            await self._call(
                "POST", f"/threads/{thread_id}/runs/{run_id}/cancel?action=interrupt&wait=1", _ANYTHING
            )
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
        result = "ok"
        try:
            # aiohttp does not ask the resolver about literal addresses.
            if not self._target.trusted and re.fullmatch(r"[0-9.]+|.*:.*", self._target.host):
                _check_literal(self._policy, self._target.host)
            return await self._exchange(method, path, answer, body, headers)
        except AssistantCronError as error:
            result = error.reason
            raise
        finally:
            self._observe(method, result)

    async def _exchange(
        self,
        method: str,
        path: str,
        answer: TypeAdapter[T],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> T:
        try:
            async with self._http.stream(method, self.url + path, json=body, headers=headers) as response:
                content = await _bounded(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from None
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
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


def _check_literal(policy: Policy, host: str) -> None:
    try:
        policy.check_address(host, host)
    except ValueError:
        # Not a literal after all: the resolver will see it.
        return


async def _bounded(response: httpx.Response) -> bytes:
    """The body, up to the limit; an error's only as far as its message can reach."""
    limit = MAX_BODY if response.is_success else 64 * 1024
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > limit:
            if response.is_success:
                raise Unclear(f"the answer is larger than {MAX_BODY} bytes", reason="InvalidResponse")
            break
    return bytes(content[:limit])


def _unreachable(error: httpx.HTTPError) -> AssistantCronError:
    """Whether the request surely never left.

    The transport calls a connection dropped later a connect error, too, so its cause decides: after a lost
    answer we look, we do not simply repeat.
    """
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return Transient("the host name cannot be resolved")
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return Transient("the TLS certificate is not valid for this host", reason="TLSError")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return Transient("the connection was refused or the host is unreachable")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return Transient("the connection timed out")
    if isinstance(error, httpx.TimeoutException) and not isinstance(
        cause, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError
    ):
        return Unclear("no answer in time")
    return Unclear("the connection was lost before the answer came")
