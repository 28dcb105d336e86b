"""How kube-apiserver, etcd and kubectl are found or made: order, checksum, and what a person is told."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bed import binaries

ROOT = Path(__file__).parents[1]
GO_THAT_BUILDS = '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf built > "$2"; chmod +x "$2"\n'
GO_THAT_FAILS = "#!/bin/sh\necho 'go: downloading noise' >&2; echo 'no space left on device' >&2; exit 1\n"


def archive() -> bytes:
    """As the official one: the three programs in a folder, and something else."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in (*binaries.NAMES, "LICENSE"):
            member = tarfile.TarInfo(f"controller-tools/envtest/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return content.getvalue()


ARCHIVE = archive()


class Releases(BaseHTTPRequestHandler):
    """Serves the archive."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(ARCHIVE)))
        self.end_headers()
        self.wfile.write(ARCHIVE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A site to download the archive from, known by its checksum."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Releases) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(binaries, "RELEASES", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(
            binaries, "CHECKSUMS", {binaries._platform(): hashlib.sha512(ARCHIVE).hexdigest()}
        )
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no Go, and nowhere to download from."""
    for proxy in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(binaries, "RELEASES", "http://127.0.0.1:9")
    return tmp_path / "cache"


def use_go(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    go = folder / "go"
    go.write_text(script, encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(go))


def contents(folder: Path) -> set[str]:
    return {path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_pins_are_those_of_the_module_file() -> None:
    text = (binaries.MODULES / "go.mod").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes {binaries.KUBERNETES} " in text
    assert set(re.findall(r"=> k8s\.io/\S+ (v\S+)", text)) == {binaries.KUBERNETES.replace("v1.", "v0.")}
    assert [path for path in binaries.PACKAGES.values() if f"\t{path}\n" not in text] == []


def test_needs_nothing_but_the_standard_library() -> None:
    command = [sys.executable, "-S", "-c", "import tests.bed.binaries"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_the_folder_of_kubebuilder_assets_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch(mode=0o755)
    with pytest.raises(SystemExit, match=r"lacks kube-apiserver, kubectl"):
        binaries.find()
    for name in binaries.NAMES:
        (tmp_path / name).touch(mode=0o755)
    assert binaries.find() == tmp_path


def test_a_download_is_kept(
    releases: ThreadingHTTPServer, cold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = binaries.find()
    assert cold in folder.parents
    assert contents(folder) == set(binaries.NAMES)
    assert "downloading" in capsys.readouterr().err
    releases.shutdown()
    assert binaries.find() == folder
    assert capsys.readouterr().err == ""


def test_a_download_with_another_checksum_is_not_used(
    releases: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(binaries.CHECKSUMS, binaries._platform(), "0" * 128)
    use_go(monkeypatch, tmp_path, GO_THAT_BUILDS)
    assert contents(binaries.find()) == {"built"}
    assert "checksum" in capsys.readouterr().err


def test_what_cannot_be_downloaded_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_go(monkeypatch, tmp_path, GO_THAT_BUILDS)
    assert contents(binaries.find()) == {"built"}
    told = capsys.readouterr().err
    assert "cannot be downloaded here" in told
    assert [name for name in binaries.NAMES if f"building {name} with Go" not in told] == []


def test_a_site_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        binaries._fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/")


def test_without_go_one_line_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match=r"^kube-apiserver.*install Go 1\.26.*KUBEBUILDER_ASSETS[^\n]*$"):
        binaries.find()


def test_a_failed_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, cold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_go(monkeypatch, tmp_path, GO_THAT_FAILS)
    with pytest.raises(SystemExit, match=r"^building kube-apiserver failed:\nno space left on device$"):
        binaries.find()
    assert [
        path for path in (cold / "assistantcron" / "controlplane").iterdir() if path.suffix != ".lock"
    ] == []


def test_two_at_once_make_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()
    calls = []

    def download(kind: str, into: Path) -> bool:
        calls.append(kind)
        started.set()
        assert go_on.wait(10)
        for name in binaries.NAMES:
            (into / name).touch(mode=0o755)
        return True

    monkeypatch.setattr(binaries, "_download", download)
    monkeypatch.setattr(binaries, "_say", lambda line: go_on.set() if "waiting" in line else None)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(binaries.find)
        assert started.wait(10)
        second = pool.submit(binaries.find)
        assert first.result(20) == second.result(20)
    assert len(calls) == 1
