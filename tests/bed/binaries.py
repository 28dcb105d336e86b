"""Finds kube-apiserver, etcd and kubectl, or makes them: `python3 -m tests.bed.binaries`.

In this order: `KUBEBUILDER_ASSETS`; the cache folder; the official envtest archive, its checksum verified;
`go build` of the modules pinned in `tests/controlplane`. Standard library only: it runs before anything is
installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import io
import os
import platform
import queue
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

NAMES = ("kube-apiserver", "etcd", "kubectl")
MODULES = Path(__file__).parent.parent / "controlplane"
PACKAGES = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "etcd": "go.etcd.io/etcd/server/v3",
}
KUBERNETES = "v1.36.3"
"""As in `tests/controlplane/go.mod`; the archive of test binaries is one patch behind."""
ENVTEST = "v1.36.2"
RELEASES = "https://github.com/kubernetes-sigs/controller-tools/releases/download"
# From envtest-releases.yaml of kubernetes-sigs/controller-tools, sha512.
CHECKSUMS = {
    "linux-amd64": (
        "ea743186c8a799f5cf8faf16969f86189d003cb7d130e0ac4b58789f1e5748dc"
        "f30ebe91c837a10d5ac415383da3e10b9e64d65785c938c23e739781cfb76f08"
    ),
    "linux-arm64": (
        "2d72ee985a8e262a3c57dc9f7f0fd891f6a8c7bf7ebaa2db6dc6d8eac8ae2818"
        "1afe51c1f368b67756cdb40b10de9b205609e1726e5f27f7c6d824dd9c6649ac"
    ),
    "darwin-amd64": (
        "b4fe9f973cd1992e3880f8b230ed32c0c243b83371591e3e3315f4404df2cdbe"
        "f8ee94eeb9bb245b7e5feb987d5c4a76c43e0877654ab73f00d7bbc2b9984514"
    ),
    "darwin-arm64": (
        "9278f9e5af556b2f1f2d139769c1f0d717c7b4426917fdebdba898bcb725a916"
        "e4910d6160886194ff9be9589ea7c5c32c2b8ae0754703874b7c8ba8ddfc41ce"
    ),
}
CONNECT_SECONDS = 5.0


def find() -> Path:
    """The folder with the three binaries, made if need be; exits with a line that says what is missing."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets)
        if missing := [name for name in NAMES if not os.access(folder / name, os.X_OK)]:
            sys.exit(f"KUBEBUILDER_ASSETS={assets} lacks {', '.join(missing)}")
        return folder
    kind = _platform()
    pins = hashlib.sha256((MODULES / "go.sum").read_bytes() + f"{KUBERNETES} {ENVTEST}".encode())
    folder = cache() / "controlplane" / f"{kind}-{pins.hexdigest()[:12]}"
    if _complete(folder):
        return folder
    with _alone(folder):
        if _complete(folder):
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "bin"
            made.mkdir()
            if not _download(kind, made):
                _build(made)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    _say(f"they are kept in {folder}")
    return folder


def cache() -> Path:
    """Where what is made once stays, outside the tree."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "assistantcron"


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in NAMES)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two calls at once: the second waits, and then finds what the first has made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another process is getting kube-apiserver, etcd and kubectl: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _download(kind: str, into: Path) -> bool:
    if kind not in CHECKSUMS:
        return False
    url = f"{RELEASES}/envtest-{ENVTEST}/envtest-{ENVTEST}-{kind}.tar.gz"
    _say(f"downloading kube-apiserver, etcd and kubectl {ENVTEST}")
    try:
        with _progress("downloading"):
            data = _fetch(url)
    except (OSError, http.client.HTTPException) as error:
        _say(f"they cannot be downloaded here ({getattr(error, 'reason', error)})")
        return False
    if hashlib.sha512(data).hexdigest() != CHECKSUMS[kind]:
        _say("the checksum of the download is wrong: not used")
        return False
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in NAMES and member.isfile() and (content := archive.extractfile(member)):
                (into / name).write_bytes(content.read())
                (into / name).chmod(0o755)
    return _complete(into)


def _fetch(url: str) -> bytes:
    """The body; it must begin within `CONNECT_SECONDS`. In a thread, for looking a name up has no limit."""
    results: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            results.put(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))  # noqa: S310 - a fixed https URL
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            results.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = results.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError("no answer in time") from None
    if isinstance(answer, Exception):
        raise answer
    with answer:
        return answer.read()


def _build(into: Path) -> None:
    go = shutil.which("go")
    if go is None:
        sys.exit(
            "kube-apiserver, etcd and kubectl can neither be downloaded nor built here: "
            "install Go 1.26 or later, or set KUBEBUILDER_ASSETS to a folder that has them"
        )
    # Kubernetes' programs refuse some calls without a version; their own build sets it in the same way.
    flags = [
        "-mod=readonly",
        "-trimpath",
        f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}",
    ]
    # Neither a C compiler nor somebody's workspace may change what comes out.
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    for number, name in enumerate(NAMES, 1):
        _say(f"building {name} with Go ({number} of {len(NAMES)}; once, 4 to 6 minutes in all on 2 cores)")
        with _progress(f"building {name}"):
            done = subprocess.run(
                [go, "build", *flags, "-o", str(into / name), PACKAGES[name]],
                cwd=MODULES,
                env=env,
                check=False,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("go: downloading")]
            sys.exit("\n".join([f"building {name} failed:", *lines[-15:]]))


@contextlib.contextmanager
def _progress(what: str) -> Iterator[None]:
    """A line every 15 s, so that nobody thinks it hangs."""
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(15):
            _say(f"  still {what}, {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    try:
        print(f"kube-apiserver, etcd and kubectl are in {find()}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is kept of what was unfinished")
