"""Config.as_url: what it writes is read back as an equal Config, and has no secret."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterdrop_py import Config, Producer
from waterdrop_py.errors import ConfigurationInvalidError
from waterdrop_py.testing import FakeClient

pytestmark = pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
SERVERS = {"bootstrap.servers": "a:9092"}
MARK = "hunter2"


def assert_read_back(config: Config) -> None:
    """The URL gives an equal configuration, and a producer with a double."""
    assert read_back(config) == config
    Producer(config.as_url(), client_factory=FakeClient).close()


def read_back(config: Config) -> Config:
    """The configuration that the URL gives."""
    return Config.from_url(config.as_url())


@pytest.mark.parametrize(
    ("properties", "options", "url"),
    [
        ({}, {}, "kafka://a:9092"),
        ({"bootstrap.servers": "a,b:1"}, {}, "kafka://a:9092,b:1"),
        ({"bootstrap.servers": "a, PLAINTEXT://b"}, {}, "kafka://a:9092,b:9092"),
        (
            {"bootstrap.servers": "[::1]:9,[fe80::1%eth0]"},
            {},
            "kafka://[::1]:9,[fe80::1%25eth0]:9092",
        ),
        ({"security.protocol": "SSL"}, {}, "kafka+ssl://a:9092"),
        (
            {
                "security.protocol": "sasl_ssl",
                "sasl.username": "u@x:y/?#",
                "sasl.password": "p@ss",
                "sasl.mechanism": "PLAIN",
                "client.id": "x",
            },
            {"idle_disconnect_timeout": 300_000},
            "kafka+sasl_ssl://u%40x%3Ay%2F%3F%23:***@a:9092/"
            "?sasl.mechanism=PLAIN&client.id=x&idle_disconnect_timeout=5m",
        ),
        (
            {"security.protocol": "sasl_ssl", "sasl.username": "u"},
            {},
            "kafka+sasl_ssl://u@a:9092/?sasl.mechanism=GSSAPI",
        ),
        (
            {"sasl.password": "x", "ssl.key.password": "y"},
            {},
            "kafka://a:9092/?sasl.password=***&ssl.key.password=***",
        ),
        (
            {"request.required.acks": "all", "linger.ms": 5.0, "retries": 3.0},
            {},
            "kafka://a:9092/?acks=all&linger.ms=5.0&retries=3",
        ),
        (
            {"enable.idempotence": True, "socket.nagle.disable": False},
            {},
            "kafka://a:9092/?enable.idempotence=true&socket.nagle.disable=false",
        ),
        (
            {"default.topic.config": {"acks": 1}, "ssl.ca.location": None},
            {},
            "kafka://a:9092/?acks=1",
        ),
        (
            {"ssl.ca.location": "/a b.pem"},
            {},
            "kafka://a:9092/?ssl.ca.location=/a%20b.pem",
        ),
        (
            {},
            {
                "id": "a+b&c=d",
                "close_before_fork": None,
                "max_payload_size": 1_000,
                "max_wait_timeout": 1_500,
                "wait_on_queue_full": False,
                "non_reloadable_errors": (),
                "tags": {"a.b": "", " x=": ' "1" '},
            },
            "kafka://a:9092/?id=a%2Bb%26c%3Dd&max_payload_size=1000"
            "&close_before_fork=none&max_wait_timeout=1500ms&wait_on_queue_full=false"
            "&non_reloadable_errors=&tags.a.b=&tags.%22%20x%3D%22=%22%20%221%22%20%22",
        ),
    ],
)
def test_what_is_written(
    properties: dict[str, Any], options: dict[str, Any], url: str
) -> None:
    """The URL has the scheme, the login, all brokers, and what is not a default."""
    config = Config(kafka={**SERVERS, **properties}, **options)
    assert config.as_url() == url
    if "***" not in url:
        assert read_back(config) == config


def test_no_brokers() -> None:
    """A configuration for doubles has no host, and may have a login."""
    config = Config(kafka={"client.id": "x"})
    assert config.as_url() == "kafka:///?client.id=x"
    assert_read_back(config)
    config = Config(kafka={"security.protocol": "ssl"})
    assert config.as_url() == "kafka+ssl:///"
    assert_read_back(config)
    config = Config(kafka={"security.protocol": "sasl_ssl", "sasl.username": "u"})
    assert config.as_url() == "kafka+sasl_ssl://u@/?sasl.mechanism=GSSAPI"
    assert_read_back(config)
    assert_read_back(Config(kafka={"bootstrap.servers": "", "client.id": "x"}))


def test_a_url_without_a_host_needs_the_slash() -> None:
    """`kafka://` alone is a mistake; without brokers, only doubles get a producer."""
    with pytest.raises(ConfigurationInvalidError, match="host number 1"):
        Config.from_url("kafka://?client.id=x")
    with pytest.raises(ConfigurationInvalidError, match="must name the brokers"):
        Producer("kafka:///?client.id=x")


def test_callables_are_left_out() -> None:
    """What no URL can hold is left out, and the rest is read back."""
    config = Config(
        kafka={**SERVERS, "error_cb": print, "acks": 1},
        id="x",
        middleware=[len],
        client_factory=FakeClient,
        oauth_token_provider=lambda _: ("token", 0.0),
    )
    assert config.as_url() == "kafka://a:9092/?acks=1&id=x"


@pytest.mark.parametrize(
    "properties",
    [
        {"bootstrap.servers": "a b"},
        {"bootstrap.servers": "a:99999"},
        {"bootstrap.servers": "a;b"},
        {"bootstrap.servers": 5},
        {"linger.ms": "5 s"},
        {"linger.ms": 1e-7},
        {"linger.ms": None},
        {"message.timeout.ms": None},
        {"compression.type": None},
        {"linger.ms": float("inf")},
        {"retries": True},
        {"acks": "x"},
        {"compression.type": " GZip "},
        {"client.id": None},
        {"client.id": ""},
        {"client.id": True},
        {"group.id": "g"},
        {"sasl.username": ""},
        {"sasl.username": "u", "sasl.mechanism": "SCRAM-SHA-256"},
        {"sasl.mechanism": "SCRAM-SHA-512", "security.protocol": "sasl_ssl"},
        {"sasl.mechanism": "", "security.protocol": "sasl_ssl", "sasl.username": "u"},
        {"sasl.password": "", "security.protocol": "sasl_ssl", "sasl.username": "u"},
        {"sasl.password": "", "security.protocol": "sasl_ssl"},
        {"security.protocol": None},
        {"transactional.id": "t%2B+&=#?/é\u2028"},
        {"acks": 1, "request.required.acks": 0},
    ],
)
def test_odd_properties_are_read_back(properties: dict[str, Any]) -> None:
    """Also what no producer takes is read back, so that the error is the same."""
    config = Config(kafka={**SERVERS, **properties})
    assert read_back(config) == config


def test_an_unknown_protocol_is_refused_when_it_is_read() -> None:
    """It is not left out: reading the URL must not fall back to no encryption."""
    config = Config(kafka={**SERVERS, "security.protocol": "sasl-ssl"})
    with pytest.raises(ConfigurationInvalidError, match="must start with"):
        Config.from_url(config.as_url())


@pytest.mark.parametrize(
    "properties",
    [
        {"sasl.password": MARK, "sasl.username": "u", "security.protocol": "sasl_ssl"},
        {"sasl.password": MARK},
        {"topic.sasl.password": MARK},
        {"default.topic.config": {"sasl.password": MARK}},
        {"ssl.key.pem": MARK},
        {"sasl.oauthbearer.config": MARK},
        {"sasl.pasword": MARK},
        {"password": MARK},
        {"id": MARK},
        {"tags.x": MARK},
        {"": MARK},
        {"bootstrap.servers": f"u:{MARK}@h"},
        {"bootstrap.servers": f"kafka://u:{MARK}@h"},
        {"sasl.oauthbearer.token.endpoint.url": f"https://u:{MARK}@h/"},
        {"sasl.oauthbearer.token.endpoint.url": f"https://h/?secret={MARK}"},
        {"ssl.key.location": f"-----BEGIN KEY-----\n{MARK}"},
    ],
)
def test_no_secret(properties: dict[str, Any]) -> None:
    """A secret is `***`, also under a wrong name and in the wrong place."""
    assert MARK not in Config(kafka={**SERVERS, **properties}).as_url()


def test_unknown_properties_that_a_url_would_misread() -> None:
    """Those with the name of an option, or of another library's, are left out."""
    names = ("id", "tags.x", "kafka", "password", "")
    config = Config(kafka={**SERVERS, **dict.fromkeys(names, MARK)})
    assert config.as_url() == "kafka://a:9092"
    config = Config(kafka={**SERVERS, "sasl.pasword": MARK})
    assert config.as_url() == "kafka://a:9092/?sasl.pasword=***"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
