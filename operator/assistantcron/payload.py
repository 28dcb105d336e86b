"""The body of the request that starts a run, from the spec and the slot. Core: no I/O, no clock."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

from assistantcron.records import Thread
from assistantcron.resource import Resource, Slot, rfc3339, slot_thread
from assistantcron.spec import RESERVED, AssistantCronSpec

# Our own metadata keys on threads and runs. Servers strip `thread_id`, `run_id`, `assistant_id`, `cron_id`.
OPERATOR, UID = RESERVED, "assistantcron_uid"
SLOT, ATTEMPT = "assistantcron_slot", "assistantcron_attempt"
NAMESPACE, NAME = "assistantcron_namespace", "assistantcron_name"
TRIGGER, SCHEDULED_TIME = "assistantcron_trigger", "assistantcron_scheduled_time"
CLAIM, DISPOSAL = "assistantcron_claim", "assistantcron_on_run_completed"
THREAD = "assistantcron_thread"
"""On a claim that is only the lock: the thread, given or own, on which the run is."""
FENCE = "assistantcron_fence"
UNUSED = "assistantcron_unused"
"""On a claim that is to be kept: nobody has seen a run on it yet, and if there is none it goes after all."""

# Possessive, and from the first dollar only: linear in the length of whatever somebody has written.
_REFERENCE = re.compile(r"(?<!\$)(\$++)\((?:([A-Z_]++)\))?")


def slot_metadata(resource: Resource, slot: Slot, attempt: int) -> dict[str, Any]:
    """The keys by which a slot's thread and run are found again."""
    return {
        OPERATOR: "run",
        UID: resource.uid,
        SLOT: slot.name,
        ATTEMPT: attempt,
        NAMESPACE: resource.key.namespace,
        NAME: resource.key.name,
        TRIGGER: str(slot.trigger),
        SCHEDULED_TIME: rfc3339(slot.time),
    }


def is_claim(thread: Thread) -> bool:
    """Whether the thread is the one that its metadata tell of; a copy that a person made has the same."""
    told = thread.metadata
    try:
        return thread.thread_id == slot_thread(str(told.get(UID)), str(told.get(SLOT)), told.get(ATTEMPT, 1))
    except ValueError:
        return False


def variables(resource: Resource, slot: Slot, zone: ZoneInfo) -> dict[str, str]:
    """What `$(…)` stands for in this run."""
    return {
        "SCHEDULED_TIME": rfc3339(slot.time),
        "SCHEDULED_DATE": slot.time.astimezone(zone).date().isoformat(),
        "CRON_NAME": resource.key.name,
        "CRON_NAMESPACE": resource.key.namespace,
    }


def substitute(value: Any, values: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON in, the same shape out
    """Replace `$(NAME)` in every string; `$$(X)` becomes `$(X)`; anything else is left.

    Kubernetes' rule for `$(VAR)`: two dollars before a parenthesis are one that means nothing, so `$$$(NAME)`
    is a dollar and the value. Depth is bounded by `spec.MAX_DEPTH`, which `parse_spec` has checked.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _expanded(match, values), value)
    if isinstance(value, dict):
        return {key: substitute(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values) for item in value]
    return value


def _expanded(match: re.Match[str], values: dict[str, str]) -> str:
    dollars, name = match.groups()
    pairs, single = divmod(len(dollars), 2)
    rest = match[0][len(dollars) :]
    return "$" * pairs + (values.get(name, f"${rest}") if single else rest)


def run_body(spec: AssistantCronSpec, values: dict[str, str], own_metadata: dict[str, Any]) -> dict[str, Any]:
    """`POST /threads/{id}/runs`. `if_not_exists` stays out: a thread that is gone must not come back (§4).

    Absent fields are left out, for the server answers 422 to an explicit null; `input` is always there, for
    some servers refuse a run without.
    """
    body: dict[str, Any] = {
        "assistant_id": spec.assistant,
        "input": substitute(spec.input or {}, values),
        "metadata": {**substitute(spec.metadata or {}, values), **own_metadata},
        # A thread made for one run has nobody to queue behind: a second run there is a mistake.
        "multitask_strategy": "reject"
        if spec.thread is None
        else spec.thread.multitask_strategy or "enqueue",
    }
    for field in ("config", "context"):
        if (payload := getattr(spec, field)) is not None:
            body[field] = substitute(payload, values)
    for field in ("webhook", "durability"):
        if (text := getattr(spec, field)) is not None:
            body[field] = text
    for field in ("interrupt_before", "interrupt_after"):
        if (nodes := getattr(spec, field)) is not None:
            body[field] = "*" if "*" in nodes else list(nodes)
    return body
