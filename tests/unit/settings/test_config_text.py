"""Config: URLs, the environment, arguments of a producer, and warnings."""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterdrop_py import Producer
from waterdrop_py.config import Config
from waterdrop_py.errors import ConfigurationInvalidError, TuningWarning

MARK = "hunter2"
PLAINTEXT = {"security.protocol": "plaintext", "bootstrap.servers": "h:9092"}


def url_errors(url: Any, **options: Any) -> dict[str, str]:
    """The errors of this URL and these keyword options."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config.from_url(url, **options)
    return invalid.value.errors


def env_errors(environ: dict[str, str], **options: Any) -> dict[str, str]:
    """The errors of these variables and these keyword options."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config.from_env(environ=environ, **options)
    return invalid.value.errors


def of_errors(source: object, **options: Any) -> dict[str, str]:
    """The errors of these arguments of a producer."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config.of(source, options)
    return invalid.value.errors


def test_a_full_url() -> None:
    """A URL may have credentials, hosts, options and properties."""
    config = Config.from_url(
        "kafka+sasl_ssl://user:p%40ss@h1:9093,h2:9093/"
        "?client.id=x&idle_disconnect_timeout=5m"
    )
    assert config == Config(
        kafka={
            "security.protocol": "sasl_ssl",
            "bootstrap.servers": "h1:9093,h2:9093",
            "sasl.username": "user",
            "sasl.password": "p@ss",
            "sasl.mechanism": "PLAIN",
            "client.id": "x",
        },
        idle_disconnect_timeout=300_000,
    )


@pytest.mark.parametrize(
    ("scheme", "protocol"),
    [
        ("kafka", "plaintext"),
        ("kafka+ssl", "ssl"),
        ("kafka+sasl_plaintext", "sasl_plaintext"),
        ("kafka+sasl_ssl", "sasl_ssl"),
        ("KAFKA", "plaintext"),
    ],
)
def test_schemes(scheme: str, protocol: str) -> None:
    """Each scheme sets a security protocol; without a user no mechanism is set."""
    config = Config.from_url(f"{scheme}://h")
    assert config.kafka == {**PLAINTEXT, "security.protocol": protocol}


@pytest.mark.parametrize(
    ("hosts", "servers"),
    [
        ("h", "h:9092"),
        ("h/", "h:9092"),
        ("h:1,i,j:65535", "h:1,i:9092,j:65535"),
        ("[::1]", "[::1]:9092"),
        ("[2001:db8::1]:9093,10.0.0.1", "[2001:db8::1]:9093,10.0.0.1:9092"),
        ("[fe80::1%25eth0]:1", "[fe80::1%eth0]:1"),
        ("b-1.some_host.internal", "b-1.some_host.internal:9092"),
    ],
)
def test_hosts(hosts: str, servers: str) -> None:
    """A URL may have several hosts and IPv6 in brackets; the default port is 9092."""
    assert Config.from_url(f"kafka://{hosts}").kafka["bootstrap.servers"] == servers


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_password_survives_percent_encoding(password: str) -> None:
    """A password that `urllib.parse.quote(safe="")` encodes is decoded unchanged."""
    for written in (quote(password, safe=""), f"u:{quote(password, safe='')}"):
        user, _, secret = written.rpartition(":")
        url = f"kafka+sasl_ssl://{user or 'u'}:{secret}@h?client.id={secret}"
        kafka = Config.from_url(url).kafka
        assert (kafka["sasl.password"], kafka["client.id"]) == (password, password)


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("wait_on_queue_full=false", "wait_on_queue_full", False),
        ("wait_on_queue_full=true", "wait_on_queue_full", True),
        ("max_payload_size=1000", "max_payload_size", 1000),
        ("max_payload_size=none", "max_payload_size", None),
        ("close_before_fork=none", "close_before_fork", None),
        ("close_before_fork=2s", "close_before_fork", 2_000),
        ("id=a%20b", "id", "a b"),
        ("id=a+b", "id", "a+b"),
        ("tags.team=x&tags.env=prod", "tags", {"team": "x", "env": "prod"}),
        ("tags=team=x,env=prod", "tags", {"team": "x", "env": "prod"}),
    ],
)
def test_options_in_the_query(query: str, name: str, value: object) -> None:
    """A query key that names an option is that option."""
    config = Config.from_url(f"kafka://h?{query}")
    assert getattr(config, name) == value
    assert config.kafka == PLAINTEXT


def test_properties_in_the_query() -> None:
    """Any other query key is a librdkafka property, whose value stays text."""
    config = Config.from_url("kafka://h/?linger.ms=5&client.rack=x&empty=")
    assert config.kafka == {
        **PLAINTEXT,
        "linger.ms": "5",
        "client.rack": "x",
        "empty": "",
    }


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_a_mechanism_of_the_users_own_stays(name: str) -> None:
    """PLAIN is only the default; a mechanism from the query or a keyword stays."""
    url = "kafka+sasl_ssl://u:p@h"
    for config in (
        Config.from_url(f"{url}?{name}=SCRAM-SHA-512"),
        Config.from_url(url, kafka={name: "SCRAM-SHA-512"}),
    ):
        found = {k: v for k, v in config.kafka.items() if "mechanism" in k}
        assert found == {name: "SCRAM-SHA-512"}


def test_a_user_name_may_have_its_password_elsewhere() -> None:
    """The password may be a keyword option instead of a part of the URL."""
    config = Config.from_url("kafka+sasl_ssl://u@h", kafka={"sasl.password": MARK})
    assert config.kafka["sasl.password"] == MARK
    assert config.kafka["sasl.mechanism"] == "PLAIN"


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("localhost:9092", "url", "kafka://, kafka+ssl://, kafka+sasl_plaintext://, "),
        ("localhost:9092", "url", "; did you mean 'kafka://localhost:9092'?"),
        ("h1:1,h2:2", "url", "; did you mean 'kafka://h1:1,h2:2'?"),
        ("http://h", "url", "must start with one of"),
        ("", "url", "must start with one of"),
        (" kafka://h", "url", "must start with one of"),
        (None, "url", "must be a str, got a NoneType"),
        (b"kafka://h", "url", "must be a str, got a bytes"),
        ("kafka://", "url", "host number 1"),
        ("kafka://:9092", "url", "host number 1"),
        ("kafka://h,,i", "url", "host number 2"),
        ("kafka://h:0", "url", "a port from 1 to 65535"),
        ("kafka://h:65536", "url", "a port from 1 to 65535"),
        ("kafka://h:x", "url", "a port from 1 to 65535"),
        ("kafka://h i", "url", "host number 1"),
        ("kafka://::1", "url", "[IPv6]:port"),
        ("kafka://[::1", "url", "[IPv6]:port"),
        ("kafka://h/topic", "url", "nothing between the hosts and '?'"),
        ("kafka://h#x", "url", "no '#'"),
        ("kafka://u:p@h", "url", "did you mean kafka+sasl_plaintext://?"),
        ("kafka+ssl://u@h", "url", "did you mean kafka+sasl_ssl://?"),
        ("kafka+sasl_ssl://:p@h", "url", "a password but no user name"),
        ("kafka+sasl_ssl://%ff:p@h", "url", "not UTF-8"),
        ("kafka://h?x", "url", "query parameter number 1"),
        ("kafka://h?a=1&=x", "url", "query parameter number 2"),
        ("kafka://h?id=a&id=a", "id", "is given twice in the URL"),
        ("kafka://h?linger.ms=1&linger.ms=1", "kafka.linger.ms", "twice in the URL"),
        ("kafka://h?tags.a=1&tags.a=2", "tags.a", "twice in the URL"),
        ("kafka://h?tags.a=1&tags=b=2", "tags", "is given twice"),
        ("kafka://h?tags.a=1&tags.%22a%22=1", 'tags."a"', "is given twice"),
        ("kafka://h?bootstrap.servers=i", "kafka.bootstrap.servers", "given twice"),
        ("kafka://h?security.protocol=ssl", "kafka.security.protocol", "given twice"),
        ("kafka://h?kafka=x", "kafka", "by its own name"),
        ("kafka://h?client_factory=x", "client_factory", "pass it as a keyword"),
        ("kafka://h?oauth_token_provider=x", "oauth_token_provider", "as a keyword"),
        (
            "kafka://h?close_timeout=300",
            "close_timeout",
            "did you mean '300ms' or '300s'?",
        ),
        (
            "kafka://h?idle_disconnect_timeout=300ms",
            "idle_disconnect_timeout",
            "minimum",
        ),
        (
            "kafka://h?wait_on_queue_full=1",
            "wait_on_queue_full",
            "must be true or false, got '1'",
        ),
        (
            "kafka://h?wait_on_queue_full=True",
            "wait_on_queue_full",
            "must be true or false",
        ),
        (
            "kafka://h?max_payload_size=1.0",
            "max_payload_size",
            "must be a whole number",
        ),
        ("kafka://h?max_payload_size=0", "max_payload_size", "at least 1"),
        ("kafka://h?id=", "id", "non-empty"),
        ("kafka://h?tags=x", "tags", "name=value"),
    ],
)
def test_bad_urls(url: Any, path: str, expected: str) -> None:
    """Each error is under its option's path, or `url` for the URL itself."""
    errors = url_errors(url)
    assert list(errors) == [path]
    assert expected in errors[path]


