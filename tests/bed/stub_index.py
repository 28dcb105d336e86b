"""How the stub finds threads by status and metadata without looking at all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

Key = tuple[str, Any]


class Index:
    """Members by key. Only keys whose value is text are indexed."""

    def __init__(self) -> None:
        self._sets: dict[Key, dict[str, None]] = {}

    def add(self, member: str, keys: Iterable[Key]) -> None:
        """Enter `member` under each key."""
        for key in filter(_indexed, keys):
            self._sets.setdefault(key, {})[member] = None

    def remove(self, member: str, keys: Iterable[Key]) -> None:
        """Take `member` out under each key."""
        for key in filter(_indexed, keys):
            self._sets[key].pop(member, None)
            if not self._sets[key]:
                del self._sets[key]

    def smallest(self, everything: Collection[str], keys: Iterable[Key]) -> Collection[str]:
        """The fewest members among which all that have all the keys must be."""
        sets: list[Collection[str]] = [self._sets.get(key, {}) for key in keys if _indexed(key)]
        return min([everything, *sets], key=len)


def contains(value: Any, wanted: Any) -> bool:
    """Whether an object has these keys with these values, and in objects within it likewise."""
    if isinstance(value, dict) and isinstance(wanted, dict):
        return all(key in value and contains(value[key], inner) for key, inner in wanted.items())
    return bool(value == wanted)


def _indexed(key: Key) -> bool:
    return isinstance(key[1], str)
