"""The sample graph of `examples/server` as the stub runs it: what comes of a run, from its input alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """The status of the run, and what its thread becomes."""

    values: Document
    run: str = "success"
    thread: str = "idle"
    error: Document | None = None
    interrupts: Document = field(default_factory=dict)
    question: str | None = None
    """What waits for a human."""


def seconds(asked: Document) -> float:
    """How long a run with these `kwargs` works."""
    return float(_orders(asked).get("seconds", 0))


def work(asked: Document, values: Document | None, question: str | None) -> Outcome:
    """Do what the run's `kwargs` ask, on a thread with these values, where `question` waits for a human."""
    values, orders = values or {"messages": []}, _orders(asked)
    if (asked["command"] or {}).get("resume") is not None and question is not None:
        return Outcome(_said(values, _message("ai", f"A human said: {asked['command']['resume']}")))
    if "work" in (asked["interrupt_before"] or ()) or asked["interrupt_before"] == "*":
        return Outcome(values, thread="interrupted")
    if "fail" in orders:
        error = {"error": "ValueError", "message": orders["fail"]}
        return Outcome(values, run="error", thread="error", error=error)
    if "ask" in orders:
        interrupts = {str(uuid.uuid4()): [{"id": uuid.uuid4().hex, "value": orders["ask"]}]}
        return Outcome(values, thread="interrupted", interrupts=interrupts, question=orders["ask"])
    told = [_message("human", one["content"]) for one in orders.get("messages", [])]
    answer = f"I was told: {told[-1]['content']}" if told else "I was told nothing."
    return Outcome(_said(values, *told, _message("ai", answer)))


def _orders(asked: Document) -> Document:
    given = asked["input"]
    return given if isinstance(given, dict) else {}


def _said(values: Document, *messages: Document) -> Document:
    return {"messages": [*values["messages"], *messages]}


def _message(kind: str, content: str) -> Document:
    return {"type": kind, "content": content, "id": str(uuid.uuid4())}
