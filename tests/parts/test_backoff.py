"""Waits between tries: they grow, they stay bounded, and an outage may last for days."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any, cast

import pytest

from assistantcron.errors import Transient
from assistantcron.handlers import EndlessBackoff
from assistantcron.reconciler import Reconciler
from assistantcron.resource import Slot
from assistantcron.table import Memory
from tests.core.builders import at, resource
from tests.parts.clock import Clock

DAYS = 5000
"""Tries, a minute or half of one apart."""


def test_kopf_is_given_waits_without_end() -> None:
    waits = list(itertools.islice(EndlessBackoff(), DAYS))
    for wait, longest in zip(waits, (0.5, 1, 2, 4, 8, 16, *[30] * DAYS), strict=False):
        assert longest / 2 <= wait <= longest


def test_every_request_of_kopfs_begins_with_a_short_wait() -> None:
    backoff = EndlessBackoff()
    list(itertools.islice(backoff, 10))
    assert next(iter(backoff)) <= 0.5


def test_a_slot_is_tried_again_for_as_long_as_it_takes() -> None:
    clock, memory, slot = Clock(), Memory(resource()), Slot(at("08:00"))
    nothing = cast(Any, None)
    reconciler = Reconciler(nothing, nothing, nothing, nothing, nothing, nothing, nothing, clock)
    for longest in (1, 2, 4, 8, 16, 32, *[60] * DAYS):
        reconciler._postpone(memory, slot, Transient("refused"))
        wait = memory.retries[slot.name].not_before - clock.time
        assert timedelta(seconds=longest / 2) <= wait <= timedelta(seconds=longest)
    assert memory.retries[slot.name].failures == DAYS + 6


@pytest.mark.parametrize("asked", [1.0, 17.0, 3600.0])
def test_a_servers_own_wish_goes_before_ours(asked: float) -> None:
    clock, memory, slot = Clock(), Memory(resource()), Slot(at("08:00"))
    nothing = cast(Any, None)
    reconciler = Reconciler(nothing, nothing, nothing, nothing, nothing, nothing, nothing, clock)
    reconciler._postpone(memory, slot, Transient("later", retry_after=asked))
    assert memory.retries[slot.name].not_before - clock.time == timedelta(seconds=asked)
