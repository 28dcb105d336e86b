"""The grammar of one cron expression: what is accepted, and why the rest is refused. Core: no I/O, no clock.

CronJob's five fields, with the names, `L` and `#` that LangGraph's own crons know. Everything is understood
here; croniter, which accepts much that nobody means (wrapping ranges, random fields, a sixth field for
seconds) and ANDs a day of month with `#`, gets plain numbers and finds the next or last time that has them.
`schedule.py` puts zones on top.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from croniter import croniter

from assistantcron.errors import InvalidSchedule

MAX_LENGTH = 100
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_ATOM = re.compile(r"(?:(?P<star>[*?])|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
_NTH = re.compile(r"(?P<day>\w+)#(?P<nth>[1-5])", re.ASCII)
_ANY = re.compile(r"[*?](?:/0*1)?", re.ASCII)
_LAST_DAY = 0
_EACH = 0
_LEAP_YEAR = datetime(2000, 1, 1)  # noqa: DTZ001 - wall-clock times have no zone


@dataclass(frozen=True)
class Field:
    """One of the five; `last` is the end of `*` and of an open range, `high` the highest number allowed."""

    title: str
    low: int
    last: int
    high: int
    names: dict[str, int]
    allowed: str


def _field(title: str, low: int, last: int, *, names: str = "", high: int = 0, allowed: str = "") -> Field:
    numbers = {name: number for number, name in enumerate(names.split(), low)}
    return Field(title, low, last, high or last, numbers, allowed or f"{low} to {last}")


_MINUTE = _field("minute", 0, 59)
_HOUR = _field("hour", 0, 23)
_DAY = _field("day of month", 1, 31, allowed="1 to 31, or L for the last day")
_MONTH = _field(
    "month", 1, 12, names="JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", allowed="1 to 12, or JAN to DEC"
)
_WEEKDAY = _field(
    "day of week",
    0,
    6,
    names="SUN MON TUE WED THU FRI SAT",
    high=7,
    allowed="0 to 7, or SUN to SAT; with #1 to #5, such as MON#1, for the month's first to fifth",
)


@dataclass(frozen=True, eq=False, slots=True)
class Cron:
    """One expression, understood. Wall-clock times here are naive: they have no zone yet."""

    minutes: int
    """Minutes of the day as bits; bit 0 is midnight."""
    months: frozenset[int]
    days: frozenset[int] | None
    """Days of the month, 0 for the last; None: not set."""
    weekdays: frozenset[tuple[int, int]] | None
    """Days of the week (0 = Sunday) and which of the month, 0 for each; None: not set."""
    cadence: bool
    """Minute or hour begins with `*`: it keeps its step through a change of the clocks (design §3.5)."""
    lines: tuple[croniter, ...]
    """Together they fire when the expression does, and each of them does within 50 years of any time.

    They have a position, which each question sets anew: one thread asks.
    """

    def matches(self, day: date) -> bool:
        """Whether it fires on that day at all."""
        if day.month not in self.months:
            return False
        if self.days is None and self.weekdays is None:
            return True
        last = _LAST_DAY if (day + timedelta(days=1)).day == 1 else day.day
        weekday, nth = day.isoweekday() % 7, (day.day + 6) // 7
        return not (
            (self.days or frozenset()).isdisjoint({day.day, last})
            and (self.weekdays or frozenset()).isdisjoint({(weekday, _EACH), (weekday, nth)})
        )

    def after(self, wall: datetime) -> datetime:
        """The first wall-clock time strictly after `wall` (naive)."""
        # croniter counts in floats, which cannot tell microseconds apart in far years: whole minutes only.
        minute = wall.replace(second=0, microsecond=0)
        return min(line.get_next(datetime, minute) for line in self.lines)

    def before(self, wall: datetime) -> datetime:
        """The last wall-clock time strictly before `wall` (naive)."""
        minute = wall.replace(second=0, microsecond=0)
        if minute < wall:
            minute += timedelta(minutes=1)
        return max(line.get_prev(datetime, minute) for line in self.lines)


@lru_cache(maxsize=8192)
def parse(expression: str) -> Cron:
    """Understand one expression.

    Raises `InvalidSchedule` with one line that says what is wrong and what to write.
    """
    if len(expression) > MAX_LENGTH:
        raise InvalidSchedule(f"a schedule must not be longer than {MAX_LENGTH} characters")
    if not (expression.isascii() and expression.isprintable()):
        raise _refused(expression, "must be printable ASCII, with spaces between its fields")
    text = expression.strip().upper()
    if "TZ=" in text:
        raise _refused(expression, "may not contain a time zone: set spec.timeZone")
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise _refused(expression, f"is not one of {' '.join(MACROS)}: write one of them, or five fields")
        text = MACROS[text.lower()]
    parts = text.split()
    if len(parts) != 5:
        fields = "minute hour day-of-month month day-of-week, without seconds and year"
        raise _refused(expression, f"must have five fields, not {len(parts)}: {fields}")
    minutes, hours, months = (
        _values(expression, field, parts[index].split(","))
        for index, field in ((0, _MINUTE), (1, _HOUR), (3, _MONTH))
    )
    days = _days(expression, parts[2].split(","))
    weekdays = _weekdays(expression, parts[4].split(","))
    cron = Cron(
        minutes=sum(sum(1 << minute for minute in minutes) << 60 * hour for hour in hours),
        months=frozenset(months),
        days=days,
        weekdays=weekdays,
        cadence=parts[0][0] in "*?" or parts[1][0] in "*?",
        lines=tuple(
            croniter(
                f"{_list(minutes, 60)} {_list(hours, 24)} {day} {_list(months, 12)} {weekday}", _LEAP_YEAR
            )
            for day, weekday in _ways(months, days, weekdays)
        ),
    )
    if not cron.lines:
        raise _refused(expression, "never comes: none of its months has such a day; L is a month's last day")
    return cron


def _refused(expression: str, why: str) -> InvalidSchedule:
    shown = expression if len(expression) <= 40 else expression[:39] + "…"
    return InvalidSchedule(f"schedule {shown!r} {why}")


def _values(expression: str, field: Field, atoms: Iterable[str]) -> set[int]:
    """The values of one field: a list of values, ranges and steps."""
    values: set[int] = set()
    for atom in atoms:
        match = _ATOM.fullmatch(atom)
        if match is None:
            raise _not_understood(expression, field, atom)
        low, high = field.low, field.last
        if not match["star"]:
            low = _value(expression, field, atom, match["low"])
            if match["high"]:
                high = _value(expression, field, atom, match["high"])
            elif not match["step"]:
                high = low
        step = int(match["step"] or 1)
        if step == 0:
            raise _refused(expression, f"has the step 0 for {field.title}: a step begins at 1")
        if low > high:
            raise _refused(
                expression, f"has {atom!r} for {field.title}, which wraps around: write it as two ranges"
            )
        values.update(range(low, high + 1, step))
    return values


def _value(expression: str, field: Field, atom: str, text: str) -> int:
    value = field.names.get(text, int(text) if text.isdecimal() else -1)
    if not field.low <= value <= field.high:
        raise _not_understood(expression, field, atom)
    return value


def _not_understood(expression: str, field: Field, atom: str) -> InvalidSchedule:
    return _refused(expression, f"has {atom[:20]!r} for {field.title}, which must be {field.allowed}")


def _days(expression: str, atoms: list[str]) -> frozenset[int] | None:
    values = _values(expression, _DAY, (atom for atom in atoms if atom != "L"))
    if any(map(_ANY.fullmatch, atoms)):
        return None
    return frozenset(values | {_LAST_DAY} if "L" in atoms else values)


def _weekdays(expression: str, atoms: list[str]) -> frozenset[tuple[int, int]] | None:
    days: set[tuple[int, int]] = set()
    for atom in atoms:
        if match := _NTH.fullmatch(atom):
            days.add((_value(expression, _WEEKDAY, atom, match["day"]) % 7, int(match["nth"])))
        else:
            days |= {(value % 7, _EACH) for value in _values(expression, _WEEKDAY, [atom])}
    return None if any(map(_ANY.fullmatch, atoms)) else frozenset(days)


def _ways(
    months: set[int], days: frozenset[int] | None, weekdays: frozenset[tuple[int, int]] | None
) -> Iterable[tuple[str, str]]:
    """Day of month and day of week of each line for croniter, none of which has to combine the two.

    Days that none of the months has are left out.
    """
    longest = max(monthrange(_LEAP_YEAR.year, month)[1] for month in months)
    if days is None and weekdays is None:
        yield "*", "*"
    if numbers := {day for day in days or () if _LAST_DAY < day <= longest}:
        yield _list(numbers, 31), "*"
    if _LAST_DAY in (days or ()):
        yield "L", "*"
    if each := {day for day, nth in weekdays or () if nth == _EACH}:
        yield "*", _list(each, 7)
    if numbered := sorted((day, nth) for day, nth in weekdays or () if nth != _EACH):
        yield "*", ",".join(f"{day}#{nth}" for day, nth in numbered)


def _list(values: Collection[int], size: int) -> str:
    return "*" if len(values) == size else ",".join(map(str, sorted(values)))