def test_all_errors_of_a_url_at_once() -> None:
    """Errors of the URL, its query and keyword options are reported together."""
    errors = url_errors(
        "kafka://h:0/?close_timeout=5&id=a&id=b&wait_on_queue_full=1",
        idle_disconnect_timeout=300,
        xyzzy=1,
        kafka={"linger.ms": []},
    )
    assert set(errors) == {
        "url",
        "close_timeout",
        "id",
        "wait_on_queue_full",
        "idle_disconnect_timeout",
        "xyzzy",
        "kafka.linger.ms",
    }


def test_keyword_options_win_over_a_url() -> None:
    """Keyword options win, and properties are merged one by one."""
    config = Config.from_url("kafka://h?linger.ms=5", id="x", kafka={"acks": 1})
    assert (config.id, config.kafka["acks"], config.kafka["linger.ms"]) == ("x", 1, "5")
    config = Config.from_url(
        "kafka://h?linger.ms=5&acks=1&id=x", id="y", kafka={"linger.ms": 6}
    )
    assert (config.id, config.kafka["acks"], config.kafka["linger.ms"]) == ("y", "1", 6)
    assert url_errors("kafka://h", kafka=5) == {
        "kafka": "must be a mapping, got an int"
    }


@pytest.mark.parametrize(
    "url",
    [
        f"kafka://u:{MARK}@h",
        f"kafka+sasl_ssl://u:{MARK}/x@h",
        f"kafka+sasl_ssl://u:{MARK}#x@h",
        f"kafka+sasl_ssl://u:{MARK}?x@h",
        f"kafka+sasl_ssl://u:x@{MARK}@h:0",
        f"kafka+sasl_ssl://u:%ff{MARK}@h",
        f"u:{MARK}@h",
        f"http://u:{MARK}@h",
        f"kafka://h?sasl.password={MARK}&sasl.password={MARK}",
        f"kafka+sasl_ssl://u:{MARK}@h?sasl.password={MARK}",
        f"kafka+sasl_ssl://u:p@h?{MARK}",
    ],
)
def test_no_error_shows_a_password_of_a_url(url: str) -> None:
    """The error of a broken URL shows no part of a password."""
    assert MARK not in str(url_errors(url))
    assert MARK not in str(env_errors({"WATERDROP_URL": url}))


