"""A deployment for load and faults: `StubDeployment` in a test, `python -m tests.bed.stub` on its own.

It answers as `langgraph dev` would (`stub_api.py`, `stub_state.py`), except where a test has put a fault, and
keeps a ledger of all that it has carried out. A thread and an event loop are its own, so tests may block.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Self

from aiohttp import web

from tests.bed.process import free_port
from tests.bed.stub_api import OPEN, Reply, answer
from tests.bed.stub_graph import Document
from tests.bed.stub_state import State

IDLE_SECONDS = 5.0
"""After which the server closes an idle connection, as uvicorn does."""
GRACE_SECONDS = 0.01
"""For requests in work when it stops; aiohttp takes 0 for ever."""


@dataclass(slots=True)
class Entry:
    """One request that was carried out, and the status of its answer, whether or not that has arrived."""

    time: float
    """Seconds since the epoch."""
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int
    thread: str | None
    run: str | None


@dataclass(slots=True)
class Fault:
    """What befalls the requests that match; `hits` counts them."""

    method: str
    path: re.Pattern[str]
    times: int | None
    after: bool
    delay: float
    end: Literal["drop", "hang"] | None
    reply: Reply | None
    hits: int = 0

    def strikes(self, method: str, path: str) -> bool:
        """Whether it has something left for this request."""
        left = self.times is None or self.hits < self.times
        return left and self.method in (method, "*") and self.path.fullmatch(path) is not None


class StubDeployment:
    """`start()`, use, `stop()`, or a `with` block."""

    def __init__(
        self, *, port: int | None = None, api_key: str | None = None, start_delay: float = 0.0
    ) -> None:
        """Requests without the `api_key`, if any, get 403. A run begins after `start_delay` seconds."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_key = api_key
        self.ledger: list[Entry] = []
        self.faults: list[Fault] = []
        self.state = State(start_delay=start_delay)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub", daemon=True)
        self._stopping = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self._do(self._listen())
        return self

    def stop(self) -> None:
        """Close everything."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What a test can do to it

    def fault(
        self,
        method: str,
        path: str,
        *,
        times: int | None = 1,
        delay: float = 0.0,
        after: bool = False,
        end: Literal["drop", "hang"] | None = None,
        status: int | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Fault:
        """Put a fault on the next `times` requests (None: on all) whose method (`*`: any) and path match.

        `path` is a regular expression for the whole path, without query. The request waits `delay` seconds.
        Then the connection is dropped or left without an answer (`end`), or `status`, `headers` and `body`
        are sent: text and bytes as they are, all else as JSON. With `after` the request is carried out before
        that. With none of these it is carried out and answered, late.
        """
        reply = (
            Reply(status, body, {"content-type": "application/json", **(headers or {})}) if status else None
        )
        fault = Fault(method, re.compile(path), times, after, delay, end, reply)
        self.faults.append(fault)
        return fault

    def refuse(self) -> None:
        """Close the listening socket and all connections: whoever connects is refused."""
        self._do(self._refuse())

    def listen(self) -> None:
        """Be there (again), on the same port."""
        self._do(self._listen())

    def end_run(self, run_id: str) -> None:
        """End a run that works, now. Raises `LookupError` if there is none."""
        self._do(self._end_run(run_id))

    def requests(self, method: str, path: str) -> list[Entry]:
        """The ledger's entries of that method whose path matches the regular expression."""
        return [one for one in list(self.ledger) if one.method == method and re.fullmatch(path, one.path)]

    @property
    def started(self) -> list[Document]:
        """Every run whose work has begun, in that order, also those of threads deleted since."""
        return list(self.state.started)

    def summary(self) -> Document:
        """Counts, for load tests: `GET /stub`."""
        shapes = Counter(
            f"{one.method} {re.sub(r'[0-9a-f-]{36}', '{id}', one.path)} {one.status}" for one in self.ledger
        )
        return {"threads": len(self.state.threads), "started": len(self.state.started), "requests": shapes}

    def starts(self) -> list[float]:
        """When each run was accepted, in seconds since the epoch: `GET /stub/starts`."""
        return [one.time for one in self.requests("POST", r"/threads/[^/]+/runs") if one.status == 200]

    # The server

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        if self._runner is None:
            server = web.Server(self._handle, keepalive_timeout=IDLE_SECONDS)
            self._runner = web.ServerRunner(server, shutdown_timeout=GRACE_SECONDS)
            await self._runner.setup()
        if self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
            await self._site.start()

    async def _refuse(self) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        if self._runner is not None and self._runner.server is not None:
            await self._runner.server.shutdown(GRACE_SECONDS)

    async def _end_run(self, run_id: str) -> None:
        self.state.end_run(run_id)

    async def _close(self) -> None:
        self._stopping.set()
        self.state.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        fault = next((one for one in self.faults if one.strikes(request.method, request.path)), None)
        if fault is None:
            return await _send(request, self._carry_out(request, content))
        fault.hits += 1
        if fault.delay:
            await asyncio.sleep(fault.delay)
        carried_out = fault.end is None and fault.reply is None
        reply = self._carry_out(request, content) if fault.after or carried_out else None
        if fault.end == "hang":
            await self._stopping.wait()
        if fault.end is not None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return await _send(request, fault.reply or reply or Reply())

    def _carry_out(self, request: web.BaseRequest, content: bytes) -> Reply:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.path == "/stub":
            return Reply(body=self.summary())
        if request.path == "/stub/starts":
            return Reply(body=self.starts())
        if self.api_key is not None and request.path not in OPEN and headers.get("x-api-key") != self.api_key:
            missing = "x-api-key" not in headers
            reply = Reply(403, {"detail": "Missing authentication headers" if missing else "Invalid token"})
        else:
            reply = answer(self.state, request.method, request.path_qs, headers, content)
        body = _parsed(content)
        document, sent = (one if isinstance(one, dict) else {} for one in (reply.body, body))
        in_path = re.match(r"/threads/([0-9a-f-]{36})(?:/runs/([0-9a-f-]{36}))?", request.path)
        thread, run = in_path.groups() if in_path else (None, None)
        self.ledger.append(
            Entry(
                time=time.time(),
                method=request.method,
                path=request.path,
                headers=headers,
                body=body,
                status=reply.status,
                thread=thread or document.get("thread_id") or sent.get("thread_id"),
                run=run or document.get("run_id"),
            )
        )
        return reply


async def _send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.Response(status=reply.status, body=reply.content())
    if reply.status != 204:
        response.headers["content-type"] = "application/json"
    response.headers.update(reply.headers)
    if reply.status == 500:
        # As the real server, which closes the connection without having said so.
        await response.prepare(request)
        await response.write_eof()
        if request.transport is not None:
            request.transport.close()
    return response


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError):
        return content


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bed.stub", description="A stub deployment, for load."
    )
    parser.add_argument("--port", type=int, help="port of 127.0.0.1; default: a free one")
    parser.add_argument("--api-key", help="the key that requests must carry as x-api-key")
    parser.add_argument("--start-delay", type=float, default=0.0, help="seconds until a run begins")
    options = parser.parse_args()
    with StubDeployment(port=options.port, api_key=options.api_key, start_delay=options.start_delay) as stub:
        print(f"listening on {stub.url}; {stub.url}/stub has the counts", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(json.dumps(stub.summary()))


if __name__ == "__main__":
    main()
