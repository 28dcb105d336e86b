"""When slots come: cron expressions on the wall clock of a zone. Core: pure functions of instants, no clock.

`cron.py` says which wall-clock times an expression names; here they become instants (design §3.5). A zone is
a row of segments of constant offset. In a segment that begins at the transition T, an expression counts

    cadence   from what the clock shows at T: it fires at every instant whose wall time matches
    fixed     from where the clock had been before T: what a gap leaves out comes at T, what a fold repeats
              has been already

Instants are aware UTC at the interface; inside, naive UTC and naive wall time, for speed.
"""

from __future__ import annotations

import os
import zoneinfo
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from importlib.metadata import version
from itertools import pairwise
from zoneinfo import ZoneInfo

from assistantcron import cron
from assistantcron.cron import Cron
from assistantcron.errors import InvalidSchedule, InvalidTimeZone

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_SAMPLE = timedelta(days=1)
"""How often the offset is looked at. In the whole database none lasts for less than three days."""
_REACH = timedelta(days=3)
"""More than any two readings of a clock can be apart from the instants between them: a day and two hours."""
_HORIZON = timedelta(days=50 * 366)
_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(9900, 1, 1)  # noqa: DTZ001 - naive UTC
"""No slot is sought outside, so that no arithmetic leaves Python's years."""


def tzdata_version() -> str:
    """Release of the zone database, such as 2026.6; or the folders that `PYTHONTZPATH` puts in its place."""
    return os.environ.get("PYTHONTZPATH") or version("tzdata")


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name, from the pinned `tzdata` package: CLI, replicas and image agree.

    `PYTHONTZPATH` overrides the package. Raises `InvalidTimeZone`.
    """
    if name not in _zone_names():
        raise InvalidTimeZone(
            f"time zone {name[:64]!r} must be an IANA name, such as Europe/Berlin or Etc/UTC"
        )
    if "PYTHONTZPATH" in os.environ:
        return ZoneInfo(name)
    path = resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    if "PYTHONTZPATH" in os.environ:
        return frozenset(zoneinfo.available_timezones() - {"localtime"})
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of constant offset within a year: [start, end) in naive UTC."""

    start: datetime
    end: datetime
    offset: timedelta
    shown: datetime
    """The wall time up to which the clock has been before `start`."""

    def floor(self, expression: Cron) -> datetime:
        """The wall time from which on the expression counts here."""
        return self.start + self.offset if expression.cadence else self.shown


@dataclass(frozen=True)
class Schedule:
    """One or several expressions on one zone; a slot that two of them share is one slot."""

    expressions: tuple[str, ...]
    time_zone: str

    @classmethod
    def parse(cls, expressions: Sequence[str], time_zone: str = "Etc/UTC") -> Schedule:
        """Raises `InvalidSchedule` or `InvalidTimeZone` with a line that names the culprit and the mend."""
        if not expressions:
            raise InvalidSchedule("a schedule must have at least one expression")
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
        if at >= _LATEST:
            return None
        found = (_next(self.time_zone, expression, at + _TICK) for expression in self._crons)
        return _aware(min((slot for slot in found if slot is not None), default=None))

    def last_through(self, instant: datetime, *, after: datetime) -> datetime | None:
        """The newest slot in (after, instant]; None if there is none."""
        at, low = _naive(instant), _naive(after)
        found = (_last(self.time_zone, expression, at, low) for expression in self._crons)
        return _aware(max((slot for slot in found if slot is not None), default=None))

    def count(self, after: datetime, through: datetime) -> int:
        """How many slots there are in (after, through]; by days, so that a year takes milliseconds."""
        low, high = _naive(after) + _TICK, _naive(through) + _TICK
        crons, total = self._crons, 0
        while low < high:
            segment = _segment(self.time_zone, low)
            end = min(high, segment.end)
            total += _count(crons, segment, low, end)
            low = end
        return total