def test_a_full_environment() -> None:
    """Variables under the prefix give the URL, options and properties."""
    config = Config.from_env(
        environ={
            "WATERDROP_URL": "kafka+sasl_ssl://u@h?client.id=x",
            "WATERDROP_IDLE_DISCONNECT_TIMEOUT": "5m",
            "WATERDROP_WAIT_ON_QUEUE_FULL": "false",
            "WATERDROP_CLOSE_BEFORE_FORK": "none",
            "WATERDROP_MAX_PAYLOAD_SIZE": "10",
            "WATERDROP_TAGS": "team=x,env=prod",
            "WATERDROP_KAFKA_SASL_PASSWORD": MARK,
            "WATERDROP_KAFKA_LOG_LEVEL": "3",
            "WATERDROP": "not under the prefix",
            "PATH": "ignored",
        }
    )
    assert config == Config(
        kafka={
            "security.protocol": "sasl_ssl",
            "bootstrap.servers": "h:9092",
            "sasl.username": "u",
            "client.id": "x",
            "log_level": "3",
            "sasl.password": MARK,
            "sasl.mechanism": "PLAIN",
        },
        idle_disconnect_timeout=300_000,
        wait_on_queue_full=False,
        close_before_fork=None,
        max_payload_size=10,
        tags={"team": "x", "env": "prod"},
    )
    assert MARK not in repr(config)


