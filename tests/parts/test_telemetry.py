"""Metrics that agree with what was written, probes, and log lines with all by which one looks for them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import urllib.error
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import httpx
import pytest
from prometheus_client import generate_latest

from assistantcron import telemetry as module
from assistantcron.facts import Accounted, Answered, DidNotRun, Fact, Health, Started
from assistantcron.resource import Key, RequestAnswer
from assistantcron.status import fold
from assistantcron.telemetry import Telemetry, configure_logging
from tests.bed.operator import DEADLINE
from tests.bed.process import fetch
from tests.core.builders import at, ended, frame, manual, resource, run

A, B = Key("team", "a"), Key("team", "b")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def sample(telemetry: Telemetry, name: str, key: Key | None = None, **labels: str) -> float | None:
    if key is not None:
        labels |= {"namespace": key.namespace, "name": key.name}
    return telemetry.registry.get_sample_value(f"assistantcron_{name}", labels)


def skipped(count: int = 1, reason: str = "Suspended") -> DidNotRun:
    return DidNotRun("Skipped", at("08:00"), at("09:00"), count, reason, "…")


# Metrics


@pytest.mark.parametrize(
    ("fact", "name", "labels", "value"),
    [
        (Started(run()), "runs_started_total", {"trigger": "Schedule"}, 1),
        (Started(manual(), "now"), "runs_started_total", {"trigger": "Manual"}, 1),
        (ended(), "runs_ended_total", {"status": "success"}, 1),
        (ended(status="error"), "runs_ended_total", {"status": "error"}, 1),
        (ended(status="lost"), "runs_ended_total", {"status": "lost"}, 1),
        (ended(status="interrupted", awaiting=True), "runs_awaiting_input_total", {}, 1),
        (skipped(7), "slots_skipped_total", {"reason": "Suspended"}, 7),
        (
            DidNotRun("Missed", at("08:00"), at("08:00"), 1, "OperatorDown", "…"),
            "slots_missed_total",
            {"reason": "OperatorDown"},
            1,
        ),
    ],
)
def test_every_fact_is_counted_for_its_resource(
    telemetry: Telemetry, fact: Fact, name: str, labels: dict[str, str], value: float
) -> None:
    for _ in range(2):
        telemetry.report(A, [fact])
    assert sample(telemetry, name, A, **labels) == 2 * value
    assert sample(telemetry, name, B, **labels) is None


@pytest.mark.parametrize(
    "fact",
    [
        Accounted(at("08:00")),
        Health(ready=True, reason="Scheduled", message="…"),
        Answered(RequestAnswer(token="t", time=at("08:00"), outcome="Ignored")),
    ],
)
def test_what_tells_of_no_run_and_no_slot_is_not_counted(telemetry: Telemetry, fact: Fact) -> None:
    telemetry.report(A, [fact])
    assert b'name="a"' not in exposed(telemetry)


def test_a_run_that_waited_for_a_human_has_ended_once(telemetry: Telemetry) -> None:
    for fact in (Started(run()), ended(status="interrupted", awaiting=True), ended()):
        telemetry.report(A, [fact])
    assert sample(telemetry, "runs_started_total", A, trigger="Schedule") == 1
    assert sample(telemetry, "runs_ended_total", A, status="success") == 1
    assert sample(telemetry, "runs_ended_total", A, status="interrupted") is None


def test_counters_and_status_agree(telemetry: Telemetry) -> None:
    one = resource()
    status = one.status
    for fact in (
        Started(run("r1")),
        ended("r1"),
        Started(run("r2", at("09:00"))),
        ended("r2", "error"),
        Started(manual("r3"), "now"),
        ended("r3", "interrupted", awaiting=True),
        ended("r3", "timeout"),
        DidNotRun("Skipped", at("10:00"), at("12:00"), 3, "Suspended", "…"),
        DidNotRun("Missed", at("13:00"), at("13:00"), 1, "Rejected", "…"),
        # What is folded a second time is no news.
        ended("r1"),
    ):
        status, news = fold(status, [fact], frame(one, at("14:00")))
        telemetry.report(A, news)
    counted = {
        "started": sum(
            sample(telemetry, "runs_started_total", A, trigger=t) or 0 for t in ("Schedule", "Manual")
        ),
        "succeeded": sample(telemetry, "runs_ended_total", A, status="success"),
        "failed": sum(sample(telemetry, "runs_ended_total", A, status=s) or 0 for s in ("error", "timeout")),
        "interrupted": sample(telemetry, "runs_ended_total", A, status="interrupted") or 0,
        "skipped": sample(telemetry, "slots_skipped_total", A, reason="Suspended"),
        "missed": sample(telemetry, "slots_missed_total", A, reason="Rejected"),
    }
    assert counted == status.counts.model_dump()


@pytest.mark.parametrize(
    ("start", "bucket"), [("08:00:00.2", "0.25"), ("08:00:07", "10.0"), ("07:59:59", "0.005")]
)
def test_how_late_a_slot_starts_is_told(telemetry: Telemetry, start: str, bucket: str) -> None:
    telemetry.report(A, [Started(run(start_time=at(start)))])
    assert sample(telemetry, "start_delay_seconds_count") == 1
    assert sample(telemetry, "start_delay_seconds_bucket", le=bucket) == 1


def test_a_run_on_request_is_not_late(telemetry: Telemetry) -> None:
    telemetry.report(A, [Started(manual(), "now")])
    assert sample(telemetry, "start_delay_seconds_count") == 0


def test_the_series_of_a_deleted_resource_vanish_and_no_others(telemetry: Telemetry) -> None:
    news: list[Fact] = [Started(run()), Started(manual(), "now"), ended(), ended(status="error"), skipped()]
    news += [skipped(2, "Paused"), ended(status="interrupted", awaiting=True)]
    for key in (A, B):
        telemetry.report(key, news)
    telemetry.forget(A)
    telemetry.forget(A)
    text = exposed(telemetry)
    assert b'name="a"' not in text
    assert text.count(b'name="b"') >= 7
    telemetry.report(A, [ended()])
    assert sample(telemetry, "runs_ended_total", A, status="success") == 1


def test_what_vanishes_takes_no_search_among_all(telemetry: Telemetry) -> None:
    keys = [Key("team", f"n{number}") for number in range(2000)]
    for key in keys:
        telemetry.report(key, [ended()])
    for key in keys:
        telemetry.forget(key)
    assert b'namespace="team"' not in exposed(telemetry)
    assert telemetry._series == {}


def exposed(telemetry: Telemetry) -> bytes:
    return generate_latest(telemetry.registry)


# Over HTTP


class Served:
    """The probes of a running operator; `missing` is what is not ready, `waiting` what the gauges read."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.missing: str | None = "the API server does not answer"
        self.waiting = 3
        self.url = ""

    async def get(self, path: str) -> str:
        return await asyncio.to_thread(fetch, self.url + path)


