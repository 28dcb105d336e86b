"""When slots come: cron expressions on the wall clock of a zone. Core: pure functions of instants, no clock.

`cron.py` says which wall-clock times an expression names; here they become instants (design §3.5). A zone is a row of
segments of constant offset. In a segment that begins at the transition T, where the wall clock jumps from T+before to
T+after, an expression counts from one of the two:

    cadence   from T+after: it fires at every instant whose wall time matches
    fixed     from T+before: a time in a gap comes at T, a time that a fold repeats has been already

Instants are aware UTC at the interface; inside, naive UTC and naive wall time, for speed.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzdata

from assistantcron import cron
from assistantcron.cron import Cron
from assistantcron.errors import InvalidTimeZone

_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_SAMPLE = timedelta(hours=6)
"""No zone changes its offset twice within so short a time."""


def tzdata_version() -> str:
    """Release of the zone database in use, such as 2026f."""
    return tzdata.IANA_VERSION if "PYTHONTZPATH" not in os.environ else f"{os.environ['PYTHONTZPATH']} (PYTHONTZPATH)"


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name, from the pinned `tzdata` package, so that CLI, replicas and image agree.

    `PYTHONTZPATH` overrides it. Raises `InvalidTimeZone`.
    """
    refusal = InvalidTimeZone(f"time zone {name[:64]!r} must be an IANA name, such as Europe/Berlin or Etc/UTC")
    if name not in _zone_names():
        raise refusal
    if "PYTHONTZPATH" in os.environ:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise refusal from None
    path = resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@dataclass(frozen=True)
class Segment:
    """A stretch of constant offset, [start, end) in naive UTC; a year's end is a boundary, too, without a jump."""

    start: datetime
    end: datetime
    before: timedelta
    """Offset just before `start`."""
    offset: timedelta

    def floor(self, expression: Cron) -> datetime:
        """The wall time from which on the expression counts here."""
        return self.start + (self.offset if expression.cadence else self.before)


