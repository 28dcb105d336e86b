"""One table for all: `assistantcron next`, `assistantcron check` and the operator's own `Schedule` agree."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from click.testing import CliRunner

from assistantcron import clock
from assistantcron.cli import main
from assistantcron.errors import InvalidSpec
from assistantcron.schedule import Schedule

# Expression, from, and the three slots that follow, without seconds. 2 March 2026 is a Monday.
UTC = [
    ("* * * * *", "2026-03-02T07:59:30Z", "2026-03-02T08:00 2026-03-02T08:01 2026-03-02T08:02"),
    ("*/15 * * * *", "2026-03-02T08:00:00Z", "2026-03-02T08:15 2026-03-02T08:30 2026-03-02T08:45"),
    ("7/20 * * * *", "2026-03-02T08:00:00Z", "2026-03-02T08:07 2026-03-02T08:27 2026-03-02T08:47"),
    ("0 8 * * *", "2026-03-02T07:59:59.999Z", "2026-03-02T08:00 2026-03-03T08:00 2026-03-04T08:00"),
    ("0 8 * * *", "2026-03-02T08:00:00Z", "2026-03-03T08:00 2026-03-04T08:00 2026-03-05T08:00"),
    ("0 8 * * MON-FRI", "2026-03-06T09:00:00Z", "2026-03-09T08:00 2026-03-10T08:00 2026-03-11T08:00"),
    ("0 8 * * mon,wed,fri", "2026-03-06T09:00:00Z", "2026-03-09T08:00 2026-03-11T08:00 2026-03-13T08:00"),
    ("0 8 * * 7", "2026-03-02T00:00:00Z", "2026-03-08T08:00 2026-03-15T08:00 2026-03-22T08:00"),
    ("0 8 * * 0", "2026-03-02T00:00:00Z", "2026-03-08T08:00 2026-03-15T08:00 2026-03-22T08:00"),
    ("0 8 * * 5-7", "2026-03-02T00:00:00Z", "2026-03-06T08:00 2026-03-07T08:00 2026-03-08T08:00"),
    ("0 8 * * MON#1", "2026-03-02T09:00:00Z", "2026-04-06T08:00 2026-05-04T08:00 2026-06-01T08:00"),
    ("0 8 * * 5#5", "2026-03-02T09:00:00Z", "2026-05-29T08:00 2026-07-31T08:00 2026-10-30T08:00"),
    ("0 18 L * *", "2026-01-31T18:00:00Z", "2026-02-28T18:00 2026-03-31T18:00 2026-04-30T18:00"),
    ("0 18 15,L * ?", "2028-02-01T00:00:00Z", "2028-02-15T18:00 2028-02-29T18:00 2028-03-15T18:00"),
    ("0 0 31 * *", "2026-03-31T00:00:00Z", "2026-05-31T00:00 2026-07-31T00:00 2026-08-31T00:00"),
    ("0 0 29 2 *", "2026-03-02T00:00:00Z", "2028-02-29T00:00 2032-02-29T00:00 2036-02-29T00:00"),
    ("0 0 13 * FRI", "2026-03-02T00:00:00Z", "2026-03-06T00:00 2026-03-13T00:00 2026-03-20T00:00"),
    ("0 0 1 * MON#1", "2026-03-02T00:00:00Z", "2026-04-01T00:00 2026-04-06T00:00 2026-05-01T00:00"),
    ("0 0 */10 * MON", "2026-03-02T00:00:00Z", "2026-03-09T00:00 2026-03-11T00:00 2026-03-16T00:00"),
    ("0 0 1 JAN,JUL *", "2026-03-02T00:00:00Z", "2026-07-01T00:00 2027-01-01T00:00 2027-07-01T00:00"),
    ("0,30 9-10 * * *", "2026-03-02T09:30:00Z", "2026-03-02T10:00 2026-03-02T10:30 2026-03-03T09:00"),
    ("0 */6 * * *", "2026-03-02T07:00:00Z", "2026-03-02T12:00 2026-03-02T18:00 2026-03-03T00:00"),
    ("? ? ? ? ?", "2026-03-02T07:00:00Z", "2026-03-02T07:01 2026-03-02T07:02 2026-03-02T07:03"),
    (" 0   8  *  *  * ", "2026-03-02T07:00:00Z", "2026-03-02T08:00 2026-03-03T08:00 2026-03-04T08:00"),
    ("00 08 01 01 *", "2026-03-02T07:00:00Z", "2027-01-01T08:00 2028-01-01T08:00 2029-01-01T08:00"),
    ("@hourly", "2026-03-02T07:00:00Z", "2026-03-02T08:00 2026-03-02T09:00 2026-03-02T10:00"),
    ("@daily", "2026-03-02T07:00:00Z", "2026-03-03T00:00 2026-03-04T00:00 2026-03-05T00:00"),
    ("@weekly", "2026-03-02T07:00:00Z", "2026-03-08T00:00 2026-03-15T00:00 2026-03-22T00:00"),
    ("@monthly", "2026-03-02T07:00:00Z", "2026-04-01T00:00 2026-05-01T00:00 2026-06-01T00:00"),
    ("@yearly", "2026-03-02T07:00:00Z", "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
    ("@Annually", "2026-03-02T07:00:00Z", "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
]
# The same with a zone; most across a change of its clocks. The slots are in UTC.
ZONES = [
    ("@midnight", "Asia/Tokyo", "2026-03-02T07:00:00Z", "2026-03-02T15:00 2026-03-03T15:00 2026-03-04T15:00"),
    (
        "0 8 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        "2026-03-28T07:00 2026-03-29T06:00 2026-03-30T06:00",
    ),
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        "2026-03-28T01:30 2026-03-29T01:00 2026-03-30T00:30",
    ),
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T00:00:00Z",
        "2026-10-24T00:30 2026-10-25T00:30 2026-10-26T01:30",
    ),
    (
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:15:00Z",
        "2026-03-29T00:30 2026-03-29T01:00 2026-03-29T01:30",
    ),
    (
        "*/30 2 * * *",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        "2026-10-25T00:30 2026-10-25T01:00 2026-10-25T01:30",
    ),
    (
        "0 2 * * *",
        "America/New_York",
        "2026-03-08T00:00:00-05:00",
        "2026-03-08T07:00 2026-03-09T06:00 2026-03-10T06:00",
    ),
    (
        "30 1 * * SUN",
        "America/New_York",
        "2026-10-26T00:00:00Z",
        "2026-11-01T05:30 2026-11-08T06:30 2026-11-15T06:30",
    ),
    (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        "2026-10-03T15:30 2026-10-04T15:15 2026-10-05T15:15",
    ),
    (
        "0 3 * * *",
        "Pacific/Chatham",
        "2026-09-25T00:00:00Z",
        "2026-09-25T14:15 2026-09-26T14:00 2026-09-27T13:15",
    ),
    (
        "0 12 * * *",
        "Asia/Kathmandu",
        "2026-03-02T06:15:00Z",
        "2026-03-03T06:15 2026-03-04T06:15 2026-03-05T06:15",
    ),
    (
        "0 0 * * *",
        "America/Santiago",
        "2026-09-05T00:00:00Z",
        "2026-09-05T04:00 2026-09-06T04:00 2026-09-07T03:00",
    ),
    (
        "0 12 30 12 *",
        "Pacific/Apia",
        "2011-12-29T00:00:00Z",
        "2011-12-30T10:00 2012-12-29T22:00 2013-12-29T22:00",
    ),
    (
        "0 1 * * *",
        "Africa/Casablanca",
        "2026-02-14T00:00:00Z",
        "2026-02-15T00:00 2026-02-16T01:00 2026-02-17T01:00",
    ),
    (
        "0 8 1 1 *",
        "Etc/GMT+12",
        "2026-03-02T00:00:00+05:30",
        "2027-01-01T20:00 2028-01-01T20:00 2029-01-01T20:00",
    ),
]
SLOTS = [(expression, "Etc/UTC", start, slots) for expression, start, slots in UTC] + ZONES

# Expression, zone, and what the reason says.
REFUSED = [
    ("soon", "Etc/UTC", "five fields"),
    ("0 8 * *", "Etc/UTC", "five fields"),
    ("0 0 8 * * *", "Etc/UTC", "five fields"),
    ("0 8 * * * 2027", "Etc/UTC", "five fields"),
    ("@every 5m", "Etc/UTC", "@hourly"),
    ("@reboot", "Etc/UTC", "@hourly"),
    ("TZ=Europe/Berlin 0 8 * * *", "Etc/UTC", "timeZone"),
    ("CRON_TZ=Europe/Berlin 0 8 * * *", "Etc/UTC", "timeZone"),
    ("0 0 31 2 *", "Etc/UTC", "never comes"),
    ("0 0 30,31 FEB ?", "Etc/UTC", "never comes"),
    ("60 * * * *", "Etc/UTC", "minute"),
    ("0 24 * * *", "Etc/UTC", "hour"),
    ("0 0 0 * *", "Etc/UTC", "day of month"),
    ("0 0 * 13 *", "Etc/UTC", "month"),
    ("0 0 * * 8", "Etc/UTC", "day of week"),
    ("0 0 * * MON#6", "Etc/UTC", "day of week"),
    ("0 0 * * FRI-MON", "Etc/UTC", "wraps"),
    ("0 22-6 * * *", "Etc/UTC", "wraps"),
    ("*/0 * * * *", "Etc/UTC", "step"),
    ("H 8 * * *", "Etc/UTC", "minute"),
    ("R 8 * * *", "Etc/UTC", "minute"),
    ("0 8 15W * *", "Etc/UTC", "day of month"),
    ("0 8 * * \tMON", "Etc/UTC", "printable"),
    ("0 8 * * MO\u00d1", "Etc/UTC", "ASCII"),
    ("@daily", "Berlin", "IANA name"),
    ("@daily", "europe/berlin", "IANA name"),
    ("@daily", "Europe/Berlin ", "IANA name"),
    ("@daily", "../Etc/UTC", "IANA name"),
    ("@daily", "localtime", "IANA name"),
    ("@daily", "UTC+1", "IANA name"),
]


def manifest(expression: str, zone: str) -> str:
    spec = {"schedule": expression, "timeZone": zone, "assistant": "agent"}
    return json.dumps(
        {
            "apiVersion": "assistantcron.dev/v1alpha1",
            "kind": "AssistantCron",
            "metadata": {"name": "row"},
            "spec": spec,
        }
    )


def test_there_are_enough_rows() -> None:
    assert len(SLOTS) >= 40


@pytest.mark.parametrize(("expression", "zone", "start", "slots"), SLOTS)
def test_all_three_have_the_same_slots(
    monkeypatch: pytest.MonkeyPatch, expression: str, zone: str, start: str, slots: str
) -> None:
    expected = [f"{slot}:00Z" for slot in slots.split()]
    instant = datetime.fromisoformat(start)

    at, fired = instant, []
    for _ in expected:
        slot = Schedule.parse([expression], zone).next_after(at)
        assert slot is not None
        fired.append(slot)
        at = slot
    assert fired == [datetime.fromisoformat(text) for text in expected]

    arguments = ["next", expression, "--time-zone", zone, "--from", start, "--count", "3"]
    printed = CliRunner().invoke(main, [*arguments, "--output", "json"])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == expected
    text = CliRunner().invoke(main, arguments).stdout.splitlines()
    assert [line.split()[-1] for line in text] == expected
    # The local time that stands beside it is the same instant.
    assert [datetime.fromisoformat(" ".join(line.split()[1:3])) for line in text] == fired

    monkeypatch.setattr(clock, "now", lambda: instant)
    checked = CliRunner().invoke(main, ["check", "-"], input=manifest(expression, zone))
    assert (checked.exit_code, checked.stderr) == (0, "")
    heading, *lines, summary = checked.stdout.splitlines()
    assert (heading, summary) == ("standard input: row", "1 resource is fine, 0 are wrong")
    assert lines == [f"  {line}" for line in text]


@pytest.mark.parametrize(("expression", "zone", "why"), REFUSED)
def test_all_three_refuse_it_with_the_same_reason(expression: str, zone: str, why: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        Schedule.parse([expression], zone)
    message = refusal.value.message
    assert why in message
    assert "\n" not in message

    printed = CliRunner().invoke(main, ["next", expression, "--time-zone", zone])
    assert (printed.exit_code, printed.stdout, printed.stderr) == (1, "", f"Error: {message}\n")

    checked = CliRunner().invoke(main, ["check", "-"], input=manifest(expression, zone))
    assert (checked.exit_code, checked.stdout) == (1, "0 resources are fine, 1 is wrong\n")
    assert checked.stderr == f"standard input: row: {message}\n"
