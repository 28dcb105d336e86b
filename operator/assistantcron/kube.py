"""The Kubernetes API server: read an object or a Secret, write a status, post an Event. kopf watches.

Every failure is an exception of `errors.py`; nothing of a Secret is in any of them.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from assistantcron.errors import Conflict, InvalidSettings, InvalidSpec, NotFound, Refused, Transient
from assistantcron.resource import GROUP, KIND, PLURAL, VERSION, Key, Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for one request to the API server."""
COMPONENT = "assistantcron"


@dataclass(frozen=True)
class Access:
    """How to reach the API server, for kopf's own connections."""

    server: str
    token: str | None = field(repr=False)
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    insecure: bool


class Kube:
    """Connect with `await Kube.connect()`, end with `close()`."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration
        self._api = client.ApiClient(configuration)
        self._custom = client.CustomObjectsApi(self._api)
        self._core = client.CoreV1Api(self._api)

    @classmethod
    async def connect(cls) -> Kube:
        """From the in-cluster account or `KUBECONFIG`. Raises `InvalidSettings` if there is neither."""
        configuration = client.Configuration()
        # Retries are ours: they depend on what the request was.
        configuration.retries = 1
        try:
            if _kubeconfig_is_there():
                await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            return cls(configuration)
        except Exception as error:  # noqa: BLE001 - the library lets through whatever a malformed file raises
            told = isinstance(error, config.ConfigException | OSError)
            cause = " ".join(str(error).split()) if told else f"malformed: {type(error).__name__}"
            raise InvalidSettings(
                "no Kubernetes access: neither an in-cluster service account nor a usable KUBECONFIG "
                f"({cause})"
            ) from None

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def access(self) -> Access:
        """The credentials of this moment; a projected token is read again when it has been rotated."""
        c = self._configuration
        token = await c.get_api_key_with_prefix("BearerToken", "authorization") or ""
        return Access(
            server=c.host,
            token=token.split(" ")[-1].strip() or None,
            ca_path=c.ssl_ca_cert,
            certificate_path=c.cert_file,
            private_key_path=c.key_file,
            insecure=not c.verify_ssl,
        )

    async def check_access(self, namespaces: Sequence[str]) -> None:
        """Whether the operator can begin: the CRD is there, and resources may be listed (empty: everywhere).

        Raises `InvalidSettings` if the CRD is not there, `Transient` for what may still come: the cluster, or
        the operator's rights.
        """
        try:
            async with _translated("look for the CRD"):
                await self._custom.get_api_resources(GROUP, VERSION, _request_timeout=TIMEOUT)
        except NotFound:
            raise InvalidSettings(
                f"the CRD {PLURAL}.{GROUP} is not installed in this cluster: kubectl apply -f crds/"
            ) from None
        for namespace in namespaces or ("",):
            place = f"namespace {namespace}" if namespace else "all namespaces"
            try:
                async with _translated(f"list {PLURAL} in {place}"):
                    await self._list_one(namespace)
            except Refused as error:
                raise Transient(
                    f"{error.message}: the operator's account must be allowed to", reason="ClusterRefused"
                ) from None

    async def _list_one(self, namespace: str) -> None:
        if namespace:
            await self._custom.list_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, limit=1, _request_timeout=TIMEOUT
            )
        else:
            await self._custom.list_cluster_custom_object(
                GROUP, VERSION, PLURAL, limit=1, _request_timeout=TIMEOUT
            )

    async def get(self, key: Key) -> Mapping[str, Any] | None:
        """The object as stored; None if it is gone."""
        try:
            async with _translated(f"read {key}"):
                body = await self._custom.get_namespaced_custom_object(
                    GROUP, VERSION, key.namespace, PLURAL, key.name, _request_timeout=TIMEOUT
                )
        except NotFound:
            return None
        return cast(Mapping[str, Any], body)

    async def write_status(self, resource: Resource, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the status if the object is still the version that `resource` is; returns it as stored.

        Raises `Conflict` if somebody changed it meanwhile, `NotFound` if it is gone.
        """
        # Without the spec: it can be large, and it can be nested deeper than anything of ours can write.
        patch: list[dict[str, Any]] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource.resource_version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        async with _translated(f"write the status of {resource.key}"):
            stored = await self._custom.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                resource.key.namespace,
                PLURAL,
                resource.key.name,
                patch,
                field_manager=COMPONENT,
                _content_type="application/json-patch+json",
                _request_timeout=TIMEOUT,
            )
        return cast(Mapping[str, Any], stored)

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        """A Secret's data, decoded.

        Raises `InvalidSpec` (`SecretNotFound`, `InvalidSecret`), `Refused` or `Transient`.
        """
        try:
            async with _translated(f"read Secret {namespace}/{name}"):
                found = await self._core.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUT)
        except NotFound:
            raise InvalidSpec(
                f"spec.deployment.secretRef: there is no Secret {name} in namespace {namespace}",
                reason="SecretNotFound",
            ) from None
        data: dict[str, str] = {}
        for key, value in (found.data or {}).items():
            try:
                data[key] = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise InvalidSpec(
                    f"Secret {name}, key {key}: must be UTF-8 text", reason="InvalidSecret"
                ) from None
        return data

    async def post_event(
        self, resource: Resource, kind: str, reason: str, message: str, now: datetime
    ) -> None:
        """An Event about the resource. `kind`: Normal or Warning. Raises `Transient` or `Refused`."""
        key = resource.key
        event = client.CoreV1Event(
            metadata=client.V1ObjectMeta(generate_name=f"{key.name[:200]}.", namespace=key.namespace),
            involved_object=client.V1ObjectReference(
                api_version=f"{GROUP}/{VERSION}",
                kind=KIND,
                namespace=key.namespace,
                name=key.name,
                uid=resource.uid,
            ),
            type=kind,
            reason=reason,
            message=message[:1024],
            first_timestamp=now,
            last_timestamp=now,
            count=1,
            source=client.V1EventSource(component=COMPONENT),
            reporting_component=COMPONENT,
        )
        async with _translated(f"post an Event about {key}"):
            await self._core.create_namespaced_event(key.namespace, event, _request_timeout=TIMEOUT)


def _kubeconfig_is_there() -> bool:
    """Unlike in the library's `load_config`, KUBECONFIG may be a list of files, as for kubectl."""
    files = filter(None, config.KUBE_CONFIG_DEFAULT_LOCATION.split(os.pathsep))
    return any(Path(file).expanduser().exists() for file in files)


@asynccontextmanager
async def _translated(what: str) -> AsyncIterator[None]:
    """Turn the client's failures into ours."""
    try:
        yield
    except ApiException as error:
        text = f"could not {what}: the API server answered {error.status} {error.reason or ''}".rstrip()
        if error.status == 404:
            raise NotFound(text, status=404) from None
        if error.status == 409:
            raise Conflict(text, status=409) from None
        if error.status in (400, 403, 413, 422):
            raise Refused(text, reason="ClusterRefused", status=error.status) from None
        raise Transient(text, reason="ClusterUnavailable") from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Transient(
            f"could not {what}: no answer from the API server ({type(error).__name__})",
            reason="ClusterUnavailable",
        ) from None
