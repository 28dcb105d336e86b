"""The command line, as a person uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assistantcron import __version__, clock
from assistantcron.cli import main
from assistantcron.settings import PREFIX, Settings
from tests.bed.operator import COMMAND, DEADLINE
from tests.bed.process import free_port

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
NOW = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
KEY = "lsv2_secret_0123456789"
NIGHTLY = """\
apiVersion: assistantcron.dev/v1alpha1
kind: AssistantCron
metadata: {name: nightly, namespace: team}
spec:
  schedule: 30 2 * * *
  timeZone: Europe/Berlin
  assistant: agent
"""
SLOTS = """\
  Tue 2026-03-03 02:30:00+01:00 Europe/Berlin   2026-03-03T01:30:00Z
  Wed 2026-03-04 02:30:00+01:00 Europe/Berlin   2026-03-04T01:30:00Z
  Thu 2026-03-05 02:30:00+01:00 Europe/Berlin   2026-03-05T01:30:00Z
"""


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def call(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin)


def environment(**changes: str) -> dict[str, str]:
    """That of a machine without a cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith((PREFIX, "KUBE"))}
    return kept | {"KUBECONFIG": "/nowhere/kubeconfig"} | changes


def words(text: str) -> str:
    return " ".join(text.split())


class TestNext:
    def test_text_has_local_time_and_utc(self) -> None:
        assert call("next", "0 8 * * MON-FRI", "--time-zone", "Europe/Berlin", "--count", "2").stdout == (
            "Tue 2026-03-03 08:00:00+01:00 Europe/Berlin   2026-03-03T07:00:00Z\n"
            "Wed 2026-03-04 08:00:00+01:00 Europe/Berlin   2026-03-04T07:00:00Z\n"
        )

    def test_json_is_a_list_of_instants_and_nothing_else(self) -> None:
        printed = call("next", "@daily", "--count", "2", "--output", "json")
        assert (printed.stdout, printed.stderr) == ('["2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z"]\n', "")

    def test_five_slots_from_now_in_utc_unless_told_otherwise(self) -> None:
        printed = call("next", "@hourly").stdout.splitlines()
        assert [line.split()[-1] for line in printed] == [f"2026-03-02T{h:02}:00:00Z" for h in range(8, 13)]
        assert all(" Etc/UTC " in line for line in printed)

    @pytest.mark.parametrize(
        "start",
        [
            "2026-03-02T08:00:00Z",
            "2026-03-02t08:00:00z",
            "2026-03-02 08:00:00Z",
            "2026-03-02T09:00:00+01:00",
            "2026-03-02T02:30:00-05:30",
            "2026-03-02T08:00:00.0Z",
            "2026-03-02T08:00:00.999999999Z",
            "2026-03-02T08:00:00-00:00",
        ],
    )
    def test_slots_come_strictly_after_an_instant_in_rfc_3339(self, start: str) -> None:
        printed = call("next", "* * * * *", "--from", start, "--count", "1", "--output", "json")
        assert json.loads(printed.stdout) == ["2026-03-02T08:01:00Z"]

    @pytest.mark.parametrize(
        ("start", "why"),
        [
            ("2026-03-02T08:00:00", "must have an offset"),
            ("2026-03-02 08:00:00.5", "must have an offset"),
            ("2026-03-02", "must be an instant in RFC 3339"),
            ("monday", "must be an instant in RFC 3339"),
            ("", "must be an instant in RFC 3339"),
            ("20260302T080000Z", "must be an instant in RFC 3339"),
            ("2026-W10-1T08:00:00Z", "must be an instant in RFC 3339"),
            ("2026-02-31T08:00:00Z", "must be an instant in RFC 3339"),
            ("2026-03-02T24:00:00Z", "must be an instant in RFC 3339"),
            ("2026-03-02T08:00:00+24:00", "must be an instant in RFC 3339"),
            ("2026-03-02T08:00:00Z\n", "must be an instant in RFC 3339"),
            ("0000-01-01T00:00:00Z", "must be an instant in RFC 3339"),
            ("0001-01-01T00:00:00+01:00", "must be an instant in RFC 3339"),
            ("9999-12-31T23:59:59-01:00", "must be an instant in RFC 3339"),
        ],
    )
    def test_another_from_is_refused_in_a_line(self, start: str, why: str) -> None:
        printed = call("next", "@daily", "--from", start)
        assert (printed.exit_code, printed.stdout) == (1, "")
        assert re.fullmatch(rf"Error: --from {why}[^\n]*\n", printed.stderr)

    @pytest.mark.parametrize("count", [1, 1000])
    def test_as_many_as_asked_for(self, count: int) -> None:
        printed = call("next", "* * * * *", "--count", str(count), "--output", "json")
        assert len(json.loads(printed.stdout)) == count

    @pytest.mark.parametrize("count", ["0", "1001", "-1", "many"])
    def test_no_senseless_count(self, count: str) -> None:
        assert call("next", "@daily", "--count", count).exit_code == 2

    def test_those_that_there_are_if_there_are_fewer(self) -> None:
        arguments = ("next", "@yearly", "--from", "9898-06-01T00:00:00Z")
        printed = call(*arguments)
        assert [line.split()[-1] for line in printed.stdout.splitlines()] == [
            "9899-01-01T00:00:00Z",
            "9900-01-01T00:00:00Z",
        ]
        assert (printed.exit_code, printed.stderr) == (0, "no further slot comes within 50 years\n")
        printed = call(*arguments, "--output", "json")
        assert json.loads(printed.stdout) == ["9899-01-01T00:00:00Z", "9900-01-01T00:00:00Z"]
        assert (printed.exit_code, printed.stderr) == (0, "")

    def test_years_apart(self) -> None:
        printed = call("next", "0 0 29 2 *", "--count", "200", "--output", "json")
        assert json.loads(printed.stdout)[-1] == "2848-02-29T00:00:00Z"

    @pytest.mark.parametrize("arguments", [(), ("0", "8", "*", "*", "*"), ("@daily", "--output", "xml")])
    def test_it_takes_one_schedule(self, arguments: tuple[str, ...]) -> None:
        assert call("next", *arguments).exit_code == 2


