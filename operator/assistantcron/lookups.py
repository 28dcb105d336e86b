"""Whether deployment, assistant and given thread are known good: a mistake shows at once and not at 08:00.

`reconciler.py` asks at every pass; answers are shared by all resources that name the same and kept for a
while, so ten thousand resources on one deployment cost a handful of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from assistantcron.errors import AssistantCronError, NotFound, Transient
from assistantcron.facts import Health
from assistantcron.records import Server
from assistantcron.shared import Shared

KEPT_GOOD, KEPT_BAD = timedelta(minutes=10), timedelta(seconds=15)
GOOD = Health(
    ready=True, reason="Scheduled", message="deployment and assistant are known; the next slot is armed"
)

_WANTED = {
    "assistant": ("AssistantNotFound", "assistant", "a graph of its langgraph.json or an assistant's UUID"),
    "thread": ("ThreadNotFound", "thread.id", "the UUID of a thread that is there"),
}


class Lookups:
    """Answers as `Health`, ready to stand in a condition."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._answers: Shared[tuple[Server, str, str], Health] = Shared(now=now)

    async def health(self, client: Server, assistant: str, thread: str | None) -> Health:
        """`GOOD`, or the first thing that is wrong."""
        health = await self._ask(client, "assistant", assistant, lambda: client.find_assistant(assistant))
        if health.ready and thread is not None:
            health = await self._ask(client, "thread", thread, lambda: client.thread(thread))
        return health

    def distrust(self, client: Server) -> None:
        """Ask again next time: a start there has just been refused."""
        self._answers.drop(lambda question: question[0] is client)

    async def _ask(
        self, client: Server, kind: str, name: str, look: Callable[[], Coroutine[Any, Any, object]]
    ) -> Health:
        async def answer() -> Health:
            try:
                await look()
            except NotFound:
                reason, field, wanted = _WANTED[kind]
                return Health(
                    ready=False,
                    reason=reason,
                    message=f"spec.{field}: the deployment has no {kind} {name}; it must be {wanted}",
                    stalled=True,
                )
            except AssistantCronError as error:
                passing = isinstance(error, Transient)
                return Health(
                    ready=False,
                    reason=error.reason,
                    message=f"the deployment: {error.message}",
                    stalled=not passing,
                )
            return GOOD

        return await self._answers.get(
            (client, kind, name), answer, lambda health: KEPT_GOOD if health.ready else KEPT_BAD
        )
