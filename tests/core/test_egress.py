"""Where a resource may send its runs, and with whose key."""

from __future__ import annotations

from typing import Any

import pytest

from assistantcron.egress import Policy, Target, parse_url, target_of
from assistantcron.errors import Denied, InvalidSpec
from assistantcron.spec import Deployment
from tests.core.builders import spec

DEFAULT = Target("http://default.example", "default.example", trusted=True, api_key="default-key")


def deployment(**fields: Any) -> Deployment:
    parsed = spec(deployment=fields).deployment
    assert parsed is not None
    return parsed


def refused(policy: Policy, host: str, address: str) -> str:
    with pytest.raises(Denied) as caught:
        policy.check_address(host, address)
    assert caught.value.reason == "HostNotAllowed"
    return caught.value.message


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "kind"),
        [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("0.0.0.0", "unspecified"),  # noqa: S104 - refused, not listened on
            ("::", "unspecified"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("::ffff:169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("fe80::1%eth0", "link-local"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::ffff:255.255.255.255", "broadcast"),
        ],
    )
    def test_special_ones_are_refused_whatever_the_host_is_called(self, address: str, kind: str) -> None:
        everything = Policy(("agents.example.com", "0.0.0.0/0", "::/0"))
        assert f"a {kind} address" in refused(Policy(), "agents.example.com", address)
        assert f"a {kind} address" in refused(everything, "agents.example.com", address)

    @pytest.mark.parametrize(
        "address", ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2001:db8::1", "fd00::1"]
    )
    def test_all_others_are_fine_where_no_hosts_are_listed(self, address: str) -> None:
        Policy().check_address("agents.example.com", address)

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_loopback_is_fine_where_the_operator_allows_it(self, address: str) -> None:
        Policy(allow_loopback=True).check_address("localhost", address)

    def test_allowing_loopback_lifts_nothing_else(self) -> None:
        local = Policy(("agents.example.com",), allow_loopback=True)
        assert "link-local" in refused(local, "agents.example.com", "169.254.169.254")
        assert "ALLOWED_HOSTS" in refused(local, "localhost", "127.0.0.1")


class TestAllowedHosts:
    @pytest.mark.parametrize(
        "host", ["agents.example.com", "AGENTS.example.com", "agents.example.com.", "eu.lc.example"]
    )
    def test_a_listed_name_or_suffix_is_allowed_wherever_it_resolves_to(self, host: str) -> None:
        Policy(("Agents.example.com", "*.LC.example")).check_address(host, "10.0.0.1")

    @pytest.mark.parametrize(
        "host",
        [
            "lc.example",
            "evillc.example",
            "agents.example.com.evil.example",
            "xagents.example.com",
            "10.0.0.1",
        ],
    )
    def test_what_only_looks_like_it_is_not(self, host: str) -> None:
        policy = Policy(("agents.example.com", "*.lc.example"))
        message = refused(policy, host, "10.0.0.1")
        assert (
            message == f"{host} is not among the hosts that the operator's ALLOWED_HOSTS lets resources call"
        )

    @pytest.mark.parametrize(
        ("address", "inside"),
        [
            ("10.1.2.3", True),
            ("::ffff:10.1.2.3", True),
            ("11.0.0.1", False),
            ("fd00::1", True),
            ("2001:db8::1", False),
        ],
    )
    def test_a_listed_network_is_about_the_address(self, address: str, inside: bool) -> None:
        policy = Policy(("10.0.0.0/8", "fd00::/8"))
        if inside:
            policy.check_address("anything.example", address)
        else:
            refused(policy, "anything.example", address)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("https://agents.example.com", "agents.example.com"),
            ("http://Agents.Example.com:8123/base/", "agents.example.com"),
            ("http://agents.example.com.", "agents.example.com."),
            ("http://agents", "agents"),
            ("http://my_agents-1:", "my_agents-1"),
            ("http://1agents.1and1.example", "1agents.1and1.example"),
            ("http://10.0.0.1:8000", "10.0.0.1"),
            ("http://[2001:db8::1]:8000", "2001:db8::1"),
            ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ],
    )
    def test_a_bare_one_is_a_target_without_credentials(self, url: str, host: str) -> None:
        target = parse_url(url, "spec.deployment.url")
        assert target == Target(url=url.rstrip("/"), host=host)

    @pytest.mark.parametrize(
        ("url", "mend"),
        [
            ("agents.example.com", "must begin with http:// or https://"),
            ("ftp://agents.example.com", "must begin with http:// or https://"),
            ("file:///etc/passwd", "must begin with http:// or https://"),
            ("http://", "must name a host"),
            ("http:///base", "must name a host"),
            ("http://:8000", "must name a host"),
            ("http://agents:0", "must name a host"),
            ("http://agents:65536", "is not a URL"),
            ("http://agents:port", "is not a URL"),
            ("http://[::1", "is not a URL"),
            ("http://[::1]x", "must name a host"),
            ("http://[v1.a]", "must name a host"),
            ("http://a..b", "must name a host"),
            ("http://.example", "must name a host"),
            (f"http://{'a' * 64}.example", "must name a host"),
            ("http://a%2eb", "must name a host"),
            ("http://a\\b", "must name a host"),
            ("http://good.example\\.evil.example", "must name a host"),
            ("http://a,b", "must name a host"),
            ("http://user:password@agents", "may not contain a user or password"),
            ("http://@agents", "may not contain a user or password"),
            ("http://agents/?key=hunter2", "may not have a query"),
            ("http://agents/?", "may not have a query"),
            ("http://agents/#top", "may not have a query or fragment"),
            ("http://agents/#", "may not have a query or fragment"),
            ("http://agents/a b", "may not contain white space"),
            ("http://agents/\n", "may not contain white space"),
            (" http://agents", "may not contain white space"),
            ("http://agents/\ud800", "may not contain white space or control characters"),
        ],
    )
    def test_a_mistake_is_named_and_the_url_is_not_repeated(self, url: str, mend: str) -> None:
        with pytest.raises(InvalidSpec) as caught:
            parse_url(url, "spec.deployment.url")
        assert caught.value.reason == "InvalidURL"
        assert caught.value.message.startswith(f"spec.deployment.url {mend}")
        assert "hunter2" not in caught.value.message
        assert "password@" not in caught.value.message

    @pytest.mark.parametrize(
        "host",
        [
            "127。0。0。1",
            "\uff11\uff12\uff17.0.0.1",
            "①②⑦.0.0.1",
            "2130706433",
            "0",
            "127.1",
            "127.0.0.1.",
            "0177.0.0.1",
            "0x7f.1",
            "bücher.example",
        ],
    )
    def test_no_host_may_become_an_address_only_in_the_client(self, host: str) -> None:
        """Clients turn these into addresses without asking a resolver, and then nobody checks them."""
        with pytest.raises(InvalidSpec, match="must name a host"):
            parse_url(f"http://{host}:8000", "spec.deployment.url")


