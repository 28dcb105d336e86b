"""How late do runs start when many slots come at once? On a real API server and the stub deployment.

The operator's starts are held against the least that any client must do for them: the same two requests each,
sent as fast as the same HTTP client can, in the same minute on the same machine. Figures of two machines, or
of two minutes, cannot be compared; the ratio can.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assistantcron.connections import CONNECTIONS
from assistantcron.deployment import Deployment
from assistantcron.egress import Policy, Target
from tests.bed.controlplane import ControlPlane
from tests.bed.operator import Namespace, Operator, wait_for
from tests.bed.process import Server, answers, fetch, free_port


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.starts", description=__doc__)
    parser.add_argument("--resources", type=int, default=1000, help="resources whose slots come at once")
    count = parser.parse_args().resources
    with tempfile.TemporaryDirectory(prefix="assistantcron-bench-") as folder:
        delays, accounted, bare = _measure(Path(folder), count)
    _say(f"{count} resources, one slot at the same instant; {accounted} have it in status, once")
    _say(f"{'':22}{'first':>8}{'median':>8}{'p99':>8}{'last':>8}   seconds after the slot")
    for name, figures in (("the operator", delays), ("the two requests alone", bare)):
        p99 = statistics.quantiles(figures, n=100)[98]
        row = (min(figures), statistics.median(figures), p99, max(figures))
        _say(f"{name:22}" + "".join(f"{figure:8.2f}" for figure in row))
    _say(f"the operator needs {max(delays) / max(bare):.1f} times as long for all of them")


def _measure(folder: Path, count: int) -> tuple[list[float], int, list[float]]:
    """Seconds after the slot of every start, how many have it in status, and those of the bare requests."""
    port = free_port()
    stub = Server(
        [sys.executable, "-m", "tests.bed.stub", f"--port={port}"],
        folder / "stub.log",
        env={"PYTHONPATH": "."},
    )
    url = f"http://127.0.0.1:{port}"
    stub.wait_until(lambda: answers(f"{url}/ok"), 20, "the stub")
    plane = ControlPlane()
    try:
        plane.start()
        plane.apply_crd()
        delays, accounted = _operator(plane, url, folder, count)
        return delays, accounted, asyncio.run(_bare(url, count))
    finally:
        plane.stop()
        stub.kill()


def _operator(plane: ControlPlane, url: str, folder: Path, count: int) -> tuple[list[float], int]:
    slot = (datetime.now(UTC) + timedelta(seconds=45 + count / 50)).replace(second=0, microsecond=0)
    slot += timedelta(minutes=1)
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "assistantcron.dev/v1alpha1",
            "kind": "AssistantCron",
            "metadata": {"name": f"bench-{number}"},
            "spec": {
                "schedule": f"{slot.minute} {slot.hour} {slot.day} {slot.month} *",
                "assistant": "agent",
                "input": {"messages": [{"role": "user", "content": "Hello"}]},
            },
        }
        for number in range(count)
    ]
    space = Namespace(plane, "default")
    space.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    operator = Operator(plane, url, folder, NAMESPACES="default").start()
    try:
        wait_for(operator.metrics, lambda seen: _written(seen) >= count, 120)
        if datetime.now(UTC) > slot:
            sys.exit("the machine is too slow for so many: they were not all ready when their slot came")
        time.sleep((slot - datetime.now(UTC)).total_seconds())
        wait_for(lambda: json.loads(fetch(f"{url}/stub/starts")), lambda starts: len(starts) >= count, 300)
        wait_for(operator.metrics, lambda seen: _ended(seen) >= count, 120)
        found = plane.get("--namespace=default", "acron")["items"]
        accounted = sum(one["status"]["counts"]["started"] == 1 for one in found)
        starts = json.loads(fetch(f"{url}/stub/starts"))
    finally:
        operator.kill()
    return [start - slot.timestamp() for start in starts], accounted


async def _bare(url: str, count: int) -> list[float]:
    """A claim and a start for each, all at once, on as many connections as the operator has."""
    client = Deployment(Target(url, "127.0.0.1", trusted=True), Policy(), observe=lambda *_: None)
    gate, began, delays = asyncio.Semaphore(CONNECTIONS), time.time(), []

    async def one() -> None:
        async with gate:
            thread = str(uuid.uuid4())
            await client.create_thread(thread, {"bench": True})
            body = {"assistant_id": "agent", "input": {}, "multitask_strategy": "reject"}
            await client.create_run(thread, body, request_id="bench")
            delays.append(time.time() - began)

    await asyncio.gather(*(one() for _ in range(count)))
    await client.close()
    return delays


def _written(seen: dict[str, float]) -> float:
    return seen.get('assistantcron_status_writes_total{result="written"}', 0)


def _ended(seen: dict[str, float]) -> float:
    return sum(value for name, value in seen.items() if name.startswith("assistantcron_runs_ended_total"))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
