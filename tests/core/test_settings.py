"""The operator's settings: what each variable means, and what is said of a wrong one."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from assistantcron.errors import InvalidSettings
from assistantcron.settings import PREFIX, Settings, load

KEY = "lsv2_secret_0123456789"
URL = "https://agents.example.com"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    return load()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        loaded(monkeypatch, **variables)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert "\n" not in caught.value.message
    return caught.value.message


DEFAULTS: dict[str, Any] = {
    "deployment_url": None,
    "deployment_api_key": None,
    "deployment_api_key_file": None,
    "namespaces": (),
    "http_address": "0.0.0.0:8080",
    "allowed_hosts": (),
    "allow_loopback": False,
    "log_format": "json",
    "log_level": "INFO",
}


def test_nothing_has_to_be_set() -> None:
    assert load().model_dump() == DEFAULTS


@pytest.mark.parametrize("field", DEFAULTS)
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    assert getattr(loaded(monkeypatch, **{field.upper(): ""}), field) == DEFAULTS[field]


READ = [
    ("DEPLOYMENT_URL", URL, URL),
    ("NAMESPACES", "team", ("team",)),
    ("NAMESPACES", "team-a,team-b", ("team-a", "team-b")),
    ("NAMESPACES", " team-a , ,team-b, ", ("team-a", "team-b")),
    ("NAMESPACES", ",", ()),
    ("NAMESPACES", "a" * 63, ("a" * 63,)),
    ("HTTP_ADDRESS", "127.0.0.1:9090", "127.0.0.1:9090"),
    ("HTTP_ADDRESS", "[::]:8080", "[::]:8080"),
    ("HTTP_ADDRESS", "localhost:0", "localhost:0"),
    ("ALLOWED_HOSTS", "agents.example.com", ("agents.example.com",)),
    ("ALLOWED_HOSTS", "*.example.com, 10.0.0.0/8", ("*.example.com", "10.0.0.0/8")),
    ("ALLOWED_HOSTS", "10.1.2.3,2001:db8::/32,2001:db8::1", ("10.1.2.3", "2001:db8::/32", "2001:db8::1")),
    ("ALLOW_LOOPBACK", "true", True),
    ("ALLOW_LOOPBACK", "1", True),
    ("ALLOW_LOOPBACK", "false", False),
    ("LOG_FORMAT", "plain", "plain"),
    ("LOG_LEVEL", "DEBUG", "DEBUG"),
    ("LOG_LEVEL", "warning", "WARNING"),
]


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    assert getattr(loaded(monkeypatch, **{name: text}), name.lower()) == value


def test_the_key_comes_from_its_variable_or_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(monkeypatch, DEPLOYMENT_URL=URL, DEPLOYMENT_API_KEY=KEY)
    assert found.deployment_api_key is not None
    assert found.deployment_api_key.get_secret_value() == KEY
    monkeypatch.delenv(f"{PREFIX}DEPLOYMENT_API_KEY")
    found = loaded(monkeypatch, DEPLOYMENT_API_KEY_FILE="/run/secrets/key")
    assert (found.deployment_api_key, found.deployment_api_key_file) == (None, Path("/run/secrets/key"))


def test_a_line_feed_after_the_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(monkeypatch, DEPLOYMENT_URL=URL, DEPLOYMENT_API_KEY=f"{KEY}\n")
    assert found.deployment_api_key is not None
    assert found.deployment_api_key.get_secret_value() == KEY


def test_the_key_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(monkeypatch, DEPLOYMENT_URL=URL, DEPLOYMENT_API_KEY=KEY)
    for text in (repr(found), str(found), f"{found}", repr(found.model_dump()), found.model_dump_json()):
        assert KEY not in text


WRONG = [
    ("NAMESPACES", "team,Team B", "entry 2 is not the name of a namespace"),
    ("NAMESPACES", "a" * 64, "entry 1 is not the name of a namespace"),
    ("NAMESPACES", "team\nother", "entry 1 is not the name of a namespace"),
    ("HTTP_ADDRESS", "9090", "must be host:port, such as 0.0.0.0:8080"),
    ("HTTP_ADDRESS", ":9090", "must be host:port"),
    ("HTTP_ADDRESS", "localhost:http", "must be host:port"),
    ("HTTP_ADDRESS", "localhost:65536", "must be host:port"),
    ("ALLOWED_HOSTS", "a.example.com,https://b.example.com", "entry 2 must be a host name, *.suffix or CIDR"),
    ("ALLOWED_HOSTS", "10.0.0.1/8", "entry 1 must be a host name, *.suffix or CIDR without host bits"),
    ("ALLOWED_HOSTS", "**", "entry 1 must be a host name"),
    ("ALLOWED_HOSTS", "a.*.example.com", "entry 1 must be a host name"),
    ("ALLOW_LOOPBACK", "perhaps", "valid boolean"),
    ("LOG_FORMAT", "xml", "'json' or 'plain'"),
    ("LOG_LEVEL", "loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_value_is_refused_in_a_line_that_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    message = refusal(monkeypatch, **{name: value})
    assert message.startswith(f"{PREFIX}{name}: ")
    assert why in message
    assert value.rpartition(",")[2] not in message


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "deployment_url"])
def test_a_key_that_was_put_into_another_variable_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The value may be a secret wherever it stands."""
    refusal(monkeypatch, **{name.upper(): f"{KEY} {KEY}"})


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}é", "\n"])
def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    message = refusal(monkeypatch, DEPLOYMENT_URL=URL, DEPLOYMENT_API_KEY=key)
    assert message == f"{PREFIX}DEPLOYMENT_API_KEY: must be one line of printable ASCII"


def test_both_a_key_and_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(
        monkeypatch, DEPLOYMENT_URL=URL, DEPLOYMENT_API_KEY=KEY, DEPLOYMENT_API_KEY_FILE="/run/secrets/key"
    )
    assert message == f"{PREFIX}DEPLOYMENT_API_KEY and its _FILE may not both be set"


@pytest.mark.parametrize("variable", ["DEPLOYMENT_API_KEY", "DEPLOYMENT_API_KEY_FILE"])
def test_a_key_without_the_url_that_it_is_for(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    message = refusal(monkeypatch, **{variable: KEY})
    assert message == f"{PREFIX}DEPLOYMENT_URL must be set too: an API key goes to one URL only"


@pytest.mark.parametrize("name", ["LEASE_NAME", "ALLOWED_HOST", "DEPLOYMENT_APIKEY", "_"])
def test_a_variable_that_is_no_setting_is_refused_and_not_ignored(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    message = refusal(monkeypatch, **{name: KEY})
    assert message == f"{PREFIX}{name}: is not a setting; `assistantcron run --help` lists them"


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded(
        monkeypatch,
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="8080",
        SERVICE_PORT_HTTP="8080",
        PORT="tcp://10.0.0.1:8080",
        PORT_8080_TCP="tcp://10.0.0.1:8080",
        PORT_8080_TCP_ADDR="10.0.0.1",
        METRICS_SERVICE_HOST="10.0.0.2",
        METRICS_PORT_9090_TCP_PROTO="tcp",
    )
    assert "HTTP_PORT: " in refusal(monkeypatch, HTTP_PORT="9090")


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().log_level = "DEBUG"  # type: ignore[misc]
