"""Schedules as the rest of the operator uses them: slots of instants, bounds, texts, zones.

What an expression means is in `test_cron.py`, what clocks do to it in `test_schedule_dst.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assistantcron import schedule
from assistantcron.errors import InvalidSchedule, InvalidTimeZone
from assistantcron.schedule import Schedule, load_zone, tzdata_version
from tests.core.oracle import zone_file

TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def jobs(*expressions: str, zone: str = "Etc/UTC") -> Schedule:
    return Schedule.parse(expressions, zone)


EIGHT = jobs("0 8 * * *")
MIDNIGHT = jobs("0 0 * * *")


class TestSlots:
    @pytest.mark.parametrize(
        ("instant", "expected"),
        [
            ("2026-03-04 00:00:00", "2026-03-04 08:00"),
            ("2026-03-04 07:59:59.999999", "2026-03-04 08:00"),
            ("2026-03-04 08:00:00", "2026-03-05 08:00"),
            ("2026-03-04 08:00:00.000001", "2026-03-05 08:00"),
            ("2026-12-31 08:00:00", "2027-01-01 08:00"),
        ],
    )
    def test_the_next_one_is_strictly_after(self, instant: str, expected: str) -> None:
        assert EIGHT.next_after(at(instant)) == at(expected)

    @pytest.mark.parametrize(
        ("after", "through", "expected"),
        [
            # Both ends to the microsecond: after is left out, through is included.
            ("2026-03-04 07:00", "2026-03-04 08:00", ["2026-03-04 08:00"]),
            ("2026-03-04 07:59:59.999999", "2026-03-04 08:00", ["2026-03-04 08:00"]),
            ("2026-03-04 08:00", "2026-03-05 07:59:59.999999", []),
            ("2026-03-03 08:00", "2026-03-04 07:59:59.999999", []),
            ("2026-03-04 07:00", "2026-03-04 08:00:00.000001", ["2026-03-04 08:00"]),
            ("2026-03-04 08:00:00.000001", "2026-03-05 08:00", ["2026-03-05 08:00"]),
            ("2026-03-04 08:00", "2026-03-04 08:00", []),
            ("2026-12-30 08:00", "2027-01-01 08:00", ["2026-12-31 08:00", "2027-01-01 08:00"]),
            # Turned round there is nothing in between.
            ("2026-03-05 09:00", "2026-03-04 07:00", []),
        ],
    )
    def test_those_of_an_interval(self, after: str, through: str, expected: list[str]) -> None:
        low, high = at(after), at(through)
        slots = [at(text) for text in expected]
        assert EIGHT.count(low, high) == len(slots)
        assert EIGHT.last_through(high, after=low) == (slots[-1] if slots else None)

    def test_they_are_in_utc_whatever_zone_the_question_was_in(self) -> None:
        asked = datetime(2026, 3, 4, 9, 30, tzinfo=timezone(timedelta(hours=2)))
        for answer in (
            EIGHT.next_after(asked),
            EIGHT.last_through(asked + HOUR, after=asked),
        ):
            assert answer == at("2026-03-04 08:00")
            assert answer is not None
            assert answer.tzinfo is UTC

    def test_they_come_on_the_clock_of_the_zone(self) -> None:
        kathmandu = jobs("0 8 * * *", zone="Asia/Kathmandu")
        assert kathmandu.next_after(at("2026-03-04 00:00")) == at("2026-03-04 02:15")
        assert kathmandu.last_through(at("2026-03-04 00:00"), after=at("2026-03-01 00:00")) == at(
            "2026-03-03 02:15"
        )

    @pytest.mark.parametrize(
        "question",
        [
            EIGHT.next_after,
            lambda naive: EIGHT.last_through(naive, after=at("2026-01-01")),
            lambda naive: EIGHT.last_through(at("2026-01-01"), after=naive),
            lambda naive: EIGHT.count(naive, at("2026-01-01")),
            lambda naive: EIGHT.count(at("2026-01-01"), naive),
        ],
    )
    def test_an_instant_without_a_zone_is_refused(self, question: Callable[[datetime], object]) -> None:
        with pytest.raises(ValueError, match="must have a time zone"):
            question(at("2026-03-04").replace(tzinfo=None))

    @pytest.mark.parametrize(
        ("expression", "per_year"),
        [
            ("* * * * *", 525_600),
            ("*/7 * * * *", 78_840),
            ("0 8 * * *", 365),
            ("0 8 * * MON", 52),
            ("@yearly", 1),
        ],
    )
    def test_a_whole_year_is_counted(self, expression: str, per_year: int) -> None:
        for zone in ("Etc/UTC", "Asia/Kathmandu"):
            assert (
                jobs(expression, zone=zone).count(at("2026-01-01 00:00"), at("2027-01-01 00:00")) == per_year
            )
        berlin = jobs(expression, zone="Europe/Berlin")
        assert berlin.count(at("2026-01-01 00:00"), at("2027-01-01 00:00")) == per_year


class TestSeveral:
    TWO = jobs("0 8 * * *", "0 */4 * * MON", "0 8,20 * * *", zone="Europe/Berlin")

    def test_a_slot_that_two_share_is_one(self) -> None:
        # 2 March 2026 is a Monday; Berlin is an hour ahead.
        begin, end = at("2026-03-01 23:00"), at("2026-03-02 23:00")
        found = []
        slot = self.TWO.next_after(begin - TICK)
        while slot is not None and slot < end:
            found.append(f"{slot + HOUR:%H:%M}")
            slot = self.TWO.next_after(slot)
        assert found == ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]
        assert self.TWO.count(begin - TICK, end - TICK) == 6

    def test_the_newest_of_any_is_the_last(self) -> None:
        begin = at("2026-03-01 23:00")
        assert self.TWO.last_through(at("2026-03-02 10:59"), after=begin) == at("2026-03-02 07:00")
        assert self.TWO.last_through(at("2026-03-02 11:00"), after=begin) == at("2026-03-02 11:00")
        assert self.TWO.last_through(at("2026-03-04 12:00"), after=begin) == at("2026-03-04 07:00")

    def test_one_that_never_comes_again_leaves_the_others(self) -> None:
        both = jobs("*/30 2 * 3 SUN#2", "0 0 1 1 *", zone="America/New_York")
        assert both.next_after(at("2026-03-01")) == at("2027-01-01 05:00")

    @pytest.mark.parametrize(
        ("fixed", "after", "slots"),
        [
            # In the gap the fixed times and the cadence come at its end together.
            ("15,30 2 * * *", "2026-03-29 00:00", ["2026-03-29 01:00", "2026-03-29 02:00"]),
            # In the fold the fixed time comes once, the cadence twice.
            ("30 2 * * *", "2026-10-25 00:00", ["2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 02:00"]),
            ("0 2,3 * * *", "2026-10-25 00:00", ["2026-10-25 01:00", "2026-10-25 02:00"]),
        ],
    )
    def test_they_share_slots_when_the_clock_jumps(self, fixed: str, after: str, slots: list[str]) -> None:
        mixed = jobs("0 * * * *", fixed, zone="Europe/Berlin")
        begin = at(after)
        end = begin + 2 * HOUR
        found = []
        slot = mixed.next_after(begin)
        while slot is not None and slot <= end:
            found.append(slot)
            slot = mixed.next_after(slot)
        assert found == [at(text) for text in slots]
        assert mixed.count(begin, end) == len(slots)
        assert mixed.last_through(end, after=begin) == found[-1]


class TestBounds:
    def test_it_looks_fifty_years_ahead_for_a_leap_day_that_is_a_monday(self) -> None:
        rare = jobs("0 0 * 2 MON#5", zone="Europe/Berlin")
        assert rare.next_after(at("2026-01-01")) == at("2044-02-28 23:00")
        assert rare.next_after(at("2073-01-01")) == at("2112-02-28 23:00")
        assert rare.last_through(at("2111-01-01"), after=at("2000-01-01")) == at("2072-02-28 23:00")
        assert rare.last_through(at("2111-01-01"), after=at("2072-02-28 23:00")) is None
        assert rare.count(at("2000-01-01"), at("2113-01-01")) == 4

    @pytest.mark.parametrize(
        "instant", ["0001-01-01 00:00", "1899-12-31 23:59:59.999999", "1900-01-01 00:00"]
    )
    def test_nothing_comes_before_the_twentieth_century(self, instant: str) -> None:
        assert MIDNIGHT.next_after(at(instant)) == at("1900-01-02 00:00")
        assert MIDNIGHT.last_through(at("1900-01-02 23:00"), after=at(instant)) == at("1900-01-02 00:00")
        assert MIDNIGHT.last_through(at("1900-01-01 23:00"), after=at(instant)) is None
        assert MIDNIGHT.count(at(instant), at("1900-01-03 00:00")) == 2

    @pytest.mark.parametrize(
        "instant", ["9900-01-01 00:00", "9900-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"]
    )
    def test_nothing_comes_after_the_ninety_ninth_century(self, instant: str) -> None:
        assert MIDNIGHT.next_after(at(instant)) is None
        assert MIDNIGHT.last_through(at(instant), after=at("9899-12-31 00:00")) == at("9900-01-01 00:00")
        assert MIDNIGHT.count(at("9899-12-31 00:00"), at(instant)) == 1
        assert MIDNIGHT.count(at(instant), at(instant)) == 0

    def test_the_last_year_is_like_any_other(self) -> None:
        assert MIDNIGHT.next_after(at("9899-12-31 12:00")) == at("9900-01-01 00:00")
        rare = jobs("0 0 29 2 *", zone="Europe/Berlin")
        assert rare.next_after(at("9899-12-31 12:00")) == at("9904-02-28 23:00")
        never = jobs("*/30 2 * 3 SUN#2", zone="America/New_York")
        assert never.next_after(at("9899-12-31 12:00")) is None

    @pytest.mark.parametrize("hours", [-23, 23])
    def test_an_instant_that_utc_has_no_year_for_is_outside_too(self, hours: int) -> None:
        zone = timezone(timedelta(hours=hours))
        first, last = datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)
        assert MIDNIGHT.next_after(first) == at("1900-01-02 00:00")
        assert MIDNIGHT.next_after(last) is None
        assert MIDNIGHT.last_through(first, after=last) is None
        assert MIDNIGHT.last_through(last, after=at("9899-12-31 00:00")) == at("9900-01-01 00:00")
        assert MIDNIGHT.count(first, at("1900-01-03 00:00")) == 2
        assert MIDNIGHT.count(at("9899-12-30 00:00"), last) == 2


class TestText:
    @pytest.mark.parametrize(
        ("expressions", "zone", "text"),
        [
            (["0 8 * * MON-FRI"], "Europe/Berlin", "0 8 * * MON-FRI | Europe/Berlin"),
            (
                ["0 8 * * *", "@daily", "0 0 L * FRI#2"],
                "Etc/UTC",
                "0 8 * * *; @daily; 0 0 L * FRI#2 | Etc/UTC",
            ),
            (["  0  8 * * ? "], "Etc/GMT+5", "0 8 * * ? | Etc/GMT+5"),
        ],
    )
    def test_it_is_read_as_it_was_written(self, expressions: list[str], zone: str, text: str) -> None:
        written = Schedule.parse(expressions, zone)
        assert str(written) == text
        assert Schedule.from_text(text) == written
        assert hash(Schedule.from_text(text)) == hash(written)

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("", InvalidSchedule),
            ("0 8 * * *", InvalidSchedule),
            ("0 8 * * * | ", InvalidTimeZone),
            (" | Etc/UTC", InvalidSchedule),
            ("0 8 * * *;0 9 * * * | Etc/UTC", InvalidSchedule),
            ("0 8 * * * | 0 9 * * * | Etc/UTC", InvalidSchedule),
        ],
    )
    def test_another_text_is_refused(self, text: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            Schedule.from_text(text)

    def test_spaces_make_no_other_schedule_and_the_zone_does(self) -> None:
        assert jobs("0 8 * * *") == jobs(" 0  8 * * * ")
        assert jobs("0 8 * * *") != jobs("0 8 * * *", zone="Europe/Berlin")

    def test_nothing_is_no_schedule(self) -> None:
        with pytest.raises(InvalidSchedule, match="at least one expression"):
            jobs()

    def test_the_refusal_names_the_expression_that_is_wrong(self) -> None:
        with pytest.raises(InvalidSchedule, match=r"schedule '0 25 \* \* \*' has '25' for hour"):
            jobs("0 8 * * *", "0 25 * * *")

    def test_an_expression_is_refused_before_the_zone(self) -> None:
        with pytest.raises(InvalidSchedule):
            jobs("soon", zone="nowhere")


class TestZones:
    @pytest.mark.parametrize(
        "name", ["Etc/UTC", "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"]
    )
    def test_an_iana_name_is_a_zone(self, name: str) -> None:
        assert jobs("0 8 * * *", zone=name).zone.key == name

    @pytest.mark.parametrize(
        "name",
        [
            "",
            " ",
            "Mars/Base",
            "europe/berlin",
            "Europe/Berlin ",
            "Europe",
            "Europe/",
            "CEST",
            "+02:00",
            "UTC+2",
            "EST5EDT,M3.2.0,M11.1.0",
            "localtime",
            "Local",
            "posixrules",
            "posix/Europe/Berlin",
            "right/Europe/Berlin",
            "tzdata.zi",
            "zone.tab",
            "__init__.py",
            "../zones",
            "../../../../etc/localtime",
            "/etc/localtime",
            "/usr/share/zoneinfo/Europe/Berlin",
            "Europe\\Berlin",
            "Europe/Berlin\x00",
            "Europe/Berlin\n",
            "Europe/B\u00e9rlin",
            "\ud800",
        ],
    )
    def test_anything_else_is_none(self, name: str) -> None:
        with pytest.raises(InvalidTimeZone) as caught:
            jobs("0 8 * * *", zone=name)
        assert caught.value.reason == "InvalidTimeZone"
        assert (
            caught.value.message
            == f"time zone {name!r} must be an IANA name, such as Europe/Berlin or Etc/UTC"
        )
        assert caught.value.message.isprintable()

    def test_an_endless_name_is_shortened(self) -> None:
        with pytest.raises(InvalidTimeZone) as caught:
            load_zone("x" * 10_000)
        assert len(caught.value.message) < 150

    def test_every_name_of_the_database_is_a_zone(self) -> None:
        names = files("tzdata").joinpath("zones").read_text().split()
        assert len(names) > 500
        for name in names:
            assert jobs("0 8 * * *", zone=name).next_after(at("2026-01-01")) is not None

    def test_the_release_of_the_database_is_that_of_the_package(self) -> None:
        assert tzdata_version() == version("tzdata")


PARIS = timedelta(hours=7)
"""Where the zone files below put Europe/Paris."""

ASK = """
from datetime import UTC, datetime
from assistantcron.errors import InvalidTimeZone
from assistantcron.schedule import Schedule, tzdata_version

