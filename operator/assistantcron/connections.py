"""Connections to a deployment: to which addresses, by which certificates, and what it means if there is none.

`deployment.py` speaks HTTP over them. Policy is `egress.py`'s; here it is asked about every address that is
really connected to, so a name that resolves to something else later gains nothing.
"""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from assistantcron.egress import Policy, Target
from assistantcron.errors import InvalidSpec, Transient, Unclear

CONNECTIONS = 50
_NOT_SENT: tuple[tuple[type[aiohttp.ClientError], str, str | None], ...] = (
    (aiohttp.ClientConnectorDNSError, "the host name cannot be resolved", None),
    (
        aiohttp.ClientConnectorCertificateError,
        "the TLS certificate is not valid for this host",
        "TLSError",
    ),
    (aiohttp.ClientConnectorSSLError, "the server does not speak TLS as it should", "TLSError"),
    (aiohttp.ClientConnectorError, "the connection was refused or the host is unreachable", None),
    (
        aiohttp.ConnectionTimeoutError,
        "no connection in time: it cannot be reached, or has too much to do",
        None,
    ),
)


class _CheckingResolver(AbstractResolver):
    """Lets only permitted addresses through; the connection is made to just these (no rebinding)."""

    def __init__(self, check: Callable[[str, str], None]) -> None:
        self._check = check
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:  # noqa: ANN401 - aiohttp's own signature
        found = await self._resolver.resolve(host, port, family)
        for entry in found:
            self._check(host, entry["host"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


def session(target: Target, policy: Policy) -> aiohttp.ClientSession:
    """What goes where the target's author may go, and nowhere else."""
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS,
        ssl=tls(target.ca),
        resolver=None if target.trusted else _CheckingResolver(policy.check_address),
        # Below the 5 s after which servers close an idle connection.
        keepalive_timeout=4.0,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )


def check_literal(target: Target, policy: Policy) -> None:
    """The resolver is not asked about literal addresses: raise `Denied` here."""
    if target.trusted or not re.fullmatch(r"[0-9.]+|.*:.*", target.host):
        return
    try:
        policy.check_address(target.host, target.host)
    except ValueError:
        # Not a literal after all: the resolver will see it.
        return


@functools.lru_cache(maxsize=100)
def tls(authority: str | None) -> ssl.SSLContext:
    """Trust that authority alone, or else the system's. Raises `InvalidSpec`.

    Shared: to read the system's certificates takes longer than many requests.
    """
    try:
        # The text around the certificates may be in any language.
        return ssl.create_default_context(cadata=authority and authority.encode("ascii", "replace").decode())
    except ssl.SSLError:
        raise InvalidSpec(
            "spec.deployment.secretRef: the Secret's key ca.crt must be a certificate in PEM",
            reason="InvalidSecret",
        ) from None


def unreachable(cause: BaseException | None) -> Transient:
    """What a failed exchange means: the request surely never left, or (`Unclear`) it may have.

    Of a connection that was lost later we look what became of the request, and do not simply repeat it.
    """
    for kind, text, reason in _NOT_SENT:
        if isinstance(cause, kind):
            return Transient(text, reason=reason)
    if isinstance(cause, aiohttp.SocketTimeoutError):
        return Unclear("no answer in time")
    return Unclear("the connection was lost before the answer came")
