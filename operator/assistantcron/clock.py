"""The one clock. Base layer: `app.py` and `cli.py` hand its time down as an argument; the core never asks."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)
