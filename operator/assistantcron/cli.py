"""The command line: `assistantcron run`, `next`, `check`, `version`.

`run` is the operator, which `app.py` puts together; the others work offline, on the operator's own core. Each
imports what it needs itself: kopf and kubernetes take two seconds, and only `run` needs them.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistantcron import __version__, clock

if TYPE_CHECKING:
    from assistantcron.manifests import Finding
    from assistantcron.schedule import Schedule

COMING = 3
"""Slots that `check` prints of each resource."""
NO_MORE = "no further slot comes within 50 years"
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?(?P<offset>[Zz]|[-+]([01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # As a shell has it for SIGINT. Whoever typed Ctrl-C knows what has happened.
            ctx.exit(130)


class _Run(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the settings, which `settings.py` alone knows."""
        from assistantcron.settings import PREFIX, Settings  # noqa: PLC0415 - see above

        words = {None: "not set", (): "empty", False: "false", True: "true"}
        with formatter.section("Settings, from the environment"):
            formatter.write_dl(
                [
                    (
                        f"{PREFIX}{name.upper()}",
                        f"{field.description} Default: {words.get(field.default, field.default)}.",
                    )
                    for name, field in Settings.model_fields.items()
                ]
            )


@click.group(cls=_Group)
def main() -> None:
    """Run LangGraph assistants on a schedule, from Kubernetes resources."""


@main.command(cls=_Run)
def run() -> None:
    """Run the operator until it is stopped.

    Access to Kubernetes comes from the account of the pod or, outside a cluster, from KUBECONFIG.
    """
    from assistantcron import app  # noqa: PLC0415 - see above

    sys.exit(app.main())


@main.command("next")
@click.argument("schedule")
@click.option(
    "--time-zone", metavar="ZONE", default="Etc/UTC", show_default=True, help="IANA name of the zone."
)
@click.option("--from", "start", metavar="TIME", show_default="now", help="RFC 3339; slots come after it.")
@click.option("--count", default=5, type=click.IntRange(1, 1000), show_default=True, help="How many at most.")
@click.option("--output", default="text", type=click.Choice(["text", "json"]), show_default=True)
def next_(schedule: str, time_zone: str, start: str | None, count: int, output: str) -> None:
    """Print the coming slots of a SCHEDULE.

    They are those at which the operator would start a run. Put the schedule in quotes:

    assistantcron next "0 8 * * MON-FRI" --time-zone Europe/Berlin
    """
    from assistantcron.errors import InvalidSpec  # noqa: PLC0415 - see above
    from assistantcron.schedule import Schedule  # noqa: PLC0415 - see above

    after = clock.now() if start is None else _instant(start)
    try:
        parsed = Schedule.parse([schedule], time_zone)
    except InvalidSpec as error:
        raise click.ClickException(error.message) from None
    slots = list(islice(_slots(parsed, after), count))
    if output == "json":
        click.echo(json.dumps([_utc(slot) for slot in slots]))
        return
    for slot in slots:
        click.echo(_line(parsed, slot))
    if len(slots) < count:
        click.echo(NO_MORE, err=True)


@main.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
def check(files: tuple[str, ...]) -> None:
    """Validate manifests offline.

    Says what kubectl, the CRD or the operator would have against an AssistantCron, or prints its next slots.
    Other kinds are passed over. A FILE is YAML or JSON; - is standard input. The exit status is 1 if anything
    is wrong.
    """
    from assistantcron import manifests  # noqa: PLC0415 - see above

    now = clock.now()
    fine = wrong = others = 0
    for file in files:
        shown = "standard input" if file == "-" else click.format_filename(file)
        try:
            text = _read(file)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            click.echo(f"{shown}: cannot be read: {why}", err=True)
            wrong += 1
            continue
        for finding in manifests.check(text):
            for problem in finding.problems:
                click.echo(f"{shown}: {finding.where}: {problem}", err=True)
            if finding.problems:
                wrong += 1
            elif finding.schedule is None:
                others += 1
            else:
                fine += 1
                click.echo(f"{shown}: {finding.where}{': suspended' if finding.suspended else ''}")
                for line in _coming(finding, now):
                    click.echo(f"  {line}")
    passed = f", {others} of other kinds passed over" if others else ""
    click.echo(f"{_are(fine, 'resource')} fine, {_are(wrong)} wrong{passed}")
    sys.exit(1 if wrong else 0)


@main.command()
def version() -> None:
    """Print the versions that matter.

    Those of the program, of Python and of the zone database.
    """
    from assistantcron.schedule import tzdata_version  # noqa: PLC0415 - see above

    click.echo(f"assistantcron {__version__}")
    click.echo(f"Python {platform.python_version()}")
    click.echo(f"tzdata {tzdata_version()}")


def _are(count: int, noun: str = "") -> str:
    words = [str(count), noun and f"{noun}{'' if count == 1 else 's'}", "is" if count == 1 else "are"]
    return " ".join(word for word in words if word)


def _instant(text: str) -> datetime:
    match = _RFC3339.fullmatch(text)
    if match and not match["offset"]:
        raise click.ClickException("--from must have an offset: add Z for UTC, or one such as +01:00")
    try:
        if match:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no such day, or none that Python knows
    raise click.ClickException("--from must be an instant in RFC 3339, such as 2026-03-02T08:00:00Z")


def _read(file: str) -> str:
    raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return raw.decode("utf-8-sig")


def _slots(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    slot = schedule.next_after(after)
    while slot is not None:
        yield slot
        slot = schedule.next_after(slot)


def _coming(finding: Finding, now: datetime) -> list[str]:
    if finding.schedule is None or finding.suspended:
        return []
    slots = islice(_slots(finding.schedule, now), COMING)
    return [_line(finding.schedule, slot) for slot in slots] or [NO_MORE]


def _line(schedule: Schedule, slot: datetime) -> str:
    local = slot.astimezone(schedule.zone)
    return f"{local:%a} {local.isoformat(sep=' ')} {schedule.time_zone}   {_utc(slot)}"


def _utc(slot: datetime) -> str:
    # `resource.rfc3339` would bring pydantic with it, and double the time that `next` takes.
    return slot.isoformat().replace("+00:00", "Z")
