"""What the operator tells about itself: metrics, probes, and the form of its log lines.

The counters speak of what has been written to status, so they and `status.counts` agree.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pythonjsonlogger.json import JsonFormatter

from assistantcron import __version__
from assistantcron.facts import DidNotRun, Ended, Fact, Started
from assistantcron.resource import Key
from assistantcron.schedule import tzdata_version

_RESOURCE = ("namespace", "name")
_DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Telemetry:
    """One registry of metrics; `serve` answers `/livez`, `/readyz` and `/metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        # A series beside each counter, of which nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._started = Counter(
            "assistantcron_runs_started", "Runs started.", (*_RESOURCE, "trigger"), registry=r
        )
        self._ended = Counter(
            "assistantcron_runs_ended", "Runs ended, by outcome.", (*_RESOURCE, "status"), registry=r
        )
        self._awaiting = Counter(
            "assistantcron_runs_awaiting_input",
            "Times that a run began to wait for a human.",
            _RESOURCE,
            registry=r,
        )
        self._skipped = Counter(
            "assistantcron_slots_skipped", "Slots that a rule forbade.", (*_RESOURCE, "reason"), registry=r
        )
        self._missed = Counter(
            "assistantcron_slots_missed", "Slots that nobody could start.", (*_RESOURCE, "reason"), registry=r
        )
        self._delay = Histogram(
            "assistantcron_start_delay_seconds",
            "From a slot to the acceptance of its run, by the deployment's clock.",
            registry=r,
            buckets=_DELAYS,
        )
        self._requests = Counter(
            "assistantcron_deployment_requests", "Requests to deployments.", ("method", "result"), registry=r
        )
        self.status_writes = Counter(
            "assistantcron_status_writes", "Writes of a status, by result.", ("result",), registry=r
        )
        self.events = Counter(
            "assistantcron_events", "Kubernetes Events, by result.", ("result",), registry=r
        )
        self.watch_restarts = Counter(
            "assistantcron_watch_restarts", "Times the watch had to be begun anew.", registry=r
        )
        self._resources = Gauge("assistantcron_resources", "Resources known.", registry=r)
        self._in_flight = Gauge("assistantcron_runs_in_flight", "Runs followed.", registry=r)
        self._to_delete = Gauge(
            "assistantcron_threads_to_delete", "Threads that wait to be deleted.", registry=r
        )
        self._gauges: dict[Gauge, Callable[[], int]] = {}
        self._series: dict[Key, set[tuple[Counter, tuple[str, ...]]]] = {}
        Gauge("assistantcron_build_info", "Versions.", ("version", "python", "tzdata"), registry=r).labels(
            __version__, platform.python_version(), tzdata_version()
        ).set(1)

    def gauges(
        self, *, resources: Callable[[], int], in_flight: Callable[[], int], to_delete: Callable[[], int]
    ) -> None:
        """Where the gauges read their values."""
        self._gauges = {
            self._resources: resources,
            self._in_flight: in_flight,
            self._to_delete: to_delete,
        }

    def request(self, method: str, result: str) -> None:
        """Count one request to a deployment."""
        self._requests.labels(method, result).inc()

    def report(self, key: Key, news: Iterable[Fact]) -> None:
        """Count what has just been written to a status."""
        for fact in news:
            match fact:
                case Started(run, token):
                    self._count(self._started, key, str(run.trigger))
                    if token is None:
                        self._delay.observe(max((run.start_time - run.scheduled_time).total_seconds(), 0.0))
                case Ended(awaiting=True):
                    self._count(self._awaiting, key)
                case Ended(status=status):
                    self._count(self._ended, key, status)
                case DidNotRun(outcome="Skipped"):
                    self._count(self._skipped, key, fact.reason, by=fact.count)
                case DidNotRun():
                    self._count(self._missed, key, fact.reason, by=fact.count)

    def forget(self, key: Key) -> None:
        """Drop the series of a deleted resource; one by one, for to look for them among all takes long."""
        for counter, labels in self._series.pop(key, ()):
            counter.remove(*labels)

    def _count(self, counter: Counter, key: Key, *kind: str, by: int = 1) -> None:
        labels = (key.namespace, key.name, *kind)
        counter.labels(*labels).inc(by)
        self._series.setdefault(key, set()).add((counter, labels))

    async def serve(self, host: str, port: int, *, ready: Callable[[], str | None]) -> web.AppRunner:
        """Listen; `ready()` is None or what is not ready yet. Raises `OSError` if the port is taken."""

        async def livez(_: web.Request) -> web.Response:
            return web.Response(text="ok\n")

        async def readyz(_: web.Request) -> web.Response:
            missing = ready()
            return web.Response(text=f"{missing or 'ok'}\n", status=503 if missing else 200)

        async def metrics(_: web.Request) -> web.Response:
            for gauge, value in self._gauges.items():
                gauge.set(value())
            # Ten thousand resources take more than a second: slots must not wait for it.
            text = await asyncio.to_thread(generate_latest, self.registry)
            return web.Response(body=text, headers={"content-type": CONTENT_TYPE_LATEST})

        application = web.Application()
        application.add_routes(
            [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner


# In Python's log records `name` is the logger, so the resource's is `cron` until it is printed.
_RENAMED = {"levelname": "level", "name": "logger", "cron": "name"}


class _JsonFormatter(JsonFormatter):
    """For machines; without the fields that a line has nothing for."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in log_data.items() if value is not None}


class _PlainFormatter(logging.Formatter):
    """For people at a terminal: the extra fields behind the message."""

    _KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        told = {k: v for k, v in vars(record).items() if k not in self._KNOWN and v is not None}
        # One line is one line, whatever somebody has written into a thread's metadata.
        extra = " ".join(
            f"{_RENAMED.get(k, k)}={v if str(v).isprintable() else repr(v)}" for k, v in told.items()
        )
        line = super().format(record)
        return f"{line}  [{extra}]" if extra else line


def configure_logging(form: Literal["json", "plain"], level: str) -> None:
    """Send all log lines to stderr, one JSON object or one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(
            _JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=_RENAMED, timestamp="time")
        )
    else:
        handler.setFormatter(_PlainFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf tells of every event at INFO; what it cannot handle comes as a warning.
    for name in ("kopf", "kopf.objects", "aiohttp.access", "httpx"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
