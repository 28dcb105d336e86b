"""Which client a resource gets: shared, with its own target's credentials, and a new one when they change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from assistantcron.deployment import Deployment
from assistantcron.errors import Denied, InvalidSettings, InvalidSpec, Refused, Transient
from assistantcron.kube import Kube
from assistantcron.resource import Key
from assistantcron.settings import Settings
from assistantcron.targets import Targets, default_target, mend_of_credentials
from tests.bed.stub import StubDeployment
from tests.core.builders import spec
from tests.parts.clock import Clock

KEY, ELSEWHERE = Key("team", "nightly"), Key("other", "nightly")
URL = "https://agents.example.com"
SECRET = {"secretRef": {"name": "agents"}}


class FakeKube(Kube):
    """Secrets by namespace and name; `error` comes instead of any."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], dict[str, str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        self.asked.append((namespace, name))
        if self.error is not None:
            raise self.error
        if (namespace, name) not in self.secrets:
            raise InvalidSpec("there is no such Secret", reason="SecretNotFound")
        return self.secrets[namespace, name]


class Desk:
    def __init__(self, **settings: Any) -> None:
        self.kube, self.clock = FakeKube(), Clock()
        self.requests: list[tuple[str, str]] = []
        self.targets = Targets(
            self.kube,
            Settings(**settings),
            now=self.clock,
            observe=lambda method, result: self.requests.append((method, result)),
        )

    def put(self, key: Key = KEY, **secret: str) -> None:
        self.kube.secrets[key.namespace, "agents"] = secret

    async def client(self, key: Key = KEY, **deployment: Any) -> Deployment:
        return await self.targets.client(key, spec(deployment=deployment or None))

    async def of_secret(self, key: Key = KEY) -> Deployment:
        return await self.client(key, **SECRET)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk(deployment_url=URL)
    yield made
    await made.targets.close()


# Sharing


async def test_equal_targets_share_one_client(desk: Desk) -> None:
    first = await desk.client(url=URL)
    for _ in range(100):
        assert await desk.client(ELSEWHERE, url=URL) is first
    assert desk.targets.clients() == (first,)


async def test_what_differs_in_url_or_credentials_does_not(desk: Desk) -> None:
    desk.put(url=URL, apiKey="a")
    desk.put(ELSEWHERE, url=URL, apiKey="b")
    clients = {
        await desk.client(),
        await desk.client(url=URL),
        await desk.client(url=URL + "/agents"),
        await desk.client(serviceRef={"name": "agents"}),
        await desk.client(ELSEWHERE, serviceRef={"name": "agents"}),
        await desk.of_secret(),
        await desk.of_secret(ELSEWHERE),
    }
    assert len(clients) == 7
    assert set(desk.targets.clients()) == clients


async def test_credentials_go_to_the_url_of_their_own_secret_only() -> None:
    with StubDeployment() as stub:
        desk = Desk(deployment_url=stub.url, deployment_api_key=SecretStr("default"), allow_loopback=True)
        desk.put(url=stub.url, apiKey="theirs", authorization="Bearer theirs")
        asking = [await desk.client(), await desk.of_secret(), await desk.client(url=stub.url)]
        for client in asking:
            await client.find_assistant("agent")
        await desk.targets.close()
        sent = [(one.headers.get("x-api-key"), one.headers.get("authorization")) for one in stub.ledger]
    assert sent == [("default", None), ("theirs", "Bearer theirs"), (None, None)]
    assert desk.requests == [("POST", "ok")] * 3


async def test_a_resource_may_not_go_where_the_operators_default_may() -> None:
    with StubDeployment() as stub:
        desk = Desk(deployment_url=stub.url)
        await (await desk.client()).find_assistant("agent")
        with pytest.raises(Denied, match="loopback"):
            await (await desk.client(url=stub.url)).find_assistant("agent")
        await desk.targets.close()
        assert len(stub.ledger) == 1


async def test_closing_closes_every_client(desk: Desk) -> None:
    clients = [await desk.client(url=f"https://{name}.example.com") for name in "abc"]
    await desk.targets.close()
    for client in clients:
        with pytest.raises(Transient, match="closed"):
            await client.thread("t")


# Secrets


async def test_a_secret_is_read_once_for_all_and_again_after_a_while(desk: Desk) -> None:
    desk.put(url=URL, apiKey="a")
    for _ in range(100):
        await desk.of_secret()
    assert desk.kube.asked == [("team", "agents")]
    desk.clock.forward(60)
    await desk.of_secret()
    assert len(desk.kube.asked) == 2


async def test_a_secret_is_read_in_the_resources_own_namespace(desk: Desk) -> None:
    desk.put(ELSEWHERE, url=URL, apiKey="theirs")
    with pytest.raises(InvalidSpec) as caught:
        await desk.of_secret()
    assert caught.value.reason == "SecretNotFound"
    assert desk.kube.asked == [("team", "agents")]


async def test_a_secret_that_appears_is_seen_at_once(desk: Desk) -> None:
    """That there is none is not kept."""
    with pytest.raises(InvalidSpec):
        await desk.of_secret()
    desk.put(url=URL)
    await desk.of_secret()


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"url": ""},
        {"url": "agents.example.com"},
        {"url": "https://user:p4ss@agents.example.com"},
        {"url": URL, "apiKey": "p4ss\nword"},
        {"url": URL, "ca.crt": "p4ss"},
        {"url": URL + "/" + "p4ss" * 20_000},
        {"url": "https://xn--a", "apiKey": "p4ss"},
    ],
)
async def test_a_secret_that_cannot_be_used_is_refused_without_its_values(
    desk: Desk, secret: dict[str, str]
) -> None:
    desk.kube.secrets["team", "agents"] = secret
    with pytest.raises(InvalidSpec) as caught:
        await desk.of_secret()
    assert caught.value.reason in ("InvalidSecret", "InvalidURL")
    assert "p4ss" not in caught.value.message


