"""What is read of objects and answers that somebody has made wrong on purpose."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assistantcron.records import Run, Thread
from assistantcron.resource import Resource, Status
from tests.core.builders import at, body

RUN = {"run_id": "r", "thread_id": "t", "status": "success", "created_at": "2026-03-02T09:00:00+01:00"}


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_that_utc_does_not_know_is_no_status_and_blinds_nobody(instant: str) -> None:
    forged = body(status={"accountedThrough": instant})
    assert Resource.from_body(forged).status == Status()


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"created_at": "2026-03-02T08:00:00"},
        {"updated_at": "9999-12-31T23:59:59-14:00"},
        {"run_id": ""},
        {"run_id": "x" * 65},
        {"thread_id": "x" * 65},
    ],
)
def test_a_run_that_no_status_could_hold_is_not_taken(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Run.model_validate(RUN | change)


def test_instants_are_in_utc() -> None:
    assert Run.model_validate(RUN).created_at == at("08:00")
    thread = Thread.model_validate({"thread_id": "t", "created_at": "2026-03-02T09:00:00+01:00"})
    assert str(thread.created_at) == "2026-03-02 08:00:00+00:00"
