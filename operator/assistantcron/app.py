"""The wiring: settings, clock, clients, scheduler, kopf; start, supervise, drain, stop.

Everything below gets its parts, and the time, from here. `cli.py` calls `main`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime

import kopf

from assistantcron import __version__, handlers
from assistantcron import settings as settings_module
from assistantcron.anydepth import read_any_depth
from assistantcron.background import backoff, forever
from assistantcron.clock import now
from assistantcron.errors import InvalidSettings, Transient
from assistantcron.follower import Follower
from assistantcron.kube import Kube
from assistantcron.lookups import Lookups
from assistantcron.reconciler import Reconciler
from assistantcron.recorder import Recorder
from assistantcron.resource import Key
from assistantcron.scheduler import Scheduler
from assistantcron.settings import Settings
from assistantcron.starter import Starter
from assistantcron.table import Memory, Table
from assistantcron.targets import Targets, default_target
from assistantcron.telemetry import Telemetry, configure_logging
from assistantcron.tidier import GRACE, SWEEP_SECONDS, Tidier

log = logging.getLogger("assistantcron")

CRD_LOOKS = 5
"""A second apart: an API server that has just started serves its custom resources a moment later."""
DRAIN_SECONDS = 20.0
"""For passes under way at the end; Kubernetes gives a pod 30 s."""


def main() -> int:
    """Run the operator until SIGTERM or SIGINT; the exit status."""
    read_any_depth()
    configure_logging("plain", "INFO")
    try:
        settings = settings_module.load()
        # Before anything is waited for: a wrong setting is to end the start, not the first slot.
        default_target(settings)
        configure_logging(settings.log_format, settings.log_level)
        sound = asyncio.run(Operator(settings).run())
    except InvalidSettings as error:
        log.critical("%s", error.message)
        return 1
    return 0 if sound else 1


class Operator:
    """One process's life."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._telemetry = Telemetry()
        self._stop = asyncio.Event()
        self._missing: str | None = "starting"
        self._failed = False

    async def run(self) -> bool:
        """From start to stop; whether it was stopped, and did not break.

        Raises `InvalidSettings` when it cannot begin.
        """
        log.info("assistantcron %s starts", __version__)
        self._listen_for_signals()
        host, _, port = self._settings.http_address.rpartition(":")
        try:
            http = await self._telemetry.serve(host.strip("[]"), int(port), ready=lambda: self._missing)
        except OSError as error:
            raise InvalidSettings(
                f"{settings_module.PREFIX}HTTP_ADDRESS: "
                f"cannot listen on {self._settings.http_address}: {os.strerror(error.errno or 0)}"
            ) from None
        try:
            kube = await Kube.connect()
            try:
                if await self._cluster_answers(kube):
                    await self._operate(kube)
            finally:
                await kube.close()
        finally:
            await http.cleanup()
            log.info("assistantcron has stopped")
        return not self._failed

    async def _cluster_answers(self, kube: Kube) -> bool:
        """Wait, visibly, for a cluster that is not ready for us yet; False if we are stopped before it is."""
        failures, looks_left = 0, CRD_LOOKS
        while not self._stop.is_set():
            try:
                await kube.check_access(self._settings.namespaces)
            except InvalidSettings:
                looks_left -= 1
                if not looks_left:
                    raise
                await self._pause(1.0)
            except Transient as error:
                self._missing = f"waiting for the cluster: {error.message}"
                log.warning("waiting for the cluster: %s", error.message)
                failures += 1
                await self._pause(backoff(failures, longest=15.0))
            else:
                return True
        return False

    async def _operate(self, kube: Kube) -> None:
        table = Table()
        targets = Targets(kube, self._settings, now=now, observe=self._telemetry.request)
        tidier = Tidier(now=now, recorded=table.recorded)
        recorder = Recorder(kube, table, tidier, self._telemetry, now=now)

        def wake(key: Key, at: datetime) -> None:
            scheduler.wake(key, at)

        follower = Follower(lambda key: wake(key, now()), now=now)
        starter = Starter(
            str(uuid.uuid4()),
            # The seam for the Lease: until there is one, every replica acts, and the slot's thread decides.
            may_act=lambda: True,
            now=now,
            spent=lambda order, thread: tidier.later(
                order.client, thread, order.resource.uid, now() + GRACE, tombstone=True
            ),
        )
        reconciler = Reconciler(table, targets, Lookups(now=now), starter, follower, recorder, wake, now)
        scheduler = Scheduler(reconciler.look, now=now, interrupted=reconciler.interrupted)
        self._telemetry.gauges(
            resources=lambda: len(table), in_flight=lambda: len(follower), to_delete=lambda: len(tidier)
        )

        def gone(memory: Memory) -> None:
            reconciler.gone(memory)
            scheduler.forget(memory.resource.key)

        async def sweep() -> None:
            for client in targets.clients():
                await tidier.sweep(client)
            await targets.prune(follower.servers() | tidier.servers())

        async def sweeps() -> None:
            # Not at once: the list must be in, or all that is there looks unknown.
            await asyncio.sleep(GRACE.total_seconds())
            await forever("the sweep", sweep, pause=SWEEP_SECONDS)

        # Before kopf: at its end kopf cancels every task that is younger than itself.
        background = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                ("scheduler", forever("the scheduler", scheduler.run, pause=1.0)),
                ("follower", follower.run()),
                ("tidier", tidier.run()),
                ("events", forever("posting Events", recorder.run, pause=1.0)),
                ("sweep", sweeps()),
            )
        ]
        for task in background:
            task.add_done_callback(self._background_ended)
        registry, kopf_settings = handlers.build(
            kube, table, changed=lambda key: wake(key, now()), gone=gone, now=now
        )
        try:
            await self._watch(registry, kopf_settings, drain=lambda: scheduler.drain(DRAIN_SECONDS))
            await recorder.flush(2.0)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await targets.close()

    async def _watch(
        self,
        registry: kopf.OperatorRegistry,
        kopf_settings: kopf.OperatorSettings,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        """Keep kopf running until we are stopped; it ends at many a hiccup. Drain before it goes."""
        failures = 0
        while not self._stop.is_set():
            stop_kopf, ready = asyncio.Event(), asyncio.Event()
            watch = asyncio.create_task(
                kopf.operator(
                    registry=registry,
                    settings=kopf_settings,
                    clusterwide=not self._settings.namespaces,
                    namespaces=self._settings.namespaces,
                    stop_flag=stop_kopf,
                    ready_flag=ready,
                ),
                name="kopf",
            )
            waits = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._when_ready(ready))]
            await asyncio.wait([watch, waits[0]], return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                self._missing = "stopping"
                await drain()
                stop_kopf.set()
            for task in waits:
                task.cancel()
            try:
                await watch
            except Exception as error:  # noqa: BLE001 - whatever ended it, it is begun anew
                self._missing = "the watch is being begun anew"
                self._telemetry.watch_restarts.inc()
                log.warning("the watch ended (%s); it is begun anew", type(error).__name__)
                failures += 1
                await self._pause(backoff(failures, longest=30.0) * random.uniform(0.5, 1.0))
            else:
                # Only a signal that reached kopf's own handler ends it without an error.
                self._stop.set()

    async def _pause(self, seconds: float) -> None:
        """So long, or until we are stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _when_ready(self, ready: asyncio.Event) -> None:
        await ready.wait()
        # kopf has just put its own signal handlers in place of ours.
        self._listen_for_signals()
        self._missing = None
        log.info("watching %s", ", ".join(self._settings.namespaces) or "all namespaces")

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the %s ended: stopping", task.get_name(), exc_info=error)
            self._failed = True
            self._stop.set()
