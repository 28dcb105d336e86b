"""The servers of the test bed: a real API server that can be stopped and started, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bed.controlplane import ControlPlane, KubectlError
from tests.bed.process import Server, free_port

ROOT = Path(__file__).parents[1]
STARTS_A_SERVER = """
import pathlib, sys, time
from tests.bed.process import Server
print(Server(["sleep", "1000"], pathlib.Path(sys.argv[1])).pid, flush=True)
time.sleep(1000)
"""


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has asked after yet."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Ended with the test."""
    started: list[Server] = []
    yield started
    for server in started:
        server.kill()


def test_it_is_a_real_api_server_with_the_resource(kubectl: Callable[..., str]) -> None:
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert kubectl("get", "acron") == ""
    kubectl("create", "configmap", "one", "--from-literal=a=b")
    assert kubectl("get", "configmap", "-o", "name") == "configmap/one\n"


def test_each_test_has_a_namespace_of_its_own(kubectl: Callable[..., str]) -> None:
    assert kubectl("get", "configmap", "-o", "name") == ""


def test_what_kubectl_says_is_in_the_error(kubectl: Callable[..., str]) -> None:
    with pytest.raises(KubectlError, match='configmaps "nobody" not found'):
        kubectl("get", "configmap", "nobody")


def test_input_reaches_kubectl(
    control_plane: ControlPlane, kubectl: Callable[..., str], namespace: str
) -> None:
    manifest = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}, "data": {"a": "b"}}'
    kubectl("apply", "-f", "-", stdin=manifest)
    assert control_plane.get("configmap", "two", "-n", namespace)["data"] == {"a": "b"}


def test_rights_are_enforced(kubectl: Callable[..., str]) -> None:
    with pytest.raises(KubectlError, match="Forbidden"):
        kubectl("get", "secrets", "--as=somebody")


def test_the_api_server_comes_back_on_the_same_address_with_the_same_data(
    control_plane: ControlPlane, kubectl: Callable[..., str]
) -> None:
    kubectl("create", "configmap", "kept")
    control_plane.stop_apiserver()
    try:
        with pytest.raises(KubectlError, match="refused"):
            kubectl("get", "configmap")
    finally:
        control_plane.start_apiserver()
    assert kubectl("get", "configmap", "-o", "name") == "configmap/kept\n"


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    server = Server(["sh", "-c", "echo the disk is full; exit 3"], tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"it ended with status 3:\nthe disk is full"):
        server.wait_until(lambda: False, 10, "it")


def test_a_server_that_is_never_ready_is_ended_and_shows_its_log(
    tmp_path: Path, servers: list[Server]
) -> None:
    server = Server(["sh", "-c", "echo waiting for Godot; exec sleep 1000"], tmp_path / "log")
    servers.append(server)
    wait_until(lambda: server.tail() != "")
    with pytest.raises(RuntimeError, match=r"(?s)not ready within 0 s:.*Godot"):
        server.wait_until(lambda: False, 0, "it")
    assert server.process.poll() == -signal.SIGKILL


def test_stopping_ends_the_whole_group(tmp_path: Path) -> None:
    server = Server(["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait; wait"], tmp_path / "log")
    wait_until(lambda: server.tail().isdigit())
    child = int(server.tail())
    server.stop(0.1)
    wait_until(lambda: ended(child))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_server_dies_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS_A_SERVER, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not ended(pid)
        # Until the launcher has become the command, it may not have asked yet to be told.
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") == "sleep\n")
        os.kill(parent.pid, signal.SIGKILL)
        wait_until(lambda: ended(pid))


def test_free_ports_are_not_those_of_outgoing_connections() -> None:
    assert all(1024 < free_port() < 32_768 for _ in range(20))
