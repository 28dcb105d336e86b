"""Where a resource's runs go, and whether they may: policy, no I/O.

`reconciler.py` asks for a `Target`; `deployment.py` connects only to addresses that `Policy.check_address`
lets pass, so a name that resolves to something else later gains nothing. A credential is part of the target
it belongs to and never meets another URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from assistantcron.errors import Denied, InvalidSpec
from assistantcron.spec import Deployment

Address = IPv4Address | IPv6Address
_BROADCAST = ip_address("255.255.255.255")
# ASCII, and no short or octal IPv4: what a client might turn into an address later, nobody would check.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[-_.A-Za-z0-9]+)(:[0-9]*)?")
_NAME = re.compile(r"([-_a-z0-9]{1,63}\.)*(?![0-9]+\.?$)[-_a-z0-9]{1,63}\.?")


@dataclass(frozen=True)
class Target:
    """One deployment as one author may call it; equal targets share a client."""

    url: str
    host: str
    trusted: bool = False
    """The operator's own default: chosen by who runs the operator, so no address is refused."""
    api_key: str | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Policy:
    """`ALLOWED_HOSTS` and `ALLOW_LOOPBACK`."""

    allowed_hosts: tuple[str, ...] = ()
    allow_loopback: bool = False

    def check_address(self, host: str, text: str) -> None:
        """Raise `Denied` unless a resource that names `host` may connect to the address `text`."""
        address = _unmapped(ip_address(text.partition("%")[0]))
        if special := self._special(address):
            raise Denied(f"{host} is a {special} address, which resources may not call")
        if self.allowed_hosts and not self._names(host) and not self._contains(address):
            raise Denied(
                f"{host} is not among the hosts that the operator's ALLOWED_HOSTS lets resources call"
            )

    def _special(self, address: Address) -> str | None:
        if address.is_loopback:
            return None if self.allow_loopback else "loopback"
        if address.is_unspecified:
            return "unspecified"
        if address.is_link_local:
            return "link-local"
        if address.is_multicast:
            return "multicast"
        return "broadcast" if address == _BROADCAST else None

    def _names(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(
            name.endswith(entry[1:].lower()) if entry.startswith("*.") else name == entry.lower()
            for entry in self.allowed_hosts
            if "/" not in entry
        )

    def _contains(self, address: Address) -> bool:
        return any(address in ip_network(entry) for entry in self.allowed_hosts if "/" in entry)


def _unmapped(address: Address) -> Address:
    """`::ffff:127.0.0.1` is 127.0.0.1."""
    return getattr(address, "ipv4_mapped", None) or address


def parse_url(url: str, where: str) -> Target:
    """The target of a bare URL. Raises `InvalidSpec` naming `where` it stands, without repeating it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url(where, "is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise _bad_url(where, "must begin with http:// or https://")
    if "@" in parts.netloc:
        raise _bad_url(where, "may not contain a user or password: put credentials in a Secret")
    host = parts.hostname or ""
    if not _AUTHORITY.fullmatch(parts.netloc) or not _is_host(host) or port == 0:
        raise _bad_url(where, "must name a host, such as https://agents.example.com")
    if " " in url or not url.isprintable():
        raise _bad_url(where, "may not contain white space or control characters")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise _bad_url(where, "may not have a query or fragment")
    return Target(url=url.rstrip("/"), host=host)


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return _NAME.fullmatch(host) is not None
    return True


def _bad_url(where: str, mend: str) -> InvalidSpec:
    return InvalidSpec(f"{where} {mend}", reason="InvalidURL")


def target_of(
    deployment: Deployment | None, namespace: str, secret: Mapping[str, str] | None, default: Target | None
) -> Target:
    """The target that a resource of `namespace` names; `secret`: the data of its `secretRef`, decoded.

    Raises `InvalidSpec` (reasons `DeploymentNotConfigured`, `InvalidURL`, `InvalidSecret`).
    """
    if deployment is None:
        if default is None:
            raise InvalidSpec(
                "spec.deployment must be set: the operator has no default deployment "
                "(ASSISTANTCRON_DEPLOYMENT_URL)",
                reason="DeploymentNotConfigured",
            )
        return default
    if deployment.url is not None:
        return parse_url(deployment.url, "spec.deployment.url")
    if (service := deployment.service_ref) is not None:
        url = f"{service.scheme}://{service.name}.{namespace}.svc:{service.port}{service.path or ''}"
        return parse_url(url, "spec.deployment.serviceRef")
    if secret is None or deployment.secret_ref is None:
        raise InvalidSpec("spec.deployment.secretRef: the Secret was not read", reason="SecretNotFound")
    return _from_secret(secret, f"Secret {deployment.secret_ref.name}")


def _from_secret(secret: Mapping[str, str], name: str) -> Target:
    if not secret.get("url", "").strip():
        raise InvalidSpec(
            f"{name} must have the key url: its credentials go to that URL only", reason="InvalidSecret"
        )
    try:
        bare = parse_url(secret["url"].strip(), f"{name}, key url:")
    except InvalidSpec as error:
        raise InvalidSpec(error.message, reason="InvalidSecret") from None
    credentials = {
        key: secret[key].strip() for key in ("apiKey", "authorization") if secret.get(key, "").strip()
    }
    for key, value in credentials.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidSpec(
                f"{name}, key {key}: must be one line of printable ASCII", reason="InvalidSecret"
            )
    return Target(
        url=bare.url,
        host=bare.host,
        api_key=credentials.get("apiKey"),
        authorization=credentials.get("authorization"),
        ca=secret.get("ca.crt") or None,
    )