@pytest.fixture
async def served(telemetry: Telemetry) -> AsyncIterator[Served]:
    made = Served(telemetry)
    telemetry.gauges(resources=lambda: 1, in_flight=lambda: 2, to_delete=lambda: made.waiting)
    runner = await telemetry.serve("127.0.0.1", 0, ready=lambda: made.missing)
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_it_lives_before_it_is_ready_and_says_what_is_missing(served: Served) -> None:
    assert await served.get("/livez") == "ok\n"
    with pytest.raises(urllib.error.HTTPError) as caught:
        await served.get("/readyz")
    with caught.value as answer:
        assert (answer.code, answer.read()) == (503, b"the API server does not answer\n")
    served.missing = None
    assert await served.get("/readyz") == "ok\n"


async def test_metrics_have_their_names_and_the_gauges_their_values_of_now(served: Served) -> None:
    served.telemetry.report(
        A, [Started(run()), ended(), skipped(), ended(status="interrupted", awaiting=True)]
    )
    served.telemetry.report(A, [DidNotRun("Missed", at("08:00"), at("08:00"), 1, "Rejected", "…")])
    served.telemetry.request("POST", "ok")
    served.telemetry.status_writes.labels("written").inc()
    served.telemetry.events.labels("posted").inc()
    text = await served.get("/metrics")
    assert set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE)) == {
        "assistantcron_build_info",
        "assistantcron_deployment_requests_total",
        "assistantcron_events_total",
        "assistantcron_resources",
        "assistantcron_runs_awaiting_input_total",
        "assistantcron_runs_ended_total",
        "assistantcron_runs_in_flight",
        "assistantcron_runs_started_total",
        "assistantcron_slots_missed_total",
        "assistantcron_slots_skipped_total",
        "assistantcron_start_delay_seconds_bucket",
        "assistantcron_start_delay_seconds_count",
        "assistantcron_start_delay_seconds_sum",
        "assistantcron_status_writes_total",
        "assistantcron_threads_to_delete",
        "assistantcron_watch_restarts_total",
    }
    assert "assistantcron_resources 1.0\n" in text
    assert "assistantcron_runs_in_flight 2.0\n" in text
    assert "assistantcron_threads_to_delete 3.0\n" in text
    served.waiting = 0
    assert "assistantcron_threads_to_delete 0.0\n" in await served.get("/metrics")


