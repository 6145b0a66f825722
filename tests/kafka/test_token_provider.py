"""OAUTHBEARER with a token provider: good, slow, failing, and refreshed while idle."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.kafka.harness import unsecured_token
from waterdrop_py import Producer, Status
from waterdrop_py.errors import (
    BrokerUnreachableError,
    ConfigurationInvalidError,
    ProduceError,
)
from waterdrop_py.testing import allow_short_idle_timeouts, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kafka.harness import KafkaCluster
    from waterdrop_py import Event

IDLE_MS = 200
DEFAULTS = ("enable.sasl.oauthbearer.unsecure.jwt", "sasl.oauthbearer.config")


def bearer(cluster: KafkaCluster) -> dict[str, object]:
    """The properties of the OAUTHBEARER listener, without librdkafka's own tokens."""
    given = cluster.client_properties("OAUTHBEARER")
    mine = {name: value for name, value in given.items() if name not in DEFAULTS}
    return {**mine, "linger.ms": 0}


def wait_until(done: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Wait for something that happens on other threads."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_each_client_gets_a_token_and_idles_to_nothing(
    kafka: KafkaCluster, topic: str
) -> None:
    """A send, zero connections, and a send on a second client with a second token."""
    tokens: list[tuple[str, float]] = []

    def provider(_: str) -> tuple[str, float]:
        tokens.append(unsecured_token())
        return tokens[-1]

    with allow_short_idle_timeouts():
        producer = Producer(
            kafka=bearer(kafka),
            oauth_token_provider=provider,
            idle_disconnect_timeout=IDLE_MS,
        )
    with producer:
        for payload in (b"before", b"after"):
            producer.produce_sync(topic, payload)
            wait_until(lambda: producer.status is Status.DISCONNECTED, "still open")
            kafka.wait_for_connections(0)
        assert producer.stats().opens == len(tokens) == 2
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]


def test_a_slow_provider_delays_nobody_else(kafka: KafkaCluster, topic: str) -> None:
    """While one client waits 2 s for its token, others send as fast as ever."""
    asked = threading.Event()

    def provider(_: str) -> tuple[str, float]:
        asked.set()
        time.sleep(2.0)
        return unsecured_token()

    slow = Producer(kafka=bearer(kafka), oauth_token_provider=provider)
    first = Producer(kafka={**kafka.client_properties(), "linger.ms": 0})
    sending = threading.Thread(target=slow.produce_sync, args=(topic, b"slow"))
    with slow, first:
        first.produce_sync(topic, b"warm")
        sending.start()
        assert asked.wait(5)
        took = []
        while slow.status is Status.CONNECTING:
            started = time.monotonic()
            first.produce_sync(topic, b"quick")
            took.append(time.monotonic() - started)
            if len(took) == 20:
                # Opening a client meanwhile is not delayed either.
                with Producer(kafka=kafka.client_properties()) as second:
                    second.produce_sync(topic, b"opened")
                assert slow.status is Status.CONNECTING
        sending.join(10)
        assert not sending.is_alive()
        assert slow.stats().acknowledged == 1
    assert len(took) > 50
    assert statistics.median(took) < 0.02
    assert max(took) < 0.5


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (RuntimeError("the vault is sealed"), "raised RuntimeError"),
        (unsecured_token(lifetime=-60), "has expired"),
        ("token", "returned str"),
    ],
)
def test_a_failing_provider_is_an_error_at_once(
    kafka: KafkaCluster, topic: str, result: object, word: str
) -> None:
    """Not after 10 s; by name, with its cause; and forgotten once it gives a token."""
    results = [result, result, unsecured_token()]

    def provider(_: str) -> object:
        given = results.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    with Producer(kafka=bearer(kafka), oauth_token_provider=provider) as producer:
        with record(producer.monitor) as events:
            started = time.monotonic()
            with pytest.raises(ProduceError, match=word) as refused:
                producer.produce_sync(topic, b"lost")
            with pytest.raises(BrokerUnreachableError, match=word) as unreachable:
                producer.connect(timeout=5, max_retries=0)
            assert time.monotonic() - started < 1.0
        assert refused.value.code == "authentication"
        assert any("token provider" in each for each in unreachable.value.checklist)
        told = [
            event["error"]
            for event in events
            if event.name == "error.occurred"
            and event["type"] == "callbacks.oauth_cb.error"
        ]
        assert told == ([result] * 2 if isinstance(result, Exception) else [])
        producer.produce_sync(topic, b"payload")
    assert [each.value() for each in kafka.read_topic(topic)] == [b"payload"]


def test_a_provider_that_nobody_would_ask_is_an_error() -> None:
    """Without the mechanism the client would wait 10 s for a token; ours says why."""
    producer = Producer(
        kafka={"bootstrap.servers": "127.0.0.1:9"},
        oauth_token_provider=lambda _: unsecured_token(),
    )
    with producer, pytest.raises(ConfigurationInvalidError, match="OAUTHBEARER"):
        producer.connect(timeout=5)


def test_tokens_are_refreshed_while_nobody_sends(
    kafka: KafkaCluster, topic: str
) -> None:
    """One that expires is replaced without a call of the user's, on the same client."""
    calls: list[float] = []

    def provider(_: str) -> tuple[str, float]:
        calls.append(time.monotonic())
        return unsecured_token(lifetime=2.0)

    with (
        Producer(kafka=bearer(kafka), oauth_token_provider=provider) as producer,
        record(producer.monitor) as events,
    ):

        def refreshes() -> int:
            names = [event.name for event in tuple(events)]
            return names.count("oauthbearer.token_refresh")

        producer.produce_sync(topic, b"before")
        wait_until(lambda: refreshes() >= 3, "no token was replaced")
        assert len(calls) - refreshes() in {0, 1}  # one may be under way
        producer.produce_sync(topic, b"after")
        assert producer.stats().opens == 1
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]


def test_a_refresh_that_fails_is_told_of(kafka: KafkaCluster, topic: str) -> None:
    """While nobody sends; the next client, which has a token of its own, delivers."""
    sealed = RuntimeError("the vault is sealed")
    told: list[object] = []
    asked: list[None] = []

    def provider(_: str) -> tuple[str, float]:
        asked.append(None)
        if len(asked) == 2:
            raise sealed
        return unsecured_token(lifetime=2.0)

    with Producer(kafka=bearer(kafka), oauth_token_provider=provider) as producer:

        @producer.monitor.on("error.occurred")
        def remember(event: Event) -> None:
            if event["type"] == "callbacks.oauth_cb.error":
                told.append(event["error"])

        producer.produce_sync(topic, b"before")
        wait_until(lambda: told == [sealed], "nobody was told")
        # librdkafka itself would ask again in 10 s.
        wait_until(producer.disconnect, "the client is not let go of")
        producer.produce_sync(topic, b"after")
    assert [each.value() for each in kafka.read_topic(topic)] == [b"before", b"after"]