odd = st.text(string.punctuation + " aZ0é\n", max_size=8)
words = st.one_of(texts, odd)
milliseconds = st.integers(0, 2**31 - 1)
hosts = st.sampled_from(
    ["a", "b-1.some_host:1", "10.0.0.1:65535", "[::1]", "[2001:db8::1]:9093", " c:5"]
)
properties = st.fixed_dictionaries(
    {},
    optional={
        "bootstrap.servers": st.lists(hosts, min_size=1, max_size=3).map(",".join),
        "security.protocol": st.sampled_from(
            ["plaintext", "SSL", "sasl_ssl", "SASL_PLAINTEXT", None]
        ),
        "sasl.username": words,
        "sasl.mechanisms": st.sampled_from(["PLAIN", "GSSAPI", "SCRAM-SHA-256", None]),
        "client.id": st.one_of(words, st.integers(0, 9), st.none()),
        "transactional.id": words,
        "client.rack": words,
        "ssl.ca.location": st.none(),
        "linger.ms": st.one_of(st.integers(0, 900), st.floats(0, 900), st.just("5")),
        "retries": st.one_of(st.integers(1, 9), st.just("3"), st.just(3.0)),
        "enable.idempotence": st.sampled_from([True, False, "TRUE", "0", 1]),
        "request.required.acks": st.sampled_from(["all", -1, "-1"]),
        "topic.compression.codec": st.sampled_from(["lz4", "GZIP", " none"]),
        "delivery.timeout.ms": st.integers(1_000, 100_000),
        "debug": st.sampled_from(["all", "broker, topic", "topic,broker"]),
        "default.topic.config": st.just({"acks": "all"}),
    },
).filter(bool)
options = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.none(), words.filter(bool)),
        "idle_disconnect_timeout": st.one_of(
            st.just(0), st.integers(30_000, 2**31 - 1)
        ),
        "max_payload_size": st.one_of(st.none(), st.integers(1, 10**30)),
        "close_before_fork": st.one_of(st.none(), milliseconds),
        "max_wait_timeout": milliseconds,
        "close_timeout": milliseconds,
        "wait_on_queue_full": st.booleans(),
        "deliver": st.booleans(),
        "max_attempts_on_transaction_command": st.integers(1, 10**6),
        "non_reloadable_errors": st.lists(st.sampled_from(["a", "fenced", "b_1"])),
        "tags": st.dictionaries(words.filter(bool), words, max_size=3),
    },
)


@settings(max_examples=300, deadline=None)
@given(properties, options)
def test_any_configuration_is_read_back(
    given_properties: dict[str, Any], given_options: dict[str, Any]
) -> None:
    """Without secrets and callables, the URL gives an equal configuration."""
    config = Config(kafka=given_properties, **given_options)
    again = read_back(config)
    assert again == config, config.as_url()
    assert config.as_url().isascii()
    assert again.as_url() == config.as_url()
    assert hash(again) == hash(config)


@settings(max_examples=100, deadline=None)
@given(words.map(lambda text: MARK + text), words)
def test_any_password(password: str, user: str) -> None:
    """A password of any characters is `***`, and the URL is legal."""
    config = Config(
        kafka={
            **SERVERS,
            "security.protocol": "sasl_ssl",
            "sasl.username": user,
            "sasl.password": password,
            "sasl.mechanism": "PLAIN",
        }
    )
    url = config.as_url()
    assert MARK not in url
    kafka = {**config.kafka, "sasl.password": "***"}
    assert Config.from_url(url) == config.replace(kafka=kafka)
    assert Config.from_url(url, kafka={"sasl.password": password}) == config
