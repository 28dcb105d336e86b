"""`make demo`: what it tells, and that nothing of it stays, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bed import binaries
from tests.bed.operator import wait_for
from tests.bed.process import DIE_WITH_PARENT
from tests.bed.stage import Stage

ROOT = Path(__file__).parents[1]
DEMO = [sys.executable, "-m", "tests.bed.demo"]
ON_TERMINAL = "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes standard input the terminal of a session of its own: a Ctrl-C typed there becomes a signal."""
SECONDS = 120.0
STORY = [
    r"1/8  A Kubernetes API server\n\nStarting kube-apiserver and etcd … ready after \d",
    r"\$ kubectl apply -f crds/ .*\n.*assistantcrons.assistantcron.dev created\n",
    r"2/8  .*\n\nStarting langgraph dev at http://127.0.0.1:\d+ … ready after \d",
    r"3/8  ",
    r"\$ export ASSISTANTCRON_DEPLOYMENT_URL=http://127.0.0.1:\d+\n\$ .venv/bin/assistantcron run",
    r"4/8  ",
    r"\$ cat examples/hello.yaml\n"
    + re.escape((ROOT / "examples" / "hello.yaml").read_text(encoding="utf-8")),
    r"\$ kubectl apply -f examples/hello.yaml .*\n.*/hello created\n.*/nightly-report created\n",
    r"\$ kubectl get acron\nNAME .*\nhello .* True {20,}\S+Z .*\nnightly-report .* True {20,}\S+Z ",
    r"5/8  ",
    r"\$ kubectl annotate .*/nightly-report assistantcron.dev/run-requested-at=first-look\n",
    r"\$ kubectl get acron nightly-report\nNAME .*\nnightly-report .* True +success ",
    r"6/8  ",
    r"spec.schedule: Invalid value: \"every night\": must have five fields",
    r"\nspec.assistant: the deployment has no assistant agnet; it must be a graph",
    r"\nerror: ValueError: the ledger is closed\n",
    r"\$ kubectl replace -f examples/nightly-report.yaml\n",
    r"7/8  ",
    r"s from now|in the meantime",
    r"\$ kubectl get acron -o wide\nNAME .*\nhello .* True +success .*\nnightly-report .* True +error ",
    r"\"runId\": \"[0-9a-f-]{36}\",\n.*\n.*\n +\"status\": \"success\",\n +\"threadId\": \"[0-9a-f-]{36}\"",
    r"\nReady=True Scheduled: .*\nLastRunSucceeded=True Success: run \S+ succeeded\n",
    r"\$ kubectl events\n(.*\n)*.*RunCompleted +AssistantCron/hello ",
    r"8/8  ",
    r"GET /threads/\S{36} +nightly-report, error\n +Thread with ID \S+ not found\n",
    r"GET /threads/\S{36} +nightly-report, success\n +Thread with ID \S+ not found\n",
    r"GET /threads/\S{36}/state +hello, success\n +human: (Hello .+Z\.)\n +ai: I was told: \1\n",
    r"\$ kubectl delete acron --all\n",
    r"nothing of it is left on this machine",
    r"That was all, in \d+ s. Read on:\n\n  README.md ",
]

StartDemo = Callable[..., "Demo"]


class Demo:
    """One that runs, with a folder of its own for what is temporary."""

    def __init__(self, folder: Path, command: list[str], *, terminal: bool = False, **settings: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self._told, self._errors = folder / "stdout", folder / "stderr"
        self._terminal: int | None = None
        screen: int | None = None
        if terminal:
            self._terminal, screen = os.openpty()
        with self._told.open("wb") as out, self._errors.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ON_TERMINAL, *command] if terminal else command,
                cwd=ROOT,
                env={
                    **os.environ,
                    "KUBEBUILDER_ASSETS": str(binaries.find()),
                    "TMPDIR": str(self.temporary),
                    "NO_COLOR": "",
                    "DEMO_OF_TEST": str(folder),
                    **settings,
                },
                stdin=subprocess.DEVNULL if screen is None else screen,
                stdout=out,
                stderr=err,
                start_new_session=not terminal,
            )
        if screen is not None:
            os.close(screen)

    def told(self) -> str:
        """Standard output so far; on a terminal, both."""
        if self._terminal is not None:
            with self._told.open("ab") as told, contextlib.suppress(OSError):
                while select.select([self._terminal], [], [], 0)[0]:
                    told.write(os.read(self._terminal, 65536))
        return self._told.read_bytes().decode()

    def complained(self) -> str:
        return self._errors.read_text(encoding="utf-8")

    def wait_for(self, words: str) -> None:
        wait_for(self.told, lambda told: words in told or self.process.poll() is not None, SECONDS)
        assert words in self.told(), self.complained()

    def type(self, keys: str) -> None:
        assert self._terminal is not None
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """The exit status, once it has ended by itself."""
        wait_for(lambda: (self.told(), self.process.poll())[1] is not None, seconds=SECONDS)
        return self.process.returncode

    def relatives(self) -> dict[int, str]:
        """PID and command of every process that has its environment, its own too."""
        mark = f"DEMO_OF_TEST={self.temporary.parent}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def require_gone(self) -> None:
        """No process, no file."""
        assert (self.relatives(), list(self.temporary.iterdir())) == ({}, [])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)
        if self._terminal is not None:
            os.close(self._terminal)


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    """`start_demo(command=DEMO, terminal=False, **environment)`; all end with the test."""
    demos: list[Demo] = []

    def start(command: list[str] = DEMO, *, terminal: bool = False, **settings: str) -> Demo:
        demos.append(Demo(tmp_path / str(len(demos)), command, terminal=terminal, **settings))
        return demos[-1]

    try:
        yield start
    finally:
        for demo in demos:
            demo.close()


