"""The part of LangGraph's HTTP API that the stub speaks: a request in, status, headers and body out.

Statuses and bodies are those of `langgraph dev`; `tests/test_contract.py` holds both to the same tests.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.bed.stub_graph import Document
from tests.bed.stub_state import GRAPHS, Refusal, State

RESERVED = ("thread_id", "assistant_id", "run_id", "cron_id", "counters_since_delta_snapshot")
"""Metadata keys that the server takes away in silence."""
OPEN = ("/ok", "/info")
"""Paths that need no key."""
INFO = {"version": "0.16.7", "langgraph_py_version": "1.2.22", "flags": {"assistants": True, "crons": True}}
BOTH = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)


@dataclass(slots=True)
class Reply:
    """An answer: `body` is bytes or text as it is, or anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


Check = Callable[[Any], bool]


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _is(*kinds: type) -> Check:
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _whole(lowest: int, highest: float) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _nodes(value: object) -> bool:
    return value == "*" or _list_of(_is(str))(value)


_PAGE = {
    "limit": _whole(1, 1000),
    "offset": _whole(0, float("inf")),
    "metadata": _is(dict),
    "sort_order": _one_of("asc", "desc"),
}
_THREAD_FIELDS = ("thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status")
CREATE_THREAD = {"thread_id": _is(str), "metadata": _is(dict), "if_exists": _one_of("raise", "do_nothing")}
PATCH_THREAD = {"metadata": _is(dict)}
SEARCH_THREADS = _PAGE | {
    "ids": _list_of(_is(str)),
    "status": _one_of("idle", "busy", "interrupted", "error"),
    "sort_by": _one_of("thread_id", "status", "created_at", "updated_at", "state_updated_at"),
    "select": _list_of(_one_of(*_THREAD_FIELDS, "values", "interrupts")),
}
SEARCH_ASSISTANTS = _PAGE | {"graph_id": _is(str)}
CREATE_RUN = {
    "assistant_id": _is(str),
    "input": _is(dict, list, str, int, float, bool, type(None)),
    "command": _is(dict, type(None)),
    "metadata": _is(dict),
    "config": _is(dict),
    "context": _is(dict),
    "webhook": lambda value: isinstance(value, str) and value != "",
    "interrupt_before": _nodes,
    "interrupt_after": _nodes,
    "durability": _one_of("sync", "async", "exit"),
    "multitask_strategy": _one_of("reject", "rollback", "interrupt", "enqueue"),
    "if_not_exists": _one_of("create", "reject"),
    "after_seconds": _is(int, float),
}


