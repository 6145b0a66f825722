"""Config: two are equal when the same takes effect; the hash follows, and hides."""

from __future__ import annotations

import gc
import os
import queue
import subprocess
import sys
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterdrop_py import Config
from waterdrop_py._settings import in_force
from waterdrop_py._settings.defaults import missing_defaults

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = {"bootstrap.servers": "a:9092"}
pytestmark = pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")


class Steps:
    """An object with methods that a configuration may take."""

    def step(self, message: Any) -> Any:
        """Return the message."""
        return message

    def other(self, message: Any) -> Any:
        """Return the message."""
        return message

    __eq__ = None  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def of(properties: dict[str, Any]) -> Config:
    """A configuration of a broker and these properties."""
    return Config(kafka={**SERVERS, **properties})


def assert_equal(one: Config, other: Config) -> None:
    """Both are equal, both ways, and one key of a dict."""
    assert one == other
    assert other == one
    assert hash(one) == hash(other)
    assert {one: 1}[other] == 1


def assert_different(one: Config, other: Config) -> None:
    """Both differ, both ways, and so do their hashes."""
    assert one != other
    assert other != one
    assert hash(one) != hash(other)
    assert other not in {one: 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"close_timeout": "5s"}, {"close_timeout": 5_000}),
        ({"close_timeout": timedelta(seconds=5)}, {"close_timeout": "5000ms"}),
        ({"close_timeout": 30_000}, {}),
        ({"close_before_fork": "1s"}, {}),
        ({"id": None, "deliver": True, "middleware": [], "tags": {}}, {}),
        ({"client_factory": None, "oauth_token_provider": None}, {}),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"b": "2", "a": "1"}}),
        (
            {"non_reloadable_errors": ["fenced", "x", "fenced"]},
            {"non_reloadable_errors": ("x", "fenced")},
        ),
        ({"non_reloadable_errors": ["fenced", "fenced"]}, {}),
        ({"middleware": [len, repr]}, {"middleware": (len, repr)}),
    ],
)
def test_options_that_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Options are compared after units and defaults, and labels without an order."""
    assert_equal(Config(kafka=SERVERS, **one), Config(kafka=SERVERS, **other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"close_timeout": 5_000}, {"close_timeout": 5_001}),
        ({"close_timeout": 5_000}, {"max_wait_timeout": 5_000}),
        ({"close_before_fork": None}, {"close_before_fork": 0}),
        ({"id": "a"}, {"id": "b"}),
        ({"id": "a"}, {}),
        ({"deliver": False}, {}),
        ({"tags": {"a": "1"}}, {"tags": {"a": "2"}}),
        ({"tags": {"a": "1"}}, {"tags": {"1": "a"}}),
        ({"non_reloadable_errors": ()}, {}),
        ({"middleware": [len, repr]}, {"middleware": [repr, len]}),
        ({"middleware": [len]}, {"middleware": [len, len]}),
        ({"client_factory": len}, {"oauth_token_provider": len}),
        ({"client_factory": len}, {"client_factory": repr}),
        ({"client_factory": len}, {}),
        ({"max_payload_size": 10**5_000}, {"max_payload_size": 10**5_000 + 1}),
    ],
)
def test_options_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Any option with another effect makes another configuration."""
    assert_different(Config(kafka=SERVERS, **one), Config(kafka=SERVERS, **other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Numbers, flags and words as librdkafka reads them.
        ({"linger.ms": 5}, {"linger.ms": "5"}),
        ({"linger.ms": 5}, {"linger.ms": 5.0}),
        ({"linger.ms": "5.0"}, {"linger.ms": "5"}),
        ({"retries": 3}, {"retries": 3.0}),
        ({"retries": 3}, {"retries": "3"}),
        ({"enable.idempotence": True}, {"enable.idempotence": "true"}),
        ({"enable.idempotence": True}, {"enable.idempotence": "TRUE"}),
        ({"enable.idempotence": True}, {"enable.idempotence": 1}),
        ({"enable.idempotence": "t"}, {"enable.idempotence": "1"}),
        ({"enable.idempotence": False}, {"enable.idempotence": "f"}),
        ({"enable.idempotence": False}, {"enable.idempotence": 0}),
        ({"acks": "all"}, {"acks": -1}),
        ({"acks": "ALL"}, {"acks": "-1"}),
        ({"compression.type": "GZIP"}, {"compression.type": "gzip"}),
        ({"compression.type": " gzip"}, {"compression.type": "gzip"}),
        ({"debug": "broker,topic"}, {"debug": "Topic, broker"}),
        ({"client.id": 5}, {"client.id": "5"}),
        ({"client.id": "  a"}, {"client.id": "a"}),
        # Names.
        ({"acks": 1}, {"request.required.acks": "1"}),
        ({"acks": 1}, {"topic.acks": "1"}),
        ({"acks": 1}, {"topic.request.required.acks": 1}),
        ({"acks": 1}, {"default.topic.config": {"acks": 1}}),
        ({"acks": 1}, {"default.topic.config": {"request.required.acks": "1"}}),
        ({"compression.type": "lz4"}, {"compression.codec": "lz4"}),
        ({"message.timeout.ms": 7_000}, {"delivery.timeout.ms": "7000"}),
        ({"linger.ms": 7}, {"queue.buffering.max.ms": 7}),
        ({"sasl.mechanism": "PLAIN"}, {"sasl.mechanisms": "PLAIN"}),
        ({"retries": 7}, {"message.send.max.retries": 7}),
        # The last one counts.
        ({"acks": 1, "request.required.acks": 0}, {"acks": 0}),
        ({"default.topic.config": {"acks": 0}, "acks": 1}, {"acks": 0}),
        ({"client.rack": "a", "default.topic.config": {"client.rack": None}}, {}),
        ({"sasl.mechanism": "PLAIN", "sasl.mechanisms": None}, {}),
        # An empty text is not given, and None is an empty text.
        ({"ssl.ca.location": None}, {}),
        ({"ssl.ca.location": ""}, {}),
        ({"sasl.password": ""}, {}),
        ({"client.id": None}, {"client.id": ""}),
        ({"linger.ms": None}, {"linger.ms": ""}),
        ({"transactional.id": None}, {}),
        # librdkafka's defaults that are no matter of its version.
        ({"security.protocol": "plaintext"}, {}),
        ({"security.protocol": "PLAINTEXT"}, {"security.protocol": None}),
        ({"sasl.mechanism": "GSSAPI"}, {}),
        # The library's defaults.
        ({"message.timeout.ms": 150_000}, {}),
        ({"delivery.timeout.ms": "150000"}, {}),
        ({"socket.nagle.disable": True}, {}),
        ({"socket.keepalive.enable": "1"}, {}),
        ({"log.connection.close": False}, {}),
        (
            {"transactional.id": "t"},
            {"transactional.id": "t", "transaction.timeout.ms": 165_000},
        ),
        (
            {"transaction.timeout.ms": 9_000},
            {"transaction.timeout.ms": 9_000, "message.timeout.ms": 9_000},
        ),
    ],
)
def test_properties_that_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Properties are compared as librdkafka reads them, and after defaults."""
    assert_equal(of(one), of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"linger.ms": 5}, {"linger.ms": 6}),
        ({"linger.ms": 5}, {"linger.ms": "5ms"}),
        ({"linger.ms": "05"}, {"linger.ms": "5"}),
        ({"linger.ms": 5}, {}),
        ({"retries": "1_0"}, {"retries": "10"}),
        ({"retries": True}, {"retries": 1}),
        ({"client.id": True}, {"client.id": "true"}),
        ({"client.id": "a"}, {"client.id": "A"}),
        ({"client.id": "a"}, {"client.id": "a "}),
        ({"client.id": None}, {}),
        ({"sasl.username": "a"}, {"sasl.username": "A"}),
        ({"sasl.mechanism": "PLAIN"}, {"sasl.mechanism": "plain"}),
        ({"acks": 1}, {"acks": 0}),
        ({"acks": 0, "request.required.acks": 1}, {"acks": 0}),
        ({"enable.idempotence": True}, {"enable.idempotence": False}),
        ({"debug": "all,-broker"}, {"debug": "-broker,all"}),
        ({"statistics.interval.ms": 0}, {}),
        ({"statistics.interval.ms": 5_000}, {}),
        ({"sasl.password": "a"}, {"sasl.password": "b"}),
        ({"security.protocol": "ssl"}, {}),
        ({"compression.type": "gzip"}, {"compression.type": "gzip "}),
        ({"compression.type": "\u212a"}, {"compression.type": "k"}),
        ({"linger.ms": None}, {}),
        ({"x.y": None}, {}),
        ({"ssl.ca.location": "/a"}, {"ssl.ca.location": "/b"}),
        ({"ssl.ca.location": "/a"}, {"https.ca.location": "/a"}),
        ({"message.timeout.ms": 150_001}, {}),
        ({"topic.linger.ms": 7}, {"linger.ms": 7}),
        ({"x.y": "1"}, {"x.z": "1"}),
        ({"x.y": True}, {"x.y": "true"}),
        ({"error_cb": len}, {"stats_cb": len}),
        ({"error_cb": len}, {}),
    ],
)
def test_properties_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Any property with another effect makes another configuration."""
    assert_different(of(one), of(other))


