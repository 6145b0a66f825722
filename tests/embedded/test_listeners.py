"""What the listeners that count say of clients that really connect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually
from tests.unit.listeners.agent import Agent
from tests.unit.listeners.collected import Collected
from waterdrop_py import ProducerPool, monitor
from waterdrop_py.listeners import DatadogListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

BROKER = "waterdrop.broker"
COUNTERS = (
    "requests",
    "bytes",
    "errors",
    "retries",
    "receive_errors",
    "connects",
    "disconnects",
)


@pytest.fixture
def collected() -> Iterator[Collected]:
    """What OpenTelemetry's SDK collects, statistics included."""
    found = Collected(statistics=True)
    yield found
    found.unsubscribe()


@pytest.fixture
def agent() -> Iterator[Agent]:
    """What DogStatsD is told, statistics included."""
    running = Agent()
    listener = DatadogListener(running.client(), statistics=True, interval=0.05)
    unsubscribe = monitor.subscribe(listener)
    yield running
    unsubscribe()
    running.close()


@pytest.mark.own_process
def test_a_client_that_comes_and_goes(
    make_producer: MakeProducer,
    collected: Collected,
    agent: Agent,
    topic: str,
    name: str,
) -> None:
    """Opens, idle disconnects, re-opens, and what was not held meanwhile."""
    producer = make_producer(id=name, idle_disconnect_timeout=100)
    for _ in range(3):
        producer.produce_sync(topic, b"x")
        assert eventually(lambda: not producer.is_connected)
    mine = f"producer:{name}"
    assert eventually(lambda: agent.sum("disconnected", mine, "reason:idle") == 3)
    assert agent.sum("connected", mine) == 3
    assert agent.sum("acknowledged", mine) == 3
    assert (agent.last("reopen.duration", mine) or BOUND) < BOUND
    assert collected.value("waterdrop.client.opened", name) == 3
    assert collected.values("waterdrop.client.closed", name) == [
        ({"waterdrop.close.reason": "idle"}, 3)
    ]
    [(_, reopened)] = collected.points("waterdrop.reopen.duration", name)
    assert reopened.count == 2
    assert 0 < reopened.sum < 2 * BOUND
    stats = producer.stats()
    saved = collected.value("waterdrop.saved.connection.time", name)
    assert saved >= stats.saved.connection_s > 0
    assert collected.value("waterdrop.saved.thread.time", name) > 0
    assert collected.value("waterdrop.saved.descriptor.time", name) > 0
    assert collected.value("waterdrop.client.connected.time", name) > 0
    assert collected.value("waterdrop.client.disconnected.time", name) > 0
    producer.close()
    final = producer.stats().saved.connection_s
    told = agent.sum("saved.connection_seconds", mine)
    assert told == pytest.approx(final, rel=1e-9)
    assert collected.value("waterdrop.saved.connection.time", name) == final


def test_statistics_of_brokers(
    make_producer: MakeProducer,
    collected: Collected,
    agent: Agent,
    topic: str,
    name: str,
) -> None:
    """By broker, with librdkafka's microseconds as they are for Datadog, and in
    seconds for OpenTelemetry. Counters of a client that is closed stay."""
    producer = make_producer(id=name, kafka={"statistics.interval.ms": 20})
    for _ in range(20):
        producer.produce_sync(topic, b"x")
    stats = ("avg", "p50", "p95", "p99")

    def rtts() -> list[tuple[Any, Any]]:
        return collected.values(f"{BROKER}.rtt", name)

    assert eventually(lambda: len(rtts()) >= 4)
    for attributes, value in rtts():
        assert attributes["waterdrop.stat"] in stats
        assert attributes["waterdrop.broker.id"] in {"1", "2", "3"}
        assert 0 < value < BOUND
    assert collected.values(f"{BROKER}.queue.time", name)
    mine = f"producer:{name}"
    assert eventually(lambda: agent.sum("calls", mine) > 0)

    def latencies() -> dict[str, list[float]]:
        agent.listen()
        return {
            told.name.rpartition(".")[2]: found
            for told, found in agent.values.items()
            if mine in told.tags and told.name.startswith("waterdrop.network.latency.")
        }

    # A push is more than one datagram.
    assert eventually(lambda: latencies().keys() == {"avg", "p95", "p99"})
    assert max(map(max, latencies().values())) >= 1
    brokers = {
        tag
        for told in agent.values
        if mine in told.tags
        for tag in told.tags
        if tag.startswith("broker:")
    }
    assert brokers
    assert all(tag.startswith("broker:127.0.0.1:") for tag in brokers)
    assert agent.last("queue.size", mine) is not None
    producer.disconnect()
    before = {each: total(collected, each, name) for each in COUNTERS}
    assert before["requests"] > 0
    assert before["bytes"] > 0
    producer.produce_sync(topic, b"x")
    producer.close()
    assert all(total(collected, each, name) >= before[each] for each in COUNTERS)
    assert eventually(lambda: rtts() == [])


def total(collected: Collected, counter: str, name: str) -> float:
    """A counter over all brokers."""
    return float(
        sum(value for _, value in collected.values(f"{BROKER}.{counter}", name))
    )


def test_a_pool_has_one_series(
    cluster: EmbeddedCluster, collected: Collected, agent: Agent, topic: str, name: str
) -> None:
    """Under its name, for all its producers."""
    config = {"kafka": {"bootstrap.servers": cluster.bootstrap_servers}}
    with ProducerPool(config, size=2, name=name) as pool, pool.acquire() as one:
        one.produce_sync(topic, b"x")
        with pool.acquire() as other:
            other.produce_sync(topic, b"x")
        assert collected.value("waterdrop.client.count", name) == 2
    assert collected.value("messaging.client.sent.messages", name) == 2
    assert agent.sum("acknowledged", f"producer:{name}") == 2
    [(_, durations)] = collected.points("messaging.client.operation.duration", name)
    assert durations.count == 2


def test_no_secret_is_told(
    make_producer: MakeProducer, collected: Collected, agent: Agent, dead: str
) -> None:
    """Not in an attribute, a tag, or a span."""
    secret = "s3cret"
    kafka = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    login = {"sasl.username": "me", "sasl.password": secret}
    producer = make_producer(dead, kafka={**kafka, **login}, tags={"password": secret})
    producer.produce_async("t", secret.encode(), key=secret.encode())
    producer.close(0.1)
    agent.listen()
    assert secret not in str(agent.sums) + str(agent.values)
    assert secret not in str(collected.metrics())
    assert secret not in "".join(each.to_json() for each in collected.spans.done)
