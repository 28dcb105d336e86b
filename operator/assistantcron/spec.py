"""What the author of an AssistantCron wrote. Base layer: shape and cross-field rules, no schedule arithmetic.

The same rules stand in `crds/assistantcrons.yaml` as schema and CEL; a test holds the two against each other
field by field. They are checked here again because the operator may meet objects that an older CRD let
through, and because `assistantcron check` works offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from assistantcron.errors import InvalidSpec

MAX_HISTORY = 20

RESERVED = "assistantcron"
"""How the operator's own metadata keys begin, by which it finds its runs again."""

MAX_DEPTH = 100
"""Levels of nesting that a payload may have; JSON parsers downstream give up at about a thousand."""

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
PATH_PATTERN = r"^/[-A-Za-z0-9._~/]*$"
WEBHOOK_PATTERN = r"^(?i:https?)://[^ /?#]+[^ ]*$"
MENDS = {
    UUID_PATTERN: "must be the UUID of a thread, in lower case and with its dashes",
    DNS_LABEL_PATTERN: "must be the name of a Service: lower-case letters, digits and dashes",
    DNS_SUBDOMAIN_PATTERN: "must be the name of a Secret: lower-case letters, digits, dashes and dots",
    PATH_PATTERN: "must begin with / and may not contain anything but letters, digits and -._~/",
    WEBHOOK_PATTERN: "must be a URL that begins with http:// or https://",
}
"""What to say when a pattern does not match; the same sentences as in the CRD."""

Expression = Annotated[str, StringConstraints(min_length=1, max_length=100)]
NodeName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
WebhookURL = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=WEBHOOK_PATTERN)]
# Not strict, for JSON has lists and no tuples.
Expressions = Annotated[tuple[Expression, ...], Field(min_length=1, max_length=20, strict=False)]
NodeNames = Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=100, strict=False)]
Payload = Annotated[dict[str, Any], Field(max_length=1000)]


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, strict=True, extra="forbid", frozen=True
    )


class Thread(_Model):
    """`thread: {}` is one thread of the resource's own; with `id`, a thread that somebody else made."""

    id: Annotated[str, StringConstraints(max_length=36, pattern=UUID_PATTERN)] | None = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] | None = None


class ServiceReference(_Model):
    """A Service of the resource's namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    scheme: Literal["http", "https"] = "http"
    path: Annotated[str, StringConstraints(max_length=1024, pattern=PATH_PATTERN)] | None = None


class SecretReference(_Model):
    """A Secret of the resource's namespace with `url` and, if needed, `apiKey`, `authorization`, `ca.crt`."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]


class Deployment(_Model):
    """Where the runs go: exactly one of the three."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    service_ref: ServiceReference | None = None
    secret_ref: SecretReference | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Deployment:
        if sum(choice is not None for choice in (self.url, self.service_ref, self.secret_ref)) != 1:
            raise InvalidSpec("must have exactly one of url, serviceRef and secretRef")
        return self


class AssistantCronSpec(_Model):
    """`spec` of an AssistantCron; field by field the CRD's schema."""

    schedule: Expression | None = None
    schedules: Expressions | None = None
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "Etc/UTC"
    assistant: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    input: Payload | None = None
    config: Payload | None = None
    context: Payload | None = None
    metadata: Payload | None = None
    webhook: WebhookURL | None = None
    interrupt_before: NodeNames | None = None
    interrupt_after: NodeNames | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    thread: Thread | None = None
    on_run_completed: Literal["delete", "keep"] | None = None
    suspend: bool = False
    concurrency_policy: Literal["Forbid", "Allow"] = "Forbid"
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=MAX_HISTORY)] = 3
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=MAX_HISTORY)] = 3
    deployment: Deployment | None = None

    @property
    def expressions(self) -> tuple[str, ...]:
        """The cron expressions, whichever of the two fields has them."""
        return self.schedules if self.schedules is not None else (self.schedule or "",)

    @property
    def deletes_threads(self) -> bool:
        """Whether a run's own new thread is deleted once its outcome is recorded."""
        return self.thread is None and self.on_run_completed != "keep"

    @model_validator(mode="after")
    def _rules(self) -> AssistantCronSpec:
        if (self.schedule is None) == (self.schedules is None):
            raise InvalidSpec("must have exactly one of schedule and schedules")
        if self.context is not None and (self.config or {}).get("configurable") is not None:
            raise InvalidSpec(
                "context and config.configurable may not both be set: move all of it to context"
            )
        if self.thread is not None and self.on_run_completed == "delete":
            raise InvalidSpec(
                "onRunCompleted: delete may not be set with thread, which outlives its runs: "
                "remove one of them"
            )
        if any(key.startswith(RESERVED) for key in self.metadata or ()):
            raise InvalidSpec(
                f"metadata may not have keys that begin with {RESERVED}: they are the operator's"
            )
        for field in ("input", "config", "context", "metadata"):
            if too_deep(getattr(self, field)):
                raise InvalidSpec(f"{field} must not be nested more than {MAX_DEPTH} levels deep")
        return self


