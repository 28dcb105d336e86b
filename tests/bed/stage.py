"""Where a demonstration takes place: shows and runs commands, waits, and leaves nothing behind.

`perform` gives the story a `Stage`. Whatever ends it, a failure and a signal too, all that was set up on the
stage is stopped and removed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tests.bed.process import Server

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMAND_SECONDS = 60
FAILURES = (
    RuntimeError,
    OSError,
    LookupError,
    ValueError,
    http.client.HTTPException,
    subprocess.SubprocessError,
)


class Interrupted(BaseException):
    """Somebody wants it to stop."""

    def __init__(self, number: int) -> None:
        self.number = number


class Stage:
    """What a story is told with. `parts` are the servers that must go on running, by name."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, steps: int) -> None:
        self.folder = folder
        self.when_it_ends = stack.callback
        self.environment: dict[str, str] = {**os.environ}
        self.parts: dict[str, Callable[[], Server | None]] = {}
        self.where = "before the first step"
        self._step, self._steps = 0, steps
        self._terminal = sys.stdout.isatty()
        self._bold = self._terminal and not os.environ.get("NO_COLOR")

    def say(self, text: str = "", *, bold: bool = False, end: str = "\n") -> None:
        """At once, also into a pipe."""
        print(f"\033[1m{text}\033[0m" if bold and self._bold else text, end=end, flush=True)

    def title(self, text: str) -> None:
        """The next step begins."""
        self._step += 1
        self.where = f"in step {self._step} of {self._steps}"
        self.say("\n")
        self.say(f"{self._step}/{self._steps}  {text}", bold=True)
        self.say()

    def do(self, command: str, *, status: int = 0) -> None:
        """Show a command, run it, show what it prints. Raises `RuntimeError` if it ends otherwise."""
        self.say()
        self.say(f"$ {command}", bold=True)
        with subprocess.Popen(
            shlex.split(command),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                self.say(self._output(process).rstrip())
            finally:
                process.kill()
        if process.returncode != status:
            self.fail(f"the command ended with status {process.returncode}, not {status}")

    def _output(self, process: subprocess.Popen[str]) -> str:
        """All that it prints; a part that ends meanwhile is not waited for in vain."""
        deadline = time.monotonic() + COMMAND_SECONDS
        while True:
            try:
                return process.communicate(timeout=0.5)[0]
            except subprocess.TimeoutExpired:
                self.require()
                if time.monotonic() > deadline:
                    self.fail(f"the command has not ended within {COMMAND_SECONDS} s")

    @contextlib.contextmanager
    def starting(self, what: str) -> Iterator[None]:
        """Tell that it starts, and how long that took."""
        began = time.monotonic()
        self.say(f"Starting {what} … ", end="")
        try:
            yield
        except BaseException:
            self.say()
            raise
        self.say(f"ready after {time.monotonic() - began:.1f} s.")

    def wait_until(self, instant: float, why: str) -> None:
        """`why`, and a countdown if somebody is looking."""
        self.say(f"{why}, {instant - time.time():.0f} s from now.")
        while (left := instant - time.time()) > 0:
            self.require()
            if self._terminal:
                self.say(f"\r  {left:2.0f} s ", end="")
            time.sleep(min(left, 0.5))
        if self._terminal:
            self.say("\r\033[K", end="")

    def require(self) -> None:
        """Raises `RuntimeError` with the end of its log if a part has ended."""
        for what, part in self.parts.items():
            if server := part():
                server.require(what)

    def fail(self, text: str) -> None:
        """Raises `RuntimeError`: a part has ended, or else this, with the end of the last part's log."""
        self.require()
        running = [(what, server) for what, part in self.parts.items() if (server := part())]
        for what, server in running[-1:]:
            text += f"\nThe end of the log of {what}:\n{server.tail(15)}"
        raise RuntimeError(text)


def perform(story: Callable[[Stage], str], steps: int) -> int:
    """Tell it, remove it, and print the closing words that it returns; the exit status."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    stage = None
    try:
        with contextlib.ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="assistantcron-demo-", ignore_cleanup_errors=True)
            # Its servers, too, leave what is temporary there.
            os.environ["TMPDIR"] = stack.enter_context(folder)
            stage = Stage(Path(folder.name), stack, steps)
            try:
                closing = story(stage)
                stage.say("\n\nStopping everything … ", end="")
            finally:
                _ignore_signals()
    except Interrupted as stop:
        _complain(f"Interrupted {_where(stage)}: everything has been stopped and removed.")
        return 128 + stop.number
    except BrokenPipeError:
        # Nobody reads any more; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FAILURES as error:
        _complain(f"Failed {_where(stage)}: {error}\n\nEverything has been stopped and removed.")
        return 1
    print(f"nothing of it is left on this machine.\n{closing}")
    return 0


def _where(stage: Stage | None) -> str:
    return stage.where if stage else "before the first step"


def _complain(text: str) -> None:
    print(f"\n{text}", file=sys.stderr)


def _interrupt(number: int, _: FrameType | None) -> None:
    # One is enough: stopping must not be interrupted.
    _ignore_signals()
    raise Interrupted(number)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
