"""How fast are slots computed? Held against bare croniter, which knows no rule for clocks that jump.

Both sides take turns in the same seconds, and the best of several rounds counts. Figures of two machines
cannot be compared; the ratio can.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from croniter import croniter

from assistantcron import cron
from assistantcron.errors import InvalidSchedule
from assistantcron.schedule import Schedule

EXPRESSIONS = ("* * * * *", "*/5 * * * *", "17 3 * * *", "30 9 * * MON-FRI", "0 0 29 2 *")
HOSTILE = (
    "0-59," * 2000,
    ",".join(["0-59"] * 18) + ",x 0 * *",
    ",".join(["1-31"] * 15) + " 0 30 2 *",
    "0 0 30,31 2 *",
)
ZONES = (
    "Etc/UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
)
NOW = datetime(2026, 11, 25, 10, 3, 7, tzinfo=UTC)
YEAR = timedelta(days=365)
ROUNDS, TIMES, RESOURCES = 50, 10, 10_000


def main() -> None:
    """Print the figures as tables."""
    _say(
        f"{'microseconds':18}{'parse':>10}{'next_after':>12}{'croniter':>10}{'ratio':>8}{'count a year':>14}"
    )
    for expression in EXPRESSIONS:
        parse, ours, bare, count = _best(*_questions(expression, "Europe/Berlin"))
        _say(f"{expression:18}{parse:10.0f}{ours:12.0f}{bare:10.0f}{ours / bare:8.2f}{count:14.0f}")
    for expression in HOSTILE:
        (refusal,) = _best(partial(_refused, expression))
        _say(f"{expression[:15] + '…':18}{refusal:10.0f}   {len(expression)} characters, refused")
    _say(f"{_first_slots():.2f} s: {RESOURCES} different schedules in {len(ZONES)} zones: read, first slot")


def _questions(expression: str, zone: str) -> tuple[Callable[[], object], ...]:
    jobs = Schedule.parse([expression], zone)
    here = NOW.astimezone(jobs.zone)
    bare = croniter(expression, here)
    return (
        lambda: cron.parse.__wrapped__(expression),
        lambda: jobs.next_after(NOW),
        lambda: bare.get_next(datetime, here),
        lambda: jobs.count(NOW, NOW + YEAR),
    )


def _best(*questions: Callable[[], object]) -> list[float]:
    """Microseconds of each, once everything is cached."""
    best = [float("inf")] * len(questions)
    for _ in range(ROUNDS):
        for number, question in enumerate(questions):
            began = time.perf_counter()
            for _ in range(TIMES):
                question()
            best[number] = min(best[number], (time.perf_counter() - began) / TIMES * 1e6)
    return best


def _refused(expression: str) -> None:
    try:
        cron.parse(expression)
    except InvalidSchedule:
        return
    raise AssertionError(expression)


def _first_slots() -> float:
    """Seconds, with nothing cached: each has another expression."""
    texts = [f"{n % 60} {n // 60 % 24} * * {n // 1440}" for n in range(RESOURCES)]
    began = time.perf_counter()
    for number, text in enumerate(texts):
        Schedule.parse([text], ZONES[number % len(ZONES)]).next_after(NOW)
    return time.perf_counter() - began


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
