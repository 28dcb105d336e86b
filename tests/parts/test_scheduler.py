"""The wake heap: which key is looked at when, and what happens when a look goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from assistantcron import scheduler as module
from assistantcron.background import LONGEST_BACKOFF
from assistantcron.errors import Refused
from assistantcron.resource import Key
from assistantcron.scheduler import LONGEST_SLEEP, SPARE, Scheduler
from tests.core.builders import at
from tests.parts.clock import Clock, turns, until

A, B, C = (Key("team", name) for name in "abc")


class Passes:
    """Notes every look; the test says how long one lasts and how it ends."""

    def __init__(self) -> None:
        self.looks: list[Key] = []
        self.under_way: list[Key] = []
        self.interrupted: list[Key] = []
        self.gates: dict[Key, asyncio.Event] = {}
        self.errors: dict[Key, BaseException] = {}

    def hold(self, key: Key) -> asyncio.Event:
        """Its looks last until the event is set."""
        return self.gates.setdefault(key, asyncio.Event())

    async def look(self, key: Key) -> None:
        self.looks.append(key)
        self.under_way.append(key)
        try:
            if (gate := self.gates.get(key)) is not None:
                await gate.wait()
            if (error := self.errors.get(key)) is not None:
                raise error
        finally:
            self.under_way.remove(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes() -> Passes:
    return Passes()


@pytest.fixture
async def scheduler(
    clock: Clock, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scheduler]:
    """Runs, and reads the test's clock at every turn of the event loop."""
    monkeypatch.setattr(module, "LONGEST_SLEEP", 0.0)
    made = Scheduler(passes.look, now=clock, interrupted=passes.interrupted.append)
    running = asyncio.create_task(made.run())
    yield made
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# When


