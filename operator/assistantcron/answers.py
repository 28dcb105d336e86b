"""What a server's refusal means: an exception that says what to do next. Core: no I/O, no clock.

`deployment.py` hands over status, headers and the first bytes of the body. Servers differ in their words
(`detail` or `message`, 409 or 422), and error pages can be anything: only one short line ever goes further.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from assistantcron.errors import AssistantCronError, Conflict, NotFound, Refused, Transient, Unclear

MAX_DETAIL = 200
LONGEST_WAIT = 3600.0
"""Seconds: whoever asks for more is asked again after an hour."""


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> AssistantCronError:
    """The exception for an answer other than 2xx; `headers` by lower-case name."""
    text = f"HTTP {status}: {detail}" if (detail := _detail(content)) else f"HTTP {status}"
    wait = _retry_after(headers)
    if status in (408, 425, 429) or (status == 503 and wait is not None):
        return Transient(text, retry_after=wait)
    if status >= 500:
        return Unclear(text, retry_after=wait)
    if status < 400:
        text = f"HTTP {status}: a redirect, which is not followed"
    kind = NotFound if status == 404 else Refused
    if status == 409 or (status == 422 and "already running" in text):
        kind = Conflict
    return kind(text, reason="Unauthorized" if status in (401, 403) else None, status=status)


def _detail(content: bytes) -> str:
    """The server's own short word, never its page or our input: `detail` or `message`, if it is one line."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    text = body.get("detail") or body.get("message") if isinstance(body, dict) else None
    lines = text.strip().splitlines() if isinstance(text, str) else []
    # Validation errors of several lines repeat the input.
    if len(lines) != 1:
        return ""
    return lines[0] if len(lines[0]) <= MAX_DETAIL else lines[0][: MAX_DETAIL - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds; a date counts from the answer's own `Date`, not from our clock."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(float(value), LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return min(max(wait.total_seconds(), 0.0), LONGEST_WAIT)
