"""Slots by brute force, for the property tests: every minute is looked at. Nothing here is the product's.

A random field is made together with the numbers that it stands for, so that no parser is needed. The rule for
clocks that jump (design §3.5) is told as a walk: each minute of UTC shows a wall time; a cadence looks at
that one, a fixed time at all those that the clock has newly reached with it, which are none in a fold and
many after a gap.
"""

from __future__ import annotations

import io
import random
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


@dataclass(frozen=True)
class Expression:
    """An expression and what it means; `None`: the field is not set."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    days: frozenset[int | str] | None
    weekdays: frozenset[int | str] | None
    cadence: bool

    def on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        weekday = (day.weekday() + 1) % 7
        last = (day + timedelta(days=1)).month != day.month
        nth = sum(1 for n in range(1, day.day + 1) if (day.day - n) % 7 == 0)
        by_day = self.days is not None and (day.day in self.days or (last and "L" in self.days))
        by_weekday = self.weekdays is not None and (
            weekday in self.weekdays or f"{weekday}#{nth}" in self.weekdays
        )
        return by_day or by_weekday or (self.days is None and self.weekdays is None)


class Walk:
    """What the clock of a zone shows at each minute from `begin` to `end`, which are whole minutes of UTC.

    No transition may lie within a day before `begin`.
    """

    def __init__(self, zone: tzinfo, begin: datetime, end: datetime) -> None:
        self.begin = begin
        origin = begin.replace(tzinfo=None)
        self.shown = []
        for _ in range((end - begin) // MINUTE):
            wall = begin.astimezone(zone).replace(tzinfo=None)
            self.shown.append((wall - origin) // MINUTE)
            begin += MINUTE
        self._midnight = origin.replace(hour=0, minute=0)
        self._since_midnight = (origin - self._midnight) // MINUTE

    def slots(self, expressions: Sequence[Expression]) -> list[datetime]:
        found: set[int] = set()
        for expression in expressions:
            fires = self._fires(expression)
            if expression.cadence:
                found.update(at for at, wall in enumerate(self.shown) if wall in fires)
                continue
            reached = self.shown[0]
            for at, wall in enumerate(self.shown):
                if wall < reached:
                    continue
                if wall in fires or not fires.isdisjoint(range(reached, wall)):
                    found.add(at)
                reached = wall + 1
        return [self.begin + at * MINUTE for at in sorted(found)]

    def _fires(self, expression: Expression) -> set[int]:
        """The wall times, in minutes from where the walk begins, that the expression names."""
        first = (min(self.shown) + self._since_midnight) // 1440
        last = (max(self.shown) + self._since_midnight) // 1440
        return {
            day * 1440 + hour * 60 + minute - self._since_midnight
            for day in range(first, last + 1)
            if expression.on((self._midnight + timedelta(days=day)).date())
            for hour in expression.hours
            for minute in expression.minutes
        }


def first_after(slots: Sequence[datetime], instant: datetime) -> datetime | None:
    at = bisect_right(slots, instant)
    return slots[at] if at < len(slots) else None


def in_between(slots: Sequence[datetime], after: datetime, through: datetime) -> Sequence[datetime]:
    """Those in (after, through]."""
    return slots[bisect_right(slots, after) : bisect_right(slots, through)]


def transitions(zone: tzinfo, first: int, last: int) -> list[datetime]:
    """When the zone's offset changes, to the minute, from one year to another, both included."""
    step, found = timedelta(hours=12), []
    at, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 1, tzinfo=UTC)
    offset = at.astimezone(zone).utcoffset()
    while at < end:
        at += step
        now = at.astimezone(zone).utcoffset()
        if now != offset:
            minutes = [at - n * MINUTE for n in range(step // MINUTE, -1, -1)]
            same = [minute.astimezone(zone).utcoffset() == now for minute in minutes]
            found.append(minutes[bisect_left(same, True)])
        offset = now
    return found


def zone_file(offset: timedelta, changes: Sequence[tuple[datetime, timedelta]]) -> bytes:
    """A zone as the database keeps it (TZif, version 1): an offset, and those that follow, from when on."""
    offsets = [offset, *(new for _, new in changes)]
    counts = struct.pack(">6l", 0, 0, 0, len(changes), len(offsets), 4)
    times = b"".join(struct.pack(">l", int(at.timestamp())) for at, _ in changes)
    kinds = b"".join(struct.pack(">lBB", int(each.total_seconds()), 0, 0) for each in offsets)
    return b"TZif" + bytes(16) + counts + times + bytes(range(1, len(offsets))) + kinds + b"TST\0"


def made_zone(name: str, offset: timedelta, changes: Sequence[tuple[datetime, timedelta]]) -> ZoneInfo:
    return ZoneInfo.from_file(io.BytesIO(zone_file(offset, changes)), key=name)


def random_expression(rng: random.Random, around: datetime) -> Expression:
    """One that is likely to fire near that wall time."""
    minute_text, minutes = _numbers(rng, 0, 59, around.minute)
    hour_text, hours = _numbers(rng, 0, 23, around.hour)
    day_text, days = _days(rng, around) if rng.random() < 0.3 else (rng.choice("**?"), None)
    month_text, months = ("*", frozenset(range(1, 13)))
    if rng.random() < 0.2:
        month_text, months = rng.choice(
            [
                (str(around.month), frozenset({around.month})),
                (MONTHS[around.month - 1], frozenset({around.month})),
            ]
        )
    weekday_text, weekdays = _weekdays(rng, around) if rng.random() < 0.3 else (rng.choice("**?"), None)
    text = f"{minute_text} {hour_text} {day_text} {month_text} {weekday_text}"
    return Expression(
        text=rng.choice([text, text.lower()]),
        minutes=minutes,
        hours=hours,
        months=months,
        days=days,
        weekdays=weekdays,
        cadence=minute_text[0] in "*?" or hour_text[0] in "*?",
    )


def _numbers(rng: random.Random, low: int, high: int, near: int) -> tuple[str, frozenset[int]]:
    def one() -> int:
        return (
            max(low, min(high, near + rng.randint(-2, 2))) if rng.random() < 0.6 else rng.randint(low, high)
        )

    a, b = sorted((one(), one()))
    step = rng.choice([1, 2, 3, 5, 7, 10, 15, 20, 30])
    return rng.choice(
        [
            ("*", frozenset(range(low, high + 1))),
            ("?", frozenset(range(low, high + 1))),
            (f"*/{step}", frozenset(range(low, high + 1, step))),
            (f"?/{step}", frozenset(range(low, high + 1, step))),
            (f"{a}", frozenset({a})),
            (f"{a}", frozenset({a})),
            (f"{b},{a}", frozenset({a, b})),
            (f"{a}-{b}", frozenset(range(a, b + 1))),
            (f"{a}-{b}/{step}", frozenset(range(a, b + 1, step))),
            (f"{a}/{step}", frozenset(range(a, high + 1, step))),
        ]
    )


def _days(rng: random.Random, around: datetime) -> tuple[str, frozenset[int | str]]:
    last = ((around.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
    a = max(1, min(last, around.day + rng.randint(-1, 1)))
    b = rng.randint(a, 31)
    step = rng.choice([2, 3, 10])
    days: list[tuple[str, frozenset[int | str]]] = [
        (f"{a}", frozenset({a})),
        (f"{a}-{b}", frozenset(range(a, b + 1))),
        (f"*/{step}", frozenset(range(1, 32, step))),
        ("1-31", frozenset(range(1, 32))),
        ("L", frozenset({"L"})),
        (f"{a},L", frozenset({a, "L"})),
    ]
    return rng.choice(days)


def _weekdays(rng: random.Random, around: datetime) -> tuple[str, frozenset[int | str]]:
    a, b = sorted(rng.sample(range(7), 2))
    nth = (around.day + 6) // 7
    weekdays: list[tuple[str, frozenset[int | str]]] = [
        (f"{a}", frozenset({a})),
        (WEEKDAYS[a], frozenset({a})),
        ("7", frozenset({0})),
        (f"{a}-{b}", frozenset(range(a, b + 1))),
        (f"{WEEKDAYS[a]}-{WEEKDAYS[b]}", frozenset(range(a, b + 1))),
        (f"{b}-7", frozenset({*range(b, 7), 0})),
        ("*/2", frozenset({0, 2, 4, 6})),
        (f"{a}#{nth}", frozenset({f"{a}#{nth}"})),
        (f"7#{nth},{WEEKDAYS[b]}", frozenset({f"0#{nth}", b})),
        (f"{WEEKDAYS[a]}#5,{WEEKDAYS[b]}#1", frozenset({f"{a}#5", f"{b}#1"})),
    ]
    return rng.choice(weekdays)
