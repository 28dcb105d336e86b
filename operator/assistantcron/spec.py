"""What the author of an AssistantCron wrote. Base layer: shape and cross-field rules, no schedule arithmetic.

The same rules stand in `crds/assistantcrons.yaml` as schema and CEL; a test holds the two against each other field by field.
They are checked here again because the operator may meet objects that an older CRD let through, and because
`assistantcron check` works offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from assistantcron.errors import InvalidSpec

MAX_DEPTH = 100
"""Levels of nesting that a payload may have; JSON parsers downstream give up at about a thousand."""

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
DNS_LABEL_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Expression = Annotated[str, StringConstraints(min_length=1, max_length=100)]
NodeName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Payload = dict[str, Any]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Thread(_Model):
    """`thread: {}` is one thread of the resource's own; with `id`, a thread that somebody else made."""

    id: Annotated[str, StringConstraints(pattern=UUID_PATTERN)] | None = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] | None = None


class ServiceReference(_Model):
    """A Service of the resource's namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    scheme: Literal["http", "https"] = "http"
    path: Annotated[str, StringConstraints(max_length=1024, pattern=r"^/[-A-Za-z0-9._~/]*$")] | None = None


class SecretReference(_Model):
    """A Secret of the resource's namespace with `url` and, optionally, `apiKey`, `authorization`, `ca.crt`."""

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
    schedules: Annotated[tuple[Expression, ...], Field(min_length=1, max_length=20)] | None = None
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "Etc/UTC"
    assistant: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    input: Payload | None = None
    config: Payload | None = None
    context: Payload | None = None
    metadata: Payload | None = None
    webhook: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None
    interrupt_before: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=100)] | None = None
    interrupt_after: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=100)] | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    thread: Thread | None = None
    on_run_completed: Literal["delete", "keep"] | None = None
    suspend: bool = False
    concurrency_policy: Literal["Forbid", "Allow"] = "Forbid"
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=20)] = 3
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=20)] = 3
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
        if self.context and self.config and self.config.get("configurable"):
            raise InvalidSpec("context and config.configurable may not both be set: move all of it to context")
        if self.thread is not None and self.on_run_completed == "delete":
            raise InvalidSpec(
                "onRunCompleted: delete may not be set with thread, which outlives its runs: remove one of them"
            )
        for field in ("input", "config", "context", "metadata"):
            if too_deep(getattr(self, field)):
                raise InvalidSpec(f"{field} must not be nested more than {MAX_DEPTH} levels deep")
        return self


def too_deep(value: object) -> bool:
    """Whether `value` nests objects and lists more than `MAX_DEPTH` levels; level by level, never by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


def parse_spec(raw: Mapping[str, Any]) -> AssistantCronSpec:
    """Validate `spec`; null counts as absent, as the API server has it.

    Raises `InvalidSpec` whose one-line message names the field; values are not repeated in it.
    """
    try:
        return AssistantCronSpec.model_validate(_without_nulls(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(["spec", *(str(part) for part in first["loc"])])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InvalidSpec):
            raise InvalidSpec(f"{field}: {cause.message}", reason=cause.reason) from None
        mend = "is not a field of an AssistantCron" if first["type"] == "extra_forbidden" else first["msg"]
        raise InvalidSpec(f"{field}: {mend}") from None


def _without_nulls(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Drop nulls of our own fields, two levels down; payloads keep theirs, which mean something to a graph."""
    kept = {key: value for key, value in raw.items() if value is not None}
    for key in ("thread", "deployment"):
        if isinstance(kept.get(key), dict):
            kept[key] = {
                name: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
                for name, value in kept[key].items()
                if value is not None
            }
    return kept
