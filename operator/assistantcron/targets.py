"""From a resource to the client of its deployment: reads the Secret that it names, and keeps clients.

Between `reconciler.py` and the parts `kube.py` and `deployment.py`; who may call what is decided in
`egress.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path

from assistantcron.deployment import Deployment
from assistantcron.egress import Policy, Target, parse_url, target_of
from assistantcron.errors import InvalidSettings, InvalidSpec, Transient
from assistantcron.kube import Kube
from assistantcron.resource import Key
from assistantcron.settings import PREFIX, Settings
from assistantcron.shared import Shared
from assistantcron.spec import AssistantCronSpec

SECRET_KEPT = timedelta(seconds=15)
"""No longer: a person who has mended a Secret waits for it."""
UNUSED = timedelta(hours=1)
"""After which a client that nobody asks for is closed."""


class Targets:
    """One client per distinct target; equal targets share connections."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        observe: Callable[[str, str], None],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._now = now
        self._policy = Policy(settings.allowed_hosts, settings.allow_loopback)
        self._observe = observe
        self._secrets: Shared[tuple[str, str], dict[str, str]] = Shared(now=now)
        self._clients: dict[Target, Deployment] = {}
        self._asked: dict[Target, datetime] = {}

    async def client(self, key: Key, spec: AssistantCronSpec) -> Deployment:
        """The client for the resource's deployment.

        Raises `InvalidSpec`, or `Transient` if Secret or key file can't be read now.
        """
        secret = None
        if spec.deployment is not None and (reference := spec.deployment.secret_ref) is not None:
            secret = await self._secrets.get(
                (key.namespace, reference.name),
                lambda: self._kube.secret(key.namespace, reference.name),
                lambda _: SECRET_KEPT,
            )
        default = self._default() if spec.deployment is None else None
        target = target_of(spec.deployment, key.namespace, secret, default)
        if target not in self._clients:
            self._clients[target] = Deployment(target, self._policy, observe=self._observe)
        self._asked[target] = self._now()
        return self._clients[target]

    async def renewed(self, key: Key, spec: AssistantCronSpec, old: Deployment) -> Deployment | None:
        """After a 401 or 403: read the Secret once more; the new client, if that changed anything."""
        self._secrets.drop(lambda secret: secret[0] == key.namespace)
        new = await self.client(key, spec)
        return None if new is old else new

    def clients(self) -> tuple[Deployment, ...]:
        """Those in use so far."""
        return tuple(self._clients.values())

    async def prune(self, needed: Collection[object]) -> None:
        """Close the clients that nobody has asked for of late; those `needed` for what is in flight stay.

        Every key that is rotated and every URL that is edited leaves one behind.
        """
        long_ago = self._now() - UNUSED
        for target, client in list(self._clients.items()):
            if self._asked[target] < long_ago and client not in needed:
                del self._clients[target], self._asked[target]
                await client.close()

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()

    def _default(self) -> Target | None:
        try:
            return default_target(self._settings)
        except InvalidSettings as error:
            # It was good at the start: a key file that is being replaced is no mistake of the resource.
            raise Transient(error.message, reason=error.reason) from None


def mend_of_credentials(spec: AssistantCronSpec) -> str:
    """What to do when the deployment does not accept what it is sent."""
    if spec.deployment is None:
        return f"check the operator's {PREFIX}DEPLOYMENT_API_KEY"
    if (secret := spec.deployment.secret_ref) is not None:
        return f"check apiKey and authorization in Secret {secret.name}"
    return "no credentials are sent to it: put URL and key in a Secret and use spec.deployment.secretRef"


def default_target(settings: Settings) -> Target | None:
    """The operator's default deployment. Raises `InvalidSettings`."""
    if settings.deployment_url is None:
        return None
    key = settings.deployment_api_key.get_secret_value() if settings.deployment_api_key else None
    if settings.deployment_api_key_file is not None:
        key = _read_key(settings.deployment_api_key_file)
    try:
        bare = parse_url(settings.deployment_url, f"{PREFIX}DEPLOYMENT_URL")
    except InvalidSpec as error:
        raise InvalidSettings(error.message) from None
    return Target(url=bare.url, host=bare.host, trusted=True, api_key=key)


def _read_key(path: Path) -> str:
    """At each use: the file of a mounted Secret changes under us when it is rotated."""
    setting = f"{PREFIX}DEPLOYMENT_API_KEY_FILE"
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{setting}: cannot read {path} ({type(error).__name__})") from None
    if not (key and key.isascii() and key.isprintable()):
        raise InvalidSettings(f"{setting}: {path} must hold one line of printable ASCII")
    return key
