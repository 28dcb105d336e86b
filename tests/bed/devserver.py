"""A real LangGraph server, `langgraph dev`, with the sample graph of `examples/server`, on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bed.process import Server, answers, free_port

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "server"
QUIET = {
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "NO_COLOR": "1",
}
"""Nothing goes to anybody else, whatever the developer's shell says."""


def langgraph() -> Path:
    """The command: `LANGGRAPH_CLI`, or that of `.venv-server`; exits with a line if it is not there."""
    command = Path(os.environ.get("LANGGRAPH_CLI") or ROOT / ".venv-server" / "bin" / "langgraph")
    if not command.exists():
        sys.exit(f"{command} is not there: `make server` installs it, or set LANGGRAPH_CLI")
    return command


class DevServer:
    """`start()`, use, `stop()`.

    Given a `folder`, state, log and, if `lasting`, the server stay when this process ends. A server that does
    not start raises `RuntimeError` with the end of its log.
    """

    def __init__(self, folder: Path | None = None, *, lasting: bool = False) -> None:
        self._command = langgraph()
        self._temporary = folder is None
        self._lasting = lasting
        self.folder = folder or Path(tempfile.mkdtemp(prefix="assistantcron-server-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: Server | None = None
        # The server keeps its state beside its configuration: not in the tree.
        shutil.copytree(SAMPLE, self.folder / "server", dirs_exist_ok=True)

    def start(self) -> DevServer:
        """Until it answers: 2 to 6 s."""
        options = [
            "--no-browser",
            "--no-reload",
            "--host=127.0.0.1",
            f"--port={self.port}",
            "--n-jobs-per-worker=10",
        ]
        self.server = Server(
            [str(self._command), "dev", *options],
            self.folder / "server.log",
            env=QUIET,
            cwd=self.folder / "server",
            lasting=self._lasting,
        )
        self.server.wait_until(lambda: answers(f"{self.url}/ok"), 90, "langgraph dev")
        return self

    def restart(self, *, kill: bool = False) -> None:
        """On the same port; runs in flight are taken up again. A `kill` loses what it has not yet written."""
        if self.server is not None:
            self.server.kill() if kill else self.server.stop()
        self.start()

    def stop(self) -> None:
        """The server, and its state."""
        if self.server is not None:
            self.server.stop(5)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