@pytest.mark.parametrize(
    "error", [Transient("no answer", reason="ClusterUnavailable"), Refused("403", reason="ClusterRefused")]
)
async def test_a_secret_that_cannot_be_read_is_asked_for_again(desk: Desk, error: Exception) -> None:
    desk.put(url=URL)
    desk.kube.error = error
    with pytest.raises(type(error)):
        await desk.of_secret()
    desk.kube.error = None
    await desk.of_secret()


async def test_after_a_refusal_a_rotated_secret_brings_a_new_client(desk: Desk) -> None:
    desk.put(url=URL, apiKey="old")
    old = await desk.of_secret()
    desk.put(url=URL, apiKey="new")
    assert await desk.of_secret() is old
    new = await desk.targets.renewed(KEY, spec(deployment=SECRET), old)
    assert new is not None
    assert new is not old
    assert await desk.of_secret() is new


async def test_after_a_refusal_a_secret_that_is_the_same_brings_none(desk: Desk) -> None:
    desk.put(url=URL, apiKey="old")
    old = await desk.of_secret()
    assert await desk.targets.renewed(KEY, spec(deployment=SECRET), old) is None
    assert len(desk.kube.asked) == 2


async def test_a_refusal_costs_other_namespaces_no_reading(desk: Desk) -> None:
    for key in (KEY, ELSEWHERE):
        desk.put(key, url=URL, apiKey="a")
        await desk.of_secret(key)
    await desk.targets.renewed(KEY, spec(deployment=SECRET), await desk.of_secret())
    await desk.of_secret(ELSEWHERE)
    assert desk.kube.asked == [("team", "agents"), ("other", "agents"), ("team", "agents")]


# Clients that nobody needs any more


async def test_rotating_a_key_again_and_again_leaves_no_clients_behind(desk: Desk) -> None:
    for number in range(1000):
        desk.put(url=URL, apiKey=f"key-{number}")
        await desk.of_secret()
        desk.clock.forward(60)
        if number % 10 == 0:
            await desk.targets.prune(())
    assert len(desk.targets.clients()) < 80


async def test_a_client_that_is_asked_for_stays(desk: Desk) -> None:
    first = await desk.client(url=URL)
    for _ in range(10):
        desk.clock.forward(1800)
        await desk.targets.prune(())
        assert await desk.client(url=URL) is first


async def test_a_client_that_is_needed_for_what_is_in_flight_stays_until_it_is_not(desk: Desk) -> None:
    old, other = await desk.client(url=URL), await desk.client(url=URL + "/other")
    desk.clock.forward(86_400)
    await desk.targets.prune({old})
    assert desk.targets.clients() == (old,)
    with pytest.raises(Transient, match="closed"):
        await other.thread("t")
    await desk.targets.prune(set())
    assert desk.targets.clients() == ()
    assert await desk.client(url=URL) is not old


# The default deployment


async def test_without_a_default_a_resource_must_say_where() -> None:
    desk = Desk()
    with pytest.raises(InvalidSpec) as caught:
        await desk.client()
    assert caught.value.reason == "DeploymentNotConfigured"
    assert default_target(Settings()) is None


async def test_the_key_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with StubDeployment() as stub:
        desk = Desk(deployment_url=stub.url, deployment_api_key_file=file)
        for key in ("one", "one", "two"):
            file.write_text(f"  {key}\n", encoding="utf-8")
            await (await desk.client()).find_assistant("agent")
        assert [one.headers["x-api-key"] for one in stub.ledger] == ["one", "one", "two"]
        assert len(desk.targets.clients()) == 2
        await desk.targets.close()


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"one\ntwo", "schlüssel".encode(), b"\xff", b"a\x00b"]
)
async def test_a_key_file_that_cannot_be_used_ends_the_start_and_later_only_delays(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    desk = Desk(deployment_url=URL, deployment_api_key_file=file)
    with pytest.raises(InvalidSettings, match="ASSISTANTCRON_DEPLOYMENT_API_KEY_FILE"):
        default_target(Settings(deployment_url=URL, deployment_api_key_file=file))
    with pytest.raises(Transient) as caught:
        await desk.client()
    assert caught.value.reason == "InvalidSettings"
    # Who does not need it is not held up.
    await desk.client(url=URL)
    file.write_text("good", encoding="utf-8")
    await desk.client()
    await desk.targets.close()


@pytest.mark.parametrize(
    "url", ["agents.example.com", "ftp://a.b", "https://", "https://user:p4ss@a.b", "https://a.b?key=p4ss"]
)
def test_a_default_url_that_is_none_ends_the_start(url: str) -> None:
    with pytest.raises(InvalidSettings, match="ASSISTANTCRON_DEPLOYMENT_URL") as caught:
        default_target(Settings(deployment_url=url))
    assert "p4ss" not in caught.value.message


def test_a_target_does_not_show_its_key() -> None:
    target = default_target(Settings(deployment_url=URL, deployment_api_key=SecretStr("p4ss")))
    assert target is not None
    assert target.api_key == "p4ss"
    assert "p4ss" not in repr(target)


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (None, "ASSISTANTCRON_DEPLOYMENT_API_KEY"),
        (SECRET, "Secret agents"),
        ({"url": URL}, "spec.deployment.secretRef"),
        ({"serviceRef": {"name": "agents"}}, "spec.deployment.secretRef"),
    ],
)
def test_whose_credentials_were_refused_is_told_where_they_stand(
    deployment: dict[str, Any] | None, words: str
) -> None:
    assert words in mend_of_credentials(spec(deployment=deployment))
