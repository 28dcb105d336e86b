"""A sample agent that needs no model and no key: it does what its input says, so that every outcome can be seen.

    {"seconds": 5}          works for five seconds, then answers
    {"fail": "no luck"}     raises an error
    {"ask": "Publish?"}     waits for a human, and goes on with the answer
"""

import asyncio
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    """The input's fields, and the answer."""

    messages: list[dict[str, Any]]
    seconds: float
    fail: str
    ask: str
    answer: str


async def work(state: State) -> State:
    """Take as long, fail, or ask, as the input says."""
    await asyncio.sleep(state.get("seconds", 0))
    if "fail" in state:
        raise ValueError(state["fail"])
    if "ask" in state:
        return {"answer": f"A human said: {interrupt(state['ask'])}"}
    words = state.get("messages") or [{"content": "nothing"}]
    return {"answer": f"I was told: {words[-1]['content']}"}


graph = StateGraph(State).add_node("work", work).add_edge(START, "work").add_edge("work", END).compile()
