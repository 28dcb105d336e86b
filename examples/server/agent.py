"""A sample agent that needs no model and no key: it does what its input says, so that you see every outcome.

    {"messages": [{"role": "user", "content": "Hello"}]}   answers at once
    {"seconds": 5}                                         works for five seconds, then answers
    {"fail": "no luck"}                                    raises an error
    {"ask": "Publish?"}                                    waits for a human, and goes on with the answer

`langgraph dev` in this folder serves it as the assistant `agent`.
"""

import asyncio
from typing import Annotated, Any

from langgraph.channels import EphemeralValue
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt


class State(MessagesState, total=False):
    """The conversation, which the thread keeps, and this run's orders, which it does not."""

    seconds: Annotated[float, EphemeralValue]
    fail: Annotated[str, EphemeralValue]
    ask: Annotated[str, EphemeralValue]


async def work(state: State) -> dict[str, Any]:
    """Take as long, fail, ask or answer, as the input says."""
    await asyncio.sleep(state.get("seconds", 0))
    if "fail" in state:
        raise ValueError(state["fail"])
    if "ask" in state:
        answer = f"A human said: {interrupt(state['ask'])}"
    else:
        told = [message.content for message in state.get("messages", []) if message.type == "human"]
        answer = f"I was told: {told[-1]}" if told else "I was told nothing."
    return {"messages": [{"role": "assistant", "content": answer}]}


graph = StateGraph(State).add_node("work", work).add_edge(START, "work").add_edge("work", END).compile()
