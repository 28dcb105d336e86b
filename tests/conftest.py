"""Fixtures of the test bed. Servers start when the first test asks for them, and once in a run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.bed.controlplane import ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.stub import StubDeployment

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server with the CRD."""
    plane = ControlPlane()
    try:
        plane.start()
        plane.apply_crd()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def dev_server() -> Iterator[DevServer]:
    """A real LangGraph server with the sample graph."""
    server = DevServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def stub() -> Iterator[StubDeployment]:
    """A deployment for faults, which knows what it was asked."""
    with StubDeployment() as deployment:
        yield deployment


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    control_plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Callable[..., str]:
    """`kubectl(*arguments, stdin=None)` in the test's own namespace."""
    return functools.partial(control_plane.kubectl, f"--namespace={namespace}")