async def test_keys_are_looked_at_in_the_order_of_their_times(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    scheduler.wake(C, at("08:00:30"))
    scheduler.wake(A, at("08:00:10"))
    scheduler.wake(B, at("08:00:20"))
    await turns()
    assert passes.looks == []
    clock.forward(30)
    await turns()
    assert passes.looks == [A, B, C]


async def test_keys_of_one_instant_are_looked_at_in_the_order_in_which_they_came(
    scheduler: Scheduler, passes: Passes
) -> None:
    for key in (B, C, A):
        scheduler.wake(key, at("08:00"))
    await turns()
    assert passes.looks == [B, C, A]


async def test_nothing_is_looked_at_before_its_time(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    scheduler.wake(A, at("08:00:10"))
    clock.forward(9.999)
    await turns()
    assert passes.looks == []
    clock.forward(0.001)
    await turns()
    assert passes.looks == [A]


@pytest.mark.parametrize(("first", "second"), [("08:00:10", "08:00:40"), ("08:00:40", "08:00:10")])
async def test_of_two_wakes_the_earlier_counts_and_only_that(
    scheduler: Scheduler, passes: Passes, clock: Clock, first: str, second: str
) -> None:
    scheduler.wake(A, at(first))
    scheduler.wake(A, at(second))
    clock.forward(10)
    await turns()
    assert passes.looks == [A]
    clock.forward(3600)
    await turns()
    assert passes.looks == [A]


async def test_a_past_time_is_now(scheduler: Scheduler, passes: Passes) -> None:
    scheduler.wake(A, at("07:00"))
    await turns()
    assert passes.looks == [A]


async def test_a_key_can_be_woken_again_after_its_look(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    for _ in range(3):
        clock.forward(10)
        scheduler.wake(A, clock.time)
        await turns()
    assert passes.looks == [A, A, A]


async def test_a_clock_that_jumps_forward_makes_due_what_it_jumped_over(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    scheduler.wake(A, at("09:00"))
    scheduler.wake(B, at("12:00"))
    clock.forward(2 * 3600)
    await turns()
    assert passes.looks == [A]


async def test_a_clock_that_jumps_back_makes_nothing_due_twice_and_loses_nothing(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    scheduler.wake(A, at("08:00"))
    scheduler.wake(B, at("08:00:10"))
    await turns()
    clock.forward(-3600)
    await turns()
    assert passes.looks == [A]
    clock.forward(3610)
    await turns()
    assert passes.looks == [A, B]


@pytest.mark.parametrize(
    ("due", "seconds"),
    [("08:00:05", 5.0), ("08:00:30", 30.0), ("09:00:00", LONGEST_SLEEP), (None, LONGEST_SLEEP)],
)
async def test_it_sleeps_to_the_next_time_but_never_long(
    clock: Clock, passes: Passes, due: str | None, seconds: float
) -> None:
    """The wall clock may be set meanwhile, and nobody tells."""
    idle = Scheduler(passes.look, now=clock, interrupted=passes.interrupted.append)
    if due is not None:
        idle.wake(A, at(due))
    assert idle._start_due() == seconds


async def test_a_wake_ends_the_sleep(clock: Clock, passes: Passes) -> None:
    idle = Scheduler(passes.look, now=clock, interrupted=passes.interrupted.append)
    running = asyncio.create_task(idle.run())
    idle.wake(B, at("23:00"))
    await turns()
    idle.wake(A, at("08:00"))
    await until(lambda: passes.looks == [A])
    running.cancel()


# Twice at once


async def test_a_key_is_never_looked_at_twice_at_once(scheduler: Scheduler, passes: Passes) -> None:
    gate = passes.hold(A)
    scheduler.wake(A, at("08:00"))
    await turns()
    for _ in range(5):
        scheduler.wake(A, at("08:00"))
        await turns()
    assert passes.under_way == [A]
    gate.set()
    await turns()
    assert passes.looks == [A, A]


async def test_a_later_wake_during_a_look_is_kept_for_its_time(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    gate = passes.hold(A)
    scheduler.wake(A, at("08:00"))
    await turns()
    scheduler.wake(A, at("08:00:10"))
    gate.set()
    await turns()
    assert passes.looks == [A]
    clock.forward(10)
    await turns()
    assert passes.looks == [A, A]


async def test_a_wake_that_comes_due_during_a_look_is_not_lost(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    gate = passes.hold(A)
    scheduler.wake(A, at("08:00"))
    await turns()
    scheduler.wake(A, at("08:00:10"))
    clock.forward(60)
    await turns()
    assert passes.looks == [A]
    gate.set()
    await turns()
    assert passes.looks == [A, A]


async def test_a_slow_look_holds_nobody_else_up(scheduler: Scheduler, passes: Passes) -> None:
    passes.hold(A)
    for key in (A, B, C):
        scheduler.wake(key, at("08:00"))
    await turns()
    assert passes.looks == [A, B, C]
    assert passes.under_way == [A]


# What goes wrong


async def test_a_look_that_raises_is_tried_again_ever_later_and_told_of_each_time(
    scheduler: Scheduler, passes: Passes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    passes.errors[A] = RuntimeError("a bug")
    scheduler.wake(A, clock.time)
    waits = (1, 2, 4, 8, 16, 32, 60, 60)
    for number, wait in enumerate(waits, 1):
        await turns()
        assert len(passes.looks) == number
        clock.forward(wait - 0.1)
        await turns()
        assert len(passes.looks) == number
        clock.forward(0.1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == len(waits)
    assert passes.interrupted == [A] * len(waits)
    assert (errors[0].namespace, errors[0].cron) == ("team", "a")  # type: ignore[attr-defined]


async def test_a_look_that_is_refused_is_told_of_in_a_line_without_a_traceback(
    scheduler: Scheduler, passes: Passes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    passes.errors[A] = Refused("could not write the status: the API server answered 403")
    scheduler.wake(A, clock.time)
    await turns()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "answered 403" in record.getMessage()


async def test_others_go_on_beside_a_look_that_raises(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    passes.errors[A] = RuntimeError("a bug")
    for key in (A, B):
        scheduler.wake(key, clock.time)
    await turns()
    scheduler.wake(B, clock.time)
    await turns()
    assert passes.looks == [A, B, B]


async def test_after_a_good_look_the_waits_begin_anew(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    error = passes.errors[A] = RuntimeError("a bug")
    scheduler.wake(A, clock.time)
    for wait in (1, 2, 4):
        await turns()
        clock.forward(wait)
    del passes.errors[A]
    await turns()
    passes.errors[A] = error
    scheduler.wake(A, clock.time)
    await turns()
    looks = len(passes.looks)
    clock.forward(1)
    await turns()
    assert len(passes.looks) == looks + 1


async def test_a_look_may_raise_for_days(scheduler: Scheduler, passes: Passes, clock: Clock) -> None:
    """2.0 ** 1024 is more than a float can hold."""
    logging.disable(logging.ERROR)
    passes.errors[A] = RuntimeError("a bug")
    scheduler.wake(A, clock.time)
    try:
        for number in range(1, 1100):
            await until(lambda number=number: len(passes.looks) == number)  # type: ignore[misc]
            await turns(5)
            clock.forward(LONGEST_BACKOFF)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_look_that_kopf_has_cancelled_is_looked_at_again(
    scheduler: Scheduler, passes: Passes, clock: Clock, begun: bool
) -> None:
    gate = passes.hold(A)
    scheduler.wake(A, clock.time)
    await until(lambda: A in scheduler._running)
    if begun:
        await until(lambda: passes.looks)
    scheduler._running[A].cancel()
    await turns()
    assert passes.interrupted == [A]
    assert passes.looks == [A] * (2 if begun else 1)
    gate.set()
    await turns()
    assert passes.under_way == []
    assert len(scheduler) == 0


async def test_a_look_that_sees_a_cancelled_part_of_its_own_is_looked_at_again(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    passes.errors[A] = asyncio.CancelledError()
    scheduler.wake(A, clock.time)
    await until(lambda: len(passes.looks) == 3)
    del passes.errors[A]
    await turns()
    assert passes.under_way == []
    assert set(passes.interrupted) == {A}


async def test_it_outlives_kopf_which_cancels_every_younger_task(clock: Clock, passes: Passes) -> None:
    idle = Scheduler(passes.look, now=clock, interrupted=passes.interrupted.append)
    running = asyncio.create_task(idle.run())
    passes.hold(A)
    idle.wake(A, clock.time)
    await until(lambda: passes.looks)
    for task in asyncio.all_tasks() - {running, asyncio.current_task()}:
        task.cancel()
    await until(lambda: passes.looks == [A, A])
    assert not running.done()
    running.cancel()
    await idle.drain(0)


# Forgetting, and the end


async def test_a_forgotten_key_is_not_looked_at(scheduler: Scheduler, passes: Passes, clock: Clock) -> None:
    scheduler.wake(A, at("08:00:10"))
    scheduler.wake(B, at("08:00:10"))
    scheduler.forget(A)
    scheduler.forget(C)
    assert len(scheduler) == 1
    clock.forward(60)
    await turns()
    assert passes.looks == [B]


async def test_a_key_that_is_made_again_begins_anew(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    scheduler.wake(A, at("08:00:10"))
    scheduler.forget(A)
    scheduler.wake(A, at("08:00:20"))
    clock.forward(10)
    await turns()
    assert passes.looks == []
    clock.forward(10)
    await turns()
    assert passes.looks == [A]


async def test_the_heap_does_not_grow_with_every_look(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    """A resource that comes once a year and is edited every second; old entries lie behind a good one."""
    scheduler.wake(B, at("07:00", day=31))
    for _ in range(3 * SPARE):
        scheduler.wake(A, at("08:00", day=31))
        scheduler.wake(A, clock.time)
        await turns(3)
        clock.forward(1)
    assert len(passes.looks) == 3 * SPARE
    assert len(scheduler._heap) <= SPARE + 2
    scheduler.wake(A, at("08:00", day=31))
    passes.looks.clear()
    clock.time = at("08:00", day=31)
    await turns()
    assert passes.looks == [B, A]


async def test_drain_lets_looks_end_and_starts_no_more(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    gate = passes.hold(A)
    scheduler.wake(A, clock.time)
    await turns()
    draining = asyncio.create_task(scheduler.drain(3600))
    await turns()
    scheduler.wake(A, clock.time)
    scheduler.wake(B, clock.time)
    await turns()
    assert not draining.done()
    gate.set()
    await draining
    await turns()
    assert passes.looks == [A]
    assert passes.interrupted == []


async def test_drain_cancels_what_does_not_end_and_does_not_wake_it_again(
    scheduler: Scheduler, passes: Passes, clock: Clock
) -> None:
    passes.hold(A)
    scheduler.wake(A, clock.time)
    await turns()
    await scheduler.drain(0)
    await turns()
    assert passes.under_way == []
    assert passes.interrupted == [A]
    assert passes.looks == [A]
    assert len(scheduler) == 0


async def test_drain_of_nothing_ends_at_once(scheduler: Scheduler) -> None:
    await scheduler.drain(3600)
