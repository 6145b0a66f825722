"""Config: librdkafka's properties, their secrets and defaults, and its verdict."""

from __future__ import annotations

import functools
import logging
import socket
from enum import Enum
from types import MappingProxyType
from typing import Any

import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenarios.harness import run_scenario
from waterdrop_py._settings import librdkafka, librdkafka_check
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.librdkafka_check import check_properties
from waterdrop_py._settings.properties import Properties
from waterdrop_py._settings.redact import shown_property
from waterdrop_py.config import Config
from waterdrop_py.errors import ConfigurationInvalidError

MARK = "hunter2"
_NEWEST = 0x02100000  # librdkafka 2.16, which the lists were read from
SECRETS = [
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.certificate.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.config",
    "sasl.kerberos.kinit.cmd",
    "sasl.jaas.config",
    "ssl_key",
    # misspelt: the value of an unknown name is never shown
    "sasl.pasword",
    "sasl_password",
    "SASL.PASSWORD",
    "ssl.truststore.password",
    "topic.sasl.password",
]


class Acks(str, Enum):
    """A property's value in an enum."""

    ALL = "all"


def errors_of(**options: Any) -> dict[str, str]:
    """What is wrong with these options."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config(**options)
    return invalid.value.errors


def test_the_callers_mapping_is_copied_whole() -> None:
    """The caller's dict, and dicts in it, are neither changed nor kept."""
    inner = {"acks": 1}
    mine: dict[str, Any] = {"bootstrap.servers": "h", "default.topic.config": inner}
    config = Config(kafka=mine)
    assert mine == {"bootstrap.servers": "h", "default.topic.config": {"acks": 1}}
    mine["bootstrap.servers"] = "other"
    inner["acks"] = 0
    assert config.kafka["bootstrap.servers"] == "h"
    assert config.kafka["default.topic.config"] == {"acks": 1}


def test_kafka_is_a_read_only_mapping_of_the_users_own() -> None:
    """It holds only what the user gave, is a mapping, and cannot be changed."""
    mine = {"bootstrap.servers": "h", "linger.ms": 5.5, "enable.idempotence": True}
    config = Config(kafka=MappingProxyType(mine))
    assert config.kafka == mine
    assert dict(config.kafka) == mine
    assert list(config.kafka) == list(mine)
    assert len(config.kafka) == 3
    with pytest.raises(TypeError):
        config.kafka["linger.ms"] = 1  # type: ignore[index]


def test_a_str_enum_is_its_value() -> None:
    """A str-Enum is its value, although confluent-kafka would take its str()."""
    config = Config(kafka={"acks": Acks.ALL})
    assert type(config.kafka["acks"]) is str
    assert config.kafka["acks"] == "all"


@pytest.mark.parametrize(
    ("kafka", "path", "expected"),
    [
        ({}, "kafka", "must not be empty"),
        (None, "kafka", "must be a mapping"),
        ("h:9092", "kafka", "must be a mapping"),
        ([("a", "b")], "kafka", "got a list"),
        ({1: "x"}, "kafka", "names of properties as keys, got an int"),
        ({"a\0b": "x"}, "kafka", "names of properties as keys"),
        ({"client.id": b"x"}, "kafka.client.id", "got a bytes"),
        ({"bootstrap.servers": ["h"]}, "kafka.bootstrap.servers", "got a list"),
        ({"client.id": {}}, "kafka.client.id", "got a dict"),
        ({"linger.ms": float("nan")}, "kafka.linger.ms", "must be a number, got nan"),
        ({"retries": 10**5_000}, "kafka.retries", "beyond"),
        ({"client.id": "a\0b"}, "kafka.client.id", "NUL"),
        ({"client.id": "\ud800"}, "kafka.client.id", "valid Unicode"),
        (
            {"default.topic.config": 5},
            "kafka.default.topic.config",
            "must be a mapping",
        ),
        (
            {"default.topic.config": {"acks": []}},
            "kafka.default.topic.config.acks",
            "got a list",
        ),
    ],
)
def test_ill_typed_properties(kafka: Any, path: str, expected: str) -> None:
    """A value that confluent-kafka would silently misread is refused by name."""
    errors = errors_of(kafka=kafka)
    assert list(errors) == [path]
    assert expected in errors[path]


