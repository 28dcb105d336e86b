"""A real kube-apiserver on a real etcd, both of one test run's own, on free ports of 127.0.0.1.

No controller manager: Events, RBAC, CRDs, CEL and watches are all there, but a deleted namespace stays `Terminating`,
and no Service has endpoints.
"""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.bed import binaries
from tests.bed.process import Server, free_port

CRD = Path(__file__).parents[2] / "crds"


class KubectlError(RuntimeError):
    """kubectl said no; the text is what it said."""


class ControlPlane:
    """`start()`, use, `stop()`. `kubeconfig` is the administrator's."""

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="assistantcron-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = self.folder / "kubeconfig"
        self._bin = binaries.find()
        self._token = secrets.token_hex(16)
        self.etcd: Server | None = None
        self.apiserver: Server | None = None

    def start(self) -> ControlPlane:
        """etcd, the API server, a kubeconfig: about 3 s."""
        self._etcd_port, peer_port, self._port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        key = self.folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text(f"{self._token},admin,admin,system:masters\n", encoding="utf-8")
        self._write_kubeconfig()
        client = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        self.etcd = Server(
            [
                str(self._bin / "etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
            ],
            self.folder / "etcd.log",
        )
        self.start_apiserver()
        return self

    def start_apiserver(self) -> None:
        """On the same port and data as before."""
        key = self.folder / "service-accounts.key"
        self.apiserver = Server(
            [
                str(self._bin / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                f"--cert-dir={self.folder / 'certificates'}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                # They wait for controllers that are not here.
                "--disable-admission-plugins=ServiceAccount",
            ],
            self.folder / "kube-apiserver.log",
        )
        self.apiserver.wait_until(self._ready, 60, "kube-apiserver")

    def stop_apiserver(self) -> None:
        """Without a goodbye to anybody."""
        if self.apiserver is not None:
            self.apiserver.kill()

    def stop(self) -> None:
        """Both servers, and the data."""
        for server in (self.apiserver, self.etcd):
            if server is not None:
                server.kill()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints; raises `KubectlError` with what it says on failure."""
        command = [str(self._bin / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        # A cache of its own: discovery must not outlive the control plane that it is about.
        command.insert(1, f"--cache-dir={self.folder / 'kubectl'}")
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get -o json`, parsed."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply_crd(self) -> None:
        """Install `crds/` and wait until it is served."""
        self.kubectl("apply", "-f", str(CRD))
        self.kubectl("wait", "--for=condition=Established", "crd/assistantcrons.assistantcron.dev", "--timeout=30s")

    def _ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self._token}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=2, context=ssl._create_unverified_context()) as answer:  # noqa: S310, S323
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _write_kubeconfig(self) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bed", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "admin", "namespace": "default"}}],
            "current-context": "bed",
        }
        self.kubeconfig.write_text(json.dumps(document, indent=2), encoding="utf-8")
        self.kubeconfig.chmod(0o600)
