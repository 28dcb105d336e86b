"""What the stub deployment remembers: threads, runs, and what becomes of them, as on `langgraph dev`.

No I/O. Runs start and end by timers of the event loop.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.bed.stub_graph import Document, seconds, work
from tests.bed.stub_index import Index, contains

GRAPHS = ("agent",)
GRAPH_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""From which the server computes the ID of a graph's own assistant (`uuid5`)."""
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
NOT_CANCELLABLE = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)
CANCELLED = "interrupt requested via POST /threads/{thread_id}/runs/{run_id}/cancel"


class Refusal(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(slots=True)
class Run:
    """A run's document and the timer that starts or ends it."""

    document: Document
    due: float
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Thread:
    """A thread's document, its runs from the oldest on, those in flight, and the question that waits."""

    document: Document
    runs: dict[str, Run] = field(default_factory=dict)
    in_flight: dict[str, Run] = field(default_factory=dict)
    question: str | None = None


class State:
    """Everything the deployment knows. `started` has every run whose work began, also of deleted threads."""

    def __init__(self, *, start_delay: float = 0.0) -> None:
        """Runs start `start_delay` seconds after they are made (0.4 to 1 on `langgraph dev`)."""
        self.threads: dict[str, Thread] = {}
        self.started: list[Document] = []
        self._start_delay = start_delay
        self._index = Index()
        self.assistants = {one["assistant_id"]: one for one in map(_assistant, GRAPHS)}

    # Threads

    def create_thread(self, thread_id: str, metadata: Document, *, if_exists: str) -> Document:
        if thread := self.threads.get(thread_id):
            if if_exists == "raise":
                raise Refusal(409, f"Thread with ID {thread_id} already exists")
            return thread.document
        now = _now()
        document: Document = {
            "thread_id": thread_id,
            "created_at": now,
            "updated_at": now,
            "state_updated_at": now,
            "metadata": {},
            "status": "idle",
            "config": {},
            "values": None,
        }
        self.threads[thread_id] = Thread(document)
        self._index.add(thread_id, [("", "idle")])
        self._merge_metadata(document, metadata)
        return document

    def thread(self, thread_id: str) -> Thread:
        if thread := self.threads.get(thread_id):
            return thread
        raise Refusal(404, f"Thread with ID {thread_id} not found")

    def patch_thread(self, thread_id: str, metadata: Document) -> Document:
        if thread_id not in self.threads:
            raise Refusal(404, "Not Found")
        document = self.threads[thread_id].document
        self._merge_metadata(document, metadata)
        document["updated_at"] = _now()
        return document

    def delete_thread(self, thread_id: str) -> None:
        thread = self.thread(thread_id)
        for run in thread.in_flight.values():
            _stop(run)
        del self.threads[thread_id]
        self._index.remove(thread_id, [("", thread.document["status"]), *thread.document["metadata"].items()])

    def search(self, wanted: Document) -> list[Document]:
        """Threads with that status and metadata, sorted; the caller cuts the page."""
        metadata, status = wanted.get("metadata") or {}, wanted.get("status")
        if ids := wanted.get("ids"):
            candidates: Collection[str] = dict.fromkeys(ids)
        else:
            keys = [*metadata.items(), *([("", status)] if status else [])]
            candidates = self._index.smallest(self.threads, keys)
        found = [thread.document for one in candidates if (thread := self.threads.get(one))]
        found = [one for one in found if not status or one["status"] == status]
        found = [one for one in found if contains(one["metadata"], metadata)]
        # An order without a field counts for nothing.
        sort_by, upwards = wanted.get("sort_by") or "updated_at", wanted.get("sort_order") == "asc"
        return sorted(found, key=lambda one: str(one[sort_by]), reverse=not (upwards and "sort_by" in wanted))

    # Runs

    def create_run(self, thread_id: str, body: Document, *, request_id: str | None) -> Document:
        assistant = self.assistants.get(body["assistant_id"])
        missing = thread_id not in self.threads
        if assistant is None or (missing and body.get("if_not_exists") != "create"):
            raise Refusal(404, "Thread or assistant not found.")
        config, metadata = body.get("config") or {}, body.get("metadata") or {}
        if missing:
            self.create_thread(thread_id, {**config.get("metadata", {}), **metadata}, if_exists="raise")
        thread = self.threads[thread_id]
        strategy = body.get("multitask_strategy") or "enqueue"
        before = list(thread.in_flight.values())
        if before and strategy == "reject":
            raise Refusal(409, BUSY)
        ours = {"graph_id": assistant["graph_id"], "assistant_id": assistant["assistant_id"]}
        if thread.document["status"] != "busy":
            self._set_status(thread, "busy")
            self._merge_metadata(thread.document, ours)
        wait = float(body.get("after_seconds") or 0)
        run_id, now = str(uuid.uuid4()), datetime.now(UTC)
        merged = {
            **assistant["metadata"],
            **thread.document["metadata"],
            **config.get("metadata", {}),
            **metadata,
        }
        configurable = {**(config.get("configurable") or body.get("context") or {}), **ours}
        configurable |= {"thread_id": thread_id, "run_id": run_id, "langgraph_request_id": request_id}
        passed_on = (
            "input",
            "command",
            "context",
            "webhook",
            "interrupt_before",
            "interrupt_after",
            "durability",
        )
        document = {
            "run_id": run_id,
            "thread_id": thread_id,
            "assistant_id": assistant["assistant_id"],
            "metadata": {**merged, "assistant_id": assistant["assistant_id"]},
            "status": "pending",
            "kwargs": {
                **{name: body.get(name) for name in passed_on},
                "config": {**config, "configurable": configurable, "metadata": merged},
            },
            "multitask_strategy": strategy,
            "created_at": _text(now + timedelta(seconds=wait)),
            "updated_at": _text(now),
            "langsmith_session_name": None,
        }
        loop = asyncio.get_running_loop()
        run = Run(document, loop.time() + wait)
        thread.runs[run_id] = thread.in_flight[run_id] = run
        # The answer still says `pending`.
        run.timer = loop.call_later(max(wait, 0) + self._start_delay, self._start_next, thread)
        if strategy in ("interrupt", "rollback"):
            for other in before:
                self._cancel(thread, other, strategy)
        return document

    def run(self, thread_id: str, run_id: str) -> Document:
        if run := self.thread(thread_id).runs.get(run_id):
            return run.document
        raise Refusal(404, "Not Found")

    def runs(self, thread_id: str) -> list[Document]:
        """Newest first."""
        found = [run.document for run in self.thread(thread_id).runs.values()]
        return sorted(found, key=lambda one: str(one["created_at"]), reverse=True)

    def cancel_run(self, thread_id: str, run_id: str, action: str) -> None:
        thread = self.threads.get(thread_id)
        if thread is None or run_id not in thread.runs:
            raise Refusal(404, "No runs found to cancel.")
        if run_id not in thread.in_flight:
            raise Refusal(404, NOT_CANCELLABLE)
        self._cancel(thread, thread.runs[run_id], action)

    def end_run(self, run_id: str) -> None:
        """Let a run that works end now, as its input says."""
        for thread in self.threads.values():
            if (run := thread.in_flight.get(run_id)) and run.document["status"] == "running":
                _stop(run)
                self._finish(thread, run)
                return
        raise LookupError(run_id)

    def close(self) -> None:
        """Stop all timers."""
        for thread in self.threads.values():
            for run in thread.in_flight.values():
                _stop(run)

    def _start_next(self, thread: Thread) -> None:
        """One run works at a time; the one that is due first goes first."""
        if any(run.document["status"] == "running" for run in thread.in_flight.values()):
            return
        loop = asyncio.get_running_loop()
        # Timers are a little early.
        due = [run for run in thread.in_flight.values() if run.due <= loop.time() + 0.01]
        if not due:
            return
        run = min(due, key=lambda one: one.due)
        _stop(run)
        run.document["status"] = "running"
        self.started.append(run.document)
        run.timer = loop.call_later(seconds(run.document["kwargs"]), self._finish, thread, run)

    def _finish(self, thread: Thread, run: Run) -> None:
        outcome = work(run.document["kwargs"], thread.document["values"], thread.question)
        thread.question = outcome.question
        thread.document |= {"values": outcome.values, "interrupts": outcome.interrupts}
        self._end(thread, run, outcome.run, outcome.thread, outcome.error)

    def _end(self, thread: Thread, run: Run, status: str, outcome: str, error: Document | None) -> None:
        del thread.in_flight[run.document["run_id"]]
        now = _now()
        run.document |= {"status": status, "updated_at": now}
        thread.document |= {"error": error, "updated_at": now, "state_updated_at": now}
        self._set_status(thread, "busy" if thread.in_flight else outcome)
        self._start_next(thread)

    def _cancel(self, thread: Thread, run: Run, action: str) -> None:
        _stop(run)
        if run.document["status"] == "running":
            error = {"error": "UserInterrupt", "message": CANCELLED} if action == "interrupt" else None
            self._end(thread, run, "interrupted", "interrupted" if action == "interrupt" else "idle", error)
        else:
            del thread.in_flight[run.document["run_id"]]
            run.document |= {"status": "interrupted", "updated_at": _now()}
            # As the dev server does, whatever else is in flight there.
            self._set_status(thread, "idle")
        if action == "rollback":
            del thread.runs[run.document["run_id"]]

    # Changes that the index follows

    def _set_status(self, thread: Thread, status: str) -> None:
        document = thread.document
        self._index.remove(document["thread_id"], [("", document["status"])])
        self._index.add(document["thread_id"], [("", status)])
        document["status"] = status

    def _merge_metadata(self, document: Document, metadata: Document) -> None:
        old = {key: document["metadata"][key] for key in metadata if key in document["metadata"]}
        self._index.remove(document["thread_id"], old.items())
        self._index.add(document["thread_id"], metadata.items())
        document["metadata"] = {**document["metadata"], **metadata}


def _assistant(graph: str) -> Document:
    now = _now()
    return {
        "assistant_id": str(uuid.uuid5(GRAPH_NAMESPACE, graph)),
        "graph_id": graph,
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "name": graph,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "description": None,
    }


def _stop(run: Run) -> None:
    if run.timer is not None:
        run.timer.cancel()


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