class TestCheck:
    def test_slots_of_what_is_fine(self, tmp_path: Path) -> None:
        file = tmp_path / "nightly.yaml"
        file.write_text(NIGHTLY)
        checked = call("check", str(file))
        assert (checked.exit_code, checked.stderr) == (0, "")
        assert checked.stdout == f"{file}: team/nightly\n{SLOTS}1 resource is fine, 0 are wrong\n"

    def test_standard_input(self) -> None:
        checked = call("check", "-", stdin=NIGHTLY)
        assert checked.stdout == f"standard input: team/nightly\n{SLOTS}1 resource is fine, 0 are wrong\n"

    def test_what_is_suspended_has_no_slots(self) -> None:
        checked = call("check", "-", stdin=f"{NIGHTLY}  suspend: yes\n")
        assert checked.stdout.splitlines()[0] == "standard input: team/nightly: suspended"
        assert len(checked.stdout.splitlines()) == 2

    def test_a_schedule_that_no_slot_is_left_of(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clock, "now", lambda: datetime(9950, 1, 1, tzinfo=UTC))
        checked = call("check", "-", stdin=NIGHTLY)
        assert checked.exit_code == 0
        assert checked.stdout.splitlines()[1] == "  no further slot comes within 50 years"

    def test_what_is_wrong_is_told_and_the_rest_still_checked(self, tmp_path: Path) -> None:
        wrong = NIGHTLY.replace("team", "night").replace("30 2", "30 25").replace("assistant:", "Assistant:")
        (tmp_path / "a.yaml").write_text(
            f"{wrong}---\n{NIGHTLY}---\nkind: .nan\n---\napiVersion: v1\nkind: Pod\n"
        )
        (tmp_path / "b.json").write_text(
            json.dumps({"apiVersion": "assistantcron.dev/v1", "kind": "AssistantCron"})
        )
        (tmp_path / "c.yaml").write_text(NIGHTLY.replace("30 2", "30 25"))
        checked = call("check", *(str(tmp_path / name) for name in ("a.yaml", "b.json", "c.yaml")))
        assert checked.exit_code == 1
        assert [line.removeprefix(f"{tmp_path}/") for line in checked.stderr.splitlines()] == [
            "a.yaml: night/nightly: spec.assistant: Field required",
            "a.yaml: night/nightly: spec.Assistant: is not a field of an AssistantCron",
            "a.yaml: document 3: line 17: .nan is no number in JSON",
            "b.json: document 1 (line 1): apiVersion: must be assistantcron.dev/v1alpha1",
            "c.yaml: team/nightly: schedule '30 25 * * *' has '25' for hour, which must be 0 to 23",
        ]
        assert checked.stdout.splitlines()[0] == f"{tmp_path}/a.yaml: team/nightly"
        assert (
            checked.stdout.splitlines()[-1] == "1 resource is fine, 4 are wrong, 1 of other kinds passed over"
        )

    @pytest.mark.parametrize(
        ("text", "summary"),
        [
            ("", "0 resources are fine, 0 are wrong"),
            (
                "kind: Pod\napiVersion: v1\n",
                "0 resources are fine, 0 are wrong, 1 of other kinds passed over",
            ),
            (f"{NIGHTLY}---\n{NIGHTLY}", "2 resources are fine, 0 are wrong"),
            ("5", "0 resources are fine, 1 is wrong"),
        ],
    )
    def test_the_summary_is_a_sentence(self, text: str, summary: str) -> None:
        assert call("check", "-", stdin=text).stdout.splitlines()[-1] == summary

    def test_a_file_that_cannot_be_read_is_a_line(self, tmp_path: Path) -> None:
        (tmp_path / "latin").write_bytes("é".encode("latin-1"))
        (tmp_path / "wide").write_bytes("a: 1".encode("utf-16"))
        files = [tmp_path / name for name in ("missing", "latin", "wide", ".")]
        checked = call("check", *map(str, files), "-", stdin=NIGHTLY)
        assert checked.exit_code == 1
        assert checked.stderr == (
            f"{files[0]}: cannot be read: No such file or directory\n"
            f"{files[1]}: cannot be read: it is not UTF-8\n"
            f"{files[2]}: cannot be read: it is not UTF-8\n"
            f"{files[3]}: cannot be read: Is a directory\n"
        )
        assert checked.stdout.splitlines()[-1] == "1 resource is fine, 4 are wrong"

    def test_a_byte_order_mark_is_passed_over(self) -> None:
        assert call("check", "-", stdin=b"\xef\xbb\xbf" + NIGHTLY.encode()).exit_code == 0
        assert call("check", "-", stdin=b"\xef\xbb\xbf" + json.dumps({}).encode()).exit_code == 1

    @pytest.mark.parametrize(
        "deep", ["[" * 5000 + "]" * 5000, "{a: " * 5000 + "1" + "}" * 5000, '{"a":' * 5000 + "1" + "}" * 5000]
    )
    @pytest.mark.parametrize("before", ["", f"{NIGHTLY}  input: {{deep: "])
    def test_any_depth_is_a_line(self, before: str, deep: str) -> None:
        checked = call("check", "-", stdin=f"{before}{deep}{'}' if before else ''}\n---\n{NIGHTLY}")
        assert (checked.exit_code, checked.exception.__class__) == (1, SystemExit)
        assert re.fullmatch(
            r"standard input: document 1: line \d: is nested more than 200 levels deep\n", checked.stderr
        )
        assert checked.stdout.splitlines()[-1] == "1 resource is fine, 1 is wrong"

    def test_the_examples_and_the_crd_are_fine(self) -> None:
        checked = call("check", *map(str, EXAMPLES), str(ROOT / "crds" / "assistantcrons.yaml"))
        assert (checked.exit_code, checked.stderr) == (0, "")
        assert checked.stdout.splitlines()[-1].endswith("0 are wrong, 1 of other kinds passed over")

    def test_no_file_is_no_check(self) -> None:
        assert call("check").exit_code == 2


