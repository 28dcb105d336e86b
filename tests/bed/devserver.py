"""A real LangGraph server (`langgraph dev`) with the sample graph of `examples/server`, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.bed.process import Server, free_port

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "server"


def langgraph() -> Path:
    """The `langgraph` command: `LANGGRAPH_CLI`, or that of `.venv-server`."""
    command = Path(os.environ.get("LANGGRAPH_CLI") or ROOT / ".venv-server" / "bin" / "langgraph")
    if not command.exists():
        sys.exit(f"{command} is not there: `make server` installs it, or set LANGGRAPH_CLI")
    return command


class DevServer:
    """`start()`, use, `stop()`; `restart()` as after a crash."""

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="assistantcron-server-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: Server | None = None
        # The server keeps its state beside its configuration: not in the tree.
        shutil.copytree(SAMPLE, self.folder / "server", dirs_exist_ok=True)

    def start(self) -> DevServer:
        """Until it answers: 3 to 6 s."""
        command = [str(langgraph()), "dev", "--no-browser", "--no-reload", "--host=127.0.0.1", f"--port={self.port}"]
        self.server = Server(
            [*command, "--n-jobs-per-worker=10"],
            self.folder / "server.log",
            env={"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "NO_COLOR": "1"},
            cwd=self.folder / "server",
        )
        self.server.wait_until(self._ready, 90, "langgraph dev")
        return self

    def restart(self) -> None:
        """KILL and start: runs in flight are taken up again by the server."""
        if self.server is not None:
            self.server.kill()
        self.start()

    def stop(self) -> None:
        """The server, and its state."""
        if self.server is not None:
            self.server.stop(5)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ok", timeout=2) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
