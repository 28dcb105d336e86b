"""What the tests of the parts begin with: a clock that a test turns, and turns of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.core.builders import at


class Clock:
    """Stands at 08:00 on Monday, 2 March 2026, until a test turns it."""

    def __init__(self) -> None:
        self.time = at("08:00")

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


async def turns(number: int = 20) -> None:
    """Let whatever can go on go on."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Turns of the event loop, by count and not by time, until it is true."""
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")
