"""A control plane and a LangGraph server that stay up, for trying things by hand: `make cluster[-stop]`.

What runs is recorded in the cache folder: PIDs, and when the processes started, so that no other is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from tests.bed.binaries import cache
from tests.bed.controlplane import ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.process import identity

RECORD = "running.json"
STOP_SECONDS = 10.0
RUNNING = """
{what} running, until you say `make cluster-stop`:

  a Kubernetes API server without nodes and controllers, with the AssistantCron resource
  a LangGraph server at {url}, with the graph `agent` of examples/server

The operator, in the foreground:

  export KUBECONFIG={kubeconfig}
  export ASSISTANTCRON_DEPLOYMENT_URL={url}
  export ASSISTANTCRON_LOG_FORMAT=plain
  .venv/bin/assistantcron run

In another shell:

  export KUBECONFIG={kubeconfig}
  kubectl apply -f examples/nightly-report.yaml
  kubectl get acron

If you have no kubectl: {kubectl}
Data and logs, which go when it is stopped: {folder}
"""


class Record(TypedDict):
    """What `start` writes down. `processes` has a PID and the process's identity by name."""

    processes: dict[str, tuple[int, str | None]]
    kubeconfig: str
    kubectl: str
    url: str


def start() -> None:
    """Start what is not running, and say how to use it."""
    with _alone() as folder:
        record = _recorded(folder)
        if record and all(identity(pid) == started for pid, started in record["processes"].values()):
            print(RUNNING.format(what="Already", folder=folder, **record))
            return
        if record:
            print("Some of it has ended: starting anew.")
            _stop(folder, record)
        print("Starting a control plane and a LangGraph server (about 6 s) …", flush=True)
        print(RUNNING.format(what="Now", folder=folder, **_start(folder)))


def stop() -> None:
    """Stop what `start` has started, and remove its data."""
    with _alone() as folder:
        if record := _recorded(folder):
            _stop(folder, record)
            print("The control plane and the LangGraph server have stopped; their data is gone.")
        else:
            print("Nothing is running.")


@contextlib.contextmanager
def _alone() -> Iterator[Path]:
    """The folder for it all; a second call at the same time waits."""
    folder = cache() / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    with (cache() / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _recorded(folder: Path) -> Record | None:
    try:
        record: Record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record


def _start(folder: Path) -> Record:
    plane = ControlPlane(folder / "control-plane", lasting=True)
    server = DevServer(folder / "langgraph", lasting=True)
    try:
        plane.start()
        plane.apply_crd()
        server.start()
        parts = {"etcd": plane.etcd, "kube-apiserver": plane.apiserver, "langgraph dev": server.server}
        record = Record(
            processes={
                name: (part.pid, identity(part.pid)) for name, part in parts.items() if part is not None
            },
            kubeconfig=str(plane.kubeconfig),
            kubectl=str(plane.binaries / "kubectl"),
            url=server.url,
        )
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    except BaseException:
        plane.stop()
        server.stop()
        shutil.rmtree(folder)
        raise
    return record


def _stop(folder: Path, record: Record) -> None:
    """The last first: TERM to its process group, and KILL after a while, if it is still the one recorded."""
    for pid, started in reversed(record["processes"].values()):
        for number in (signal.SIGTERM, signal.SIGKILL):
            if started is None or identity(pid) != started:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
            deadline = time.monotonic() + STOP_SECONDS
            while identity(pid) == started and time.monotonic() < deadline:
                time.sleep(0.05)
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bed.cluster", description=__doc__)
    parser.add_argument("what", choices=["start", "stop"])
    try:
        {"start": start, "stop": stop}[parser.parse_args().what]()
    except KeyboardInterrupt:
        sys.exit("interrupted: what was started has been stopped")
    except RuntimeError as error:
        sys.exit(str(error))