class TestVersion:
    def test_all_three(self) -> None:
        assert re.fullmatch(
            rf"assistantcron {re.escape(__version__)}\nPython 3\.\d+\.\d+\S*\ntzdata \d{{4}}\.\d+\n",
            call("version").stdout,
        )

    def test_folders_in_place_of_the_zone_database_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONTZPATH", "/usr/share/zoneinfo")
        assert call("version").stdout.splitlines()[-1] == "tzdata /usr/share/zoneinfo"


class TestHelp:
    @pytest.mark.parametrize("field", Settings.model_fields)
    def test_run_explains_every_setting_and_its_default(self, field: str) -> None:
        setting = Settings.model_fields[field]
        default = {None: "not set", (): "empty", False: "false"}.get(setting.default, setting.default)
        explained = words(call("run", "--help").stdout)
        assert f"{PREFIX}{field.upper()} {setting.description} Default: {default}." in explained

    def test_run_explains_no_other_setting(self) -> None:
        explained = re.findall(rf"{PREFIX}\w+", call("run", "--help").stdout)
        assert explained == [f"{PREFIX}{field}".upper() for field in Settings.model_fields]

    @pytest.mark.parametrize("arguments", [("--log-level", "DEBUG"), ("now",)])
    def test_run_takes_nothing(self, arguments: tuple[str, ...]) -> None:
        assert call("run", *arguments).exit_code == 2

    def test_the_commands_are_introduced(self) -> None:
        listed = call("--help").stdout.partition("Commands:")[2]
        assert re.findall(r"^  (\w+) +\w[^.]*\.$", listed, re.MULTILINE) == [
            "check",
            "next",
            "run",
            "version",
        ]


