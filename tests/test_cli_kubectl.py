"""The tables of `check` against kubectl and a real API server: what they refuse and how they read a file."""

from __future__ import annotations

import json

import pytest

from assistantcron.manifests import check
from tests.bed.controlplane import ControlPlane, KubectlError
from tests.core.test_documents import READ, SCALARS, UNREADABLE
from tests.core.test_manifests import FINE, OPERATOR, WRONG
from tests.test_crd_apiserver import ACCEPTED, REFUSED, fields, manifest

TAKEN = FINE | {name: value for name, (value, _) in OPERATOR.items()}
DROPPED = "a: 1\n...\nb: 2"
"""kubectl takes the first of the two and drops the other without a word."""


@pytest.fixture(scope="module", autouse=True)
def team(control_plane: ControlPlane) -> None:
    """The namespace of one of the manifests."""
    control_plane.kubectl("create", "namespace", "team-a")


def create(control_plane: ControlPlane, value: object) -> None:
    control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(value))


def read_by_kubectl(control_plane: ControlPlane, text: str) -> str:
    return control_plane.kubectl("annotate", "--local", "-f", "-", "a=b", "-o", "json", stdin=text)


@pytest.mark.parametrize("case", TAKEN)
def test_the_api_server_takes(control_plane: ControlPlane, case: str) -> None:
    create(control_plane, TAKEN[case])


@pytest.mark.parametrize("case", WRONG)
def test_the_api_server_refuses(control_plane: ControlPlane, case: str) -> None:
    with pytest.raises(KubectlError):
        create(control_plane, WRONG[case][0])


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_api_server_takes_is_fine(case: str) -> None:
    (finding,) = check(manifest(fields(ACCEPTED[case])))
    assert finding.problems == ()
    assert finding.schedule is not None


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_api_server_refuses_is_wrong(case: str) -> None:
    (finding,) = check(manifest(fields(REFUSED[case][0])))
    assert finding.problems


def test_scalars_mean_the_same_to_kubectl(control_plane: ControlPlane) -> None:
    lines = "".join(f"  s{number}: {text}\n" for number, (text, _) in enumerate(SCALARS))
    printed = read_by_kubectl(
        control_plane, f"apiVersion: v1\nkind: X\nmetadata: {{name: x}}\nread:\n{lines}"
    )
    values = json.loads(printed)["read"]
    assert {text: values[f"s{number}"] for number, (text, _) in enumerate(SCALARS)} == dict(SCALARS)


@pytest.mark.parametrize(("text", "value"), READ)
def test_a_document_means_the_same_to_kubectl(control_plane: ControlPlane, text: str, value: object) -> None:
    if text.startswith("{"):
        whole = f'{{"apiVersion": "v1", "kind": "X", "metadata": {{"name": "x"}}, "read": {text}}}'
    else:
        indented = "".join(f"  {line}\n" for line in text.splitlines())
        whole = f"apiVersion: v1\nkind: X\nmetadata: {{name: x}}\nread:\n{indented}"
    assert json.loads(read_by_kubectl(control_plane, whole))["read"] == value


@pytest.mark.parametrize("text", [text for text, _ in UNREADABLE if text != DROPPED])
def test_kubectl_cannot_read_it_either(control_plane: ControlPlane, text: str) -> None:
    with pytest.raises(KubectlError, match="error parsing STDIN"):
        read_by_kubectl(control_plane, text)
