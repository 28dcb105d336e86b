"""`make demo`: an AssistantCron from `kubectl apply` to the outcome of its run, without a cluster.

Nothing is acted: what follows a `$` is run as it stands, on the real servers of the test bed, and shown with
what it printed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from tests.bed.controlplane import ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.operator import Operator
from tests.bed.stage import Stage, perform

STEPS = 8
MARGIN = 6.0
"""Seconds before a slot in which nothing is applied: the table "before" would come after it."""
PATIENCE = 30
NIGHTLY = "nightly-report"
CONDITIONS = r'{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'


class Demo:
    """`run()` tells the story, a method for each step."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.plane = ControlPlane(stage.folder / "control-plane")
        self.server = DevServer(stage.folder / "langgraph")
        (stage.folder / "operator").mkdir()
        self.operator = Operator(self.plane, self.server.url, stage.folder / "operator", LOG_FORMAT="plain")
        for part in (self.plane, self.server, self.operator):
            stage.when_it_ends(part.stop)
        stage.parts = {
            "etcd": lambda: self.plane.etcd,
            "kube-apiserver": lambda: self.plane.apiserver,
            "langgraph dev": lambda: self.server.server,
            "the operator": lambda: self.operator.server,
        }
        stage.environment |= {
            "KUBECONFIG": str(self.plane.kubeconfig),
            "KUBECACHEDIR": str(stage.folder / "kubectl"),
            "KUBERC": "off",
            "PATH": f"{self.plane.binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def run(self) -> str:
        """From nothing to the outcome, and what to read next."""
        began = time.monotonic()
        self.stage.say(f"""
This is one AssistantCron from `kubectl apply` to the outcome of its run, in {STEPS} steps and about a minute.
Everything is real and runs on this machine only, on free ports. At the end, and at Ctrl-C, it is all removed.
What follows a $ is a command as you would type it, and what it printed.""")
        self.start_control_plane()
        self.start_server()
        self.start_operator()
        slot = self.apply()
        self.run_now()
        self.make_mistakes()
        self.wait_for_slot(slot)
        self.show_what_is_left()
        return f"""
That was all, in {time.monotonic() - began:.0f} s. Read on:

  README.md     five minutes with your own cluster and your own LangGraph server; every field; the limits
  examples/     more resources
  make cluster  the same servers, left running, to try things by hand"""

    def start_control_plane(self) -> None:
        self.stage.title("A Kubernetes API server")
        with self.stage.starting("kube-apiserver and etcd"):
            self.plane.start()
        self.stage.say("""\
There are no nodes and no controllers: a resource and its operator need none.
The API server learns what an AssistantCron is, and what the operator may do:""")
        self.stage.do("kubectl apply -f crds/ -f tests/bed/rbac.yaml")
        self.wait_for("Established", "-f crds/")

    def start_server(self) -> None:
        self.stage.title("A LangGraph server")
        with self.stage.starting(f"langgraph dev at {self.server.url}"):
            self.server.start()
        self.stage.say("""\
It serves the graph of examples/server/agent.py under the name `agent`. The graph needs no model and no key:
it answers with what it was told.""")

    def start_operator(self) -> None:
        self.stage.title("The operator")
        self.stage.say("It is told which server to use for resources that name none:\n")
        self.stage.say(f"$ export ASSISTANTCRON_DEPLOYMENT_URL={self.server.url}", bold=True)
        self.stage.say("$ .venv/bin/assistantcron run &", bold=True)
        with self.stage.starting("the operator"):
            self.operator.start()

    def apply(self) -> datetime:
        self.stage.title("Two resources")
        self.stage.say("The first is to run every minute, and to keep the threads of its runs:")
        self.stage.do("cat examples/hello.yaml")
        self.stage.say(
            f"\nThe second, examples/{NIGHTLY}.yaml, is to run at 02:30 in Berlin, and to keep none."
        )
        if (left := 60 - time.time() % 60) < MARGIN:
            self.stage.wait_until(time.time() + left + 0.5, "\nThis minute is about to end: the next begins")
        self.stage.do(f"kubectl apply -f examples/hello.yaml -f examples/{NIGHTLY}.yaml")
        self.wait_for("Ready", "acron --all")
        self.stage.say("""
Ready: the server is there, it has an assistant `agent`, and the next slot is armed. Nothing has run yet:""")
        self.stage.do("kubectl get acron")
        slot: str = self.plane.get("acron", "hello")["status"]["nextScheduleTime"]
        return datetime.fromisoformat(slot)

    def run_now(self) -> None:
        self.stage.title("A run at once")
        self.stage.say("""\
Nobody has to wait for half past two. An annotation asks for a run; each new text is one request:""")
        self.request_run("first-look", "LastRunSucceeded")
        self.stage.do(f"kubectl get acron {NIGHTLY}")

    def make_mistakes(self) -> None:
        self.stage.title("Mistakes, which show now and not at half past two")
        self.stage.say("What is not a schedule, the API server refuses:")
        self.patch({"schedule": "every night"}, status=1)
        self.pause("An assistant that the server does not have:")
        self.patch({"assistant": "agnet"})
        self.wait_for("Stalled", f"acron/{NIGHTLY}")
        self.look('{.status.conditions[?(@.type=="Stalled")].message}')
        self.pause("A run that fails, because the sample graph is told to:")
        self.patch({"assistant": "agent", "input": {"fail": "the ledger is closed"}})
        self.request_run("second-look", "LastRunSucceeded=False")
        self.look("{.status.lastRun.status}: {.status.lastRun.message}")
        self.pause("The file was right all the time:")
        self.stage.do(f"kubectl replace -f examples/{NIGHTLY}.yaml")
        self.wait_for("Ready", f"acron/{NIGHTLY}")

    def wait_for_slot(self, slot: datetime) -> None:
        self.stage.title("The slot of hello")
        if slot > datetime.now(UTC):
            self.stage.wait_until(
                slot.timestamp(), f"hello runs every minute, and for the first time at {slot:%H:%M} UTC"
            )
        else:
            self.stage.say(f"It has come in the meantime, at {slot:%H:%M} UTC.")
        self.wait_for("LastRunSucceeded", "acron/hello")
        self.stage.say(
            "\nIt has run. The same table as before, all columns, and what status has about the run:"
        )
        self.stage.do("kubectl get acron -o wide")
        self.stage.do("kubectl get acron hello -o jsonpath-as-json='{.status.lastRun}'")
        self.stage.do(f"kubectl get acron hello -o jsonpath='{CONDITIONS}'")
        self.stage.say("\nThe Events so far:")
        self.stage.do("kubectl events")

    def show_what_is_left(self) -> None:
        self.stage.title("What is left on the LangGraph server")
        self.stage.say("""\
Three runs, each on a thread of its own. Once a run's outcome is in status, and 10 s after its start, its
thread is deleted, unless the resource says onRunCompleted: keep. The server is asked:""")
        deadline = time.monotonic() + PATIENCE
        while len(threads := self.ask("POST", "/threads/search", {})) > 1:
            if time.monotonic() > deadline:
                self.stage.fail(f"{len(threads)} threads are left, not 1")
            time.sleep(0.2)
        for run in self.plane.get("acron", NIGHTLY)["status"]["runs"]:
            path = f"/threads/{run['threadId']}"
            self.stage.say(f"\nGET {path}     {NIGHTLY}, {run['status']}")
            self.stage.say(f"    {self.ask('GET', path)['detail']}")
        run = self.plane.get("acron", "hello")["status"]["lastRun"]
        path = f"/threads/{run['threadId']}/state"
        self.stage.say(f"\nGET {path}     hello, {run['status']}")
        for message in self.ask("GET", path)["values"]["messages"]:
            self.stage.say(f"    {message['type']}: {message['content']}")
        self.stage.say(
            "\nWithout a resource there are no more runs, and no more charges; what was kept stays:"
        )
        self.stage.do("kubectl delete acron --all")

    def wait_for(self, condition: str, what: str) -> None:
        self.stage.do(f"kubectl wait --for=condition={condition} --timeout={PATIENCE}s {what}")

    def request_run(self, token: str, condition: str) -> None:
        annotation = f"assistantcron.dev/run-requested-at={token}"
        self.stage.do(f"kubectl annotate --overwrite acron/{NIGHTLY} {annotation}")
        self.wait_for(condition, f"acron/{NIGHTLY}")

    def patch(self, spec: dict[str, Any], *, status: int = 0) -> None:
        patch = json.dumps({"spec": spec}, separators=(",", ":"))
        self.stage.do(f"kubectl patch acron {NIGHTLY} --type=merge --patch '{patch}'", status=status)

    def look(self, path: str) -> None:
        self.stage.do(f"kubectl get acron {NIGHTLY} -o jsonpath='{path}'")

    def pause(self, text: str) -> None:
        # To read; and kubectl cannot tell the order of Events of one second.
        time.sleep(1.0)
        self.stage.say(f"\n{text}")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the LangGraph server answers."""
        self.stage.require()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, body=text, headers={"content-type": "application/json"})
            return json.loads(connection.getresponse().read())


if __name__ == "__main__":
    sys.exit(perform(lambda stage: Demo(stage).run(), STEPS))
