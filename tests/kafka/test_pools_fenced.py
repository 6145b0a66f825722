"""Slots whose ids another process uses: out of service, said so, healed by reload."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.kafka.pooling import (
    LeaseTraffic,
    assert_stored,
    slot_of,
    transactional,
    wait_until,
)
from tests.kafka.rival import Rival
from waterdrop_py import ProducerPool, Status
from waterdrop_py.errors import PoolExhaustedError, PoolTimeoutError, ProduceError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster


@pytest.fixture
def prefix() -> str:
    """A `transactional.id` that no other test has."""
    return f"fenced-{uuid.uuid4().hex[:12]}"


def commit_in_every_slot(pool: ProducerPool, topic: str) -> list[ProduceError]:
    """Commit in each slot in service; the errors of those that were refused."""
    refused = []
    with ExitStack() as leases:
        usable = [slot for slot in pool.slots() if slot.error is None]
        for producer in [leases.enter_context(pool.acquire()) for _ in usable]:
            try:
                with producer.transaction():
                    producer.produce_sync(topic, b"%d-x" % slot_of(producer))
            except ProduceError as error:
                refused.append(error)
    return refused


def test_one_slot_is_fenced(kafka: KafkaCluster, topic: str, prefix: str) -> None:
    """One block meets it. The slot is handed out no more and says why; the others work
    on; nothing of ours fences the other process. `reload()` takes the slot back."""
    other = kafka.create_topic(f"{topic}-of-the-rival")
    with (
        ProducerPool(transactional(kafka, prefix), size=4, timeout=30) as pool,
        record(pool.monitor) as events,
        Rival(kafka.bootstrap(), other, [f"{prefix}-1"]) as rival,
    ):
        with LeaseTraffic(pool, topic, transactional=True) as traffic:
            # Else a slot could register its id after the rival, and fence that.
            wait_until(lambda: len(traffic.stored) == 4, "a slot has nothing to do")
            assert rival.commit() == "ok"
            wait_until(lambda: pool.slots()[1].error, "the slot stays in service")
            traffic.go_on(200)
        # A commit that meets the other process may be answered with "unknown".
        (refused,) = traffic.refused
        assert refused.code in {"fenced", "unknown"}
        assert_out_of_service(pool, f"{prefix}-1")
        assert rival.commit() == "ok"

        pool.reload()
        assert [slot.error for slot in pool.slots()] == [None] * 4
        assert commit_in_every_slot(pool, topic) == []
        assert rival.commit() == "fenced"
        assert commit_in_every_slot(pool, topic) == []
    assert not [each for each in events if each.name == "pool.replaced"]
    for slot in range(4):
        traffic.stored[slot] += [b"%d-x" % slot] * 2
    assert_stored(traffic, kafka, topic)
    assert len(kafka.transactional_ids(prefix)) == 4


def assert_out_of_service(pool: ProducerPool, name: str) -> None:
    """Slot 1 of 4 says that it was fenced, has no client, and is not handed out."""
    wait_until(lambda: pool.stats().draining == 0, "the fenced client stays")
    slots = pool.slots()
    assert [slot.index for slot in slots if slot.error is not None] == [1]
    assert slots[1].error is not None
    assert (slots[1].error.code, slots[1].error.fatal) == ("fenced", True)
    assert slots[1].transactional_id == name
    assert slots[1].status is not Status.CONNECTED
    stats = pool.stats()
    assert (stats.connected, stats.available, stats.replaced) == (3, 3, 0)
    assert pool.health().healthy
    with ExitStack() as leases:
        taken = [leases.enter_context(pool.acquire()) for _ in range(3)]
        assert {slot_of(each) for each in taken} == {0, 2, 3}
        with pytest.raises(PoolTimeoutError) as none_free:
            pool.acquire(0.1)
        assert none_free.value.retriable


def test_all_slots_are_fenced(kafka: KafkaCluster, topic: str, prefix: str) -> None:
    """A caller that waits is told at once, and so are those that come: the text names
    the ids, and says that another process uses them. `reload()` helps, and no retry."""
    ids = [f"{prefix}-{index}" for index in range(2)]
    with (
        ProducerPool(transactional(kafka, prefix), size=2) as pool,
        Rival(kafka.bootstrap(), topic, ids) as rival,
    ):
        assert commit_in_every_slot(pool, topic) == []
        waiter = Waiter(pool)
        with ExitStack() as leases:
            producers = [leases.enter_context(pool.acquire()) for _ in range(2)]
            waiter.start()
            wait_until(lambda: pool.stats().waiting == 1, "the caller does not wait")
            assert rival.commit() == "ok"
            for producer in producers:
                with pytest.raises(ProduceError, match="fenced"):
                    producer.produce_sync(topic, b"lost")
        waiter.join(2)
        assert_no_slot_in_service(waiter.error, ids)
        for refuse in (pool.acquire, pool.transaction(60).__enter__):
            with pytest.raises(PoolExhaustedError) as caught:
                refuse()
            assert_no_slot_in_service(caught.value, ids)
        health = pool.health()
        assert not health.healthy
        assert isinstance(health.error, ProduceError)
        assert health.error.code == "fenced"
        wait_until(lambda: pool.stats().connected == 0, "a fenced client stays")
        assert rival.commit() == "ok"

        pool.reload()
        assert commit_in_every_slot(pool, topic) == []
        assert pool.health().healthy
        assert [rival.commit() for _ in range(3)] == ["fenced", "fenced", "exhausted"]
    values = [message.value() for message in kafka.read_topic(topic)]
    assert Counter(values) == {b"0-x": 2, b"1-x": 2, b"rival": 4}


class Waiter(threading.Thread):
    """A thread that waits for a lease, and keeps the error that it gets instead."""

    def __init__(self, pool: ProducerPool) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self.error: BaseException | None = None

    def run(self) -> None:
        """Wait for a minute."""
        try:
            self._pool.acquire(60)
        except PoolExhaustedError as error:
            self.error = error


def assert_no_slot_in_service(error: object, ids: list[str]) -> None:
    """The error of a pool of which each slot was fenced, which came without a wait."""
    assert isinstance(error, PoolExhaustedError)
    assert not isinstance(error, PoolTimeoutError)
    assert not error.retriable
    assert all(repr(each) in str(error) for each in ids)
    assert "another process" in str(error)
    assert isinstance(error.__cause__, ProduceError)
    assert error.__cause__.code == "fenced"


def test_an_idle_slot_that_was_fenced(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """A slot that sleeps while another process comes and goes was not fenced: it wakes,
    registers its id, and works. What the process left is the process's loss."""
    config = transactional(kafka, prefix, idle_disconnect_timeout=300)
    with ProducerPool(config, size=1) as pool:
        assert commit_in_every_slot(pool, topic) == []
        kafka.wait_for_connections(0)
        with Rival(kafka.bootstrap(), topic, [f"{prefix}-0"]) as rival:
            assert rival.commit() == "ok"
            assert commit_in_every_slot(pool, topic) == []
            assert rival.commit() == "fenced"
        assert pool.slots()[0].error is None
        assert pool.stats().replaced == 0


def test_a_fatal_error_that_may_be_reloaded(
    kafka: KafkaCluster, topic: str, prefix: str
) -> None:
    """Where `fenced` is not excepted, and the producer does not reload itself, the slot
    goes on with a new producer of the same ids once the lease has ended."""
    config = transactional(
        kafka,
        prefix,
        non_reloadable_errors=(),
        reload_on_transaction_fatal_error=False,
    )
    with (
        ProducerPool(config, size=2, name="pair") as pool,
        record(pool.monitor) as events,
        Rival(kafka.bootstrap(), topic, [f"{prefix}-0"]) as rival,
    ):
        assert commit_in_every_slot(pool, topic) == []
        assert rival.commit() == "ok"
        (refused,) = commit_in_every_slot(pool, topic)
        assert refused.code == "fenced"
        assert commit_in_every_slot(pool, topic) == []
        (replaced,) = [each for each in events if each.name == "pool.replaced"]
        assert (replaced["slot"], replaced["producer_id"]) == (0, "pair-0")
        assert replaced["error"].code == "fenced"
        assert [slot.error for slot in pool.slots()] == [None, None]
        assert pool.stats().replaced == 1
        assert rival.commit() == "fenced"
    assert len(kafka.transactional_ids(prefix)) == 2
