"""Forced interleavings around the begin and the end of a transaction."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.doubles import BOUND, Park, Run, eventually
from tests.moments import each_moment
from waterdrop_py import Producer
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import opening
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.transactions import manager
from waterdrop_py._engine.transactions.manager import Transactions
from waterdrop_py.errors import DeliveryTimeoutError, ProducerClosedError
from waterdrop_py.testing import FakeClient, record

if TYPE_CHECKING:
    from collections.abc import Callable


class Parking(FakeClient):
    """Calls hooks inside of its commands."""

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self.inside: dict[str, deque[Callable[[], None]]] = {}
        super().__init__(conf)

    def _come_by(self, name: str) -> None:
        if self.inside.get(name):
            self.inside[name].popleft()()

    def produce(self, *args: Any, **kwargs: Any) -> None:
        """Hooked."""
        self._come_by("produce")
        super().produce(*args, **kwargs)

    def commit_transaction(self, timeout: float = -1) -> None:
        """Hooked."""
        self._come_by("commit")
        super().commit_transaction(timeout)


def make(client: Parking, **options: Any) -> Producer:
    """A producer with that client."""
    kafka = {"bootstrap.servers": "fake:1", **options.pop("kafka", {})}
    return Producer(kafka=kafka, client_factory=client, **options)


TRANSACTIONAL = {"transactional.id": "t"}


def test_a_close_waits_for_a_commit_and_refuses_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commits, B waits to begin, C closes: A's transaction is committed, B is refused
    before it has begun, and C closes then."""
    client, park = Parking(), Park()
    client.inside["commit"] = deque([park])
    producer = make(client, kafka=TRANSACTIONAL)
    waiting: list[object] = []
    take = Transactions._acquire  # noqa: SLF001 - where B and C wait

    def taking(self: Transactions, *args: Any) -> None:
        waiting.append(args)
        take(self, *args)

    monkeypatch.setattr(Transactions, "_acquire", taking)
    with record(producer.monitor) as events:
        first = Run(lambda: producer.produce_sync("t", b"1"))
        park.entered()
        second = Run(lambda: producer.produce_sync("t", b"2"))
        eventually(lambda: len(waiting) == 2)
        closing = Run(producer.close)
        eventually(lambda: len(waiting) == 3)
        park.go()
        assert first.result().error is None
        assert closing.result().complete
        with pytest.raises(ProducerClosedError):
            second.result()
        names = [e.name for e in events]
    started = names.count("transaction.started")
    assert started == names.count("transaction.committed")
    assert "transaction.aborted" not in names
    assert names.count("producer.closed") == 1


