"""Servers as child processes that cannot outlive the test run.

Each has its own process group, is ended by PID, and is killed by the kernel (Linux) should the thread that
started it die first: start servers from the main thread.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("whoever started this has ended already")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""A launcher, because `preexec_fn` is not safe in a process with threads."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    Below the range from which the kernel serves outgoing connections: one of that range could be taken while
    its server is down for a restart, even by a client that tries to connect to it.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def fetch(url: str, *, token: str = "", tls: ssl.SSLContext | None = None) -> str:
    """What a server of ours answers, never through a proxy. Raises `OSError` or `HTTPException`."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls:
        handlers.append(urllib.request.HTTPSHandler(context=tls))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    with urllib.request.build_opener(*handlers).open(request, timeout=2) as answer:
        text: str = answer.read().decode()
    return text


def answers(url: str, *, token: str = "", tls: ssl.SSLContext | None = None) -> bool:
    """Whether a server of ours answers there, and with 200."""
    try:
        fetch(url, token=token, tls=tls)
    except (OSError, http.client.HTTPException):
        return False
    return True


def identity(pid: int) -> str | None:
    """When a process started: tells it from another that got its PID later. None if it has ended."""
    if sys.platform != "linux":
        shown = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return shown.stdout.strip() or None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], fields[19]
    return None if state == "Z" else started


class Server:
    """A child process with its log in a file; a `lasting` one outlives this process."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        lasting: bool = False,
    ) -> None:
        self.log = log
        launcher = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command if lasting or sys.platform != "linux" else [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Also the ID of its process group."""
        return self.process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Poll; raises `RuntimeError` with the log's end if it dies or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.require(what)
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{what} was not ready within {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    def require(self, what: str) -> None:
        """Raises `RuntimeError` with the log's end if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {self.process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        """To the process alone."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 10.0) -> int:
        """TERM, and KILL to the whole group when it has ended or `seconds` are over; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """KILL to the whole group; the exit status."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.process.wait()
