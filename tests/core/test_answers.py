"""What a server's refusal means, and that nothing of a hostile body goes further than one short line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistantcron.answers import LONGEST_WAIT, MAX_DETAIL, SHORTEST_WAIT, refusal
from assistantcron.errors import AssistantCronError, Conflict, NotFound, Refused, Transient, Unclear

NOTHING: dict[str, str] = {}
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
SENT = "Wed, 21 Oct 2026 07:28:00 GMT"


def said(detail: Any, key: str = "detail") -> bytes:
    return json.dumps({key: detail}).encode()


def words(content: bytes, status: int = 400) -> str:
    """What of this body a person gets to see."""
    return refusal(status, NOTHING, content).message


# What to do next


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, Refused),
        (307, Refused),
        (400, Refused),
        (401, Refused),
        (402, Refused),
        (403, Refused),
        (404, NotFound),
        (405, Refused),
        (408, Transient),
        (409, Conflict),
        (410, Refused),
        (413, Refused),
        (422, Refused),
        (425, Transient),
        (429, Transient),
        (499, Refused),
        (500, Unclear),
        (502, Unclear),
        (503, Unclear),
        (504, Unclear),
        (599, Unclear),
    ],
)
def test_the_status_says_what_to_do_next(status: int, kind: type[AssistantCronError]) -> None:
    error = refusal(status, NOTHING, b"")
    assert type(error) is kind
    assert error.message.startswith(f"HTTP {status}")
    if isinstance(error, Refused):
        assert error.status == status


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "Unauthorized"), (403, "Unauthorized"), (404, "Rejected")]
)
def test_wrong_credentials_have_a_reason_of_their_own(status: int, reason: str) -> None:
    assert refusal(status, NOTHING, b"").reason == reason


def test_a_redirect_is_named_and_its_words_are_not_repeated() -> None:
    assert words(said("look elsewhere"), 302) == "HTTP 302: a redirect, which is not followed"


def test_an_assistant_that_the_server_does_not_have_is_told_apart_from_other_bad_requests() -> None:
    answer = said(
        "Invalid assistant: 'agnet'. Must be either:\n- A valid assistant UUID, or\n- One of: agent"
    )
    error = refusal(422, NOTHING, answer)
    assert (error.reason, error.message) == ("AssistantNotFound", "HTTP 422: Invalid assistant")
    assert refusal(400, NOTHING, answer).reason == "Rejected"


@pytest.mark.parametrize("content", [said(BUSY), said(BUSY, "message"), BUSY.encode()])
def test_a_busy_thread_is_a_conflict_also_where_servers_say_422(content: bytes) -> None:
    assert type(refusal(422, NOTHING, content)) is Conflict


@pytest.mark.parametrize(
    "content",
    [
        said("Invalid assistant: 'Thread is already running'"),
        said('"the tap is already running" is not valid\n\nOn instance:\n    "the tap is already running"'),
        b"<p>Thread is already running</p>",
    ],
)
def test_what_only_repeats_our_input_is_no_conflict(content: bytes) -> None:
    assert type(refusal(422, NOTHING, content)) is Refused


def test_that_a_thread_is_busy_counts_only_with_422() -> None:
    assert type(refusal(400, NOTHING, said(BUSY))) is Refused


# How long to wait


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_the_wait_that_a_server_asks_for_is_kept(status: int) -> None:
    error = refusal(status, {"retry-after": "7"}, b"")
    assert isinstance(error, Transient)
    assert error.retry_after == 7.0


@pytest.mark.parametrize("status", [429, 503])
def test_without_a_wish_there_is_no_wait(status: int) -> None:
    error = refusal(status, NOTHING, b"")
    assert isinstance(error, Transient)
    assert error.retry_after is None


def test_a_server_that_is_too_busy_and_says_until_when_has_done_nothing() -> None:
    assert type(refusal(503, {"retry-after": "7"}, b"")) is Transient


@pytest.mark.parametrize(
    ("value", "date", "wait"),
    [
        ("120", "", 120.0),
        (" 120 ", "", 120.0),
        ("0", "", SHORTEST_WAIT),
        ("86400", "", LONGEST_WAIT),
        ("9" * 400, "", LONGEST_WAIT),
        ("Wed, 21 Oct 2026 07:28:30 GMT", SENT, 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", SENT, 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", SENT, SHORTEST_WAIT),
        ("Thu, 22 Oct 2026 07:28:00 GMT", SENT, LONGEST_WAIT),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "yesterday", None),
        ("Wed, 21 Oct 2026 07:28:30 -0000", SENT, None),
        ("", "", None),
        ("soon", SENT, None),
        ("-5", SENT, None),
        ("1.5", SENT, None),
        ("3, 5", SENT, None),
        ("²", SENT, None),
        ("Wed, 21 Oct 99999 07:28:30 GMT", SENT, None),
        ("Wed, 21 Oct 2026 07:28:30 +9999", SENT, None),
        ("Wed, 21 Oct 2026 07:28:30 +99999999999999999999", SENT, None),
        ("Wed, 21 Oct 2026 99999999999999999999:28:30 GMT", SENT, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    value: str, date: str, wait: float | None
) -> None:
    error = refusal(429, {"retry-after": value, "date": date}, b"")
    assert isinstance(error, Transient)
    assert error.retry_after == wait


# What of it a person gets to see


@pytest.mark.parametrize("key", ["detail", "message"])
def test_a_servers_own_line_is_repeated(key: str) -> None:
    assert (
        words(said("  Thread or assistant not found.\n", key)) == "HTTP 400: Thread or assistant not found."
    )


def test_detail_goes_before_message() -> None:
    assert words(b'{"message": "general", "detail": "exact"}') == "HTTP 400: exact"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Internal Server Error",
        b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        b"<" + b"x" * 100_000,
        b'{"detail": "cut o',
        b"\xff\xfe\x00",
        b"\x00" * 64,
        b"[" * 60_000,
        b'{"detail":' * 6_000,
        b"1" * 60_000,
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        said(None),
        said(""),
        said(" \n "),
        said(17),
        said(["body", "input"]),
        said({"input": "what we sent"}),
        said([{"loc": ["body"], "input": {"password": "p4ss"}}]),
        said('{"a": 1} is not of type "string"\n\nOn instance["input"]:\n    {"password": "p4ss"}'),
        said("one\rtwo"),
        said("one\u2028two"),
    ],
)
def test_of_any_other_body_nothing_is_repeated(content: bytes) -> None:
    assert words(content) == "HTTP 400"


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (MAX_DETAIL - 1, "x" * (MAX_DETAIL - 1)),
        (MAX_DETAIL, "x" * MAX_DETAIL),
        (MAX_DETAIL + 1, "x" * (MAX_DETAIL - 1) + "…"),
        (100_000, "x" * (MAX_DETAIL - 1) + "…"),
    ],
)
def test_a_long_line_is_cut(length: int, shown: str) -> None:
    assert words(said("x" * length)) == f"HTTP 400: {shown}"


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("red \x1b[31malert\x07", "red  [31malert "),
        ("half \ud83d of a pair", "half   of a pair"),
        ("Ünïcode ✓ stays 🙂", "Ünïcode ✓ stays 🙂"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(detail: str, shown: str) -> None:
    message = words(said(detail))
    assert message == f"HTTP 400: {shown}"
    assert message.encode()
