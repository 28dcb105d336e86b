"""The real LangGraph server of the test bed: it can be stopped and started, and leaves the tree clean."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.bed.devserver import ROOT, SAMPLE, DevServer, langgraph


def test_a_run_outlives_a_restart_of_the_server() -> None:
    server = DevServer()
    try:
        server.start()
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
            thread = http.post("/threads", json={}).json()["thread_id"]
            sent = {"assistant_id": "agent", "input": {"seconds": 1}, "after_seconds": 1}
            run = http.post(f"/threads/{thread}/runs", json=sent).json()["run_id"]
            server.restart()
            deadline = time.monotonic() + 30
            while (status := http.get(f"/threads/{thread}/runs/{run}").json()["status"]) != "success":
                assert status in ("pending", "running")
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        server.stop()
    assert not server.folder.exists()


def test_the_tree_stays_clean(dev_server: DevServer) -> None:
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--ignored", "--", "."],
        cwd=SAMPLE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ".langgraph_api" not in listed.stdout
    assert ROOT not in dev_server.folder.parents


def test_where_the_command_is_missing_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_CLI", str(tmp_path / "langgraph"))
    with pytest.raises(SystemExit, match=r"langgraph is not there: `make server` installs it"):
        langgraph()
