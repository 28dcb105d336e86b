"""The operator as a process on the real API server; its log is shown when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bed.controlplane import ControlPlane
from tests.bed.operator import Namespace, Operator

StartOperator = Callable[..., Operator]


@pytest.fixture
def space(control_plane: ControlPlane, namespace: str) -> Namespace:
    """A namespace of the test's own."""
    return Namespace(control_plane, namespace)


@pytest.fixture
def start_operator(control_plane: ControlPlane, space: Namespace, tmp_path: Path) -> Iterator[StartOperator]:
    """`start_operator(url, **settings)` starts one that watches the test's namespace; all stop at the end."""
    started: list[Operator] = []

    def start(url: str | None, *, ready: bool = True, **settings: str) -> Operator:
        operator = Operator(control_plane, url, tmp_path, **{"NAMESPACES": space.name, **settings})
        started.append(operator)
        return operator.start(ready=ready)

    try:
        yield start
    finally:
        for operator in started:
            operator.kill()
            # pytest shows what was printed if the test has failed.
            print(operator.log.read_text(encoding="utf-8", errors="replace"))
