"""Transactional pools: the coordinator sees `size` ids, with one client each."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from tests.kafka.pooling import (
    Clients,
    LeaseTraffic,
    assert_stored,
    slot_of,
    stored_by_slot,
    transactional,
    wait_until,
)
from tests.kafka.rival import Rival
from waterdrop_py import AbortTransaction, ProducerPool
from waterdrop_py.errors import PoolExhaustedError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster
    from waterdrop_py import Producer

IDLE_MS = 300


@pytest.fixture
def prefix() -> str:
    """A `transactional.id` that no other test has."""
    return f"tx-{uuid.uuid4().hex[:12]}"


def states(kafka: KafkaCluster, prefix: str) -> dict[str, str]:
    """What each id of a pool is doing, as its coordinator says."""
    found = kafka.transactional_ids(prefix)
    return {name.removeprefix(prefix): each.state for name, each in found.items()}


def assert_one_client_for_each_id(
    kafka: KafkaCluster, prefix: str, clients: Clients, name: str
) -> None:
    """No id was registered more often than by a new client, one at a time.

    A second client would have fenced the first, and be an epoch ahead.
    """
    found = kafka.transactional_ids(prefix)
    assert {
        f"{name}-{index}": found[f"{prefix}-{index}"].epoch + 1
        for index in range(len(found))
    } == {key: count for key, count in clients.opened.items() if "reload" not in key}
    assert set(clients.most.values()) == {1}


class Transactions:
    """As many transactions at the same time as the pool has slots, each in a thread.

    Entered, all of them run, each with a message that is acknowledged. `commit()` ends
    them, and `refused` has the errors of the ends.
    """

    def __init__(self, pool: ProducerPool, topic: str, count: int) -> None:
        self._pool = pool
        self._topic = topic
        self._running = threading.Barrier(count + 1)
        self._go_on = threading.Event()
        self.refused: list[BaseException] = []
        self.stored: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(count)
        ]

    def __enter__(self) -> Transactions:
        for thread in self._threads:
            thread.start()
        self._running.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()

    def commit(self) -> None:
        """End all of them, and wait for that."""
        self._go_on.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a transaction hangs"

    def _run(self) -> None:
        try:
            with self._pool.transaction(30) as producer:
                payload = b"%d-%s" % (slot_of(producer), uuid.uuid4().hex.encode())
                producer.produce_sync(self._topic, payload)
                self._running.wait(30)
                assert self._go_on.wait(60)
                producer.produce_async(self._topic, payload + b"-end")
            self.stored += [payload, payload + b"-end"]
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.refused.append(error)


def test_eight_slots_commit_side_by_side(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """Eight transactions run at the same time, as the coordinator says. Hundreds more
    follow on the same eight clients, some aborted: each id keeps its epoch, and a
    consumer sees every committed message once, in the order of its slot."""
    with ProducerPool(transactional(kafka, prefix), size=8, name="eight") as pool:
        clients = Clients(pool.monitor)
        with Transactions(pool, topic, 8) as running:
            assert states(kafka, prefix) == {f"-{each}": "Ongoing" for each in range(8)}
            with pytest.raises(PoolExhaustedError, match="8 of 8"):
                pool.acquire(0)
        assert running.refused == []
        other = kafka.create_topic(f"{topic}-more")
        with LeaseTraffic(pool, other, transactional=True, threads=12) as traffic:
            for _ in range(5):
                traffic.go_on(300)
                with pool.transaction(30) as producer:
                    producer.produce_sync(other, b"9-aborted")
                    raise AbortTransaction
        assert traffic.refused == []
        assert_one_client_for_each_id(kafka, prefix, clients, "eight")
    assert_stored(traffic, kafka, other)
    stored = stored_by_slot(kafka, topic)
    assert stored.keys() == set(range(8))
    assert sorted(chain.from_iterable(stored.values())) == sorted(running.stored)


def commit_in_every_slot(pool: ProducerPool, topic: str) -> dict[int, str]:
    """Commit in as many slots at the same time as there are; the ids of them."""
    with ExitStack() as blocks:
        producers = [blocks.enter_context(pool.transaction()) for _ in range(pool.size)]
        for producer in producers:
            producer.produce_sync(topic, b"%d-x" % slot_of(producer))
        return {slot_of(each): transactional_id(each) for each in producers}


def fail_in_a_transaction(pool: ProducerPool, topic: str) -> None:
    """Raise an error of the user's own."""
    with pool.transaction() as producer:
        producer.produce_async(topic, b"0-lost")
        raise ZeroDivisionError


def transactional_id(producer: Producer) -> str:
    """The id that a producer of a pool has."""
    return str(producer.config.kafka["transactional.id"])