def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`environ` defaults to that of the process; the prefix may be another one."""
    monkeypatch.setenv("ORDERS_KAFKA_BOOTSTRAP_SERVERS", "h:1")
    config = Config.from_env("ORDERS_", id="x")
    assert (config.id, config.kafka) == ("x", {"bootstrap.servers": "h:1"})


@pytest.mark.parametrize(
    ("variable", "text", "path", "expected"),
    [
        (
            "IDLE_DISCONECT_TIMEOUT",
            "5m",
            "WATERDROP_IDLE_DISCONECT_TIMEOUT",
            "mean 'WATERDROP_IDLE_DISCONNECT_TIMEOUT'?",
        ),
        (
            "IDLE_TIMEOUT",
            "5m",
            "WATERDROP_IDLE_TIMEOUT",
            "mean 'WATERDROP_IDLE_DISCONNECT_TIMEOUT'?",
        ),
        ("KAFKA", "x", "WATERDROP_KAFKA", "names neither an option"),
        ("KAFKA_", "x", "WATERDROP_KAFKA_", "names neither an option"),
        ("", "x", "WATERDROP_", "names neither an option"),
        (
            "close_timeout",
            "5s",
            "WATERDROP_close_timeout",
            "did you mean 'WATERDROP_CLOSE_TIMEOUT'?",
        ),
        (
            "LINGER_MS",
            "5",
            "WATERDROP_LINGER_MS",
            "did you mean 'WATERDROP_KAFKA_LINGER_MS'?",
        ),
        ("KAFKA_LINGR_MS", "5", "kafka.lingr.ms", "did you mean 'linger.ms'?"),
        ("KAFKA_LINGER_MS", "x", "kafka.linger.ms", "must be a number"),
        ("CLOSE_TIMEOUT", "300", "close_timeout", "did you mean '300ms' or '300s'?"),
        ("CLOSE_TIMEOUT", "", "close_timeout", "must be a duration"),
        ("WAIT_ON_QUEUE_FULL", "yes", "wait_on_queue_full", "must be true or false"),
        ("MAX_PAYLOAD_SIZE", "9" * 5000, "max_payload_size", "must be a whole number"),
        ("CLIENT_FACTORY", "x", "client_factory", "cannot be given as text"),
        ("ID", "", "id", "non-empty"),
        ("TAGS", "a", "tags", "name=value"),
        ("KAFKA_BOOTSTRAP_SERVERS", "i", "kafka.bootstrap.servers", "given twice"),
    ],
)
def test_bad_variables(variable: str, text: str, path: str, expected: str) -> None:
    """Each illegal variable has a sentence; one with an unknown name has a hint."""
    errors = env_errors({"WATERDROP_URL": "kafka://h", f"WATERDROP_{variable}": text})
    assert list(errors) == [path]
    assert expected in errors[path]


def test_all_errors_of_an_environment_at_once() -> None:
    """Errors of variables, the URL and keyword options are reported together."""
    errors = env_errors(
        {
            "WATERDROP_URL": "kafka://h:0?close_timeout=5",
            "WATERDROP_XYZZY": "1",
            "WATERDROP_ID": "a",
            "WATERDROP_KAFKA_ACKS": "x",
        },
        id="b",
        max_wait_timeout=-1,
    )
    assert set(errors) == {
        "url",
        "close_timeout",
        "WATERDROP_XYZZY",
        "kafka.acks",
        "max_wait_timeout",
    }


def test_an_empty_environment_lacks_kafka() -> None:
    """Without variables under the prefix the error is the missing `kafka`."""
    assert "is required" in env_errors({})["kafka"]
    assert set(env_errors({"WATERDROP_XYZZY": "1"})) == {"kafka", "WATERDROP_XYZZY"}


def test_what_a_producer_takes() -> None:
    """A producer takes a Config, a mapping, a URL, keyword options, or both."""
    config = Config(kafka=PLAINTEXT, id="x")
    assert Config.of(config, {}) is config
    assert Config.of({"kafka": PLAINTEXT, "id": "x"}, {}) == config
    assert Config.of("kafka://h?id=x", {}) == config
    assert Config.of("kafka://h", {"id": "x"}) == config
    assert Config.of(None, {"kafka": PLAINTEXT, "id": "x"}) == config
    assert Producer(config=config).config is config
    assert Config.from_url(url="kafka://h?id=x") == config


def test_what_a_producer_refuses() -> None:
    """No argument, and arguments of other types, are errors with a hint."""
    assert "is required" in of_errors(None)["kafka"]
    assert "got an int" in of_errors(5)["config"]
    assert "names of options" in of_errors({1: 2})["config"]
    assert "kafka={...}" in of_errors({"bootstrap.servers": "h"})["kafka"]
    assert "kafka={...}" in of_errors(None, bootstrap_servers="h")["kafka"]
    assert "must start with" in of_errors("h:9092")["url"]


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("kafka://h?acks=x&xyzzy=1&id=", {}),
        ({"kafka": {"acks": "x", "xyzzy": 1}, "id": ""}, {}),
        (None, {"kafka": {"acks": "x", "xyzzy": 1}, "id": ""}),
        (None, {"kafka": {"acks": b"x", "xyzzy": 1}, "id": ""}),
    ],
)
def test_a_producer_names_options_and_properties_at_once(
    source: Any, options: dict[str, Any]
) -> None:
    """Illegal options do not hide librdkafka's verdict on the properties."""
    assert set(of_errors(source, **options)) == {"id", "kafka.acks", "kafka.xyzzy"}