@pytest.mark.parametrize(
    "options",
    [
        {"bootstrap.servers": "h"},
        {"bootstrap_servers": "h"},
        {"error_cb": print, "acks": 1},
    ],
)
def test_properties_given_as_options_hint_at_kafka(options: Any) -> None:
    """The error of a librdkafka property as an option suggests `kafka={...}`."""
    errors = errors_of(**options)
    assert "did you mean kafka={...}?" in errors["kafka"]
    for name in options:
        assert "it is a property of librdkafka" in errors[name]


def test_a_wrong_kafka_does_not_hint_at_kafka() -> None:
    """Only properties that were given as options get the hint at `kafka={...}`."""
    errors = errors_of(kafka={1: 2, "linger.ms": []}, close_timout=1)
    assert "did you mean" not in errors["kafka"]


@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_ever_shown(name: str) -> None:
    """No repr, str, format, error or verdict shows the value of a secret."""
    for kafka in ({name: MARK}, {"default.topic.config": {name: MARK}}):
        config = Config(kafka=kafka)
        texts = [repr(config), str(config), f"{config.kafka}", repr(vars(config))]
        texts += check_properties(config.kafka).values()
        assert not [text for text in texts if MARK in text]
    for bad in (MARK.encode(), [MARK], {MARK: MARK}, f"{MARK}\0"):
        assert MARK not in str(errors_of(kafka={name: bad}))
    assert MARK not in str(errors_of(kafka={"a": "b"}, **{name: MARK}))


@pytest.mark.parametrize(
    "value",
    [
        f"kafka://user:{MARK}@host:9092",
        f"user:{MARK}@host",
        f"https://host/?secret={MARK}",
        f"-----BEGIN PRIVATE KEY-----{MARK}",
        f"\n{MARK}",
    ],
)
@pytest.mark.parametrize("name", ["bootstrap.servers", "client.id", "compression.type"])
def test_secrets_in_a_wrong_place_stay_hidden(name: str, value: str) -> None:
    """A value that looks like credentials is hidden in any property or option."""
    config = Config(kafka={name: value})
    assert MARK not in repr(config)
    assert MARK not in str(check_properties(config.kafka))
    for option in ("id", "idle_disconnect_timeout", "wait_on_queue_full", "xyzzy"):
        options: Any = {option: value if option != "id" else [value]}
        assert MARK not in str(errors_of(kafka={"a": "b"}, **options))


def test_callables_hide_what_is_bound_to_them() -> None:
    """Of a partial that holds a secret only the type is shown."""
    bound: Any = functools.partial(print, MARK)
    config = Config(
        kafka={"oauth_cb": bound}, oauth_token_provider=bound, client_factory=bound
    )
    assert MARK not in repr(config)
    assert "oauth_token_provider=<partial>" in repr(config)


def test_repr_shows_what_differs_from_the_defaults() -> None:
    """The repr shows the options that differ from their defaults."""
    config = Config(
        kafka={"bootstrap.servers": "h:1", "linger.ms": 5},
        close_timeout=30_000,
        idle_disconnect_timeout="5m",
        tags={"a": "b"},
        client_factory=dict,  # type: ignore[arg-type]
    )
    assert repr(config) == (
        "Config(kafka={'bootstrap.servers': 'h:1', 'linger.ms': 5}, "
        "idle_disconnect_timeout=300000, tags={'a': 'b'}, client_factory=dict)"
    )


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(min_size=4))
def test_values_of_unknown_names_are_hidden(name: str, value: str) -> None:
    """A value is shown only if librdkafka knows the name of its property."""
    if name not in librdkafka.PROPERTIES and name not in librdkafka.CALLBACKS:
        assert shown_property(name, value) == "[hidden]"


def with_defaults(own: dict[str, Any], *, statistics: bool) -> dict[str, Any]:
    """The properties that a client is made of."""
    return Properties(own).over(missing_defaults(own, statistics=statistics))


def test_no_statistics_without_a_subscriber() -> None:
    """The interval is 5000 ms with a subscriber, 0 without, or the user's own value."""
    for statistics, ms in ((True, 5_000), (False, 0)):
        assert (
            with_defaults({"a": 1}, statistics=statistics)["statistics.interval.ms"]
            == ms
        )
    own = {"statistics.interval.ms": "7"}
    assert with_defaults(own, statistics=True)["statistics.interval.ms"] == "7"


