"""Pools on a real broker: idleness, slots that stay open, and a rotated password."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.kafka.pooling import (
    Clients,
    LeaseTraffic,
    assert_stored,
    settings,
    slot_of,
    wait_until,
)
from waterdrop_py import Config, ProducerPool, Status
from waterdrop_py.errors import BrokerUnreachableError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kafka.harness import ClientListener, KafkaCluster

IDLE_MS = 500
REFUSED_SECONDS = 4.0
FIRST, SECOND = "the-first-secret", "the-second-secret"


def send_from_every_slot(pool: ProducerPool, topic: str) -> None:
    """Have as many leases as there are slots, and send from each."""
    with ExitStack() as leases:
        producers = [leases.enter_context(pool.acquire()) for _ in range(pool.size)]
        for producer in producers:
            producer.produce_sync(topic, b"%d-burst" % slot_of(producer))


@pytest.mark.parametrize(
    ("kind", "transactional"), [("PLAINTEXT", False), ("SASL_SSL", True)]
)
def test_no_connection_is_left_after_idleness(
    kafka: KafkaCluster, topic: str, kind: ClientListener, transactional: bool
) -> None:
    """After a burst over eight slots the tail falls asleep while one slot works on;
    once that rests too, the broker holds no connection. All eight wake up again."""
    ids = {"transactional.id": uuid.uuid4().hex} if transactional else {}
    properties = {**kafka.client_properties(kind), **ids}
    config = settings(properties, idle_disconnect_timeout=IDLE_MS)
    with ProducerPool(config, size=8) as pool:
        clients = Clients(pool.monitor)

        def work() -> int:
            with pool.acquire() as producer:
                producer.produce_sync(topic, b"0-work")
            return len(kafka.connections(kind))

        alone = work()
        for _ in range(2):
            before = dict(clients.opened)
            send_from_every_slot(pool, topic)
            wait_until(
                lambda: work() == alone and pool.stats().connected == 1,
                "the tail stays awake",
            )
            kafka.wait_for_connections(0)
            wait_until(
                lambda: {slot.status for slot in pool.slots()} == {Status.DISCONNECTED},
                "a slot stays awake",
            )
            assert pool.stats().connected == 0
            woken = [k for k, n in clients.opened.items() if n > before.get(k, 0)]
            assert len(woken) >= 7  # one was awake before
            assert pool.health().healthy
        assert set(clients.reasons) == {"idle"}
        assert set(clients.most.values()) == {1}


def test_slots_that_stay_open(kafka: KafkaCluster, topic: str) -> None:
    """Two of four slots outlast idleness; after a restart of the broker their
    connections come back without a call, and the next lease is warm."""
    config = settings(
        {**kafka.client_properties(), "reconnect.backoff.max.ms": 500},
        idle_disconnect_timeout=IDLE_MS,
    )
    with ProducerPool(config, size=4, min_connected=2) as pool:
        send_from_every_slot(pool, topic)
        kafka.wait_for_connections(2)
        until = time.monotonic() + 4 * IDLE_MS / 1000
        while time.monotonic() < until:
            assert pool.stats().connected == 2
            assert len(kafka.connections()) == 2
            time.sleep(0.02)
        kafka.stop(1)
        kafka.restart(1)
        wait_until(lambda: len(kafka.connections()) >= 2, "not connected again", 20)
        warm = pool.stats().warm
        with pool.acquire() as producer:
            producer.produce_sync(topic, b"after")
        assert pool.stats().warm == warm + 1
        assert pool.stats().opens == 4


def test_slots_that_are_closed_for_their_age(kafka: KafkaCluster) -> None:
    """A slot that stays open is closed for its age and opened again without a call. One
    client has its transactional id at a time: each takes the next epoch."""
    prefix = uuid.uuid4().hex
    config = settings(
        {**kafka.client_properties(), "transactional.id": prefix},
        max_connection_age=700,
    )
    with ProducerPool(config, size=2, min_connected=2, name="old") as pool:
        clients = Clients(pool.monitor)
        pool.connect()
        wait_until(lambda: pool.stats().opens >= 6, "not opened again")
        wait_until(lambda: pool.stats().connected == 2, "closed for good")
        assert set(clients.reasons) == {"age"}
        assert set(clients.most.values()) == {1}
    found = kafka.transactional_ids(prefix)
    assert found.keys() == {f"{prefix}-0", f"{prefix}-1"}
    for index in range(2):
        epoch = found[f"{prefix}-{index}"].epoch
        assert epoch == clients.opened[f"old-{index}"] - 1


@pytest.fixture
def user(kafka: KafkaCluster) -> str:
    """A user with the first password."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    kafka.set_scram_password(name, FIRST)
    return name