class TestTargets:
    def test_without_a_deployment_it_is_the_operators_own(self) -> None:
        assert target_of(None, "team", None, DEFAULT) is DEFAULT

    def test_without_that_either_the_message_says_what_to_set(self) -> None:
        with pytest.raises(InvalidSpec, match=r"spec\.deployment must be set") as caught:
            target_of(None, "team", None, None)
        assert caught.value.reason == "DeploymentNotConfigured"

    def test_a_url_gets_no_credentials_and_is_not_trusted(self) -> None:
        target = target_of(deployment(url="http://agents.example/"), "team", {"apiKey": "k"}, DEFAULT)
        assert target == Target("http://agents.example", "agents.example")

    def test_a_service_is_one_of_the_resources_namespace(self) -> None:
        short = target_of(deployment(serviceRef={"name": "agents"}), "team", None, DEFAULT)
        assert short == Target("http://agents.team.svc:8000", "agents.team.svc")
        full = {"name": "agents", "port": 443, "scheme": "https", "path": "/v1/"}
        assert target_of(deployment(serviceRef=full), "team", None, None).url == (
            "https://agents.team.svc:443/v1"
        )


class TestSecrets:
    def target(self, secret: dict[str, str] | None) -> Target:
        return target_of(deployment(secretRef={"name": "keys"}), "team", secret, DEFAULT)

    def test_a_key_goes_where_its_secret_sends_it_and_nowhere_else(self) -> None:
        target = self.target(
            {
                "url": " https://agents.example/\n",
                "apiKey": "k\n",
                "authorization": " Bearer t ",
                "ca.crt": "PEM",
                "else": "x",
            }
        )
        assert target == Target(
            "https://agents.example", "agents.example", api_key="k", authorization="Bearer t", ca="PEM"
        )
        assert not target.trusted

    def test_only_the_url_is_required(self) -> None:
        bare = self.target({"url": "https://agents.example", "apiKey": " ", "ca.crt": ""})
        assert bare == Target("https://agents.example", "agents.example")

    @pytest.mark.parametrize(
        ("secret", "said"),
        [
            ({}, "Secret keys must have the key url"),
            ({"url": " \n", "apiKey": "hunter2"}, "Secret keys must have the key url"),
            ({"url": "agents.example"}, "Secret keys, key url: must begin with http"),
            ({"url": "https://u:hunter2@agents.example"}, "Secret keys, key url: may not contain a user"),
            (
                {"url": "https://a.example", "apiKey": "hunter2\r\nx: y"},
                "Secret keys, key apiKey: must be one line",
            ),
            (
                {"url": "https://a.example", "authorization": "hünter2"},
                "Secret keys, key authorization: must be one line",
            ),
        ],
    )
    def test_a_bad_one_is_named_without_what_is_in_it(self, secret: dict[str, str], said: str) -> None:
        with pytest.raises(InvalidSpec) as caught:
            self.target(secret)
        assert caught.value.reason == "InvalidSecret"
        assert caught.value.message.startswith(said)
        assert "nter2" not in caught.value.message

    def test_one_that_was_not_read_is_no_secret(self) -> None:
        with pytest.raises(InvalidSpec) as caught:
            self.target(None)
        assert caught.value.reason == "SecretNotFound"

    def test_credentials_are_in_no_text(self) -> None:
        text = repr(
            self.target({"url": "https://a.example", "apiKey": "k1", "authorization": "k2", "ca.crt": "k3"})
        )
        assert all(secret not in text for secret in ("k1", "k2", "k3"))
