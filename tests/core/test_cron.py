"""One expression: what is accepted and when it comes, and what is refused with which words.

Times here are wall-clock times without a zone. January 2026 begins on a Thursday, February and March on a
Sunday.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from croniter import CroniterError, croniter

from assistantcron import cron
from assistantcron.errors import InvalidSchedule
from tests.core.oracle import random_expression

SEED = 20261125
BEGIN = "2026-01-01 00:00"

# Expression, from (included), and the times that follow.
ACCEPTED = [
    # Numbers, lists, ranges, steps.
    ("* * * * *", BEGIN, "2026-01-01 00:00, 2026-01-01 00:01, 2026-01-01 00:02"),
    ("0 8 * * *", BEGIN, "2026-01-01 08:00, 2026-01-02 08:00"),
    ("00 08 * * *", BEGIN, "2026-01-01 08:00, 2026-01-02 08:00"),
    ("  0   8 * *  * ", BEGIN, "2026-01-01 08:00, 2026-01-02 08:00"),
    ("59 23 31 12 *", BEGIN, "2026-12-31 23:59, 2027-12-31 23:59"),
    ("5,10,5 0 * * *", BEGIN, "2026-01-01 00:05, 2026-01-01 00:10, 2026-01-02 00:05"),
    ("58-59 23 * * *", BEGIN, "2026-01-01 23:58, 2026-01-01 23:59, 2026-01-02 23:58"),
    ("7-7 0 * * *", BEGIN, "2026-01-01 00:07, 2026-01-02 00:07"),
    ("*/25 * * * *", BEGIN, "2026-01-01 00:00, 2026-01-01 00:25, 2026-01-01 00:50, 2026-01-01 01:00"),
    ("50/4 * * * *", BEGIN, "2026-01-01 00:50, 2026-01-01 00:54, 2026-01-01 00:58, 2026-01-01 01:50"),
    ("10-20/5 3 * * *", BEGIN, "2026-01-01 03:10, 2026-01-01 03:15, 2026-01-01 03:20, 2026-01-02 03:10"),
    ("1-10/4,30 3 * * *", BEGIN, "2026-01-01 03:01, 2026-01-01 03:05, 2026-01-01 03:09, 2026-01-01 03:30"),
    ("59/15 0 * * *", BEGIN, "2026-01-01 00:59, 2026-01-02 00:59"),
    ("*/61 1 * * *", BEGIN, "2026-01-01 01:00, 2026-01-02 01:00"),
    ("*/99999999999999999999 1 * * *", BEGIN, "2026-01-01 01:00, 2026-01-02 01:00"),
    ("0 */9 * * *", BEGIN, "2026-01-01 00:00, 2026-01-01 09:00, 2026-01-01 18:00, 2026-01-02 00:00"),
    ("0 0 1 */5 *", BEGIN, "2026-01-01 00:00, 2026-06-01 00:00, 2026-11-01 00:00, 2027-01-01 00:00"),
    # Names, in any case.
    ("0 9 * * MON-FRI", BEGIN, "2026-01-01 09:00, 2026-01-02 09:00, 2026-01-05 09:00"),
    ("0 9 * * mon-Fri/2", BEGIN, "2026-01-02 09:00, 2026-01-05 09:00, 2026-01-07 09:00"),
    ("0 9 * * sAt,sun", BEGIN, "2026-01-03 09:00, 2026-01-04 09:00, 2026-01-10 09:00"),
    ("0 9 * * SUN-2", BEGIN, "2026-01-04 09:00, 2026-01-05 09:00, 2026-01-06 09:00, 2026-01-11 09:00"),
    ("0 9 1 FEB *", BEGIN, "2026-02-01 09:00, 2027-02-01 09:00"),
    ("0 9 1 jan-Mar/2,dec *", BEGIN, "2026-01-01 09:00, 2026-03-01 09:00, 2026-12-01 09:00"),
    # Sunday is 0 and 7.
    ("0 0 * * 0", BEGIN, "2026-01-04 00:00, 2026-01-11 00:00"),
    ("0 0 * * 7", BEGIN, "2026-01-04 00:00, 2026-01-11 00:00"),
    ("0 0 * * 5-7", BEGIN, "2026-01-02 00:00, 2026-01-03 00:00, 2026-01-04 00:00, 2026-01-09 00:00"),
    ("0 0 * * 1/3", BEGIN, "2026-01-01 00:00, 2026-01-05 00:00, 2026-01-08 00:00"),
    ("0 0 * * 0/7", BEGIN, "2026-01-04 00:00, 2026-01-11 00:00"),
    ("0 0 * * 0-7", BEGIN, "2026-01-01 00:00, 2026-01-02 00:00"),
    # L is the last day of the month.
    ("0 0 L * *", BEGIN, "2026-01-31 00:00, 2026-02-28 00:00, 2026-03-31 00:00, 2026-04-30 00:00"),
    ("0 0 l 2 *", BEGIN, "2026-02-28 00:00, 2027-02-28 00:00, 2028-02-29 00:00"),
    ("0 0 30,L * *", BEGIN, "2026-01-30 00:00, 2026-01-31 00:00, 2026-02-28 00:00, 2026-03-30 00:00"),
    ("0 0 L,L * *", "2026-02-01 00:00", "2026-02-28 00:00, 2026-03-31 00:00"),
    ("0 0 31 * *", BEGIN, "2026-01-31 00:00, 2026-03-31 00:00, 2026-05-31 00:00, 2026-07-31 00:00"),
    ("0 0 29 2 *", BEGIN, "2028-02-29 00:00, 2032-02-29 00:00"),
    ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
    ("0 0 30 2,4 *", BEGIN, "2026-04-30 00:00, 2027-04-30 00:00"),
    # MON#1 is the month's first Monday.
    ("0 0 * * MON#1", BEGIN, "2026-01-05 00:00, 2026-02-02 00:00, 2026-03-02 00:00"),
    ("0 0 * * sun#5", BEGIN, "2026-03-29 00:00, 2026-05-31 00:00, 2026-08-30 00:00"),
    ("0 0 * * 7#1", BEGIN, "2026-01-04 00:00, 2026-02-01 00:00"),
    ("0 0 * * 1#1,1#3", BEGIN, "2026-01-05 00:00, 2026-01-19 00:00, 2026-02-02 00:00"),
    ("0 0 * * FRI#1,SUN", BEGIN, "2026-01-02 00:00, 2026-01-04 00:00, 2026-01-11 00:00"),
    ("0 0 * 2 MON#5", BEGIN, "2044-02-29 00:00"),
    ("0 0 * 2 MON#5", "2072-03-01 00:00", "2112-02-29 00:00"),
    # ? is *.
    ("0 0 ? * MON", BEGIN, "2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 1 * ?", BEGIN, "2026-01-01 00:00, 2026-02-01 00:00"),
    ("?/30 ? ? ? ?", BEGIN, "2026-01-01 00:00, 2026-01-01 00:30, 2026-01-01 01:00"),
    # Macros.
    ("@hourly", BEGIN, "2026-01-01 00:00, 2026-01-01 01:00"),
    ("@daily", BEGIN, "2026-01-01 00:00, 2026-01-02 00:00"),
    (" @Midnight ", BEGIN, "2026-01-01 00:00, 2026-01-02 00:00"),
    ("@weekly", BEGIN, "2026-01-04 00:00, 2026-01-11 00:00"),
    ("@monthly", BEGIN, "2026-01-01 00:00, 2026-02-01 00:00"),
    ("@yearly", BEGIN, "2026-01-01 00:00, 2027-01-01 00:00"),
    ("@ANNUALLY", BEGIN, "2026-01-01 00:00, 2027-01-01 00:00"),
    # Day of month and day of week both set: either, as CronJob.
    ("0 0 13 * FRI", BEGIN, "2026-01-02 00:00, 2026-01-09 00:00, 2026-01-13 00:00, 2026-01-16 00:00"),
    ("0 0 L * FRI", "2026-01-25 00:00", "2026-01-30 00:00, 2026-01-31 00:00, 2026-02-06 00:00"),
    ("0 0 15 * MON#1", BEGIN, "2026-01-05 00:00, 2026-01-15 00:00, 2026-02-02 00:00, 2026-02-15 00:00"),
    ("0 0 L * FRI#2", BEGIN, "2026-01-09 00:00, 2026-01-31 00:00, 2026-02-13 00:00, 2026-02-28 00:00"),
    ("0 0 */10 * MON", BEGIN, "2026-01-01 00:00, 2026-01-05 00:00, 2026-01-11 00:00, 2026-01-12 00:00"),
    ("0 0 */40 * MON", BEGIN, "2026-01-01 00:00, 2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 1-31 * MON", BEGIN, "2026-01-01 00:00, 2026-01-02 00:00, 2026-01-03 00:00"),
    ("0 0 1 * 0-6", BEGIN, "2026-01-01 00:00, 2026-01-02 00:00, 2026-01-03 00:00"),
    ("0 0 13 * */3", BEGIN, "2026-01-03 00:00, 2026-01-04 00:00, 2026-01-07 00:00, 2026-01-10 00:00"),
    ("0 0 31 2 0", BEGIN, "2026-02-01 00:00, 2026-02-08 00:00, 2026-02-15 00:00"),
    # ... but * with or without the step 1, also in a list, is not set.
    ("0 0 */1 * MON", BEGIN, "2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 ?/01 * MON", BEGIN, "2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 13 * */1", BEGIN, "2026-01-13 00:00, 2026-02-13 00:00"),
    ("0 0 5,* * MON", BEGIN, "2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 L,* * MON", BEGIN, "2026-01-05 00:00, 2026-01-12 00:00"),
    ("0 0 13 * MON#1,*", BEGIN, "2026-01-13 00:00, 2026-02-13 00:00"),
    # As long as it gets.
    (",".join(["0-59"] * 18) + " 7 1 1 *", BEGIN, "2026-01-01 07:00, 2026-01-01 07:01"),
    ("0 0 * * " + ",".join(["TUE#1", "WED#1"] * 7), BEGIN, "2026-01-06 00:00, 2026-01-07 00:00"),
    ("0 0 1 1 *" + " " * 91, BEGIN, "2026-01-01 00:00, 2027-01-01 00:00"),
]

FIVE = "minute hour day-of-month month day-of-week, without seconds and year"
MINUTE = "for minute, which must be 0 to 59"
HOUR = "for hour, which must be 0 to 23"
DAY = "for day of month, which must be 1 to 31, or L for the last day"
MONTH = "for month, which must be 1 to 12, or JAN to DEC"
WEEKDAY = (
    "for day of week, which must be 0 to 7, or SUN to SAT; "
    "with #1 to #5, such as MON#1, for the month's first to fifth"
)
MACRO = (
    "is not one of @hourly @daily @midnight @weekly @monthly @yearly @annually: "
    "write one of them, or five fields"
)
ASCII = "must be printable ASCII, with spaces between its fields"
ZONE = "may not contain a time zone: set spec.timeZone"
NEVER = "never comes: none of its months has such a day; L is a month's last day"
LONG = "a schedule must not be longer than 100 characters"

# Expression, and what follows its name in the message.
REFUSED = [
    # Not five fields.
    ("", f"must have five fields, not 0: {FIVE}"),
    ("     ", f"must have five fields, not 0: {FIVE}"),
    ("soon", f"must have five fields, not 1: {FIVE}"),
    ("0 8 * *", f"must have five fields, not 4: {FIVE}"),
    ("0 0 8 * * *", f"must have five fields, not 6: {FIVE}"),
    ("0 8 * * * 0 2030", f"must have five fields, not 7: {FIVE}"),
    # Macros that are none.
    ("@every 5m", MACRO),
    ("@reboot", MACRO),
    ("@", MACRO),
    ("@daily @daily", MACRO),
    ("@daily * * * *", MACRO),
    # The zone has a field of its own.
    ("TZ=Europe/Berlin 0 8 * * *", ZONE),
    ("cron_tz=UTC @daily", ZONE),
    # Fields that mean something elsewhere.
    ("R R * * *", f"has 'R' {MINUTE}"),
    ("0 r(0-5) * * *", f"has 'R(0-5)' {HOUR}"),
    ("H H * * *", f"has 'H' {MINUTE}"),
    ("h/15 * * * *", f"has 'H/15' {MINUTE}"),
    ("0 0 15W * *", f"has '15W' {DAY}"),
    ("0 0 LW * *", f"has 'LW' {DAY}"),
    ("0 0 L-3 * *", f"has 'L-3' {DAY}"),
    ("0 0 1-L * *", f"has '1-L' {DAY}"),
    ("0 0 L/2 * *", f"has 'L/2' {DAY}"),
    ("0 0 * * L", f"has 'L' {WEEKDAY}"),
    ("0 0 * * L5", f"has 'L5' {WEEKDAY}"),
    ("0 0 * * 5L", f"has '5L' {WEEKDAY}"),
    ("L L * * *", f"has 'L' {MINUTE}"),
    # Ranges that wrap around.
    ("50-10 * * * *", "has '50-10' for minute, which wraps around: write it as two ranges"),
    ("0 22-5 * * *", "has '22-5' for hour, which wraps around: write it as two ranges"),
    ("0 0 28-3 * *", "has '28-3' for day of month, which wraps around: write it as two ranges"),
    ("0 0 1 nov-feb *", "has 'NOV-FEB' for month, which wraps around: write it as two ranges"),
    ("0 0 * * FRI-SUN", "has 'FRI-SUN' for day of week, which wraps around: write it as two ranges"),
    ("0 0 * * 7/2", "has '7/2' for day of week, which wraps around: write it as two ranges"),
    # Out of range.
    ("60 * * * *", f"has '60' {MINUTE}"),
    ("-1 * * * *", f"has '-1' {MINUTE}"),
    ("0 24 * * *", f"has '24' {HOUR}"),
    ("0 9-24 * * *", f"has '9-24' {HOUR}"),
    ("0 0 0 * *", f"has '0' {DAY}"),
    ("0 0 32 * *", f"has '32' {DAY}"),
    ("0 0 1 0 *", f"has '0' {MONTH}"),
    ("0 0 1 13 *", f"has '13' {MONTH}"),
    ("0 0 1 MON *", f"has 'MON' {MONTH}"),
    ("0 0 1 JANUARY *", f"has 'JANUARY' {MONTH}"),
    ("0 0 * * 8", f"has '8' {WEEKDAY}"),
    ("0 0 * * JAN", f"has 'JAN' {WEEKDAY}"),
    ("0 0 * * MON#0", f"has 'MON#0' {WEEKDAY}"),
    ("0 0 * * MON#6", f"has 'MON#6' {WEEKDAY}"),
    ("0 0 * * 8#1", f"has '8#1' {WEEKDAY}"),
    ("0 0 * * MON#", f"has 'MON#' {WEEKDAY}"),
    ("0 0 * * *#1", f"has '*#1' {WEEKDAY}"),
    ("0 0 * * MON-FRI#1", f"has 'MON-FRI#1' {WEEKDAY}"),
    ("0 0 1#1 * *", f"has '1#1' {DAY}"),
    ("99999999999999999999 * * * *", f"has '99999999999999999999' {MINUTE}"),
    # Steps and other pieces.
    ("*/0 * * * *", "has the step 0 for minute: a step begins at 1"),
    ("0 0 1-5/000 * *", "has the step 0 for day of month: a step begins at 1"),
    ("*/ * * * *", f"has '*/' {MINUTE}"),
    ("*/-5 * * * *", f"has '*/-5' {MINUTE}"),
    ("*/5/5 * * * *", f"has '*/5/5' {MINUTE}"),
    ("*/a * * * *", f"has '*/A' {MINUTE}"),
    ("1- * * * *", f"has '1-' {MINUTE}"),
    ("1-2-3 * * * *", f"has '1-2-3' {MINUTE}"),
    ("*-5 * * * *", f"has '*-5' {MINUTE}"),
    ("** * * * *", f"has '**' {MINUTE}"),
    ("5* * * * *", f"has '5*' {MINUTE}"),
    (", * * * *", f"has '' {MINUTE}"),
    ("5, * * * *", f"has '' {MINUTE}"),
    ("0 0 ,L * *", f"has '' {DAY}"),
    ("0 0 1, * *", f"has '' {DAY}"),
    ("0.5 * * * *", f"has '0.5' {MINUTE}"),
    ("1_0 * * * *", f"has '1_0' {MINUTE}"),
    ("+5 * * * *", f"has '+5' {MINUTE}"),
    ("0x10 * * * *", f"has '0X10' {MINUTE}"),
    ("$(X) * * * *", f"has '$(X)' {MINUTE}"),
    ("' * * * *", f'has "\'" {MINUTE}'),
    # What never comes.
    ("0 0 31 2 *", NEVER),
    ("0 0 30 2 *", NEVER),
    ("0 0 30,31 feb *", NEVER),
    ("*/5 * 31 2,4,6,9,11 *", NEVER),
    # More than printable ASCII.
    ("0 8 * * *\n", ASCII),
    ("0\t8\t*\t*\t*", ASCII),
    ("0 8 * * *\x00", ASCII),
    ("0\u00a08 * * *", ASCII),
    ("\u0660 \u0668 * * *", ASCII),
    ("\uff10 8 * * *", ASCII),
    ("0 8 * * \u017fUN", ASCII),
    ("0 8 * * \u202eNOM", ASCII),
    ("0 8 * * \ud800", ASCII),
    ("\U0001f550 * * * *", ASCII),
]

# Expression, what bare croniter makes of it, and the first time that is right, or the refusal.
OTHERWISE = [
    ("0 0 8 * FRI#2", "2026-01-09 00:00", "2026-01-08 00:00"),
    ("0 0 L * FRI#2", "failed to find next date", "2026-01-09 00:00"),
    ("50-1 * * * *", "2026-01-01 00:01", "wraps around"),
    ("0 0 * * FRI-MON", "2026-01-02 00:00", "wraps around"),
    ("0 0 15W * *", "2026-01-15 00:00", "'15W' for day of month"),
    ("0 0 * * L5", "2026-01-30 00:00", "'L5' for day of week"),
    ("0 8 * * * 30", "2026-01-01 08:00", "not 6"),
    ("0 8 * * * 0 2030", "2030-01-01 08:00", "not 7"),
    ("0 0 31 2 *", "failed to find next date", "never comes"),
    (
        "?/5 * * * *",
        "[?/5 * * * *] is not acceptable. Question mark can not used with other characters",
        "2026-01-01 00:05",
    ),
]


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def refusal(expression: str) -> str:
    with pytest.raises(InvalidSchedule) as caught:
        cron.parse(expression)
    assert caught.value.reason == "InvalidSchedule"
    return caught.value.message


def named(expression: str) -> str:
    return repr(expression if len(expression) <= 40 else expression[:39] + "…")


@pytest.mark.parametrize(("expression", "begin", "expected"), ACCEPTED)
def test_an_accepted_expression_comes_at_these_times(expression: str, begin: str, expected: str) -> None:
    times = [time(text) for text in expected.split(", ")]
    accepted = cron.parse(expression)
    previous = time(begin) - timedelta(minutes=1)
    found = []
    for _ in times:
        previous = accepted.after(previous)
        found.append(shown(previous))
    assert ", ".join(found) == expected
    assert [accepted.before(later) for later in times[1:]] == times[:-1]


@pytest.mark.parametrize(("expression", "begin", "expected"), ACCEPTED)
def test_its_days_and_minutes_are_those_of_its_times(expression: str, begin: str, expected: str) -> None:
    accepted = cron.parse(expression)
    for one, other in pairwise([time(begin) - timedelta(minutes=1), *map(time, expected.split(", "))]):
        assert accepted.matches(other)
        assert accepted.minutes >> (other.hour * 60 + other.minute) & 1
        day = one.replace(hour=0, minute=0) + timedelta(days=1)
        while day < other.replace(hour=0, minute=0):
            assert not accepted.matches(day)
            day += timedelta(days=1)


@pytest.mark.parametrize(("expression", "reason"), REFUSED)
def test_a_refused_expression_is_told_why_in_one_line(expression: str, reason: str) -> None:
    message = refusal(expression)
    assert message == f"schedule {named(expression)} {reason}"
    assert message.isprintable()


@pytest.mark.parametrize(
    "expression", ["0" * 101, " " * 101, "0-59," * 2000 + "0 * * * *", "\u0660" * 10_000, "@" * 10_000]
)
def test_an_endless_expression_is_refused_unread(expression: str) -> None:
    assert refusal(expression) == LONG


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1" * 100, f"schedule '{'1' * 39}…' must have five fields, not 1: {FIVE}"),
        ("9" * 90 + " * * * *", f"schedule '{'9' * 39}…' has '{'9' * 20}' {MINUTE}"),
        ("0-59," * 18 + "x 0 * *", f"schedule '{('0-59,' * 18)[:39]}…' must have five fields, not 4: {FIVE}"),
    ],
)
def test_a_long_expression_is_shortened_in_its_refusal(expression: str, message: str) -> None:
    assert refusal(expression) == message


@pytest.mark.parametrize(("expression", "bare", "right"), OTHERWISE)
def test_where_croniter_alone_answers_otherwise(expression: str, bare: str, right: str) -> None:
    begin = time(BEGIN)

    def croniters() -> str:
        try:
            return shown(croniter(expression, begin).get_next(datetime))
        except CroniterError as error:
            return str(error)

    def ours() -> str:
        try:
            return shown(cron.parse(expression).after(begin))
        except InvalidSchedule as error:
            return error.message

    assert croniters() == bare
    assert right in ours()
    assert bare != right


@pytest.mark.parametrize(
    ("expression", "cadence"),
    [
        ("* * * * *", True),
        ("*/30 2 * * *", True),
        ("30 */2 * * *", True),
        ("? 2 * * *", True),
        ("30 ?/2 * * *", True),
        ("*,5 2 * * *", True),
        ("@hourly", True),
        ("30 2 * * *", False),
        ("0-59 0-23 * * *", False),
        ("0/15 0/1 * * *", False),
        ("5,* 2,* * * *", False),
        ("@daily", False),
    ],
)
def test_a_minute_or_hour_that_begins_with_a_star_makes_a_cadence(expression: str, *, cadence: bool) -> None:
    assert cron.parse(expression).cadence is cadence


@pytest.mark.parametrize(
    ("wall", "before", "after"),
    [
        ("2026-01-01 08:00:00", "2025-12-31 08:00", "2026-01-02 08:00"),
        ("2026-01-01 07:59:59.999999", "2025-12-31 08:00", "2026-01-01 08:00"),
        ("2026-01-01 08:00:00.000001", "2026-01-01 08:00", "2026-01-02 08:00"),
        ("2026-01-01 08:00:30", "2026-01-01 08:00", "2026-01-02 08:00"),
        # Floats of seconds, in which croniter counts, cannot tell these microseconds any more.
        ("9000-01-01 07:59:59.999999", "8999-12-31 08:00", "9000-01-01 08:00"),
        ("9000-01-01 08:00:00.000001", "9000-01-01 08:00", "9000-01-02 08:00"),
        ("1899-12-31 23:59:59.999999", "1899-12-31 08:00", "1900-01-01 08:00"),
    ],
)
def test_before_and_after_are_strict_to_the_microsecond(wall: str, before: str, after: str) -> None:
    daily = cron.parse("0 8 * * *")
    assert (shown(daily.before(time(wall))), shown(daily.after(time(wall)))) == (before, after)


def test_an_answer_does_not_depend_on_what_was_asked_before() -> None:
    rng = random.Random(SEED)
    walls = [time(BEGIN) + timedelta(minutes=rng.randrange(-(10**6), 10**6)) for _ in range(50)]
    used = cron.parse("7 */5 L,13 2-11 FRI#2,SUN")
    for wall in walls + walls[::-1]:
        fresh = cron.parse.__wrapped__("7 */5 L,13 2-11 FRI#2,SUN")
        assert used.after(wall) == fresh.after(wall)
        assert used.before(wall) == fresh.before(wall)


def test_an_expression_is_understood_once() -> None:
    assert cron.parse("1 2 3 4 5") is cron.parse("1 2 3 4 5")
    assert refusal("1 2 3 4 8") == refusal("1 2 3 4 8")


def test_300_random_expressions_come_when_a_look_at_every_day_says() -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        wall = time(f"{rng.randint(1950, 2150)}-01-01") + timedelta(minutes=rng.randrange(525_600))
        expression = random_expression(rng, wall)
        minutes = sorted(hour * 60 + minute for hour in expression.hours for minute in expression.minutes)
        parsed = cron.parse(expression.text)
        assert parsed.minutes == sum(1 << minute for minute in minutes), expression.text
        assert parsed.cadence is expression.cadence, expression.text
        for direction in (1, -1):
            expected = None
            day = wall.replace(hour=0, minute=0)
            for _ in range(3000):
                assert parsed.matches(day) == expression.on(day), f"{expression.text} on {day}"
                if expression.on(day):
                    times = [day + timedelta(minutes=minute) for minute in minutes[::direction]]
                    expected = next((t for t in times if (t - wall) * direction > timedelta(0)), None)
                if expected:
                    break
                day += direction * timedelta(days=1)
            found = parsed.after(wall) if direction == 1 else parsed.before(wall)
            assert found == expected, f"{expression.text} from {wall}"