def test_a_server_does_not_begin_when_its_starter_has_ended() -> None:
    launched = [sys.executable, "-c", DIE_WITH_PARENT, "1", "echo", "I live"]
    done = subprocess.run(launched, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("words", "number", "whole_group", "step"),
    [
        ("Starting kube-apiserver", signal.SIGINT, True, 1),
        ("Starting langgraph dev", signal.SIGTERM, False, 2),
        ("$ kubectl apply -f examples", signal.SIGHUP, False, 4),
    ],
)
def test_a_signal_ends_it_in_one_line_and_nothing_stays(
    start_demo: StartDemo, words: str, number: signal.Signals, whole_group: bool, step: int
) -> None:
    demo = start_demo()
    demo.wait_for(words)
    assert len(demo.relatives()) > 1
    (os.killpg if whole_group else os.kill)(demo.process.pid, number)
    assert demo.end() == 128 + number
    assert demo.complained() == (
        f"\nInterrupted in step {step} of 8: everything has been stopped and removed.\n"
    )
    demo.require_gone()


def test_ctrl_c_twice_at_a_terminal_stops_it_properly(start_demo: StartDemo) -> None:
    demo = start_demo(terminal=True)
    demo.wait_for("7/8")
    parts = " ".join(demo.relatives().values())
    assert all(part in parts for part in ("etcd ", "kube-apiserver ", "langgraph dev ", "assistantcron run"))
    demo.type("\x03")
    time.sleep(0.1)
    demo.type("\x03")
    assert demo.end() == 130
    told = demo.told()
    assert "\x1b[1m$ kubectl get acron\x1b[0m" in told
    assert told.endswith("Interrupted in step 7 of 8: everything has been stopped and removed.\r\n")
    assert "Traceback" not in told
    demo.require_gone()


def test_a_server_that_does_not_start_is_named_with_the_end_of_its_log(
    start_demo: StartDemo, tmp_path: Path
) -> None:
    server = tmp_path / "langgraph"
    server.write_text("#!/bin/sh\necho out of paper\nexit 3\n", encoding="utf-8")
    server.chmod(0o755)
    demo = start_demo(LANGGRAPH_CLI=str(server))
    assert demo.end() == 1
    assert demo.complained() == (
        "\nFailed in step 2 of 8: langgraph dev ended with status 3:\nout of paper\n\n"
        "Everything has been stopped and removed.\n"
    )
    demo.require_gone()


def test_a_part_that_dies_on_the_way_is_named_at_once(start_demo: StartDemo) -> None:
    demo = start_demo()
    demo.wait_for("6/8")
    (operator,) = (pid for pid, command in demo.relatives().items() if command.endswith("assistantcron run "))
    os.kill(operator, signal.SIGKILL)
    assert demo.end() == 1
    assert re.match(r"\nFailed in step [67] of 8: the operator ended with status -9:\n", demo.complained())
    assert "watching all namespaces" in demo.complained()
    assert "Traceback" not in demo.complained()
    demo.require_gone()


def test_it_ends_when_nobody_reads_any_more(start_demo: StartDemo) -> None:
    demo = start_demo(["sh", "-c", f"{shlex.join(DEMO)} | head -n 16"])
    assert demo.end() == 0
    assert demo.told().startswith("\nThis is one AssistantCron")
    assert demo.complained() == ""
    demo.require_gone()


def test_two_at_the_same_time_tell_the_whole_story(start_demo: StartDemo) -> None:
    for demo in [start_demo(), start_demo()]:
        assert demo.end() == 0, demo.complained()
        assert demo.complained() == ""
        rest = demo.told()
        assert "\x1b" not in rest
        for passage in STORY:
            found = re.search(passage, rest)
            assert found, f"{passage}\nis not in what follows:\n{rest}"
            rest = rest[found.end() :]
        demo.require_gone()


def test_the_countdown_is_for_terminals_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for terminal, told in ((False, ""), (True, "\r   1 s \r   0 s \r\x1b[K")):
        monkeypatch.setattr("sys.stdout.isatty", lambda answer=terminal: answer)
        with contextlib.ExitStack() as stack:
            Stage(tmp_path, stack, 1).wait_until(time.time() + 0.95, "The slot")
        assert capsys.readouterr().out == f"The slot, 1 s from now.\n{told}"