class Vault:
    """Where a callable configuration finds the present password."""

    def __init__(self, kafka: KafkaCluster, user: str, prefix: str | None) -> None:
        self.password = FIRST
        self._kafka = kafka
        self._user = user
        self._prefix = prefix

    def __call__(self, index: int) -> Config:
        """The configuration of a slot."""
        properties = self._kafka.scram_properties(self._user, self.password)
        if self._prefix is not None:
            properties["transactional.id"] = f"{self._prefix}-{index}"
        return settings(properties)


@pytest.mark.parametrize("transactional", [False, True])
def test_a_rotated_password_under_traffic(
    kafka: KafkaCluster, topic: str, user: str, transactional: bool
) -> None:
    """The broker has another password. `reload()` with the old one raises, changes
    nothing, and traffic goes on; with the new one, every slot gets a new client.
    Nothing is lost, nothing is doubled, and each slot keeps its order."""
    vault = Vault(kafka, user, uuid.uuid4().hex if transactional else None)
    with (
        ProducerPool(vault, size=4, timeout=30) as pool,
        record(pool.monitor) as events,
        LeaseTraffic(pool, topic, transactional=transactional) as traffic,
    ):
        clients = Clients(pool.monitor)
        # Each has logged in with the first password.
        wait_until(lambda: len(traffic.stored) == 4, "the traffic is too little")

        kafka.set_scram_password(user, SECOND)
        refuse_reload(pool)
        traffic.go_on()
        stats = pool.stats()
        assert (stats.opens, stats.connected, stats.draining) == (4, 4, 0)

        vault.password = SECOND
        pool.reload()
        wait_until(lambda: pool.stats().draining == 0, "an old client stays")
        for _ in range(3):
            traffic.go_on()
        wait_until(lambda: pool.stats().opens == 8, "a slot has no new client")
        if transactional:
            assert set(clients.most.values()) == {1}
    assert traffic.refused == []
    assert_stored(traffic, kafka, topic)
    assert pool.stats().acknowledged == traffic.count
    opened = [each["opened"] for each in events if each.name == "pool.reloaded"]
    assert opened == [1 if transactional else 4]
    assert not [each for each in events if each.name == "pool.replaced"]
    assert not any(FIRST in repr(each) or SECOND in repr(each) for each in events)


def refuse_reload(pool: ProducerPool, config: Config | None = None) -> None:
    """`reload()` raises early what no later call could mend."""
    began = time.monotonic()
    with pytest.raises(BrokerUnreachableError) as refused:
        pool.reload(config, timeout=REFUSED_SECONDS)
    assert time.monotonic() - began < REFUSED_SECONDS
    assert not refused.value.retriable
    assert FIRST not in str(refused.value)


def refuse_login(kafka: KafkaCluster, user: str) -> Config:
    """The wrong password."""
    return settings(kafka.scram_properties(user, "wrong"))


def refuse_certificate(kafka: KafkaCluster, _: str) -> Config:
    """A certificate authority that signed nothing here."""
    strange = str(kafka.certificates.stranger)
    return settings({**kafka.client_properties("SSL"), "ssl.ca.location": strange})


@pytest.mark.parametrize("wrong", [refuse_login, refuse_certificate])
@pytest.mark.parametrize("transactional", [False, True])
def test_a_configuration_that_the_broker_refuses(
    kafka: KafkaCluster,
    topic: str,
    user: str,
    transactional: bool,
    wrong: Callable[[KafkaCluster, str], Config],
) -> None:
    """`reload()` of it raises what no later call could mend; the pool is as it was, an
    idle one too, and a transaction that runs meanwhile commits."""
    ids = {"transactional.id": uuid.uuid4().hex} if transactional else {}
    good = settings({**kafka.scram_properties(user, FIRST), **ids})
    bad = wrong(kafka, user)
    bad = bad.replace(kafka={**bad.kafka, **ids})
    with ProducerPool(good, size=2) as pool:
        for _ in range(2):
            with ExitStack() as block:
                taken = pool.transaction if transactional else pool.acquire
                producer = block.enter_context(taken())
                producer.produce_sync(topic, b"0-before")
                refuse_reload(pool, bad)
                assert pool.config == good
                producer.produce_sync(topic, b"0-after")
        assert pool.stats().opens == 1
        assert pool.stats().draining == 0
    assert len(kafka.read_topic(topic)) == 4