def _naive(instant: datetime) -> datetime:
    """In UTC, or the nearer of the two bounds if it lies outside."""
    if instant.tzinfo is None:
        raise ValueError("an instant must have a time zone")
    bare = instant.replace(tzinfo=None)
    if not _EARLIEST < bare < _LATEST:
        return min(max(bare, _EARLIEST), _LATEST)
    return instant.astimezone(UTC).replace(tzinfo=None)


def _aware(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)


def _next(zone: str, expression: Cron, at: datetime) -> datetime | None:
    """The first slot from `at` on."""
    # A cadence may name nothing but a time that falls into a gap every year.
    limit = at + _HORIZON
    while at < limit:
        segment = _segment(zone, at)
        floor = segment.floor(expression)
        if at > segment.start:
            floor = max(floor, at + segment.offset)
        wall = expression.after(floor - _TICK)
        slot = max(wall - segment.offset, segment.start)
        if slot < segment.end:
            return slot
        # A fold soon after `at` may show again what has been before; a later one cannot: go near to `wall`.
        far = segment.end - at > _REACH
        at = max(segment.end, wall - _REACH) if far else segment.end
    return None


def _last(zone: str, expression: Cron, at: datetime, low: datetime) -> datetime | None:
    """The last slot in (low, at]."""
    while at > low:
        segment = _segment(zone, at)
        wall = expression.before(at + segment.offset + _TICK)
        if wall >= segment.floor(expression):
            slot = max(wall - segment.offset, segment.start)
            return slot if slot > low else None
        far = at - segment.start > _REACH
        at = min(segment.start - _TICK, wall + _REACH) if far else segment.start - _TICK
    return None


def _count(crons: Sequence[Cron], segment: Segment, low: datetime, high: datetime) -> int:
    """Slots in [low, high), a part of the segment, in naive UTC."""
    floor, top, total = low + segment.offset, high + segment.offset, 0
    gap = low == segment.start and segment.shown < floor
    if gap and any(c.after(segment.shown - _TICK) <= floor for c in crons if not c.cadence):
        # All fixed times in a gap, and one at its end, are one slot.
        total, floor = 1, floor + _TICK
    if floor < segment.shown:
        # The second pass of a fold: cadences alone fire again.
        middle = min(segment.shown, top)
        total += _walls([c for c in crons if c.cadence], floor, middle)
        floor = middle
    return total + _walls(crons, floor, top)


def _walls(crons: Sequence[Cron], low: datetime, high: datetime) -> int:
    """Distinct wall-clock times in [low, high) that one of the expressions names."""
    total = 0
    day = low.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < high:
        minutes = 0
        for expression in crons:
            if expression.matches(day):
                minutes |= expression.minutes
        first, end = max(0, -((day - low) // _MINUTE)), min(1440, -((day - high) // _MINUTE))
        total += ((minutes & (1 << end) - 1) >> first).bit_count()
        day += _DAY
    return total


def _segment(zone: str, at: datetime) -> Segment:
    segments = _year(zone, at.year)
    return segments[bisect_right(segments, at, key=lambda segment: segment.start) - 1]


@lru_cache(maxsize=8192)
def _year(name: str, year: int) -> tuple[Segment, ...]:
    zone, begin, end = load_zone(name), datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 - naive UTC
    start = begin - _REACH
    shown = start + _offset(zone, start)
    segments = []
    for first, last in pairwise(sorted({start, begin, end, *_changes(zone, start, end)})):
        offset = _offset(zone, first)
        segments.append(Segment(first, last, offset, shown))
        shown = max(shown, last + offset)
    return tuple(segment for segment in segments if segment.start >= begin)


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """When the offset changes, to the second. zoneinfo does not tell, so look often and bisect."""
    at, offset = start, _offset(zone, start)
    while at < end:
        before, at, was = at, at + _SAMPLE, offset
        if (offset := _offset(zone, at)) != was:
            seconds = range(_SAMPLE // _SECOND)
            changed = bisect_left(seconds, 1, key=lambda s: _offset(zone, before + s * _SECOND) != was)
            yield before + changed * _SECOND


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return zone.fromutc(at.replace(tzinfo=zone)).utcoffset() or timedelta(0)