def test_a_disconnect_before_the_transaction_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It detaches the client that the transaction has found, before that is noted as
    running: the transaction begins on the next client."""
    producer = make(Parking(), kafka=TRANSACTIONAL)
    producer.produce_sync("t", b"1")
    opened = opening.open_noted

    def overtaken(connection: Any, deadline: float | None) -> Any:
        client = opened(connection, deadline)
        monkeypatch.undo()
        assert disconnect(connection, "requested").teardown is not None
        return client

    monkeypatch.setattr(manager, "open_noted", overtaken)
    with record(producer.monitor) as events:
        assert producer.produce_sync("t", b"2").error is None
    assert producer.stats().opens == 2
    assert [e.name for e in events].count("transaction.started") == 1
    producer.close()


def test_each_waiting_job_runs_once() -> None:
    """Deferred messages of several threads are each sent once after the transaction."""
    client, park = Parking(), Park()
    client.inside["commit"] = deque([park])
    producer = make(client, kafka=TRANSACTIONAL)
    handles: list[Any] = []
    sent: list[object] = []

    @producer.monitor.on("transaction.started")
    def react(_: object) -> None:
        if len(handles) < 20:
            handles.append(producer.produce_async("t", b"reaction"))

    producer.monitor.subscribe("message.acknowledged", sent.append)
    first = Run(lambda: producer.produce_sync("t", b"x"))
    park.entered()
    park.go()
    first.result()
    eventually(lambda: len(handles) == 20 and all(each.done() for each in handles))
    assert all(each.exception() is None for each in handles)
    assert len(sent) == 21
    producer.close()


def test_a_send_parked_in_a_lost_client_recovers_on_the_next() -> None:
    """Sender A is inside the old client while thread B meets its fatal error and
    reloads. A's call fails too, and its message goes to the new client, once."""
    client, park = Parking(), Park()

    def lost() -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL))  # noqa: SLF001 - its name

    def parked() -> None:
        park()
        lost()

    client.inside["produce"] = deque([parked, lost])
    producer = make(
        client,
        kafka={"enable.idempotence": True},
        reload_on_idempotent_fatal_error=True,
        wait_backoff_on_idempotent_fatal_error=0,
    )
    delivered: list[Any] = []
    producer.monitor.subscribe("message.acknowledged", delivered.append)
    with record(producer.monitor) as events:
        first = Run(lambda: producer.produce_sync("t", b"parked"))
        park.entered()
        second = Run(lambda: producer.produce_sync("t", b"meets it"))
        eventually(lambda: any(e.name == "producer.reload" for e in events))
        park.go()
        assert first.result().error is None
        assert second.result().error is None
        assert [e.name for e in events].count("producer.reloaded") == 1
    payloads = sorted(each["message"].payload for each in delivered)
    assert payloads == [b"meets it", b"parked"]
    producer.close()


class Counted(FakeClient):
    """A client whose close is held up, and how many are open."""

    open_now = 0
    most = 0
    park: Park | None = None

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        Counted.open_now += 1
        Counted.most = max(Counted.most, Counted.open_now)

    def close(self, *arguments: Any) -> Any:
        """Held up."""
        if Counted.park is not None:
            Counted.park()
        answer = super().close(*arguments)
        Counted.open_now -= 1
        return answer


def test_no_second_client_of_an_id_before_the_first_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A send meets the close of the idle client. The next one would register the same
    id while that is open, so the send waits for its end."""
    waits: list[float] = []

    def sleeping(seconds: float) -> None:
        waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(opening, "sleep", sleeping)
    kafka = {"bootstrap.servers": "fake:1", **TRANSACTIONAL}
    producer = Producer(kafka=kafka, client_factory=Counted)
    producer.produce_sync("t", b"1")
    Counted.park = park = Park()
    closing = Run(producer.disconnect)
    park.entered()
    second = Run(lambda: producer.produce_sync("t", b"2"))
    eventually(lambda: waits)
    park.go()
    assert closing.result()
    assert second.result().error is None
    producer.close()
    assert Counted.most == 1


def test_a_block_that_is_collected_releases_whatever_interrupts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler raises at each moment of the finalizer of a block that is entered:
    Python drops that, and the next transaction begins all the same."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    producer = make(Parking(), kafka=TRANSACTIONAL)

    def interrupted() -> None:
        raise KeyboardInterrupt

    for moments in each_moment("_engine/transactions/", interrupted):
        block = producer.transaction()
        block.__enter__()
        with moments:
            del block
        entered = Run(lambda: producer.produce_sync("t", b"next"))
        assert entered.result().error is None
    producer.close()


def test_a_flush_waits_no_longer_for_its_turn() -> None:
    """Another thread is in a transaction: the buffer stays as it is."""
    kafka = {"transactional.id": "flushed", "message.timeout.ms": 50}
    with Producer(kafka=kafka, client_factory=FakeClient) as producer:
        producer.buffer("t", b"x")
        with producer.transaction():
            flush = Run(lambda: producer.flush(0.05))
            with pytest.raises(DeliveryTimeoutError):
                flush.result()
            assert producer.buffer_size == 1
        assert producer.flush(BOUND) == 0
        assert producer.stats().acknowledged == 1
