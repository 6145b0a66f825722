"""`connect()` and the deep health check, with a cluster and without one."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import hanging_up, refusing, silent
from waterdrop_py import Status
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import BrokerUnreachableError, WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster


@contextmanager
def unresolvable() -> Iterator[str]:
    """A name that no DNS knows (RFC 2606)."""
    yield "no-such-host.invalid:9092"


@pytest.mark.own_process
def test_connect_opens_and_returns_the_producer(
    make_producer: MakeProducer, log: EventLog
) -> None:
    """Constructed it holds nothing; connected it holds sockets; the events say so."""
    before = count_resources()
    producer = make_producer()
    assert str(producer.status) == "configured"
    assert count_resources() == before
    assert producer.connect() is producer
    assert producer.is_connected
    assert str(producer.status) == "connected"
    assert producer.connect() is producer
    assert producer.stats().opens == 1
    assert log.names("producer.conn") == ["producer.connecting", "producer.connected"]
    event = log.wait("producer.connected")
    assert (event["producer_id"], event["reopened"]) == (producer.id, False)
    assert event["time"] == event.duration_ms
    assert event["time"] > 0


@pytest.mark.parametrize(
    ("server", "hint"),
    [
        (refusing, "connection refused: is the broker running"),
        (unresolvable, "does not resolve"),
        (hanging_up, "ended the connection at once"),
        (silent, "no answer: is a firewall"),
    ],
)
def test_a_broker_that_is_not_there_says_why(
    make_producer: MakeProducer,
    server: Callable[[], AbstractContextManager[str]],
    hint: str,
) -> None:
    """BrokerUnreachableError, with what to look at first; that it comes within the
    timeout, test_the_timeout_cuts_an_interval_short measures."""
    with server() as servers:
        producer = make_producer(servers)
        with pytest.raises(BrokerUnreachableError) as raised:
            producer.connect(timeout=1.5)
        assert any(hint in point for point in raised.value.checklist), str(raised.value)
        assert any(servers in point for point in raised.value.checklist)
        assert raised.value.__cause__ is not None
        assert not producer.is_connected


def test_retries_are_told_of_with_growing_intervals(
    make_producer: MakeProducer, dead: str
) -> None:
    """`errback(error, interval)` before each retry: start, + step, at most max."""
    heard: list[tuple[BaseException, float]] = []
    producer = make_producer(dead)
    started = time.monotonic()
    with pytest.raises(BrokerUnreachableError):
        producer.connect(
            timeout=60,
            errback=lambda error, interval: heard.append((error, interval)),
            max_retries=2,
            interval_start=0.01,
            interval_step=0.05,
            interval_max=0.04,
        )
    assert [interval for _, interval in heard] == [0.01, 0.04]
    assert all(isinstance(error, BrokerUnreachableError) for error, _ in heard)
    assert time.monotonic() - started < 3 * 2 + 1  # a try takes at most 2 s


@pytest.mark.timed
def test_the_timeout_cuts_an_interval_short(
    make_producer: MakeProducer, dead: str
) -> None:
    """It bounds the whole call."""
    started = time.monotonic()
    with pytest.raises(BrokerUnreachableError):
        make_producer(dead).connect(timeout=2.5, interval_start=60, interval_max=60)
    assert 2 < time.monotonic() - started < 3.5


def test_connect_succeeds_once_the_cluster_is_back(
    cluster: EmbeddedCluster, make_producer: MakeProducer
) -> None:
    """A retry finds it; the producer is usable."""
    for broker in cluster.brokers:
        cluster.broker_down(broker.id)

    def revive(_error: BaseException, _interval: float) -> None:
        for broker in cluster.brokers:
            cluster.broker_up(broker.id)

    producer = make_producer(kafka={"reconnect.backoff.max.ms": 100})
    assert producer.connect(errback=revive, interval_start=0.01).is_connected


@pytest.mark.parametrize(
    "arguments",
    [
        {"timeout": -1},
        {"timeout": None},
        {"timeout": "30s"},
        {"timeout": float("nan")},
        {"max_retries": -1},
        {"max_retries": True},
        {"interval_start": -1},
        {"errback": 5},
    ],
)
def test_bad_arguments_are_named(
    make_producer: MakeProducer, arguments: dict[str, object]
) -> None:
    """A WaterdropError that is a TypeError and a ValueError; nothing was opened."""
    producer = make_producer()
    (name,) = arguments
    with pytest.raises(WaterdropError, match=name):
        producer.connect(**arguments)  # type: ignore[arg-type]
    assert not producer.is_connected


def test_a_shallow_health_check_opens_nothing(make_producer: MakeProducer) -> None:
    """Never used, connected, disconnected: healthy; closed: not."""
    producer = make_producer()
    health = producer.health()
    assert (health.healthy, health.deep, health.latency_ms, health.error) == (
        True,
        False,
        None,
        None,
    )
    assert health.status is Status.CONFIGURED
    assert not producer.is_connected
    producer.connect()
    assert producer.health().healthy
    assert producer.disconnect()
    assert producer.health().healthy
    assert producer.health().status is Status.DISCONNECTED
    assert not producer.is_connected
    producer.close()
    assert not producer.health().healthy
    assert not producer.health(deep=True).healthy
    assert producer.health().status is Status.CLOSED


@pytest.mark.timed
def test_a_deep_health_check_asks_the_cluster(
    make_producer: MakeProducer, dead: str
) -> None:
    """A latency when it answers, an error within the timeout when it does not."""
    producer = make_producer()
    health = producer.health(deep=True)
    assert health.healthy
    assert health.deep
    assert health.latency_ms is not None
    assert health.latency_ms > 0
    assert producer.is_connected
    started = time.monotonic()
    sick = make_producer(dead).health(deep=True, timeout=0.5)
    assert time.monotonic() - started < 1.5
    assert not sick.healthy
    assert isinstance(sick.error, BrokerUnreachableError)
    assert any("refused" in point for point in sick.error.checklist)


def test_health_says_when_the_brokers_are_gone(
    cluster: EmbeddedCluster, make_producer: MakeProducer
) -> None:
    """A client that was well before; and well again afterwards."""
    producer = make_producer(kafka={"reconnect.backoff.max.ms": 100})
    assert producer.health(deep=True).healthy
    for broker in cluster.brokers:
        cluster.broker_down(broker.id)
    assert not producer.health(deep=True, timeout=0.5).healthy
    cluster.heal()
    assert producer.health(deep=True, timeout=5).healthy
