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
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 3600.0
"""Seconds: whoever asks for none gets no storm, and whoever asks for more is asked again after an hour."""
UNKNOWN_ASSISTANT = "Invalid assistant"
"""How a server says 422 to the name of a graph that it does not have; it goes on over several lines."""
BUSY = "Thread is already running"
"""How servers that say 422 for a busy thread begin, in JSON or as plain text."""


def refusal(status: int, headers: Mapping[str, str], content: bytes) -> AssistantCronError:
    """The exception for an answer other than 2xx; `headers` by lower-case name."""
    said = _said(content)
    detail = _one_line(said)
    text = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    wait = _retry_after(headers)
    if status in (408, 425, 429) or (status == 503 and wait is not None):
        return Transient(text, retry_after=wait)
    if status >= 500:
        return Unclear(text, retry_after=wait)
    if status == 422 and said.startswith(UNKNOWN_ASSISTANT):
        return Refused(f"HTTP {status}: {UNKNOWN_ASSISTANT}", reason="AssistantNotFound", status=status)
    if status < 400:
        text = f"HTTP {status}: a redirect, which is not followed"
    kind = NotFound if status == 404 else Refused
    if status == 409 or (status == 422 and (detail.startswith(BUSY) or content.startswith(BUSY.encode()))):
        kind = Conflict
    return kind(text, reason="Unauthorized" if status in (401, 403) else None, status=status)


def _said(content: bytes) -> str:
    """The server's own word, never its page: `detail` or `message`."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    text = body.get("detail") or body.get("message") if isinstance(body, dict) else None
    return text.strip() if isinstance(text, str) else ""


def _one_line(said: str) -> str:
    """It, cut short, if it is one line: validation errors of several lines repeat our input."""
    lines = said.splitlines()
    if len(lines) != 1:
        return ""
    # No escape sequence for anybody's terminal, and no half of a surrogate pair.
    line = "".join(one if one.isprintable() else " " for one in lines[0])
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds; a date counts from the answer's own `Date`, not from our clock."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        wait = float(value)
    else:
        try:
            until, sent = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
            wait = (until - sent).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)