def test_the_defaults() -> None:
    """The defaults are added to the user's properties, whose mapping is not changed."""
    mine = {"bootstrap.servers": "h"}
    assert with_defaults(mine, statistics=False) == {
        "bootstrap.servers": "h",
        "client.id": f"waterdrop-py-{socket.gethostname()}",
        "message.timeout.ms": 150_000,
        "socket.nagle.disable": True,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        "statistics.interval.ms": 0,
    }
    assert mine == {"bootstrap.servers": "h"}
    own = dict.fromkeys(with_defaults(mine, statistics=True), "x")
    assert with_defaults(own, statistics=True) == own


@pytest.mark.parametrize(
    "own",
    [
        {"delivery.timeout.ms": "5000"},
        {"topic.message.timeout.ms": 5},
        {"default.topic.config": {"delivery.timeout.ms": 5}},
    ],
)
def test_an_alias_counts_as_the_users_own(own: dict[str, Any]) -> None:
    """A default never competes with the same property under another name."""
    assert "message.timeout.ms" not in with_defaults(own, statistics=False)


@pytest.mark.parametrize(
    ("own", "message", "transaction"),
    [
        ({}, 150_000, None),
        ({"transactional.id": "t"}, 150_000, 165_000),
        ({"transactional.id": "t", "transaction.timeout.ms": "60000"}, 60_000, "60000"),
        (
            {"transactional.id": "t", "transaction.timeout.ms": 900_000},
            150_000,
            900_000,
        ),
        ({"transactional.id": "t", "message.timeout.ms": 200_000}, 200_000, 200_000),
        ({"transactional.id": "t", "message.timeout.ms": "5000"}, "5000", 165_000),
        ({"transactional.id": "t", "transaction.timeout.ms": "x"}, 150_000, "x"),
    ],
)
def test_both_timeouts_fit_each_other(
    own: dict[str, Any], message: object, transaction: object
) -> None:
    """The default of one timeout fits the value that the user sets for the other."""
    result = with_defaults(own, statistics=False)
    assert result["message.timeout.ms"] == message
    assert result.get("transaction.timeout.ms") == transaction


def test_legal_properties() -> None:
    """Legal properties, callbacks and topic defaults are not errors."""
    assert check_properties(LEGAL) == {}
    assert check_properties(with_defaults(LEGAL, statistics=True)) == {}


LEGAL: dict[str, Any] = {
    "bootstrap.servers": "h:9092",
    "acks": "all",
    "linger.ms": "5.5",
    "delivery.timeout.ms": 5_000,
    "topic.compression.level": 3,
    "enable.idempotence": True,
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.password": None,
    "group.id": "consumers only, librdkafka merely warns",
    "default.topic.config": {"request.timeout.ms": 5},
    "oauth_cb": lambda _config: ("token", 1),
    "error_cb": print,
    "stats_cb": print,
    "throttle_cb": print,
    "on_delivery": print,
    "logger": logging.getLogger("test"),
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "boostrap.servers",
            "h",
            "not a property of librdkafka; did you mean 'bootstrap.servers'?",
        ),
        ("bootstrap_servers", "h", "did you mean 'bootstrap.servers'?"),
        ("xyzzy", 1, "is not a property of librdkafka"),
        ("idle_timeout", 1, "did you mean the option 'idle_disconnect_timeout'?"),
        ("deliver", 1, "did you mean the option 'deliver'?"),
        ("linger.ms", -1, "from 0 to 900000 ms, got -1; the nearest legal value is 0"),
        ("linger.ms", "-1", "the nearest legal value is 0"),
        (
            "message.max.bytes",
            1,
            "from 1000 to 1000000000 bytes, got 1; the nearest legal",
        ),
        ("message.max.bytes", 10**12, "the nearest legal value is 1000000000"),
        ("queue.buffering.max.messages", 10**30, "nearest legal value is 2147483647"),
        ("delivery.timeout.ms", "x", "must be a whole number of milliseconds, got 'x'"),
        ("linger.ms", True, "must be a number of milliseconds, got True"),
        ("retries", None, "must be a whole number, got None"),
        ("enable.idempotence", "yes", "must be true or false, got 'yes'"),
        (
            "compression.type",
            "zst",
            "none, gzip, snappy, lz4, zstd; did you mean 'zstd'?",
        ),
        ("acks", "foo", "got 'foo'; legal values are all, or -1 to 1000"),
        ("partitioner", "foo", "consistent_random"),
        ("delivery.report.only.error", 1, "bool"),
        ("sasl.jaas.config", "x", "Java JAAS configuration is not supported"),
        ("dr_cb", print, "did you mean 'on_delivery'?"),
        ("opaque", "x", "cannot be set here"),
        ("error_cb", None, "must be callable, got a NoneType"),
        ("stats_cb", 5, "must be callable, got an int"),
        ("throttle_cb", "x", "must be callable"),
        ("oauth_cb", "token", "must be callable"),
        ("on_delivery", [], "must be callable"),
        ("logger", print, "must have a method log"),
    ],
)
def test_librdkafkas_verdict(name: str, value: object, expected: str) -> None:
    """Each illegal property is named as the user wrote it, with what is legal."""
    errors = check_properties({**LEGAL, name: value}, Config.OPTIONS)
    assert list(errors) == [f"kafka.{name}"]
    assert expected in errors[f"kafka.{name}"]