async def test_slots_do_not_wait_for_a_long_scrape(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free = threading.Event(), threading.Event()

    def slow(_: object) -> bytes:
        begun.set()
        assert free.wait(DEADLINE)
        return b"all of it\n"

    monkeypatch.setattr(module, "generate_latest", slow)
    scrape = asyncio.create_task(served.get("/metrics"))
    assert await asyncio.to_thread(begun.wait, DEADLINE)
    assert await served.get("/livez") == "ok\n"
    free.set()
    assert await scrape == "all of it\n"


async def test_prometheus_is_told_what_it_gets(served: Served) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(served.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")


async def test_what_is_not_there_is_not_found(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        await served.get("/debug")
    with caught.value as answer:
        assert answer.code == 404


async def test_a_port_that_is_taken_is_an_os_error(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])
    with pytest.raises(OSError):
        await Telemetry().serve("127.0.0.1", port, ready=lambda: None)


# Logs


Capture = pytest.CaptureFixture[str]


@pytest.fixture
def stderr(capsys: Capture) -> Iterator[Capture]:
    """Logging is as before afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("kopf", "kopf.objects", "aiohttp.access", "httpx")
    }
    yield capsys
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(stderr: Capture) -> list[str]:
    return stderr.readouterr().err.splitlines()


WHERE = {
    "namespace": "team",
    "cron": "nightly",
    "slot": "2026-03-02T08:00:00Z",
    "run_id": "r-1",
    "thread_id": None,
}


def test_a_json_line_has_all_by_which_one_looks_for_it(stderr: Capture) -> None:
    configure_logging("json", "INFO")
    logging.getLogger("assistantcron.recorder").info("run started", extra=WHERE)
    told = json.loads(stderr.readouterr().err)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", told.pop("time"))
    assert told == {
        "level": "INFO",
        "logger": "assistantcron.recorder",
        "message": "run started",
        "namespace": "team",
        "name": "nightly",
        "slot": "2026-03-02T08:00:00Z",
        "run_id": "r-1",
    }


def test_a_plain_line_too_and_nothing_that_is_not_known(stderr: Capture) -> None:
    configure_logging("plain", "INFO")
    logging.getLogger("assistantcron").info("run started", extra=WHERE)
    logging.getLogger("assistantcron").info("watching all namespaces")
    first, second = lines(stderr)
    assert first.endswith(
        " INFO    run started  [namespace=team name=nightly slot=2026-03-02T08:00:00Z run_id=r-1]"
    )
    assert second.endswith(" INFO    watching all namespaces")


FORMS: tuple[Literal["json", "plain"], ...] = ("json", "plain")


@pytest.mark.parametrize("form", FORMS)
def test_a_line_is_one_line_whatever_stands_in_it(stderr: Capture, form: Literal["json", "plain"]) -> None:
    configure_logging(form, "INFO")
    forged = "nightly\n12:00:00 CRITICAL forged\x1b[31m"
    logging.getLogger("assistantcron").info("thread deleted", extra={"cron": forged, "slot": "\ud800"})
    (line,) = lines(stderr)
    assert "\x1b" not in line
    assert line.encode()


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_is_told(stderr: Capture, form: Literal["json", "plain"]) -> None:
    configure_logging(form, "INFO")
    logging.getLogger("assistantcron").error("failed", exc_info=ValueError("a bug"), extra=WHERE)
    text = stderr.readouterr().err
    assert "ValueError: a bug" in (json.loads(text)["exc_info"] if form == "json" else text)


@pytest.mark.parametrize(
    ("level", "shown"),
    [("DEBUG", ["d", "i", "w", "e"]), ("INFO", ["i", "w", "e"]), ("WARNING", ["w", "e"]), ("ERROR", ["e"])],
)
def test_the_level_is_obeyed_and_libraries_tell_no_more_than_warnings(
    stderr: Capture, level: str, shown: list[str]
) -> None:
    configure_logging("json", level)
    libraries = ("kopf.objects", "httpx", "aiohttp.access")
    for name in ("assistantcron.deployment", *libraries):
        logger = logging.getLogger(name)
        for say, word in zip((logger.debug, logger.info, logger.warning, logger.error), "diwe", strict=True):
            say(word)
    told = [json.loads(line) for line in lines(stderr)]
    assert [one["message"] for one in told if one["logger"] == "assistantcron.deployment"] == shown
    for name in libraries:
        assert [one["message"] for one in told if one["logger"] == name] == [w for w in shown if w in "we"]
