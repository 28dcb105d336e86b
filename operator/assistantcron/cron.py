"""The grammar of one cron expression: what is accepted, and why the rest is refused. Core: no I/O, no clock.

CronJob's five fields, with the names, `L` and `#` that LangGraph's own crons know. The whitelist here comes before
croniter, which accepts much that nobody means (wrapping ranges, random fields, a sixth field for seconds).
`schedule.py` puts zones on top.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from croniter import croniter
from croniter.croniter import CroniterError

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
_MONTHS = {name: n for n, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
_WEEKDAYS = {name: n for n, name in enumerate("SUN MON TUE WED THU FRI SAT".split())}
_ATOM = re.compile(r"(?:(?P<star>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
_NTH = re.compile(r"(?P<day>\w+)#(?P<nth>[1-5])", re.ASCII)
_ANY_DAY = ("*", "*/1")


@dataclass(frozen=True)
class Field:
    """One of the five: its name for messages, its bounds, its names."""

    title: str
    low: int
    high: int
    names: dict[str, int]


FIELDS = (
    Field("minute", 0, 59, {}),
    Field("hour", 0, 23, {}),
    Field("day of month", 1, 31, {}),
    Field("month", 1, 12, _MONTHS),
    Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, eq=False)
class Cron:
    """One expression, understood. Wall-clock times here are naive: they have no zone yet."""

    minutes: frozenset[int]
    """Minutes of the day, 0 to 1439."""
    months: frozenset[int]
    days: frozenset[int] | None
    """Days of the month, 0 for the last; None: not set."""
    weekdays: frozenset[tuple[int, int]] | None
    """Days of the week (0 = Sunday) and which of the month, 0 for each; None: not set."""
    cadence: bool
    """Minute or hour begins with `*`: it keeps its step through a change of the clocks (design §3.5)."""
    lines: tuple[croniter, ...]
    """Together they fire when the expression does; croniter alone would AND a day of month with `#`."""

    def matches(self, day: date) -> bool:
        """Whether it fires on that day at all."""
        if day.month not in self.months:
            return False
        if self.days is None and self.weekdays is None:
            return True
        last = (day + timedelta(days=1)).day == 1
        by_date = self.days is not None and (day.day in self.days or (last and 0 in self.days))
        weekday, nth = day.isoweekday() % 7, (day.day + 6) // 7
        by_week = self.weekdays is not None and not self.weekdays.isdisjoint({(weekday, 0), (weekday, nth)})
        return by_date or by_week

    def after(self, wall: datetime) -> datetime | None:
        """The first wall-clock time strictly after `wall` (naive)."""
        return min((time for line in self.lines if (time := _step(line, wall, forward=True))), default=None)

    def before(self, wall: datetime) -> datetime | None:
        """The last wall-clock time strictly before `wall` (naive)."""
        return max((time for line in self.lines if (time := _step(line, wall, forward=False))), default=None)


@lru_cache(maxsize=4096)
def parse(expression: str) -> Cron:
    """Understand one expression. Raises `InvalidSchedule` with one line that says what is wrong and what to write."""
    if len(expression) > MAX_LENGTH:
        raise InvalidSchedule(f"a schedule must not be longer than {MAX_LENGTH} characters")
    if not (expression.isascii() and expression.isprintable()):
        raise _refused(expression, "must be printable ASCII")
    if "TZ=" in expression.upper():
        raise _refused(expression, "may not contain a time zone: set spec.timeZone")
    text = expression.strip().upper()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise _refused(expression, f"is not one of {' '.join(MACROS)}")
        text = MACROS[text.lower()]
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise _refused(
            expression, f"has {len(parts)} fields and must have five: minute hour day-of-month month day-of-week"
        )
    parts = ["*" if part == "?" else part for part in parts]
    minute, hour, month = (_values(expression, FIELDS[i], parts[i]) for i in (0, 1, 3))
    days = None if parts[2] in _ANY_DAY else _days(expression, parts[2])
    weekdays = None if parts[4] in _ANY_DAY else _weekdays(expression, parts[4])
    cron = Cron(
        minutes=frozenset(h * 60 + m for h in hour for m in minute),
        months=frozenset(month),
        days=days,
        weekdays=weekdays,
        cadence=parts[0].startswith("*") or parts[1].startswith("*"),
        lines=_lines(parts, days, weekdays),
    )
    if cron.after(datetime(2000, 1, 1)) is None:  # noqa: DTZ001 - wall-clock times have no zone
        raise _refused(expression, "never comes: no month has that day")
    return cron


def _refused(expression: str, why: str) -> InvalidSchedule:
    shown = expression if len(expression) <= 40 else expression[:39] + "…"
    return InvalidSchedule(f"schedule {shown!r} {why}".replace("\n", " "))


def _values(expression: str, field: Field, text: str) -> set[int]:
    """The values of one field: a list of values, ranges and steps."""
    values: set[int] = set()
    for atom in text.split(","):
        match = _ATOM.fullmatch(atom)
        if match is None:
            raise _refused(expression, f"has {_shown(atom)} for {field.title}, which is not supported")
        step = int(match["step"] or 1)
        if match["star"]:
            low, high = field.low, field.high - (field.title == "day of week")
        else:
            low = _value(expression, field, match["low"])
            high = _value(expression, field, match["high"]) if match["high"] else field.high if match["step"] else low
        if step == 0:
            raise _refused(expression, f"has a step of 0 for {field.title}")
        if low > high:
            raise _refused(
                expression, f"has the range {_shown(atom)} for {field.title}, which wraps around: write it as two ranges"
            )
        values.update(range(low, high + 1, step))
    return values


def _value(expression: str, field: Field, text: str) -> int:
    if text in field.names:
        return field.names[text]
    if not text.isdecimal():
        raise _refused(expression, f"has {_shown(text)} for {field.title}, which is not supported")
    if not field.low <= int(text) <= field.high:
        raise _refused(expression, f"has {text} for {field.title}, which must be {field.low} to {field.high}")
    return int(text)


def _shown(atom: str) -> str:
    return repr(atom if len(atom) <= 20 else atom[:19] + "…")


def _days(expression: str, text: str) -> frozenset[int]:
    atoms = text.split(",")
    plain = [atom for atom in atoms if atom != "L"]
    values = _values(expression, FIELDS[2], ",".join(plain)) if plain else set()
    return frozenset(values | ({0} if "L" in atoms else set()))


def _weekdays(expression: str, text: str) -> frozenset[tuple[int, int]]:
    days: set[tuple[int, int]] = set()
    for atom in text.split(","):
        if match := _NTH.fullmatch(atom):
            days.add((_value(expression, FIELDS[4], match["day"]) % 7, int(match["nth"])))
        else:
            days |= {(value % 7, 0) for value in _values(expression, FIELDS[4], atom)}
    return frozenset(days)


def _lines(
    parts: list[str], days: frozenset[int] | None, weekdays: frozenset[tuple[int, int]] | None
) -> tuple[croniter, ...]:
    """One croniter for each way in which a day can match, so that none has to combine two."""
    if days is None and weekdays is None:
        ways = [("*", "*")]
    else:
        plain = sorted(day for day in days or () if day)
        ways = [(",".join(map(str, plain)), "*")] if plain else []
        ways += [("L", "*")] if 0 in (days or ()) else []
        each = sorted(day for day, nth in weekdays or () if nth == 0)
        ways += [("*", ",".join(map(str, each)))] if each else []
        ways += [("*", f"{day}#{nth}") for day, nth in sorted(weekdays or ()) if nth]
    return tuple(croniter(f"{parts[0]} {parts[1]} {day} {parts[3]} {weekday}") for day, weekday in ways)


def _step(line: croniter, wall: datetime, *, forward: bool) -> datetime | None:
    line.set_current(wall, force=True)
    try:
        return line.get_next(datetime) if forward else line.get_prev(datetime)
    except CroniterError:
        # No such day within its horizon of 50 years.
        return None