def test_every_bad_property_at_once() -> None:
    """All illegal properties are reported together, topic defaults included."""
    kafka = {"linger.ms": -1, "acks": "x", "client.id": "x", "error_cb": 1}
    kafka["default.topic.config"] = {"compression.type": "x", "xyzzy": 1}
    assert set(check_properties(kafka)) == {
        "kafka.linger.ms",
        "kafka.acks",
        "kafka.error_cb",
        "kafka.default.topic.config.compression.type",
        "kafka.default.topic.config.xyzzy",
    }


def test_properties_of_plugins_wait_for_the_plugin() -> None:
    """With a plugin nothing is loaded or checked, because it may define properties."""
    assert check_properties({"plugin.library.paths": "nowhere", "its.own": 1}) == {}


def test_a_verdict_is_not_mixed_up_with_that_of_an_equal_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1, True and 1.0 are equal, but each has its own verdict."""
    monkeypatch.setattr(librdkafka_check, "_accepted", set())
    assert check_properties({"linger.ms": 1}) == {}
    assert check_properties({"linger.ms": True})
    assert check_properties({"delivery.report.only.error": True}) == {}
    assert check_properties({"delivery.report.only.error": "True"})


def test_verdicts_are_remembered_within_bounds_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A valid configuration is checked once; a bounded number of hashes is kept."""
    accepted: set[int] = set()
    monkeypatch.setattr(librdkafka_check, "_accepted", accepted)
    monkeypatch.setattr(librdkafka_check, "_MOST_ACCEPTED", 3)
    for number in range(10):
        check_properties({"client.id": str(number), "sasl.password": MARK})
        assert 1 <= len(accepted) <= 3
    assert all(type(mark) is int for mark in accepted)

    def never(_conf: object) -> None:
        raise AssertionError("librdkafka was asked again")

    monkeypatch.setattr(confluent_kafka, "Producer", never)
    assert check_properties({"sasl.password": MARK, "client.id": "9"}) == {}


# Runs in its own process, because clients of other tests open and close descriptors in
# this one.
VERDICTS = """
import os
from tests.unit.settings.test_config_kafka import LEGAL
from waterdrop_py._settings.librdkafka_check import check_properties

def held():
    return set(os.listdir("/proc/self/task")), set(os.listdir("/proc/self/fd"))

def must_not_run(*_args):
    raise AssertionError("a callback ran")

before = held()
callbacks = {"oauth_cb": must_not_run, "error_cb": must_not_run}
for number in range(200):
    kafka = {**LEGAL, **callbacks, "client.id": f"probe-{number}"}
    assert check_properties(kafka) == {}
    assert check_properties({**kafka, "xyzzy": 1})
    assert held() == before, (before, held())
"""


def test_a_verdict_opens_nothing() -> None:
    """Checking properties makes no thread, no descriptor and no output."""
    outcome = run_scenario(VERDICTS, flags=("-W", "error"))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", ""), str(outcome)


def test_the_names_in_hints_are_librdkafkas() -> None:
    """Every listed property exists, and every listed value of it is legal.

    The lists are of the newest librdkafka; an older one may lack some.
    """
    unknown = {
        name
        for name in librdkafka.PROPERTIES - {librdkafka.PLUGINS}
        if "is not a property" in str(check_properties({name: "x"}))
    }
    newest = confluent_kafka.libversion()[1] >= _NEWEST
    assert unknown <= (set() if newest else {"sasl.oauthbearer.sub.claim.name"})
    for name, values in librdkafka.VALUES.items():
        for value in values.split(", "):
            if not value.startswith("or "):
                assert check_properties({name: value}) == {}