@pytest.mark.parametrize(
    ("prefix", "environ", "path"),
    [
        (None, {}, "prefix"),
        (b"X", {}, "prefix"),
        ("X_", [("X_URL", "kafka://h")], "environ"),
        ("X_", 5, "environ"),
        ("X_", {"X_URL": b"kafka://h"}, "X_URL"),
        ("X_", {"X_MAX_PAYLOAD_SIZE": 5}, "X_MAX_PAYLOAD_SIZE"),
    ],
)
def test_ill_typed_environments(prefix: Any, environ: Any, path: str) -> None:
    """Ill-typed arguments and values are named in the error."""
    with pytest.raises(ConfigurationInvalidError) as caught:
        Config.from_env(prefix, environ, kafka=PLAINTEXT)
    assert list(caught.value.errors) == [path]


def warnings_of(**options: Any) -> list[str]:
    """The warnings of a construction: all of them ours, at the caller's line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Config(**options)
    assert {warning.category for warning in caught} <= {TuningWarning}
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("native", "idle", "warns"),
    [
        (300_000, 300_000, True),
        ("300000", 60_000, True),
        (300_000, 300_001, False),
        (300_000, 0, False),
        (0, 60_000, False),
        ("x", 60_000, False),
        (None, 60_000, False),
    ],
)
def test_idle_timeout_against_librdkafkas_own(
    native: Any, idle: int, warns: bool
) -> None:
    """A timeout at or below `connections.max.idle.ms` warns once and says why."""
    kafka = {"bootstrap.servers": "h", "connections.max.idle.ms": native}
    texts = warnings_of(kafka=kafka, idle_disconnect_timeout=idle)
    assert len(texts) == warns
    assert all("closing and re-opening the last one" in text for text in texts)


@pytest.mark.parametrize(
    ("kafka", "wait", "warns"),
    [
        ({}, 180_000, False),
        ({}, 150_000, False),
        ({}, 149_999, True),
        ({"message.timeout.ms": "180001"}, 180_000, True),
        ({"delivery.timeout.ms": 200_000}, 180_000, True),
        ({"default.topic.config": {"message.timeout.ms": 200_000}}, 180_000, True),
        ({"message.timeout.ms": 0}, 180_000, True),
        ({"message.timeout.ms": 5_000}, 5_000, False),
        ({"message.timeout.ms": "x"}, 5_000, False),
    ],
)
def test_message_timeout_against_the_wait(
    kafka: dict[str, Any], wait: int, warns: bool
) -> None:
    """A wait that may be shorter than the delivery warns, with both times."""
    texts = warnings_of(kafka={"client.id": "x", **kafka}, max_wait_timeout=wait)
    assert len(texts) == warns
    assert all("before the outcome" in text for text in texts)