def ask(zone):
    try:
        return Schedule.parse(["0 8 * * *"], zone).next_after(datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    except InvalidTimeZone as error:
        return error.message

print(ask("Europe/Paris"), ask("Mine/Own"), ask("Europe/Berlin"), tzdata_version(), sep="\\n")
"""
NOT_MINE = "time zone 'Mine/Own' must be an IANA name, such as Europe/Berlin or Etc/UTC"


@pytest.fixture
def zone_files(tmp_path: Path) -> Path:
    """A folder in which Paris is elsewhere, with a zone that IANA does not know."""
    for name, offset in {"Europe/Paris": PARIS, "Mine/Own": -HOUR, "localtime": HOUR}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zone_file(offset, []))
    return tmp_path


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Makes the process look for zones anew, now and after the test."""

    def all_zones() -> None:
        ZoneInfo.clear_cache()
        for cache in (schedule.load_zone, schedule._zone_names, schedule._year):
            cache.cache_clear()

    yield all_zones
    all_zones()


class TestDatabase:
    def test_it_is_the_package_and_not_the_systems(
        self, zone_files: Path, forget: Callable[[], None]
    ) -> None:
        before = zoneinfo.TZPATH
        zoneinfo.reset_tzpath([zone_files])
        try:
            forget()
            assert ZoneInfo("Europe/Paris").utcoffset(at("2026-01-01")) == PARIS
            assert load_zone("Europe/Paris").utcoffset(at("2026-01-01")) == HOUR
            assert jobs("0 8 * * *", zone="Europe/Paris").next_after(at("2026-01-01")) == at(
                "2026-01-01 07:00"
            )
            with pytest.raises(InvalidTimeZone):
                load_zone("Mine/Own")
        finally:
            zoneinfo.reset_tzpath(before)

    def test_a_path_in_the_environment_overrides_it(
        self, zone_files: Path, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = zoneinfo.TZPATH
        monkeypatch.setenv("PYTHONTZPATH", str(zone_files))
        zoneinfo.reset_tzpath()
        try:
            forget()
            assert load_zone("Europe/Paris").utcoffset(at("2026-01-01")) == PARIS
            assert load_zone("Mine/Own").utcoffset(at("2026-01-01")) == -HOUR
            assert load_zone("Europe/Berlin").utcoffset(at("2026-01-01")) == HOUR
            assert tzdata_version() == str(zone_files)
            for name in ("localtime", "Mine/Other", "../Mine/Own", str(zone_files / "Mine/Own")):
                with pytest.raises(InvalidTimeZone):
                    load_zone(name)
        finally:
            zoneinfo.reset_tzpath(before)

    @pytest.mark.parametrize("overridden", [True, False])
    def test_a_new_process_obeys_the_environment(self, zone_files: Path, *, overridden: bool) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONTZPATH"}
        path = {"PYTHONTZPATH": str(zone_files)} if overridden else {"TZDIR": str(zone_files)}
        answer = subprocess.run(
            [sys.executable, "-c", ASK], env=environment | path, capture_output=True, text=True, check=True
        )
        assert answer.stdout.splitlines() == (
            [
                "2026-01-01T01:00:00+00:00",
                "2026-01-01T09:00:00+00:00",
                "2026-01-01T07:00:00+00:00",
                str(zone_files),
            ]
            if overridden
            else ["2026-01-01T07:00:00+00:00", NOT_MINE, "2026-01-01T07:00:00+00:00", version("tzdata")]
        )

    def test_an_empty_path_leaves_the_package(
        self, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = zoneinfo.TZPATH
        monkeypatch.setenv("PYTHONTZPATH", "")
        zoneinfo.reset_tzpath()
        try:
            forget()
            assert zoneinfo.TZPATH == ()
            assert load_zone("Europe/Paris").utcoffset(at("2026-01-01")) == HOUR
            assert tzdata_version() == version("tzdata")
        finally:
            zoneinfo.reset_tzpath(before)
