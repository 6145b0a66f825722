"""Settings of other libraries are answered with ours, and their values never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import Config, Producer
from waterdrop_py._settings.foreign_names import CONFIG
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

KAFKA = {"bootstrap.servers": "h:9092"}
MARK = "hunter2"
MEANT = {
    "hostname": "bootstrap.servers",
    "host": "bootstrap.servers",
    "port": "bootstrap.servers",
    "alternates": "bootstrap.servers",
    "userid": "sasl.username",
    "username": "sasl.username",
    "password": "sasl.password",
    "login_method": "sasl.mechanism",
    "ssl": "security.protocol",
    "ssl_options": "ssl.ca.location",
    "ca_certs": "ssl.ca.location",
    "certfile": "ssl.certificate.location",
    "keyfile": "ssl.key.location",
    "connect_timeout": "socket.connection.setup.timeout.ms",
    "transport_options": "client.id",
    "client_properties": "client.id",
    "connection_name": "client.id",
}
ANSWERS = {
    "heartbeat": (
        "socket.keepalive.enable",
        "socket.timeout.ms",
        "idle_disconnect_timeout",
    ),
    "virtual_host": ("Kafka has none",),
    "max_retries": ("connect(max_retries=",),
    "interval_start": ("connect(", "interval_start="),
    "interval_step": ("connect(", "interval_step="),
    "interval_max": ("connect(", "interval_max="),
    "max_connections": ("ProducerPool(",),
    "pool_size": ("ProducerPool(",),
}
EXPECTED = {**{name: (repr(meant),) for name, meant in MEANT.items()}, **ANSWERS}
OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "keyword": lambda name, value: Config(kafka=KAFKA, **{name: value}),
    "mapping": lambda name, value: Config({"kafka": KAFKA, name: value}),
    "producer": lambda name, value: Producer(KAFKA_URL, **{name: value}),
    "replace": lambda name, value: Config(kafka=KAFKA).replace(**{name: value}),
}
KAFKA_URL = "kafka://h"


def error_of(make: Callable[..., Any], *given: Any) -> ConfigurationInvalidError:
    """The error of the call, which has one sentence and does not show the value."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        make(*given)
    assert len(caught.value.errors) == 1
    for text in (str(caught.value), repr(caught.value), str(caught.value.errors)):
        assert MARK not in text
    return caught.value


def assert_answered(name: str, sentence: str) -> None:
    """The sentence has what is expected for the name."""
    for part in EXPECTED[name]:
        assert part in sentence


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("make", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("value", [MARK, {"a": MARK}, 5, True, None])
def test_as_an_option(make: Callable[..., Any], name: str, value: Any) -> None:
    """The error is under the option's own name, however its value looks."""
    error = error_of(make, name, value)
    assert_answered(name, error.errors[name])


@pytest.mark.parametrize("name", EXPECTED)
def test_without_kafka(name: str) -> None:
    """Without `kafka` its absence is named too, with a hint for a property."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        Config({name: MARK})
    assert list(caught.value.errors) == ["kafka", name]
    assert_answered(name, caught.value.errors[name])
    assert MARK not in str(caught.value)


@pytest.mark.parametrize("name", EXPECTED)
def test_in_a_url(name: str) -> None:
    """A query key of such a name is refused when the URL is read."""
    error = error_of(Config.from_url, f"kafka://h/?{name}={MARK}")
    assert_answered(name, error.errors[name])


@pytest.mark.parametrize("name", EXPECTED)
def test_in_the_environment(name: str) -> None:
    """A variable of such a name is answered with the variable that was meant."""
    variable = f"WATERDROP_{name.upper()}"
    environ = {"WATERDROP_URL": KAFKA_URL, variable: MARK}
    sentence = error_of(Config.from_env, "WATERDROP_", environ).errors[variable]
    if name in MEANT:
        meant = MEANT[name].upper().replace(".", "_")
        assert f"did you mean 'WATERDROP_KAFKA_{meant}'?" in sentence
    else:
        assert_answered(name, sentence)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("spelt", [str, lambda name: name.replace("_", ".")])
def test_as_a_property(name: str, spelt: Callable[[str], str]) -> None:
    """The verdict on such a property, when a producer is made, has the answer."""
    error = error_of(Producer, {"kafka": {**KAFKA, spelt(name): MARK}})
    assert_answered(name, error.errors[f"kafka.{spelt(name)}"])


@pytest.mark.parametrize("name", EXPECTED)
def test_as_a_property_in_the_environment(name: str) -> None:
    """The same for a variable of a property."""
    variable = f"WATERDROP_KAFKA_{name.upper()}"
    environ = {"WATERDROP_URL": KAFKA_URL, variable: MARK}
    error = error_of(Config.from_env, "WATERDROP_", environ)
    sentence = next(iter(error.errors.values()))
    assert_answered(name, sentence)
    assert variable in sentence


@pytest.mark.parametrize(
    "spelling", ["Heartbeat", "UserID", "MAX-RETRIES", "login.method", "Ca-Certs"]
)
def test_other_spellings(spelling: str) -> None:
    """Case, dashes and dots do not matter."""
    name = spelling.lower().replace("-", "_").replace(".", "_")
    sentence = error_of(Config, {"kafka": KAFKA, spelling: MARK}).errors[spelling]
    assert_answered(name, sentence)


@pytest.mark.parametrize(
    "name", ["acks", "retries", "debug", "log_level", "buffer.memory", "ssl.options"]
)
def test_properties_of_a_url(name: str) -> None:
    """A known or dotted name is a property; librdkafka's verdict comes later."""
    assert Config.from_url(f"kafka://h/?{name}=1").kafka[name] == "1"


@pytest.mark.parametrize("name", CONFIG)
def test_names_of_other_configurations(name: str) -> None:
    """`Config` answers names of methods that it lacks; `hasattr` and `dir` do not."""
    config = Config(kafka=KAFKA)
    for owner in (Config, config):
        with pytest.raises(AttributeError) as caught:
            getattr(owner, name)
        assert str(caught.value).endswith(CONFIG[name])
        assert not hasattr(owner, name)
        assert name not in dir(owner)
    assert {"kafka", "from_url", "as_url"} <= {*dir(config)}


def test_parse_url_is_from_url() -> None:
    """There is no `parse_url`: what was parsed is a `Config`."""
    with pytest.raises(AttributeError, match=r"Config\.from_url\(url\)"):
        Config.parse_url("kafka://h")  # type: ignore[attr-defined]
