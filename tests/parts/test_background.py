"""Work that goes on in the background: through errors, through foreign cancellation, and no further."""

from __future__ import annotations

import asyncio
import logging

import pytest

from assistantcron.background import Lanes, each, forever
from tests.parts.clock import turns, until


class Step:
    """One round of a loop; the test says what happens in it."""

    def __init__(self) -> None:
        self.rounds = 0
        self.error: BaseException | None = None

    async def __call__(self) -> None:
        self.rounds += 1
        if self.error is not None:
            raise self.error


async def cancelled(task: asyncio.Task[None]) -> bool:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return task.cancelled()


@pytest.mark.parametrize("error", [ValueError("a bug"), asyncio.CancelledError()])
async def test_a_loop_goes_on_whatever_a_round_raises(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    step = Step()
    step.error = error
    loop = asyncio.create_task(forever("counting", step, pause=0))
    await until(lambda: step.rounds > 3)
    assert await cancelled(loop)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == step.rounds
    assert all("counting" in line and "goes on" in line for line in said)


async def test_a_loop_outlives_the_younger_task_that_it_waits_for() -> None:
    started: list[asyncio.Task[None]] = []

    async def step() -> None:
        started.append(asyncio.create_task(asyncio.sleep(3600)))
        await started[-1]

    loop = asyncio.create_task(forever("waiting", step, pause=0))
    for rounds in (1, 2, 3):
        await until(lambda rounds=rounds: len(started) == rounds)  # type: ignore[misc]
        await turns()
        started[-1].cancel()
    await until(lambda: len(started) == 4)
    assert await cancelled(loop)


@pytest.mark.parametrize("stuck", [True, False])
async def test_a_loop_ends_when_it_is_told_to(stuck: bool) -> None:
    async def step() -> None:
        await asyncio.sleep(3600 if stuck else 0)

    loop = asyncio.create_task(forever("waiting", step, pause=3600))
    await turns()
    assert not loop.done()
    assert await cancelled(loop)


async def test_each_does_a_few_at_a_time_and_all_in_the_end() -> None:
    under_way, most, done = 0, 0, []

    async def do(item: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await turns(3)
        under_way -= 1
        done.append(item)

    await each(range(100), do, at_once=7)
    assert sorted(done) == list(range(100))
    assert most == 7


async def test_each_of_nothing_is_nothing() -> None:
    async def never(_: int) -> None:
        raise AssertionError

    await each([], never, at_once=7)


async def test_a_lane_does_one_piece_at_a_time_and_a_slow_one_holds_nobody_else_up() -> None:
    lanes, step, slow = Lanes("working"), Step(), asyncio.Event()

    async def stuck() -> None:
        step.rounds += 100
        await slow.wait()

    for _ in range(3):
        lanes.start("slow", stuck)
        lanes.start("fast", step)
        await turns()
    assert step.rounds == 103
    slow.set()
    await turns()
    lanes.start("slow", stuck)
    await turns()
    assert step.rounds == 203


@pytest.mark.parametrize("error", [ValueError("a bug"), asyncio.CancelledError()])
async def test_a_lane_is_free_again_whatever_its_piece_raised(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    lanes, step = Lanes("working"), Step()
    step.error = error
    for _ in range(3):
        lanes.start("a", step)
        await turns()
    assert step.rounds == 3
    reported = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert reported == ["working failed and goes on"] * (3 if isinstance(error, ValueError) else 0)


async def test_lanes_stop_with_all_that_is_under_way() -> None:
    lanes, stopped = Lanes("working"), []

    async def stuck() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.append(True)

    for lane in "abc":
        lanes.start(lane, stuck)
    await turns()
    await lanes.stop()
    assert len(stopped) == 3


async def test_a_piece_cancelled_before_its_first_step_frees_its_lane() -> None:
    lanes, step = Lanes("working"), Step()
    lanes.start("a", step)
    await lanes.stop()
    lanes.start("a", step)
    await turns()
    assert step.rounds == 1