def test_an_id_belongs_to_its_index(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """Through idleness, `reload()`, `resize()` both ways, a failed block and a new
    pool. The coordinator sees four ids, each with the number that it began with."""
    config = transactional(kafka, prefix, idle_disconnect_timeout=IDLE_MS)
    every = {index: f"{prefix}-{index}" for index in range(4)}
    with ProducerPool(config, size=4, name="mine") as pool:
        clients = Clients(pool.monitor)
        assert commit_in_every_slot(pool, topic) == every
        first = kafka.transactional_ids(prefix)

        wait_until(lambda: pool.stats().connected == 0, "a slot stays awake")
        kafka.wait_for_connections(0)
        assert commit_in_every_slot(pool, topic) == every

        pool.reload()
        assert commit_in_every_slot(pool, topic) == every

        pool.resize(2)
        assert commit_in_every_slot(pool, topic) == {0: every[0], 1: every[1]}
        wait_until(lambda: pool.stats().draining == 0, "what was taken away stays")
        pool.resize(4)
        assert commit_in_every_slot(pool, topic) == every

        with pytest.raises(ZeroDivisionError):
            fail_in_a_transaction(pool, topic)
        assert commit_in_every_slot(pool, topic) == every
        assert_one_client_for_each_id(kafka, prefix, clients, "mine")
    with ProducerPool(config, size=4) as again:
        assert commit_in_every_slot(again, topic) == every
    found = kafka.transactional_ids(prefix)
    assert found.keys() == set(every.values())
    for name, each in found.items():
        assert each.producer_id == first[name].producer_id
        assert each.state == "CompleteCommit"
    counted = {slot: len(each) for slot, each in stored_by_slot(kafka, topic).items()}
    assert counted == {0: 7, 1: 7, 2: 6, 3: 6}


def test_a_process_that_was_killed_is_recovered_from(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """Its transactions are rolled back as soon as the next process uses the slots, and
    not once they time out: consumers wait for nothing."""
    ids = [f"{prefix}-{index}" for index in range(3)]
    with Rival(kafka.bootstrap(), topic, ids) as process:
        assert process.commit() == "ok"
        assert process.begin() == "ok"
        assert set(states(kafka, prefix).values()) == {"Ongoing"}
        process.kill()
    with ProducerPool(transactional(kafka, prefix), size=3) as pool:
        began = time.monotonic()
        commit_in_every_slot(pool, topic)
        assert time.monotonic() - began < 5
    found = [message.value() for message in kafka.read_topic(topic, timeout=10)]
    assert Counter(found) == {b"rival": 3, b"0-x": 1, b"1-x": 1, b"2-x": 1}
    assert kafka.transactional_ids(prefix).keys() == set(ids)


def test_reload_aborts_no_running_transaction(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """It returns while every slot has a transaction; each commits on its old client,
    which closes before the next one opens. A caller that waits gets a new one."""
    with (
        ProducerPool(transactional(kafka, prefix), size=4, name="four") as pool,
        record(pool.monitor) as events,
    ):
        clients = Clients(pool.monitor)
        waiting = threading.Thread(target=commit_one, args=(pool, topic))
        with Transactions(pool, topic, 4) as running:
            waiting.start()
            wait_until(lambda: pool.stats().waiting == 1, "the caller does not wait")
            for count in (1, 2):
                pool.reload()
                assert pool.stats().draining == 4, f"after reload {count}"
            with pytest.raises(PoolExhaustedError):
                pool.acquire(0)
            assert pool.health(deep=True).healthy
            assert set(states(kafka, prefix).values()) == {"Ongoing"}
        assert running.refused == []
        waiting.join(30)
        assert not waiting.is_alive(), "the caller that waited got no lease"
        commit_in_every_slot(pool, topic)
        wait_until(lambda: pool.stats().draining == 0, "an old client stays")
        assert pool.stats().opens == 8
        assert_one_client_for_each_id(kafka, prefix, clients, "four")
        for index in range(4):
            assert life_of(f"four-{index}", events) == [
                "producer.connected",
                "producer.disconnected",
                "producer.connected",
            ]
    stored = stored_by_slot(kafka, topic)
    assert sum(map(len, stored.values())) == len(running.stored) + 5


def commit_one(pool: ProducerPool, topic: str) -> None:
    """Wait for a lease, and commit a message."""
    with pool.transaction(30) as producer:
        producer.produce_sync(topic, b"%d-waited" % slot_of(producer))


def life_of(name: str, events: list[Any]) -> list[str]:
    """Which clients of a producer id were opened and closed, in order."""
    told = ("producer.connected", "producer.disconnected")
    mine = (each for each in events if each.get("producer_id") == name)
    return [each.name for each in mine if each.name in told]


def test_a_shrink_aborts_no_running_transaction(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """The slots that are taken away end with their transactions. Growing again while
    these run opens no second client for an id."""
    with ProducerPool(transactional(kafka, prefix), size=4, name="four") as pool:
        clients = Clients(pool.monitor)
        with Transactions(pool, topic, 4) as running:
            pool.resize(1)
            with pytest.raises(PoolExhaustedError):
                pool.acquire(0)
            pool.resize(4)
            with pytest.raises(PoolExhaustedError):
                pool.acquire(0)
            pool.resize(2)
        assert running.refused == []
        assert commit_in_every_slot(pool, topic).keys() == {0, 1}
        wait_until(lambda: pool.stats().connected == 2, "what was taken away stays")
        pool.resize(4)
        commit_in_every_slot(pool, topic)
        assert_one_client_for_each_id(kafka, prefix, clients, "four")
        assert len(kafka.transactional_ids(prefix)) == 4
    stored = stored_by_slot(kafka, topic)
    assert sum(map(len, stored.values())) == len(running.stored) + 6


def test_close_waits_for_a_running_transaction(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """Of two, one ends within the bound, and commits. The other does not: the report
    names its holder, nothing of it is visible, and consumers wait for nothing."""
    pool = ProducerPool(transactional(kafka, prefix), size=2)
    with Transactions(pool, topic, 1) as ends, Transactions(pool, topic, 1) as stays:
        closing = threading.Timer(0.3, ends.commit)
        closing.start()
        report = pool.close(2)
        closing.join(30)
        assert ends.refused == []
        assert not report.complete
        assert [holder.slot for holder in report.holders] == [1]
    assert [type(error) for error in stays.refused] != []
    with ProducerPool(transactional(kafka, prefix), size=2) as again:
        commit_in_every_slot(again, topic)
    stored = stored_by_slot(kafka, topic)
    assert stored == {0: [*ends.stored, b"0-x"], 1: [b"1-x"]}
