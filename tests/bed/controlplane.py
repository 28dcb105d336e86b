"""A real kube-apiserver on a real etcd, both of one test run's own, on free ports of 127.0.0.1.

No controller manager: Events, RBAC, CRDs, CEL and watches are all there, but a deleted namespace stays
`Terminating`, an owner's deletion deletes nothing else, and no Service has endpoints.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.bed import binaries
from tests.bed.process import Server, answers, free_port

CRDS = Path(__file__).parents[2] / "crds"
RBAC = Path(__file__).with_name("rbac.yaml")
EC_PRIVATE_KEY = bytes.fromhex("30310201010420"), bytes.fromhex("a00a06082a8648ce3d030107")
"""What stands around the 32 bytes of a P-256 key in DER (RFC 5915): no tool is needed to make one."""


class KubectlError(RuntimeError):
    """kubectl said no; the text is what it said."""


class ControlPlane:
    """`start()`, use, `stop()`. `binaries` is the folder with kubectl.

    `kubeconfig` is the administrator's, `operator_kubeconfig` that of a user with the operator's rights only.

    Given a `folder`, data, logs and, if `lasting`, the servers stay when this process ends. A server that
    does not start raises `RuntimeError` with the end of its log.
    """

    def __init__(self, folder: Path | None = None, *, lasting: bool = False) -> None:
        self.binaries = binaries.find()
        self._temporary = folder is None
        self._lasting = lasting
        self.folder = folder or Path(tempfile.mkdtemp(prefix="assistantcron-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = self.folder / "kubeconfig"
        self.operator_kubeconfig = self.folder / "operator.kubeconfig"
        self._token, self._operator_token = secrets.token_hex(16), secrets.token_hex(16)
        self._etcd_port, self._port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.etcd: Server | None = None
        self.apiserver: Server | None = None

    def start(self) -> ControlPlane:
        """etcd, the API server, a kubeconfig: about 3 s."""
        (self.folder / "tokens.csv").write_text(
            f"{self._token},admin,admin,system:masters\n"
            f"{self._operator_token},assistantcron-operator,assistantcron-operator\n",
            encoding="utf-8",
        )
        self._write_service_account_key()
        self._start_etcd()
        self.start_apiserver()
        self._write_kubeconfig(self.kubeconfig, self._token)
        self._write_kubeconfig(self.operator_kubeconfig, self._operator_token)
        return self

    def start_apiserver(self) -> None:
        """On the same port and data as before: about 2 s."""
        self.apiserver = Server(
            [
                str(self.binaries / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                f"--cert-dir={self.folder / 'certificates'}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self._service_account_key}",
                f"--service-account-signing-key-file={self._service_account_key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                # It waits for a controller that is not here.
                "--disable-admission-plugins=ServiceAccount",
            ],
            self.folder / "kube-apiserver.log",
            lasting=self._lasting,
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
        # A cache of its own: discovery must not outlive the control plane that it is about.
        options = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder / 'kubectl'}"]
        command = [str(self.binaries / "kubectl"), *options, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get -o json`, parsed."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply_crd(self) -> None:
        """Install `crds/` and the operator's rights, and wait until the resource is served."""
        self.kubectl("apply", "-f", str(CRDS), "-f", str(RBAC))
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        self.etcd = Server(
            [
                str(self.binaries / "etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
            ],
            self.folder / "etcd.log",
            lasting=self._lasting,
        )

    def _ready(self) -> bool:
        if self.etcd is not None:
            self.etcd.require("etcd")
        # At the first start the certificate to check the server by is still being made.
        tls = ssl._create_unverified_context()  # noqa: S323 - our own server on 127.0.0.1
        return answers(f"{self.url}/readyz", token=self._token, tls=tls)

    @property
    def _service_account_key(self) -> Path:
        return self.folder / "service-accounts.key"

    def _write_service_account_key(self) -> None:
        before, after = EC_PRIVATE_KEY
        # Smaller than 2**255, and so than the curve's order.
        number = bytes([secrets.randbelow(128)]) + secrets.token_bytes(31)
        text = base64.encodebytes(before + number + after).decode()
        self._service_account_key.touch(mode=0o600)
        self._service_account_key.write_text(
            f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n", encoding="utf-8"
        )

    def _write_kubeconfig(self, path: Path, token: str) -> None:
        # Its own certificate and the one it has signed that with.
        authority = base64.b64encode((self.folder / "certificates" / "apiserver.crt").read_bytes()).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "bed", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "bed", "user": {"token": token}}],
            "contexts": [
                {"name": "bed", "context": {"cluster": "bed", "user": "bed", "namespace": "default"}}
            ],
            "current-context": "bed",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