def answer(state: State, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Reply:
    """Carry a request out. `target` is path and query; `headers` have lower-case names."""
    path, _, query = target.partition("?")
    try:
        return _route(state, method, path.strip("/").split("/"), parse_qs(query), headers, content)
    except Refusal as refusal:
        return Reply(refusal.status, {"detail": refusal.detail})


def _route(  # noqa: C901, PLR0911, PLR0912 - one case for each route
    state: State,
    method: str,
    parts: list[str],
    query: dict[str, list[str]],
    headers: Mapping[str, str],
    content: bytes,
) -> Reply:
    match [method, *parts]:
        case ["POST", "threads"]:
            body = _body(content, CREATE_THREAD)
            thread_id = _uuid(body["thread_id"], "thread") if body.get("thread_id") else str(uuid.uuid4())
            if_exists = body.get("if_exists", "raise")
            return Reply(body=state.create_thread(thread_id, _metadata(body), if_exists=if_exists))
        case ["POST", "threads", "search"]:
            return _search(state, _body(content, SEARCH_THREADS))
        case ["GET", "threads", thread_id]:
            return Reply(body=state.thread(_uuid(thread_id, "thread")).document)
        case ["PATCH", "threads", thread_id]:
            body = _body(content, PATCH_THREAD)
            document = state.patch_thread(_uuid(thread_id, "thread"), _metadata(body))
            return Reply(204, b"") if headers.get("prefer") == "return=minimal" else Reply(body=document)
        case ["DELETE", "threads", thread_id]:
            state.delete_thread(_uuid(thread_id, "thread"))
            return Reply(204, b"")
        case ["POST", "threads", thread_id, "runs"]:
            return _create_run(state, thread_id, _body(content, CREATE_RUN, "assistant_id"), headers)
        case ["GET", "threads", thread_id, "runs"]:
            return _list_runs(state, _uuid(thread_id, "thread"), query)
        case ["GET", "threads", thread_id, "runs", run_id]:
            return Reply(body=state.run(_uuid(thread_id, "thread"), _uuid(run_id, "run")))
        case ["POST", "threads", thread_id, "runs", run_id, "cancel"]:
            action = "rollback" if query.get("action") == ["rollback"] else "interrupt"
            state.cancel_run(_uuid(thread_id, "thread"), _uuid(run_id, "run"), action)
            return Reply(body={}) if query.get("wait", [""])[0] in ("1", "true", "yes") else Reply(202, b"")
        case ["POST", "assistants", "search"]:
            body = _body(content, SEARCH_ASSISTANTS)
            graph = body.get("graph_id")
            if graph is not None and graph not in GRAPHS:
                raise Refusal(404, f"Graph '{graph}' not found. Expected one of: {list(GRAPHS)}")
            return _page(list(state.assistants.values()), body)
        case ["GET", "assistants", assistant_id]:
            if found := state.assistants.get(_uuid(assistant_id, "assistant")):
                return Reply(body=found)
        case ["GET", "ok"]:
            return Reply(body={"ok": True, "services": {}})
        case ["GET", "info"]:
            return Reply(body=INFO)
    raise Refusal(404, "Not Found")


def _search(state: State, body: Document) -> Reply:
    for one in body.get("ids", ()):
        _uuid(one, "thread", status=400, text=f"Invalid thread ID {one}")
    reply = _page(state.search(body), body)
    if select := body.get("select"):
        reply.body = [{name: one[name] for name in select if name in one} for one in reply.body]
    return reply


def _create_run(state: State, thread_id: str, body: Document, headers: Mapping[str, str]) -> Reply:
    thread_id = _uuid(thread_id, "thread", text="Invalid thread ID")
    named = body["assistant_id"]
    by_name = {one["graph_id"]: one["assistant_id"] for one in state.assistants.values()}
    body["assistant_id"] = by_name.get(named) or _uuid(
        named,
        "assistant",
        text=f"Invalid assistant: '{named}'. Must be either:\n- A valid assistant UUID, or\n"
        f"- One of the registered graphs: {', '.join(GRAPHS)}",
    )
    config = body.get("config", {})
    if config.get("configurable") and body.get("context"):
        raise Refusal(400, BOTH)
    body["metadata"] = _metadata(body)
    if "metadata" in config:
        body["config"] = {**config, "metadata": _metadata(config)}
    run = state.create_run(thread_id, body, request_id=headers.get("x-request-id"))
    return Reply(body=run, headers={"content-location": f"/threads/{thread_id}/runs/{run['run_id']}"})


def _list_runs(state: State, thread_id: str, query: dict[str, list[str]]) -> Reply:
    numbers = {}
    for name, default in (("limit", "10"), ("offset", "0")):
        try:
            numbers[name] = int(query.get(name, [default])[0])
        except ValueError as error:
            raise Refusal(400, str(error)) from None
    runs, select = state.runs(thread_id), query.get("select")
    if "status" in query:
        runs = [run for run in runs if run["status"] == query["status"][0]]
    runs = runs[numbers["offset"] :][: max(numbers["limit"], 0)]
    return Reply(body=[{name: run[name] for name in select} for run in runs] if select else runs)


def _page(found: list[Document], body: Document) -> Reply:
    end = body.get("offset", 0) + body.get("limit", 10)
    page = found[body.get("offset", 0) : end]
    more = len(found) > end
    headers = {"x-pagination-total": str(end + 1 if more else body.get("offset", 0) + len(page))}
    if more:
        headers["x-pagination-next"] = str(end)
    return Reply(body=page, headers=headers)


def _body(content: bytes, checks: Mapping[str, Check], required: str | None = None) -> Document:
    """The JSON object, its known fields checked. Like the server's, a refusal repeats what was sent."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(422, "Invalid JSON in request body") from None
    if not isinstance(body, dict):
        raise Refusal(
            422, f'{json.dumps(body)} is not of type "object"\n\nFailed validating "type" in schema'
        )
    if required is not None and required not in body:
        raise Refusal(422, f'"{required}" is a required property\n\nOn instance:\n    {json.dumps(body)}')
    for name, value in body.items():
        if name in checks and not checks[name](value):
            text = json.dumps(value)
            raise Refusal(
                422, f'{text} is not valid\n\nFailed validating\n\nOn instance["{name}"]:\n    {text}'
            )
    return body


def _metadata(holder: Document) -> Document:
    metadata = holder.get("metadata") or {}
    return {key: value for key, value in metadata.items() if key not in RESERVED}


def _uuid(value: str, what: str, *, status: int = 422, text: str = "") -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise Refusal(status, text or f"Invalid {what} ID: must be a UUID") from None