PROBE = """\
import atexit, sys
from assistantcron.cli import main
heavy = {"kopf", "kubernetes", "aiohttp", "httpx", "prometheus_client"}
atexit.register(lambda: print(sorted(heavy & set(sys.modules))))
main()
"""


def process(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command on a machine without a cluster and without settings but these."""
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, check=False, timeout=DEADLINE
    )


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(COMMAND), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment(), text=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as running:
        try:
            yield running
        finally:
            running.kill()


class TestProcess:
    """What only a process of its own can show."""

    @pytest.mark.parametrize(
        "arguments", [["version"], ["next", "@daily"], ["check", str(EXAMPLES[0])], ["run", "--help"]]
    )
    def test_nothing_but_run_waits_for_what_only_run_needs(self, arguments: list[str]) -> None:
        done = process(sys.executable, "-c", PROBE, *arguments)
        assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "[]", "")

    def test_a_pipe_that_closes_is_no_news(self) -> None:
        # More than a pipe holds, so that the writer is still there when it closes.
        zone = "America/Argentina/Buenos_Aires"
        with started("next", "* * * * *", "--count", "1000", "--time-zone", zone) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.readline()
            running.stdout.close()
            assert running.stderr.read() == ""
            assert running.wait(DEADLINE) == 1

    def test_ctrl_c_is_no_news(self) -> None:
        # It waits for standard input once it has printed what it thinks of the first file.
        with started("check", str(EXAMPLES[0]), "-") as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.readline()
            running.send_signal(signal.SIGINT)
            assert running.wait(DEADLINE) == 130
            assert running.stderr.read() == ""

    @pytest.mark.parametrize(
        ("variable", "value", "why"),
        [
            ("LOG_LEVEL", KEY, "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
            ("NAMESPACES", f"team,{KEY} ", "entry 2 is not the name of a namespace"),
            ("LEASE_NAME", KEY, "is not a setting"),
            ("DEPLOYMENT_URL", f"ftp://{KEY}", "must begin with http:// or https://"),
        ],
    )
    def test_run_with_a_bad_setting_ends_with_one_line(self, variable: str, value: str, why: str) -> None:
        done = process(str(COMMAND), "run", **{f"{PREFIX}{variable}": value})
        assert done.returncode == 1
        (line,) = (done.stdout + done.stderr).splitlines()
        assert f"CRITICAL {PREFIX}{variable}" in line
        assert why in line
        assert KEY not in line

    @pytest.mark.parametrize("form", ["json", "plain"])
    def test_run_without_a_cluster_ends_with_one_line_that_says_so(self, form: str) -> None:
        address = f"127.0.0.1:{free_port()}"
        done = process(str(COMMAND), "run", **{f"{PREFIX}HTTP_ADDRESS": address, f"{PREFIX}LOG_FORMAT": form})
        assert done.returncode == 1
        lines = (done.stdout + done.stderr).splitlines()
        (critical,) = (line for line in lines if "CRITICAL" in line)
        assert "no Kubernetes access" in critical
        assert "KUBECONFIG" in critical
        assert not any("Traceback" in line for line in lines)
        assert not any("ERROR" in line or "WARNING" in line for line in lines)