@pytest.mark.parametrize(
    ("one", "other", "protocol"),
    [
        ("a:9092", "a", "plaintext"),
        ("a,b:1", "b:1, a:9092", "plaintext"),
        ("a,a:9092", "a", "plaintext"),
        ("A.example", "a.example", "plaintext"),
        ("[::1]", "[::1]:9092", "plaintext"),
        ("[fe80::1%eth0]:1", "[FE80::1%eth0]:1", "plaintext"),
        ("PLAINTEXT://a", "a", "plaintext"),
        ("SASL_SSL://a:1,b", "a:1,b:9092", "SASL_SSL"),
    ],
)
def test_brokers_that_are_equal(one: str, other: str, protocol: str) -> None:
    """Brokers are compared after blanks, order, default port and scheme."""
    names = {"security.protocol": protocol}
    assert_equal(
        Config(kafka={"bootstrap.servers": one, **names}),
        Config(kafka={"metadata.broker.list": other, **names}),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a:9092", "a:9093"),
        ("a,b", "a"),
        ("a,b", "a;b"),
        ("[::1]:9092", "[::2]:9092"),
        ("SSL://a", "a"),
        ("", "a"),
        ("a b", "a  b"),
    ],
)
def test_brokers_that_differ(one: str, other: str) -> None:
    """Other brokers make another configuration; so do illegal ones."""
    assert_different(
        Config(kafka={"bootstrap.servers": one}),
        Config(kafka={"bootstrap.servers": other}),
    )


