"""A cache whose loads are shared: how often is asked, what is kept, and that it does not grow for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from assistantcron.shared import ROOM, Shared
from tests.parts.clock import Clock, turns

MINUTE = timedelta(minutes=1)


class Source:
    """Answers with how often it has been asked, as soon as the test lets it."""

    def __init__(self, *, slow: bool = False) -> None:
        self.asked = 0
        self.free = asyncio.Event()
        self.error: Exception | None = None
        if not slow:
            self.free.set()

    async def __call__(self) -> int:
        self.asked += 1
        answer = self.asked
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return answer


def a_minute(_: int) -> timedelta:
    return MINUTE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock: Clock) -> Shared[str, int]:
    return Shared(now=clock)


async def test_all_who_ask_meanwhile_share_one_load(shared: Shared[str, int]) -> None:
    source = Source(slow=True)
    asking = [asyncio.create_task(shared.get("a", source, a_minute)) for _ in range(100)]
    await turns()
    source.free.set()
    assert await asyncio.gather(*asking) == [1] * 100
    assert source.asked == 1


async def test_each_key_has_its_own_answer(shared: Shared[str, int]) -> None:
    one, other = Source(), Source()
    other.asked = 10
    assert await shared.get("a", one, a_minute) == 1
    assert await shared.get("b", other, a_minute) == 11
    assert await shared.get("a", one, a_minute) == 1


async def test_an_answer_is_good_until_its_time_is_over(shared: Shared[str, int], clock: Clock) -> None:
    source = Source()
    assert await shared.get("a", source, a_minute) == 1
    clock.forward(59.9)
    assert await shared.get("a", source, a_minute) == 1
    clock.forward(0.1)
    assert await shared.get("a", source, a_minute) == 2


async def test_how_long_depends_on_the_answer(shared: Shared[str, int], clock: Clock) -> None:
    source = Source()

    def longer_each_time(answer: int) -> timedelta:
        return MINUTE * answer

    for expected, seconds in ((1, 60), (2, 119), (2, 1), (3, 0)):
        assert await shared.get("a", source, longer_each_time) == expected
        clock.forward(seconds)


async def test_a_load_that_fails_fails_for_all_who_wait_and_is_not_kept(shared: Shared[str, int]) -> None:
    source = Source(slow=True)
    source.error = ValueError("no")
    asking = [asyncio.create_task(shared.get("a", source, a_minute)) for _ in range(3)]
    await turns()
    source.free.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in failures] == [ValueError] * 3
    source.error = None
    assert await shared.get("a", source, a_minute) == 2


async def test_who_stops_waiting_does_not_take_the_answer_from_the_others(shared: Shared[str, int]) -> None:
    source = Source(slow=True)
    impatient, patient = (asyncio.create_task(shared.get("a", source, a_minute)) for _ in range(2))
    await turns()
    impatient.cancel()
    await turns()
    source.free.set()
    assert await patient == 1
    assert impatient.cancelled()


async def test_an_answer_that_nobody_waits_for_any_more_is_kept(shared: Shared[str, int]) -> None:
    source = Source(slow=True)
    impatient = asyncio.create_task(shared.get("a", source, a_minute))
    await turns()
    impatient.cancel()
    source.free.set()
    await turns()
    assert await shared.get("a", source, a_minute) == 1


async def test_a_load_that_was_cancelled_from_outside_is_asked_again(shared: Shared[str, int]) -> None:
    """As kopf does at its end."""
    source = Source(slow=True)
    before = asyncio.all_tasks()
    asking = asyncio.create_task(shared.get("a", source, a_minute))
    await turns()
    (load,) = asyncio.all_tasks() - before - {asking}
    load.cancel()
    await turns()
    assert asking.cancelled()
    source.free.set()
    assert await shared.get("a", source, a_minute) == 2


async def test_dropped_answers_are_asked_for_again_and_others_not(shared: Shared[str, int]) -> None:
    one, other = Source(), Source()
    await shared.get("a", one, a_minute)
    await shared.get("b", other, a_minute)
    shared.drop(lambda key: key == "a")
    assert await shared.get("a", one, a_minute) == 2
    assert await shared.get("b", other, a_minute) == 1


async def test_an_answer_under_way_is_dropped_too(shared: Shared[str, int]) -> None:
    """It may have been given before that for which it was dropped."""
    source = Source(slow=True)
    early = asyncio.create_task(shared.get("a", source, a_minute))
    await turns()
    shared.drop(lambda key: key == "a")
    late = asyncio.create_task(shared.get("a", source, a_minute))
    await turns()
    source.free.set()
    assert (await early, await late) == (1, 2)
    assert await shared.get("a", source, a_minute) == 2
    assert source.asked == 2


async def test_expired_answers_go(shared: Shared[str, int], clock: Clock) -> None:
    source = Source()
    for number in range(100 * ROOM):
        await shared.get(f"key-{number}", source, a_minute)
        clock.forward(1)
    assert len(shared) <= 3 * ROOM


async def test_answers_that_are_good_stay_however_many(shared: Shared[str, int], clock: Clock) -> None:
    source = Source()
    keys = [f"key-{number}" for number in range(20 * ROOM)]
    for _ in range(2):
        for key in keys:
            await shared.get(key, source, a_minute)
    assert source.asked == len(keys) == len(shared)
