"""The operator's settings, from the environment. Base layer: read once by the wiring (`app.py`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from assistantcron.errors import InvalidSettings

PREFIX = "ASSISTANTCRON_"

CommaList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """One field per variable `ASSISTANTCRON_<FIELD>`; the descriptions are what `run --help` prints."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    deployment_url: str | None = Field(
        None, description="URL of the default deployment, for resources that name none."
    )
    deployment_api_key: SecretStr | None = Field(
        None, description="API key of the default deployment, sent as x-api-key to that URL only."
    )
    deployment_api_key_file: Path | None = Field(
        None, description="File with that API key instead; read again when it changes."
    )
    namespaces: CommaList = Field((), description="Namespaces to watch, separated by commas; empty: all.")
    http_address: str = Field("0.0.0.0:8080", description="Where /livez, /readyz and /metrics listen.")
    allowed_hosts: CommaList = Field(
        (),
        description="Hosts that resources may call: names, *.suffixes and CIDRs, separated by commas; "
        "empty: any but loopback, link-local, unspecified, multicast and broadcast addresses.",
    )
    allow_loopback: bool = Field(
        default=False, description="Lets resources call loopback addresses, for tests and demonstrations."
    )
    log_format: Literal["json", "plain"] = Field("json", description="Form of the log lines: json or plain.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged: DEBUG, INFO, WARNING or ERROR."
    )

    @field_validator("namespaces", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("deployment_api_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        # `echo key | base64` has a line feed at its end.
        key = value.get_secret_value().strip()
        if not (key and key.isascii() and key.isprintable()):
            raise ValueError("must be one line of printable ASCII")
        return SecretStr(key)

    @field_validator("namespaces")
    @classmethod
    def _namespace_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(value, 1):
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
                raise ValueError(f"entry {number} is not the name of a namespace")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, host in enumerate(value, 1):
            if not _is_network(host) and not re.fullmatch(
                r"(\*\.)?[A-Za-z0-9:]([-A-Za-z0-9.:]*[A-Za-z0-9:])?", host
            ):
                raise ValueError(f"entry {number} must be a host name, *.suffix or CIDR without host bits")
        return value

    @field_validator("http_address")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) <= 65535):
            raise ValueError("must be host:port, such as 0.0.0.0:8080")
        return value

    @model_validator(mode="after")
    def _one_key(self) -> Settings:
        if self.deployment_api_key and self.deployment_api_key_file:
            raise ValueError(f"{PREFIX}DEPLOYMENT_API_KEY and its _FILE may not both be set")
        if (self.deployment_api_key or self.deployment_api_key_file) and not self.deployment_url:
            raise ValueError(f"{PREFIX}DEPLOYMENT_URL must be set too: an API key goes to one URL only")
        return self


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return "/" in text


def load() -> Settings:
    """Read the environment. Raises `InvalidSettings` with a line that names the variable, never its value."""
    if unknown := _unknown(os.environ):
        raise InvalidSettings(f"{unknown}: is not a setting; `assistantcron run --help` lists them")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = f"{PREFIX}{first['loc'][0]}".upper() + ": " if first["loc"] else ""
        raise InvalidSettings(where + first["msg"].removeprefix("Value error, ")) from None


def _unknown(names: Iterable[str]) -> str | None:
    """A variable with our prefix that is none of ours: a limit that is misspelt must not be no limit."""
    ours = [name for name in names if name.upper().startswith(PREFIX)]
    known = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
    # Kubernetes sets such variables for a Service whose name begins with ours.
    services = [name.removesuffix("_SERVICE_HOST") for name in ours if name.endswith("_SERVICE_HOST")]
    links = tuple(f"{service}_{part}" for service in services for part in ("SERVICE_", "PORT"))
    return next((name for name in ours if name.upper() not in known and not name.startswith(links)), None)
