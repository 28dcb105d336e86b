"""`make cluster`, `make cluster-stop`: what they leave running, what they say, and what they leave alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bed import binaries
from tests.bed.process import answers, identity

ROOT = Path(__file__).parents[1]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """`cluster("start")`, `cluster("stop")`, with a cache folder of the test's own; what they print."""
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(binaries.find()), "XDG_CACHE_HOME": str(tmp_path)}

    def call(what: str) -> str:
        command = [sys.executable, "-m", "tests.bed.cluster", what]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    try:
        yield call
    finally:
        call("stop")


def test_it_stays_up_says_how_to_use_it_and_stops(cluster: Callable[[str], str], tmp_path: Path) -> None:
    told = cluster("start")
    assert "Now running" in told
    ((kubeconfig, _), (url,), (kubectl,)) = (
        re.findall(pattern, told)
        for pattern in (
            r"export KUBECONFIG=(\S+)",
            r"export ASSISTANTCRON_DEPLOYMENT_URL=(\S+)",
            r"no kubectl: (\S+)",
        )
    )
    command = [kubectl, "apply", "-f", "examples/", "--dry-run=server"]
    environment = {**os.environ, "KUBECONFIG": kubeconfig}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert answers(f"{url}/ok")

    again = cluster("start")
    assert again == told.partition("\n")[2].replace("Now", "Already")

    record = json.loads((tmp_path / "assistantcron" / "cluster" / "running.json").read_text(encoding="utf-8"))
    assert all(identity(pid) == started for pid, started in record["processes"].values())
    assert "have stopped" in cluster("stop")
    assert [pid for pid, _ in record["processes"].values() if identity(pid)] == []
    assert not answers(f"{url}/ok")
    assert list((tmp_path / "assistantcron" / "cluster").glob("*")) == []
    assert cluster("stop") == "Nothing is running.\n"


def test_it_leaves_a_process_alone_that_has_got_a_recorded_pid(
    cluster: Callable[[str], str], tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as somebody:
        try:
            record = {
                "processes": {"etcd": [somebody.pid, "long ago"]},
                "kubeconfig": "",
                "kubectl": "",
                "url": "",
            }
            folder = tmp_path / "assistantcron" / "cluster"
            folder.mkdir(parents=True)
            (folder / "running.json").write_text(json.dumps(record), encoding="utf-8")
            assert "have stopped" in cluster("stop")
            assert somebody.poll() is None
        finally:
            somebody.kill()
