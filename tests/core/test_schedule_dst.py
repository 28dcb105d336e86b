"""Clocks that jump (design §3.5): named cases, and every zone's transitions against brute force.

A fixed time comes once for each of its days; a cadence keeps its step. `tests/core/oracle.py` is the other
opinion.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from assistantcron import schedule
from assistantcron.schedule import Schedule, load_zone
from tests.core.oracle import (
    MINUTE,
    Expression,
    Walk,
    first_after,
    in_between,
    made_zone,
    random_expression,
    transitions,
)

SEED = 20261124
YEARS = (2024, 2027)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Zone, expression, a wall time, and the slots after it: the day, and what the clock shows with its offset.
NAMED = [
    # 8 March: from 02:00 to 03:00. A fixed time in the gap comes at its end, several of them once.
    ("America/New_York", "30 2 * * *", "2026-03-07 00:00", "07 02:30-0500, 08 03:00-0400, 09 02:30-0400"),
    ("America/New_York", "0 2 * * *", "2026-03-08 00:00", "08 03:00-0400, 09 02:00-0400"),
    ("America/New_York", "0 3 * * *", "2026-03-08 00:00", "08 03:00-0400, 09 03:00-0400"),
    ("America/New_York", "0 2,3 * * *", "2026-03-08 00:00", "08 03:00-0400, 09 02:00-0400"),
    ("America/New_York", "0,15,30,45 2 * * *", "2026-03-08 00:00", "08 03:00-0400, 09 02:00-0400"),
    ("America/New_York", "30 1,2,3 * * *", "2026-03-08 00:00", "08 01:30-0500, 08 03:00-0400, 08 03:30-0400"),
    ("America/New_York", "30 2 8 3 *", "2026-01-01 00:00", "08 03:00-0400, 08 02:30-0500, 08 02:30-0500"),
    ("America/New_York", "30 2 * * SUN#2", "2026-03-01 00:00", "08 03:00-0400, 12 02:30-0400"),
    # A cadence in the gap does not come at all.
    ("America/New_York", "*/30 2 * * *", "2026-03-08 00:00", "09 02:00-0400, 09 02:30-0400"),
    ("America/New_York", "? 2 * * *", "2026-03-08 00:00", "09 02:00-0400, 09 02:01-0400"),
    ("America/New_York", "30 */2 * * *", "2026-03-08 00:00", "08 00:30-0500, 08 04:30-0400, 08 06:30-0400"),
    ("America/New_York", "*/20 * * * *", "2026-03-08 01:30", "08 01:40-0500, 08 03:00-0400, 08 03:20-0400"),
    ("America/New_York", "@hourly", "2026-03-08 00:30", "08 01:00-0500, 08 03:00-0400, 08 04:00-0400"),
    # 1 November: from 02:00 back to 01:00. A fixed time comes on the first pass only.
    ("America/New_York", "30 1 * * *", "2026-10-31 12:00", "01 01:30-0400, 02 01:30-0500"),
    ("America/New_York", "0 1 * * *", "2026-10-31 12:00", "01 01:00-0400, 02 01:00-0500"),
    ("America/New_York", "0 2 * * *", "2026-10-31 12:00", "01 02:00-0500, 02 02:00-0500"),
    ("America/New_York", "0,30 1-2 * * *", "2026-11-01 01:10", "01 01:30-0400, 01 02:00-0500, 01 02:30-0500"),
    ("America/New_York", "@daily", "2026-11-01 00:00", "02 00:00-0500, 03 00:00-0500"),
    # A cadence comes on both.
    ("America/New_York", "*/30 1 * * *", "2026-11-01 01:10", "01 01:30-0400, 01 01:00-0500, 01 01:30-0500"),
    ("America/New_York", "45 * * * *", "2026-11-01 00:50", "01 01:45-0400, 01 01:45-0500, 01 02:45-0500"),
    ("America/New_York", "0 */1 1 11 *", "2026-11-01 00:00", "01 01:00-0400, 01 01:00-0500, 01 02:00-0500"),
    ("America/New_York", "@hourly", "2026-11-01 00:30", "01 01:00-0400, 01 01:00-0500, 01 02:00-0500"),
    # 29 March from 02:00 to 03:00, 25 October from 03:00 back to 02:00.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00", "29 03:00+0200, 30 02:30+0200"),
    ("Europe/Berlin", "30 2,3 * * *", "2026-03-28 12:00", "29 03:00+0200, 29 03:30+0200, 30 02:30+0200"),
    ("Europe/Berlin", "*/15 2 * * *", "2026-03-28 12:00", "30 02:00+0200, 30 02:15+0200"),
    ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", "25 02:30+0200, 26 02:30+0100"),
    ("Europe/Berlin", "30 2 * * *", "2026-10-25 02:40", "26 02:30+0100, 27 02:30+0100"),
    ("Europe/Berlin", "0 1-4 * * *", "2026-10-25 01:30", "25 02:00+0200, 25 03:00+0100, 25 04:00+0100"),
    ("Europe/Berlin", "*/30 2 * * *", "2026-10-25 02:10", "25 02:30+0200, 25 02:00+0100, 25 02:30+0100"),
    # 4 October from 02:00 to 02:30, 5 April from 02:00 back to 01:30.
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00", "04 02:30+1100, 05 02:15+1100"),
    ("Australia/Lord_Howe", "0 2 * * *", "2026-10-03 12:00", "04 02:30+1100, 05 02:00+1100"),
    ("Australia/Lord_Howe", "15,30 2 * * *", "2026-10-03 12:00", "04 02:30+1100, 05 02:15+1100"),
    ("Australia/Lord_Howe", "30 1 * * *", "2026-10-03 12:00", "04 01:30+1030, 05 01:30+1100"),
    ("Australia/Lord_Howe", "0 3 * * *", "2026-10-03 12:00", "04 03:00+1100, 05 03:00+1100"),
    ("Australia/Lord_Howe", "0 * * * *", "2026-10-04 00:30", "04 01:00+1030, 04 03:00+1100, 04 04:00+1100"),
    (
        "Australia/Lord_Howe",
        "*/15 2 * * *",
        "2026-10-03 12:00",
        "04 02:30+1100, 04 02:45+1100, 05 02:00+1100",
    ),
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00", "05 01:45+1100, 06 01:45+1030"),
    ("Australia/Lord_Howe", "0 2 * * *", "2026-04-04 12:00", "05 02:00+1030, 06 02:00+1030"),
    (
        "Australia/Lord_Howe",
        "15,45 1 * * *",
        "2026-04-05 01:00",
        "05 01:15+1100, 05 01:45+1100, 06 01:15+1030",
    ),
    ("Australia/Lord_Howe", "45 * * * *", "2026-04-05 00:50", "05 01:45+1100, 05 01:45+1030, 05 02:45+1030"),
    (
        "Australia/Lord_Howe",
        "*/15 1 * * *",
        "2026-04-05 01:20",
        "05 01:30+1100, 05 01:45+1100, 05 01:30+1030",
    ),
    # 27 September from 02:45 to 03:45, 5 April from 03:45 back to 02:45.
    ("Pacific/Chatham", "0 3 * * *", "2026-09-26 12:00", "27 03:45+1345, 28 03:00+1345"),
    ("Pacific/Chatham", "45 2 * * *", "2026-09-26 12:00", "27 03:45+1345, 28 02:45+1345"),
    ("Pacific/Chatham", "0,45 3 * * *", "2026-09-26 12:00", "27 03:45+1345, 28 03:00+1345, 28 03:45+1345"),
    ("Pacific/Chatham", "*/30 3 * * *", "2026-09-26 12:00", "28 03:00+1345, 28 03:30+1345"),
    ("Pacific/Chatham", "*/45 3 * * *", "2026-09-26 12:00", "27 03:45+1345, 28 03:00+1345"),
    ("Pacific/Chatham", "0 3 * * *", "2026-04-04 12:00", "05 03:00+1345, 06 03:00+1245"),
    ("Pacific/Chatham", "45 2 * * *", "2026-04-04 12:00", "05 02:45+1345, 06 02:45+1245"),
    ("Pacific/Chatham", "45 3 * * *", "2026-04-04 12:00", "05 03:45+1245, 06 03:45+1245"),
    ("Pacific/Chatham", "*/30 3 * * *", "2026-04-05 03:10", "05 03:30+1345, 05 03:00+1245, 05 03:30+1245"),
    ("Pacific/Chatham", "0 * * * *", "2026-04-05 02:30", "05 03:00+1345, 05 03:00+1245, 05 04:00+1245"),
    # Back for Ramadan: 15 February from 03:00 to 02:00, 22 March from 02:00 to 03:00.
    ("Africa/Casablanca", "30 2 * * *", "2026-02-14 12:00", "15 02:30+0100, 16 02:30+0000"),
    ("Africa/Casablanca", "*/30 2 * * *", "2026-02-15 02:10", "15 02:30+0100, 15 02:00+0000, 15 02:30+0000"),
    ("Africa/Casablanca", "0 9 * * *", "2026-02-14 00:00", "14 09:00+0100, 15 09:00+0000"),
    ("Africa/Casablanca", "30 2 * * *", "2026-03-21 12:00", "22 03:00+0100, 23 02:30+0100"),
    ("Africa/Casablanca", "*/30 2 * * *", "2026-03-21 12:00", "23 02:00+0100, 23 02:30+0100"),
    # Two hours: 29 March from 01:00 to 03:00, 25 October from 03:00 back to 01:00.
    ("Antarctica/Troll", "30 1 * * *", "2026-03-28 12:00", "29 03:00+0200, 30 01:30+0200"),
    ("Antarctica/Troll", "0 1,2,3 * * *", "2026-03-28 12:00", "29 03:00+0200, 30 01:00+0200"),
    ("Antarctica/Troll", "30 1,2,3 * * *", "2026-03-28 12:00", "29 03:00+0200, 29 03:30+0200, 30 01:30+0200"),
    ("Antarctica/Troll", "0 */2 * * *", "2026-03-28 23:00", "29 00:00+0000, 29 04:00+0200"),
    ("Antarctica/Troll", "30 1,2 * * *", "2026-10-25 01:00", "25 01:30+0200, 25 02:30+0200, 26 01:30+0000"),
    ("Antarctica/Troll", "0 * * * *", "2026-10-25 01:30", "25 02:00+0200, 25 01:00+0000, 25 02:00+0000"),
    # There is no 30 December, which would be a Friday; it comes when the 31st begins.
    ("Pacific/Apia", "0 8 * * *", "2011-12-28 12:00", "29 08:00-1000, 31 00:00+1400, 31 08:00+1400"),
    ("Pacific/Apia", "0 8 30 12 *", "2011-12-28 12:00", "31 00:00+1400, 30 08:00+1400"),
    ("Pacific/Apia", "0 8 * * FRI", "2011-12-28 12:00", "31 00:00+1400, 06 08:00+1400"),
    ("Pacific/Apia", "0 8 * * FRI#5", "2011-12-28 12:00", "31 00:00+1400, 30 08:00+1400"),
    ("Pacific/Apia", "0 8 * * SAT", "2011-12-28 12:00", "31 08:00+1400, 07 08:00+1400"),
    ("Pacific/Apia", "0 8 L * *", "2011-12-28 12:00", "31 08:00+1400, 31 08:00+1400"),
    ("Pacific/Apia", "@daily", "2011-12-28 12:00", "29 00:00-1000, 31 00:00+1400, 01 00:00+1400"),
    ("Pacific/Apia", "0 8,16 * * *", "2011-12-29 12:00", "29 16:00-1000, 31 00:00+1400, 31 08:00+1400"),
    ("Pacific/Apia", "0 */8 * * *", "2011-12-29 12:00", "29 16:00-1000, 31 00:00+1400, 31 08:00+1400"),
    ("Pacific/Apia", "*/30 12 30 12 *", "2011-12-28 12:00", "30 12:00+1400, 30 12:30+1400"),
    # Here it was the 31st, and the day after it is in another year.
    ("Pacific/Kiritimati", "0 8 31 12 *", "1994-12-30 00:00", "01 00:00+1400, 31 08:00+1400"),
    ("Pacific/Kiritimati", "0 8 L * *", "1994-12-30 00:00", "01 00:00+1400, 31 08:00+1400"),
    ("Pacific/Kiritimati", "@yearly", "1994-12-30 00:00", "01 00:00+1400, 01 00:00+1400"),
    ("Pacific/Kiritimati", "0 */12 * * *", "1994-12-30 00:00", "30 12:00-1000, 01 00:00+1400, 01 12:00+1400"),
    # Changed for good: back from midnight to 23:00 of 29 February; on from 23:30 to midnight of 5 May.
    ("Asia/Almaty", "30 23 * * *", "2024-02-28 12:00", "28 23:30+0600, 29 23:30+0600, 01 23:30+0500"),
    ("Asia/Almaty", "0 0 * * *", "2024-02-28 12:00", "29 00:00+0600, 01 00:00+0500, 02 00:00+0500"),
    ("Asia/Almaty", "30 23 L * *", "2024-02-28 12:00", "29 23:30+0600, 31 23:30+0500"),
    ("Asia/Almaty", "*/30 23 29 2 *", "2024-02-29 23:10", "29 23:30+0600, 29 23:00+0500, 29 23:30+0500"),
    ("Asia/Pyongyang", "45 23 * * *", "2018-05-03 12:00", "03 23:45+0830, 05 00:00+0900, 05 23:45+0900"),
    ("Asia/Pyongyang", "45 23 4 5 *", "2018-05-03 12:00", "05 00:00+0900, 04 23:45+0900"),
    ("Asia/Pyongyang", "0 0 * * *", "2018-05-03 12:00", "04 00:00+0830, 05 00:00+0900, 06 00:00+0900"),
    ("Asia/Pyongyang", "0,45 0,23 * * *", "2018-05-04 12:00", "04 23:00+0830, 05 00:00+0900, 05 00:45+0900"),
    ("Asia/Pyongyang", "*/15 23 * * *", "2018-05-04 12:00", "04 23:00+0830, 04 23:15+0830, 05 23:00+0900"),
    # New Year's night: from 01:00 to 02:00 in 2018, from 02:00 back to 01:00 in 2019.
    ("Africa/Sao_Tome", "30 1 1 1 *", "2017-12-31 12:00", "01 02:00+0100, 01 01:30+0100, 01 01:30+0000"),
    ("Africa/Sao_Tome", "*/30 1 1 1 *", "2017-12-31 12:00", "01 01:00+0100, 01 01:30+0100, 01 01:00+0000"),
    # An evening: 28 March from 23:00 to midnight, 24 October from midnight back to 23:00.
    ("America/Nuuk", "30 23 * * *", "2026-03-27 12:00", "27 23:30-0200, 29 00:00-0100, 29 23:30-0100"),
    ("America/Nuuk", "30 23 * * *", "2026-10-24 12:00", "24 23:30-0100, 25 23:30-0200"),
    ("America/Nuuk", "*/30 23 * * *", "2026-10-24 23:10", "24 23:30-0100, 24 23:00-0200, 24 23:30-0200"),
    # On from midnight to 00:44:30 of 7 January, for good.
    ("Africa/Monrovia", "0 0 * * *", "1972-01-05 12:00", "06 00:00-004430, 07 00:44+0000, 08 00:00+0000"),
    ("Africa/Monrovia", "59 23 * * *", "1972-01-05 12:00", "05 23:59-004430, 06 23:59-004430, 07 23:59+0000"),
]

# What bare croniter answers with a zone, where the rule is another one (reference/kopf.md, 7).
OTHERWISE = [
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-25 00:00",
        "25 02:30+0200, 25 02:30+0100",
        "25 02:30+0200, 26 02:30+0100",
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-03-29 00:00",
        "29 03:00+0200, 30 02:00+0200",
        "30 02:00+0200, 30 02:30+0200",
    ),
    (
        "Pacific/Chatham",
        "0 3 * * *",
        "2026-04-04 12:00",
        "05 03:00+1345, 05 03:00+1245",
        "05 03:00+1345, 06 03:00+1245",
    ),
]


def instant(zone: str, wall: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(wall).replace(tzinfo=load_zone(zone), fold=fold).astimezone(UTC)


def shown(zone: ZoneInfo, slots: Sequence[datetime]) -> str:
    return ", ".join(slot.astimezone(zone).strftime("%d %H:%M%z") for slot in slots)


def following(jobs: Schedule, after: datetime, number: int) -> list[datetime]:
    slots = [after]
    for _ in range(number):
        slot = jobs.next_after(slots[-1])
        assert slot is not None
        slots.append(slot)
    return slots[1:]


@pytest.mark.parametrize(("zone", "expression", "after", "expected"), NAMED)
def test_named_cases(zone: str, expression: str, after: str, expected: str) -> None:
    jobs = Schedule.parse([expression], zone)
    begin = instant(zone, after)
    slots = following(jobs, begin, expected.count(",") + 1)
    assert shown(load_zone(zone), slots) == expected
    assert jobs.count(begin, slots[-1]) == len(slots)
    assert jobs.last_through(slots[0] - TICK, after=begin) is None
    for number, (slot, upcoming) in enumerate(pairwise(slots), 1):
        assert jobs.last_through(upcoming - TICK, after=begin) == slot
        assert jobs.count(begin, upcoming - TICK) == number
        assert jobs.next_after(upcoming - TICK) == upcoming


@pytest.mark.parametrize(("zone", "expression", "after", "croniters", "ours"), OTHERWISE)
def test_where_croniter_alone_answers_otherwise(
    zone: str, expression: str, after: str, croniters: str, ours: str
) -> None:
    begin = instant(zone, after)
    bare = croniter(expression, begin.astimezone(load_zone(zone)))
    assert shown(load_zone(zone), [bare.get_next(datetime) for _ in range(2)]) == croniters
    assert shown(load_zone(zone), following(Schedule.parse([expression], zone), begin, 2)) == ours


@pytest.mark.parametrize(
    ("zone", "second_pass"), [("America/New_York", "2026-11-01"), ("Europe/London", "2026-10-25")]
)
def test_in_the_second_pass_of_a_fold_a_fixed_time_is_over_and_a_cadence_is_not(
    zone: str, second_pass: str
) -> None:
    begin, end = (instant(zone, f"{second_pass} {clock}", fold=1) for clock in ("01:10", "01:50"))
    first = instant(zone, f"{second_pass} 01:30")
    fixed, cadence = Schedule.parse(["30 1 * * *"], zone), Schedule.parse(["*/30 1 * * *"], zone)
    assert fixed.next_after(begin) == first + DAY + HOUR
    assert fixed.last_through(end, after=begin) is None
    assert fixed.last_through(end, after=begin - DAY) == first
    assert fixed.count(begin, end) == 0
    assert cadence.next_after(begin) == first + HOUR
    assert cadence.last_through(end, after=begin) == first + HOUR
    assert cadence.count(begin, end) == 1


def test_a_cadence_of_nothing_but_gaps_does_not_come() -> None:
    every_gap = Schedule.parse(["*/30 2 * 3 SUN#2"], "America/New_York")
    begin = instant("America/New_York", "2026-01-01 00:00")
    assert every_gap.next_after(begin) is None
    # In 2006 the clocks went forward in April.
    assert every_gap.last_through(begin, after=begin - 30 * 366 * DAY) == instant(
        "America/New_York", "2006-03-12 02:30"
    )
    assert every_gap.count(begin, begin + 3 * 366 * DAY) == 0


def agrees(jobs: Schedule, slots: Sequence[datetime], instants: Sequence[datetime], end: datetime) -> None:
    """Holds a schedule to the slots that the oracle has found before `end`."""
    for at in instants:
        expected, found = first_after(slots, at), jobs.next_after(at)
        about = f"{jobs} at {at}: {found}, not {expected}"
        assert found == expected or (expected is None and (found is None or found >= end)), about
    for after, through in (sorted(pair) for pair in pairwise(instants)):
        about = f"{jobs} in ({after}, {through}]"
        between = in_between(slots, after, through)
        assert jobs.last_through(through, after=after) == (between[-1] if between else None), about
        assert jobs.count(after, through) == len(between), about


def some_instants(rng: random.Random, around: datetime, reach: timedelta, number: int) -> list[datetime]:
    """The one given, to the microsecond, and others within reach of it."""
    near = [
        around
        + rng.randint(-(reach // MINUTE), reach // MINUTE) * MINUTE
        + rng.choice([0, 0, 1, -1, 31]) * TICK
        for _ in range(number)
    ]
    return [around, *near, around - TICK, around + TICK]


def some_expressions(rng: random.Random, wall: datetime) -> list[Expression]:
    return [
        random_expression(rng, wall + rng.randint(-90, 90) * MINUTE) for _ in range(rng.choice([1, 1, 2, 3]))
    ]


def some_schedule(expressions: Sequence[Expression], zone: str) -> Schedule:
    return Schedule.parse([expression.text for expression in expressions], zone)


@pytest.fixture(scope="module")
def changes() -> dict[str, list[datetime]]:
    """When the clocks change in each zone that is not another one under a second name."""
    files = resources.files("tzdata.zoneinfo")
    names = sorted(schedule._zone_names())
    different = {files.joinpath(*name.split("/")).read_bytes(): name for name in names}
    return {name: transitions(load_zone(name), *YEARS) for name in different.values()}


def test_every_change_of_every_zone_is_known(changes: dict[str, list[datetime]]) -> None:
    assert sum(map(len, changes.values())) > 600
    for name, expected in changes.items():
        years = {year: datetime(year, 1, 1, tzinfo=UTC) for year in range(YEARS[0], YEARS[1] + 1)}
        starts = {
            segment.start.replace(tzinfo=UTC) for year in years for segment in schedule._year(name, year)
        }
        assert starts == {*years.values(), *expected}, name


def test_every_change_in_the_world_against_brute_force(changes: dict[str, list[datetime]]) -> None:
    """Some 250 changes, for many zones have the same ones; with each two schedules and nine instants."""
    rng = random.Random(SEED)
    different: dict[tuple[object, ...], list[tuple[str, datetime]]] = {}
    for name, times in changes.items():
        for at in times:
            offsets = [moment.astimezone(load_zone(name)).utcoffset() for moment in (at - MINUTE, at)]
            different.setdefault((at, *offsets), []).append((name, at))
    assert len(different) > 200
    for same in different.values():
        name, at = rng.choice(same)
        zone, end = load_zone(name), at + 15 * HOUR
        walk = Walk(zone, at - 15 * HOUR, end)
        for _ in range(2):
            expressions = some_expressions(rng, at.astimezone(zone).replace(tzinfo=None))
            slots = walk.slots(expressions)
            agrees(some_schedule(expressions, name), slots, some_instants(rng, at, 4 * HOUR, 6), end)


def test_changes_at_a_year_s_end_against_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 made zones that jump by up to a day and two hours near New Year, where a table of segments ends."""
    rng = random.Random(SEED)
    zones: dict[str, ZoneInfo] = {}
    monkeypatch.setattr(schedule, "load_zone", zones.__getitem__)
    midnight = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(40):
        name, reach = f"Made/{number}", rng.choice([1, 3, 26])
        at = midnight + rng.randint(-reach * 60, reach * 60) * MINUTE
        offset, other = (timedelta(minutes=rng.randint(-12 * 4, 14 * 4) * 15) for _ in range(2))
        if rng.random() < 0.6:
            other = offset + rng.choice([-2, -1, -0.5, 0.5, 1, 2]) * HOUR
        back = [(at + 3 * DAY, offset)] if rng.random() < 0.3 else []
        zone = zones[name] = made_zone(name, offset, [(at, other), *back])
        end = at + 5 * DAY
        walk = Walk(zone, at - 2 * DAY, end)
        for _ in range(3):
            expressions = some_expressions(rng, at.astimezone(zone).replace(tzinfo=None))
            slots = walk.slots(expressions)
            agrees(some_schedule(expressions, name), slots, some_instants(rng, at, 27 * HOUR, 12), end)


@pytest.mark.parametrize(("zone", "year"), [("Africa/Casablanca", 2025), ("Australia/Lord_Howe", 2026)])
def test_a_whole_year_against_brute_force(zone: str, year: int) -> None:
    """Three schedules, each from 23 instants anywhere in the year."""
    rng = random.Random(SEED)
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    walk = Walk(load_zone(zone), begin, end)
    for _ in range(3):
        middle = begin + (end - begin) / 2
        expressions = some_expressions(rng, middle.replace(tzinfo=None) + rng.randint(-150, 150) * DAY)
        slots = walk.slots(expressions)
        agrees(some_schedule(expressions, zone), slots, some_instants(rng, middle, 180 * DAY, 20), end)