@dataclass(frozen=True)
class Schedule:
    """One or several expressions on one zone; a slot that two of them share is one slot."""

    expressions: tuple[str, ...]
    time_zone: str

    @classmethod
    def parse(cls, expressions: Sequence[str], time_zone: str = "Etc/UTC") -> Schedule:
        """Raises `InvalidSchedule` or `InvalidTimeZone` with a line that names the culprit and the mend."""
        for expression in expressions:
            cron.parse(expression)
        load_zone(time_zone)
        return cls(tuple(" ".join(expression.split()) for expression in expressions), time_zone)

    @classmethod
    def from_text(cls, text: str) -> Schedule:
        """The inverse of `str()`."""
        expressions, _, time_zone = text.rpartition(" | ")
        return cls.parse(expressions.split("; "), time_zone)

    def __str__(self) -> str:
        return f"{'; '.join(self.expressions)} | {self.time_zone}"

    @property
    def zone(self) -> ZoneInfo:
        """Its zone."""
        return load_zone(self.time_zone)

    @property
    def _crons(self) -> tuple[Cron, ...]:
        return tuple(cron.parse(expression) for expression in self.expressions)

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot strictly after `instant`; None if none comes within 50 years."""
        at = _naive(instant)
        found = (_next(self.time_zone, expression, at) for expression in self._crons)
        return _aware(min((slot for slot in found if slot is not None), default=None))

    def last_through(self, instant: datetime, *, after: datetime) -> datetime | None:
        """The newest slot in (after, instant]."""
        at, low = _naive(instant), _naive(after)
        if at <= low:
            return None
        found = (_last(self.time_zone, expression, at, low) for expression in self._crons)
        return _aware(max((slot for slot in found if slot is not None), default=None))

    def count(self, after: datetime, through: datetime) -> int:
        """How many slots there are in (after, through]; days are counted whole, so a year costs milliseconds."""
        low, high = _naive(after), _naive(through)
        crons, total = self._crons, 0
        for segment in _segments(self.time_zone, low, high):
            total += _count(crons, segment, max(low + _TICK, segment.start), min(high + _TICK, segment.end))
        return total


def _naive(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant must have a time zone")
    return instant.astimezone(timezone.utc).replace(tzinfo=None)


def _aware(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=timezone.utc)


def _next(zone: str, expression: Cron, at: datetime) -> datetime | None:
    segment = _segment(zone, at)
    floor = max(at + segment.offset + _TICK, segment.floor(expression))
    wall = expression.after(floor - _TICK)
    while wall is not None:
        slot = max(wall - segment.offset, segment.start)
        if slot < segment.end:
            return slot
        segment = _segment(zone, segment.end)
        # The old answer still stands if the new floor only cuts off times that are not in the schedule.
        if not floor <= segment.floor(expression) <= wall:
            floor = segment.floor(expression)
            wall = expression.after(floor - _TICK)
    return None


def _last(zone: str, expression: Cron, at: datetime, low: datetime) -> datetime | None:
    segment = _segment(zone, at)
    bound = at + segment.offset + _TICK
    wall = expression.before(bound)
    while wall is not None:
        if wall >= segment.floor(expression):
            slot = max(wall - segment.offset, segment.start)
            return slot if slot > low else None
        if segment.start <= low:
            return None
        top = segment.start + segment.before
        segment = _segment(zone, segment.start - _TICK)
        # The old answer still stands if nothing between it and the new bound is left unseen.
        if not wall < top <= bound:
            bound = top
            wall = expression.before(bound)
    return None


def _count(crons: Sequence[Cron], segment: Segment, low: datetime, high: datetime) -> int:
    """Slots in [low, high), a part of the segment, in naive UTC."""
    if low >= high:
        return 0
    floor, top = low + segment.offset, high + segment.offset
    total = 0
    if low == segment.start and segment.before < segment.offset:
        # A gap: all fixed times in it, and one at its end, are the one slot at T.
        gap = segment.start + segment.before
        fixed = any((wall := c.after(gap - _TICK)) and wall <= floor for c in crons if not c.cadence)
        if fixed:
            total += 1
            floor += _TICK
    fold_end = segment.start + segment.before
    if floor < fold_end:
        # A fold's second pass: cadences alone fire again.
        middle = min(fold_end, top)
        total += _walls([c for c in crons if c.cadence], floor, middle)
        floor = middle
    return total + _walls(crons, floor, top)


def _walls(crons: Sequence[Cron], low: datetime, high: datetime) -> int:
    """Distinct wall-clock times in [low, high) that one of the expressions names."""
    if low >= high or not crons:
        return 0
    sorted_minutes: dict[tuple[bool, ...], list[int]] = {}
    total = 0
    day = low.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < high:
        matching = tuple(expression.matches(day.date()) for expression in crons)
        minutes = sorted_minutes.get(matching)
        if minutes is None:
            union = frozenset().union(*(c.minutes for c, fires in zip(crons, matching, strict=True) if fires))
            minutes = sorted_minutes[matching] = sorted(union)
        total += len(minutes)
        if day < low:
            total -= bisect_right(minutes, ((low - day) - _TICK) // timedelta(minutes=1))
        if day + _DAY > high:
            total -= len(minutes) - bisect_right(minutes, ((high - day) - _TICK) // timedelta(minutes=1))
        day += _DAY
    return total


def _segments(zone: str, low: datetime, high: datetime) -> Iterator[Segment]:
    """The segments that meet (low, high]."""
    segment = _segment(zone, low)
    yield segment
    while segment.end <= high:
        segment = _segment(zone, segment.end)
        yield segment


def _segment(zone: str, at: datetime) -> Segment:
    segments = _year(zone, at.year)
    return segments[bisect_right(segments, at, key=lambda segment: segment.start) - 1]


@lru_cache(maxsize=4096)
def _year(zone: str, year: int) -> tuple[Segment, ...]:
    """A year's segments. zoneinfo does not tell its transitions, so the offset is sampled, and bisected where it moves."""
    start, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 - naive UTC
    bounds = [start]
    before = [_offset(zone, start - _TICK)]
    at = start
    while at < end:
        upcoming = min(at + _SAMPLE, end)
        low, high = at, upcoming
        if _offset(zone, low) != _offset(zone, high):
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                if _offset(zone, middle) == _offset(zone, at):
                    low = middle
                else:
                    high = middle
            if high < end:
                bounds.append(high)
                before.append(_offset(zone, at))
        at = upcoming
    ends = [*bounds[1:], end]
    return tuple(
        Segment(first, last, offset, _offset(zone, first))
        for first, last, offset in zip(bounds, ends, before, strict=True)
    )


def _offset(zone: str, at: datetime) -> timedelta:
    local = load_zone(zone).fromutc(at.replace(tzinfo=load_zone(zone)))
    return local.utcoffset() or timedelta(0)