@pytest.mark.parametrize("name", missing_defaults({}, statistics=False))
def test_defaults_that_are_given(name: str) -> None:
    """What the library sets by itself may be given, except a switch at each open."""
    given_one = of({name: missing_defaults({}, statistics=False)[name]})
    assert (given_one == of({})) is (name != "statistics.interval.ms")


def made_of(function: Callable[..., Any]) -> list[Config]:
    """Configurations that take the function in each of the possible places."""
    return [
        Config(kafka=SERVERS, middleware=[function]),
        Config(kafka=SERVERS, client_factory=function),
        Config(kafka=SERVERS, oauth_token_provider=function),
        of({"error_cb": function}),
    ]


def test_callables_are_compared_by_identity() -> None:
    """The same function or method is equal; one that merely looks the same is not."""
    one, other = Steps(), Steps()
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    bound = partial(len, ())
    for again in (
        lambda: one.step,
        lambda: Steps.step,
        lambda: box.put,
        lambda: bound,
        lambda: Steps,
        lambda: len,
    ):
        for left, right in zip(made_of(again()), made_of(again()), strict=True):
            assert_equal(left, right)
    for here, there in (
        (one.step, other.step),
        (one.step, one.other),
        (one.step, Steps.step),
        (box.put, queue.SimpleQueue().put),
        (box.put, box.get),
        (partial(len, ()), partial(len, ())),
        (lambda: None, lambda: None),
    ):
        for left, right in zip(made_of(here), made_of(there), strict=True):
            assert_different(left, right)


def test_what_is_compared_is_kept_once() -> None:
    """The first look makes a digest; no later one reads the properties again."""
    config = of({"sasl.password": "hunter2"})
    assert repr(config) == repr(of({"sasl.password": "hunter2"}))
    before = dict(vars(config)), repr(config)
    first = hash(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_force, "digest", None)
        assert hash(config) == first
        assert config == config  # noqa: PLR0124 - the case of a dict's key
    assert (vars(config), repr(config)) == before
    assert config.replace() == config
    assert "hunter2" not in str([each for each in gc.get_referents(config)])  # noqa: C416


def test_a_replaced_configuration_is_compared_anew() -> None:
    """A copy with another option does not inherit what was compared."""
    config = of({})
    assert hash(config) == hash(of({}))
    assert_different(config, config.replace(id="x"))
    assert_equal(config, config.replace(id="x").replace(id=None))


def test_other_types() -> None:
    """A configuration equals no mapping and no URL."""
    config = of({})
    for other in (dict(vars(config)), config.as_url(), None, 5):
        assert config != other


@given(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
def test_no_two_texts_run_into_each_other(one: str, two: str, three: str) -> None:
    """Names and values keep their borders: a tag is equal to itself alone."""
    tags = {f"a{one}": two, f"b{three}": one}
    try:
        left = Config(kafka=SERVERS, tags=tags)
    except Exception:  # noqa: BLE001 - a lone surrogate
        return
    assert_equal(left, Config(kafka=SERVERS, tags=dict(reversed(tags.items()))))
    other = {f"a{one}": f"{two}x", f"b{three}": one}
    assert_different(left, Config(kafka=SERVERS, tags=other))


def test_the_hash_cannot_be_guessed() -> None:
    """Two processes have other hashes for one secret, with a fixed seed too.

    So nobody who sees a hash can try out passwords until one fits.
    """
    code = (
        "from waterdrop_py import Config;"
        "print(hash(Config(kafka={'bootstrap.servers': 'a', 'sasl.password': 'x'})))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    hashes = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            check=True,
            timeout=60,
            capture_output=True,
            env=env,
        ).stdout
        for _ in range(2)
    ]
    assert len(set(hashes)) == 2
