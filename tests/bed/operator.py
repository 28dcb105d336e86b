"""The operator as a process of its own, as people run it, and a namespace to use it in."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bed.controlplane import ControlPlane
from tests.bed.process import Server, answers, fetch, free_port

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / ".venv" / "bin" / "assistantcron"
DEADLINE = 30.0
"""Seconds that a test waits for something that ought to come at once."""
PEOPLE = {
    "assistantcron.dev/run-requested-at",
    "example.com/poke",
    "kubectl.kubernetes.io/last-applied-configuration",
}
"""The annotations that people have put there: by `apply`, `run_now` and `poke`."""

Object = dict[str, Any]


class Operator:
    """`start()`, use, `stop()` or `kill()`; the log goes on in one file over restarts.

    It has the rights of `tests/bed/rbac.yaml` and no others. `settings` are `ASSISTANTCRON_…` without prefix.
    """

    def __init__(
        self, plane: ControlPlane, url: str | None, folder: Path | None = None, **settings: str
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="assistantcron-operator-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "operator.log"
        chosen = {"HTTP_ADDRESS": f"127.0.0.1:{self.port}", "ALLOW_LOOPBACK": "true", **settings}
        if url is not None:
            chosen["DEPLOYMENT_URL"] = url
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ASSISTANTCRON_")},
            **{f"ASSISTANTCRON_{key}": value for key, value in chosen.items()},
            "KUBECONFIG": str(plane.operator_kubeconfig),
        }
        self.server: Server | None = None

    def start(self, *, ready: bool = True) -> Operator:
        """Until it says that it is ready, unless that is not wanted."""
        self.server = Server([str(COMMAND), "run"], self.log, env=self._environment)
        if ready:
            self.server.wait_until(lambda: answers(f"{self.url}/readyz"), 60, "the operator")
        return self

    def kill(self) -> None:
        """SIGKILL: it has no chance to do anything more."""
        if self.server is not None:
            self.server.kill()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return 0 if self.server is None else self.server.stop(40)

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def lines(self) -> list[Object]:
        """The log so far, parsed."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, by name with labels."""
        lines = fetch(f"{self.url}/metrics").splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


class Namespace:
    """One test's own namespace: apply, annotate, look, wait."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.plane = plane
        self.name = name

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """`kubectl` in the namespace."""
        return self.plane.kubectl(f"--namespace={self.name}", *arguments, stdin=stdin)

    def apply(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """An AssistantCron with the sample agent that comes on the 1st of January unless `spec` says so."""
        defaults = {} if "schedules" in spec else {"schedule": "0 0 1 1 *"}
        document = {
            "apiVersion": "assistantcron.dev/v1alpha1",
            "kind": "AssistantCron",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {**defaults, "assistant": "agent", **spec},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def run_now(self, name: str, token: str) -> None:
        """Ask for a run."""
        self.kubectl(
            "annotate", "--overwrite", f"acron/{name}", f"assistantcron.dev/run-requested-at={token}"
        )

    def edit(self, name: str, **spec: Any) -> None:
        """Change fields of the spec, as a person does; None takes one away."""
        self.kubectl("patch", f"acron/{name}", "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def poke(self, name: str) -> None:
        """Change what does not concern the operator: it looks at the resource once more."""
        self.kubectl("annotate", "--overwrite", f"acron/{name}", f"example.com/poke={time.monotonic_ns()}")

    def set_status(self, name: str, status: Object) -> None:
        """Put a status there, as an administrator who restores a backup does."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", f"acron/{name}", "--subresource=status", "--type=merge", f"--patch={patch}")

    def secret(self, name: str, **data: str) -> None:
        """Write a Secret."""
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        # Not `apply`, which keeps keys that it did not write.
        self.kubectl("delete", "secret", name, "--ignore-not-found")
        self.kubectl("create", "-f", "-", stdin=json.dumps(document))

    def uid(self, name: str) -> str:
        """The object's UID."""
        return str(self.get(name)["metadata"]["uid"])

    def get(self, name: str) -> Object:
        """The object."""
        return self.plane.get(f"--namespace={self.name}", "acron", name)

    def status(self, name: str) -> Object:
        """Its status; empty if it has none yet."""
        status: Object = self.get(name).get("status") or {}
        return status

    def condition(self, name: str, kind: str) -> Object:
        """The condition of that type; empty if it is not there."""
        conditions: list[Object] = self.status(name).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition."""
        return {
            one["type"]: (one["status"], one["reason"]) for one in self.status(name).get("conditions", [])
        }

    def events(self, name: str) -> list[Object]:
        """The Events about it, oldest first."""
        found = self.plane.get(f"--namespace={self.name}", "events")["items"]
        mine = [one for one in found if one["involvedObject"]["name"] == name]
        return sorted(mine, key=lambda one: str(one["metadata"]["creationTimestamp"]))

    def wait_event(self, name: str, reason: str) -> str:
        """Until there is an Event of that reason; its message. Fails if there is more than one."""
        wait_for(lambda: [one["reason"] for one in self.events(name)], lambda reasons: reason in reasons)
        [event] = [one for one in self.events(name) if one["reason"] == reason]
        return str(event["message"])

    def wait(self, name: str, what: Callable[[Object], Any], seconds: float = DEADLINE) -> Object:
        """Poll until `what(status)` is true; the status then. Fails with the last status seen."""
        status: Object = wait_for(lambda: self.status(name), what, seconds)
        return status

    def wait_ready(self, *names: str, value: str = "True") -> None:
        """Until `Ready` has that value for the generation there is."""
        for name in names:
            wait_for(
                lambda name=name: self.get(name),  # type: ignore[misc]
                lambda found: any(
                    one["type"] == "Ready"
                    and one["status"] == value
                    and one["observedGeneration"] == found["metadata"]["generation"]
                    for one in found.get("status", {}).get("conditions", [])
                ),
            )


def wait_for(look: Callable[[], Any], what: Callable[[Any], Any] = bool, seconds: float = DEADLINE) -> Any:
    """Poll `look()` until `what` of it is true, and return it. Fails with what was seen last."""
    deadline = time.monotonic() + seconds
    while not what(seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s; last seen: {json.dumps(seen, default=str)}")
        time.sleep(0.1)
    return seen


def only_status_was_written(space: Namespace, name: str, *, generation: int = 1) -> None:
    """Assert that nothing but people has ever changed more of an object than its status."""
    found = json.loads(space.kubectl("get", "acron", name, "--show-managed-fields", "-o", "json"))
    metadata = found["metadata"]
    assert set(written_by_the_operator(found)) == {"status"}
    managers = {one["manager"] for one in metadata["managedFields"]} - {"assistantcron"}
    assert all(manager.startswith("kubectl") for manager in managers), managers
    assert "finalizers" not in metadata
    assert "ownerReferences" not in metadata
    assert set(metadata.get("annotations", {})) <= PEOPLE
    assert metadata["generation"] == generation


def written_by_the_operator(found: Object) -> Iterator[str]:
    """The subresource of everything that the operator has ever written to an object; "" is the object."""
    # `--show-managed-fields` must have been given.
    for entry in found["metadata"].get("managedFields", []):
        if entry["manager"] == "assistantcron":
            yield entry.get("subresource", "")
