"""Config: sources of options, and types of values that applications use."""

from __future__ import annotations

import copy
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import Config, Producer
from waterdrop_py.errors import ConfigurationInvalidError
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from pathlib import Path

MARK = "hunter2"
KAFKA = {"bootstrap.servers": "h:9092", "acks": 1}


class Text(str, Enum):
    """Option names and values in a str-Enum."""

    ID = "orders"
    PROPERTY = "client.id"
    WAIT = "5m"
    FENCED = "fenced"
    TEAM = "team"


class Secret:
    """Stands for pydantic's SecretStr and SecretBytes."""

    def __init__(self, value: str | bytes) -> None:
        self._value = value

    def get_secret_value(self) -> str | bytes:
        """The secret."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"


class Loud(str):
    """A str whose conversions give another text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"

    def encode(self, *_: Any) -> bytes:
        """Return another text."""
        return b"loud"


class Index:
    """An integer like numpy's."""

    def __index__(self) -> int:
        return 7


def errors_of(*sources: Any, **options: Any) -> dict[str, str]:
    """The errors of the arguments of a producer."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        Producer(*sources, **options)
    return caught.value.errors


def test_a_mapping_and_keyword_options() -> None:
    """`Config(mapping)` equals one of the same keywords; keyword options win."""
    assert Config({"kafka": KAFKA, "id": "x"}) == Config(kafka=KAFKA, id="x")
    both = Config({"kafka": KAFKA, "id": "x", "deliver": False}, id="y")
    assert both == Config(kafka=KAFKA, id="y", deliver=False)
    assert Config(both, id="z") == Config(kafka=KAFKA, id="z", deliver=False)


@pytest.mark.parametrize("build", [Config, lambda *a, **k: Producer(*a, **k).config])
def test_the_keyword_kafka_is_merged(build: Any) -> None:
    """Its properties replace those of the source one by one, under any alias."""
    source = {"kafka": {**KAFKA, "linger.ms": 5}}
    config = build(source, kafka={"request.required.acks": "all", "client.id": "x"})
    assert dict(config.kafka) == {
        "bootstrap.servers": "h:9092",
        "linger.ms": 5,
        "request.required.acks": "all",
        "client.id": "x",
    }
    assert source == {"kafka": {**KAFKA, "linger.ms": 5}}


def test_keyword_options_win() -> None:
    """They win over those of a Config, a mapping and a URL."""
    for source in (Config(kafka=KAFKA, id="x"), {"kafka": KAFKA, "id": "x"}):
        config = Producer(source, id="y", max_wait_timeout="5m").config
        assert (config.id, config.max_wait_timeout) == ("y", 300_000)
    config = Producer(
        "kafka://h/?id=x&close_timeout=5", id="y", close_timeout="5s"
    ).config
    assert (config.id, config.close_timeout) == ("y", 5_000)


def test_illegal_keyword_options() -> None:
    """Keyword options are checked like those of a source, all at once."""
    errors = errors_of(
        Config(kafka=KAFKA), idd=1, max_wait_timeout=-1, kafka={"x.y": 1}
    )
    assert set(errors) == {"idd", "max_wait_timeout", "kafka.x.y"}
    assert errors_of(Config(kafka=KAFKA), kafka=5) == {
        "kafka": "must be a mapping, got an int"
    }
    with pytest.raises(ConfigurationInvalidError, match="must be a mapping of options"):
        Config("kafka://h")  # type: ignore[arg-type]


def test_replacing() -> None:
    """`replace` makes a changed copy; it replaces `kafka` as a whole."""
    config = Config(kafka=KAFKA, id="x", tags={"a": "b"})
    changed = config.replace(id="y", max_wait_timeout="5m")
    assert changed == Config(
        kafka=KAFKA, id="y", tags={"a": "b"}, max_wait_timeout=300_000
    )
    assert config.id == "x"
    assert dict(config.replace(kafka={"client.id": "z"}).kafka) == {"client.id": "z"}
    assert config.replace() == config
    with pytest.raises(ConfigurationInvalidError, match="unknown option 'idd'"):
        config.replace(idd=1)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is of 3.13")
def test_copy_replace() -> None:
    """`copy.replace` is the same as the method."""
    config = Config(kafka=KAFKA)
    changed: Any = copy.replace(config, id="y")  # type: ignore[attr-defined]
    assert changed == config.replace(id="y")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"bootstrap_servers": "h"}, "kafka={'bootstrap.servers': ...}"),
        ({"bootstrap.servers": "h"}, "kafka={'bootstrap.servers': ...}"),
        ({"linger_ms": 5}, "kafka={'linger.ms': ...}"),
        ({"ssl_cafile": "x"}, "kafka={'ssl.ca.location': ...}"),
        ({"ssl_certfile": "x"}, "kafka={'ssl.certificate.location': ...}"),
        ({"ssl_keyfile": "x"}, "kafka={'ssl.key.location': ...}"),
        ({"sasl_plain_username": "x"}, "kafka={'sasl.username': ...}"),
        ({"sasl_plain_password": MARK}, "kafka={'sasl.password': ...}"),
        ({"max_request_size": 1}, "kafka={'message.max.bytes': ...}"),
        ({"buffer_memory": 1}, "kafka={'queue.buffering.max.kbytes': ...}"),
        ({"max_block_ms": 1}, "'wait_timeout_on_queue_full'"),
        ({"value_serializer": str}, "serialize them before the call"),
        ({"error_cb": print}, "kafka={'error_cb': ...}"),
    ],
)
def test_names_of_other_clients(options: Any, expected: str) -> None:
    """The error of an argument of another library names ours."""
    errors = errors_of(**options)
    assert expected in errors[next(iter(options))]
    assert MARK not in str(errors)


def test_a_str_enum_is_its_value_everywhere() -> None:
    """A str-Enum is its value in properties, id, durations, tags and error names."""
    options: Any = {
        "kafka": {Text.PROPERTY: Text.ID, "bootstrap.servers": "h"},
        "id": Text.ID,
        "max_wait_timeout": Text.WAIT,
        "tags": {Text.TEAM: Text.ID},
        "non_reloadable_errors": [Text.FENCED],
    }
    config = Config(**options)
    assert dict(config.kafka)["client.id"] == "orders"
    assert (config.id, config.max_wait_timeout) == ("orders", 300_000)
    assert dict(config.tags) == {"team": "orders"}
    assert config.non_reloadable_errors == ("fenced",)
    values = [config.id, *config.tags, *config.tags.values(), *config.kafka]
    values += [*config.kafka.values(), *config.non_reloadable_errors]
    assert {type(value) for value in values} == {str}


def test_overrides_of_a_subclass_are_ignored() -> None:
    """Of a subclass of str the text itself is kept."""
    config = Config(kafka={"client.id": Loud("quiet")}, id=Loud("quiet"))
    assert (config.kafka["client.id"], type(config.kafka["client.id"])) == (
        "quiet",
        str,
    )
    assert (config.id, type(config.id)) == ("quiet", str)


def test_numpys_ints_are_taken() -> None:
    """A value with an `__index__` is an int, in options and properties."""
    number: Any = Index()
    config = Config(
        kafka={"retries": number},
        max_payload_size=number,
        max_wait_timeout=150_000,
        wait_backoff_on_queue_full=number,
        max_attempts_on_transaction_command=number,
    )
    assert config.kafka["retries"] == config.max_payload_size == 7
    assert config.wait_backoff_on_queue_full == 7
    assert config.max_attempts_on_transaction_command == 7


def test_paths_are_taken(tmp_path: Path) -> None:
    """A `Path` as a property is its text."""
    file = tmp_path / "ca.pem"
    config = Config(kafka={"ssl.ca.location": file, "security.protocol": "ssl"})
    assert config.kafka["ssl.ca.location"] == str(file)


@pytest.mark.parametrize("name", ["sasl.password", "sasl.username", "client.id"])
@pytest.mark.parametrize("value", [MARK, MARK.encode()])
def test_pydantics_secrets_are_taken_and_never_shown(name: str, value: Any) -> None:
    """A value that was given as a secret is in no repr and no error."""
    kafka = {**KAFKA, "security.protocol": "sasl_ssl", name: Secret(value)}
    config = Config(kafka=kafka)
    assert config.kafka[name] == MARK
    texts = [repr(config), str(config), repr(dict(config.kafka)), repr(config.kafka)]
    texts += [repr(config.replace(id="x")), repr(Config({"kafka": config.kafka}))]
    texts.append(str(errors_of(kafka={**kafka, "acks": Secret(MARK), "retries": "x"})))
    assert not [text for text in texts if MARK in text]


def test_a_secret_reaches_the_client() -> None:
    """The client is made with the text of a secret."""
    seen: list[dict[str, Any]] = []

    def factory(conf: dict[str, Any]) -> Any:
        seen.append(conf)
        return BufferedClient()(conf)

    kafka = {**KAFKA, "sasl.password": Secret(MARK), "security.protocol": "sasl_ssl"}
    with Producer(kafka=kafka, client_factory=factory) as producer:
        producer.produce_sync("t", b"x")
    assert f"{seen[0]['sasl.password']}" == MARK


def test_a_secret_url() -> None:
    """A URL may be given as a secret."""
    url: Any = Secret(f"kafka+sasl_ssl://u:{MARK}@h")
    assert Producer(url).config.kafka["sasl.password"] == MARK
    assert Config.from_url(url).kafka["sasl.password"] == MARK


KUBERNETES = {
    "WATERDROP_SERVICE_HOST": "10.0.0.1",
    "WATERDROP_SERVICE_PORT": "9092",
    "WATERDROP_SERVICE_PORT_KAFKA": "9092",
    "WATERDROP_PORT": "tcp://10.0.0.1:9092",
    "WATERDROP_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    "WATERDROP_PORT_9092_TCP_PROTO": "tcp",
    "WATERDROP_PORT_9092_TCP_PORT": "9092",
    "WATERDROP_PORT_9092_TCP_ADDR": "10.0.0.1",
    "WATERDROP_KAFKA_SERVICE_HOST": "10.0.0.2",
    "WATERDROP_KAFKA_SERVICE_PORT": "9092",
    "WATERDROP_KAFKA_PORT": "tcp://10.0.0.2:9092",
    "WATERDROP_KAFKA_PORT_9092_TCP_ADDR": "10.0.0.2",
}


def test_variables_of_kubernetes_are_ignored() -> None:
    """Variables of a Service whose name is the prefix are not errors."""
    environ = {**KUBERNETES, "WATERDROP_KAFKA_BOOTSTRAP_SERVERS": "h"}
    assert Config.from_env(environ=environ) == Config(kafka={"bootstrap.servers": "h"})


def test_a_port_that_is_not_of_kubernetes() -> None:
    """A similar variable that Kubernetes did not set is an error."""
    with pytest.raises(
        ConfigurationInvalidError, match="WATERDROP_PORT: names neither"
    ):
        Config.from_env(environ={"WATERDROP_PORT": "9092"}, kafka=KAFKA)


@pytest.mark.parametrize(
    ("variable", "text", "path"),
    [
        ("MAX_WAIT_TIMEOUT", "300", "max_wait_timeout"),
        ("IDLE_DISCONNECT_TIMEOUT", "300ms", "idle_disconnect_timeout"),
        ("KAFKA_LINGER_MS", "5s", "kafka.linger.ms"),
        ("KAFKA_BOOTSTRAP_SERVERS", "h;i", "kafka.bootstrap.servers"),
        ("KAFKA_XYZZY", "1", "kafka.xyzzy"),
        ("URL", "http://h", "url"),
        ("TAGS", "x", "tags"),
    ],
)
def test_an_error_names_the_variable(variable: str, text: str, path: str) -> None:
    """The error of an option from the environment names its variable."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        Config.from_env(environ={f"WATERDROP_{variable}": text})
    assert caught.value.errors[path].endswith(f"(from WATERDROP_{variable})")


