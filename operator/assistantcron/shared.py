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


class Shared(Generic[K, V]):
    """A cache by key whose loads are shared while they are under way. A load that raises is not kept."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._loads: dict[K, asyncio.Task[V]] = {}
        self._kept: dict[K, tuple[datetime, V]] = {}

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
            task.add_done_callback(lambda _: self._loads.pop(key, None))
        # Shielded: one who stops waiting does not take the answer from the others.
        value = await asyncio.shield(task)
        self._kept[key] = (self._now() + keep(value), value)
        return value

    def drop(self, matches: Callable[[K], bool]) -> None:
        """Forget the answers whose key matches."""
        for key in [key for key in self._kept if matches(key)]:
            del self._kept[key]