def too_deep(value: object) -> bool:
    """Whether objects and lists are nested more than `MAX_DEPTH` deep; level by level, never by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (item.values() if isinstance(item, dict) else item for item in level if _nests(item))
        level = [child for group in children for child in group]
    return any(_nests(item) for item in level)


def _nests(value: object) -> TypeGuard[dict[Any, Any] | list[Any]]:
    return isinstance(value, (dict, list))


def parse_spec(raw: Mapping[str, Any]) -> AssistantCronSpec:
    """Validate `spec`; null counts as absent, as the API server has it.

    Raises `InvalidSpec` whose one-line message names the field; values are not repeated in it.
    """
    try:
        return _validate(raw)
    except ValidationError as error:
        raise _refusals(error)[0] from None


def refusals(raw: Mapping[str, Any]) -> list[InvalidSpec]:
    """Everything for which `parse_spec` would refuse it, and not the first alone."""
    try:
        _validate(raw)
    except ValidationError as error:
        return _refusals(error)
    return []


def _validate(raw: Mapping[str, Any]) -> AssistantCronSpec:
    return AssistantCronSpec.model_validate(_without_nulls(raw), by_alias=True, by_name=False)


def _refusals(error: ValidationError) -> list[InvalidSpec]:
    return [_refusal(one) for one in error.errors(include_url=False, include_input=False)]


def _refusal(one: ErrorDetails) -> InvalidSpec:
    field = ".".join(["spec", *(shown(str(part)) for part in one["loc"])])
    cause = one.get("ctx", {}).get("error")
    if isinstance(cause, InvalidSpec):
        return InvalidSpec(f"{field}: {cause.message}", reason=cause.reason)
    mend = "is not a field of an AssistantCron" if one["type"] == "extra_forbidden" else one["msg"]
    mend = MENDS.get(one.get("ctx", {}).get("pattern", ""), mend)
    return InvalidSpec(f"{field}: {mend}")


def shown(key: str) -> str:
    """Somebody's key as a message of one line can hold it."""
    return key if key.isprintable() and len(key) <= 60 else repr(key[:60])


def _without_nulls(raw: Mapping[str, Any], model: type[_Model] = AssistantCronSpec) -> dict[str, Any]:
    """Drop nulls of our own fields; payloads keep theirs, which mean something to a graph."""
    fields = {to_camel(name) for name in model.model_fields}
    kept = {key: value for key, value in raw.items() if value is not None or key not in fields}
    for key, inner in _INSIDE.get(model, {}).items():
        if isinstance(kept.get(key), dict):
            kept[key] = _without_nulls(kept[key], inner)
    return kept


_INSIDE: dict[type[_Model], dict[str, type[_Model]]] = {
    AssistantCronSpec: {"thread": Thread, "deployment": Deployment},
    Deployment: {"serviceRef": ServiceReference, "secretRef": SecretReference},
}