def test_keyword_options_win_over_the_environment() -> None:
    """A variable that an option replaces is neither checked nor named."""
    environ = {"W_MAX_WAIT_TIMEOUT": "300", "W_KAFKA_ACKS": "x", "W_ID": "a"}
    config = Config.from_env(
        "W_", environ, max_wait_timeout="5m", kafka={"acks": 1}, id="b"
    )
    assert (config.max_wait_timeout, config.kafka["acks"], config.id) == (
        300_000,
        1,
        "b",
    )
    with pytest.raises(ConfigurationInvalidError) as caught:
        Config.from_env("W_", environ, max_wait_timeout=-1, kafka={"acks": "y"})
    assert "(from" not in str(caught.value)


def test_blanks_around_tags() -> None:
    """Blanks around a tag's name or value are removed."""
    environ = {"W_TAGS": "team = a , service=b", "W_KAFKA_BOOTSTRAP_SERVERS": "h"}
    assert dict(Config.from_env("W_", environ).tags) == {"team": "a", "service": "b"}
    assert dict(Config.from_url("kafka://h?tags.%20a=%20b").tags) == {"a": "b"}


@pytest.mark.parametrize(
    "hosts",
    ["h1:9092;h2:9092", "h1;h2", "h%20x", "h1%2Ch2:9092", "h1%3A9092", "h|i", "9092"],
)
def test_illegal_hosts_of_a_url(hosts: str) -> None:
    """An illegal host is an error of the URL, which says that commas separate hosts."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        Config.from_url(f"kafka://{hosts}")
    assert list(caught.value.errors) == ["url"]
    assert "commas separate hosts" in caught.value.errors["url"]
