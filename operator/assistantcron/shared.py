"""A question asked once for all who want to know, and its answer kept for a while. No I/O of its own.

Used by `lookups.py` and `targets.py`, where ten thousand resources ask the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ROOM = 100
"""Answers that are kept before the first look for expired ones."""


class Shared(Generic[K, V]):
    """A cache by key whose loads are shared while they are under way. A load that raises is not kept."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._loads: dict[K, asyncio.Task[V]] = {}
        self._kept: dict[K, tuple[datetime, V]] = {}
        self._room = ROOM

    def __len__(self) -> int:
        return len(self._kept)

    async def get(
        self, key: K, load: Callable[[], Coroutine[Any, Any, V]], keep: Callable[[V], timedelta]
    ) -> V:
        """The kept answer, or a new one, good for `keep(answer)`. Raises what `load` raises."""
        kept = self._kept.get(key)
        if kept is not None and self._now() < kept[0]:
            return kept[1]
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(load())
            task.add_done_callback(lambda done: self._loaded(key, done, keep))
        # Shielded: one who stops waiting does not take the answer from the others.
        return await asyncio.shield(task)

    def drop(self, matches: Callable[[K], bool]) -> None:
        """Forget the answers whose key matches, also those that are on their way."""
        for answers in (self._kept, self._loads):
            for key in [key for key in answers if matches(key)]:
                del answers[key]

    def _loaded(self, key: K, task: asyncio.Task[V], keep: Callable[[V], timedelta]) -> None:
        if self._loads.get(key) is not task:
            return
        del self._loads[key]
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[key] = (self._now() + keep(task.result()), task.result())
        if len(self._kept) > self._room:
            # At twice the size each time: what is expired goes, at a cost that does not count.
            now = self._now()
            self._kept = {key: kept for key, kept in self._kept.items() if now < kept[0]}
            self._room = ROOM + 2 * len(self._kept)
