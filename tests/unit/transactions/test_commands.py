"""Retries of a transaction's commands, on a client with scripted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py import Producer
from waterdrop_py._engine.concurrency import clock, wakeup
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.transactions import commands
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import FakeClient, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client


SHORTEST_BACKOFF = 0.1


def failure(code: int, **flags: bool) -> KafkaException:
    """An error of librdkafka: retriable, fatal, or one that requires an abort."""
    return KafkaException(KafkaError(code, "as told", **flags))


def retriable() -> KafkaException:
    """A retriable error."""
    return failure(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True)


class Scripted(FakeClient):
    """Raises the errors of `script`, in order, for each command."""

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self.script: dict[str, list[KafkaException]] = {}
        self.calls: list[str] = []
        super().__init__(conf)

    def _follow(self, name: str) -> None:
        self.calls.append(name)
        if self.script.get(name):
            raise self.script[name].pop(0)

    def init_transactions(self, timeout: float = -1) -> None:
        """Scripted."""
        self._follow("init")

    def begin_transaction(self) -> None:
        """Scripted."""
        self._follow("begin")
        super().begin_transaction()

    def commit_transaction(self, timeout: float = -1) -> None:
        """Scripted."""
        self._follow("commit")
        super().commit_transaction(timeout)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Scripted."""
        self._follow("abort")
        super().abort_transaction(timeout)

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Scripted."""
        self._follow("offsets")
        self.calls.append(repr((positions[0].offset, positions[0].metadata)))
        super().send_offsets_to_transaction(positions, group_metadata, timeout)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between attempts, and skip them; those for the thread that
    polls last a millisecond, and are real."""
    waits: list[float] = []
    real = wakeup.sleep

    def sleep(duration: float) -> None:
        if duration < SHORTEST_BACKOFF:
            real(duration)
        else:
            waits.append(duration)

    monkeypatch.setattr(commands, "sleep", sleep)
    return waits


@pytest.fixture
def client() -> Scripted:
    """The producer's client."""
    return Scripted()


@pytest.fixture
def producer(client: Scripted) -> Producer:
    """A transactional producer with that client."""
    kafka = {"bootstrap.servers": "fake:1", "transactional.id": "t"}
    return Producer(kafka=kafka, client_factory=client)


class Marked:
    """A consumer and a message in one."""

    def consumer_group_metadata(self) -> object:
        """The group."""
        return object()

    def topic(self) -> str:
        """Where it was."""
        return "t"

    def partition(self) -> int:
        """Where it was."""
        return 0

    def offset(self) -> int:
        """Where it was."""
        return 41


def run(producer: Producer, client: Scripted, name: str) -> None:
    """Run a transaction that uses every command."""
    del client
    with producer.transaction():
        producer.produce_async("t", b"x")
        if name == "offsets":
            producer.mark_as_consumed(Marked(), Marked(), "why")
        if name == "abort":
            raise RuntimeError("mine")


TYPES = {
    "init": "transaction.begin",
    "begin": "transaction.begin",
    "commit": "transaction.commit",
    "abort": "transaction.abort",
    "offsets": "transaction.store_offset",
}


@pytest.mark.parametrize("name", TYPES)
def test_a_retriable_error_is_tried_again(
    producer: Producer, client: Scripted, pauses: list[float], name: str
) -> None:
    """A command gets five attempts, backoff x attempt apart, and an event each."""
    client.script[name] = [retriable() for _ in range(4)]
    with producer, record(producer.monitor) as events:
        try:
            run(producer, client, name)
        except RuntimeError as error:
            assert str(error) == "mine"  # noqa: PT017 - of one command only
        told = [e for e in events if e.name == "error.occurred"]
    assert client.calls.count(name) == 5
    assert pauses == [0.5, 1.0, 1.5, 2.0]
    assert [e["attempt"] for e in told] == [1, 2, 3, 4]
    assert [e["retry"] for e in told] == [True] * 4
    assert {e["type"] for e in told} == {TYPES[name]}


@pytest.mark.parametrize("name", ["init", "begin", "commit", "offsets"])
def test_after_the_last_attempt_the_error_is_raised(
    producer: Producer, client: Scripted, pauses: list[float], name: str
) -> None:
    """A `ProduceError` with the native error as its cause is raised; its last event has
    `retry` False."""
    client.script[name] = [retriable() for _ in range(5)]
    with producer, record(producer.monitor) as events:
        with pytest.raises(ProduceError) as caught:
            run(producer, client, name)
        told = [
            e for e in events if e.name == "error.occurred" and "retry" in e.payload
        ]
        producer.produce_sync("t", b"after")
    assert caught.value.code == "coordinator_load_in_progress"
    assert isinstance(caught.value.__cause__, KafkaException)
    assert [e["retry"] for e in told] == [True] * 4 + [False]
    assert len(pauses) == 4


FINAL: dict[str, Callable[[], KafkaException]] = {
    "neither": lambda: failure(KafkaError.TOPIC_AUTHORIZATION_FAILED),
    "abortable": lambda: failure(
        KafkaError.TOPIC_AUTHORIZATION_FAILED, retriable=True, txn_requires_abort=True
    ),
    "fatal": lambda: failure(
        KafkaError.TOPIC_AUTHORIZATION_FAILED, retriable=True, fatal=True
    ),
}


@pytest.mark.parametrize("kind", FINAL)
def test_other_errors_are_not_tried_again(
    producer: Producer, client: Scripted, pauses: list[float], kind: str
) -> None:
    """An abortable error aborts once; a fatal one does not abort."""
    client.script["commit"] = [FINAL[kind]()]
    with (
        producer,
        pytest.MonkeyPatch.context() as patch,
        record(producer.monitor) as events,
    ):
        patch.setattr("waterdrop_py._engine.connection.recovery.sleep", lambda _: None)
        with pytest.raises(ProduceError) as caught:
            run(producer, client, "commit")
        names = [e.name for e in events]
        assert caught.value.fatal is (kind == "fatal")
        assert not pauses
        assert client.calls.count("commit") == 1
        assert client.calls.count("abort") == (kind != "fatal")
        assert names.count("producer.reloaded") == (kind == "fatal")


def test_an_abort_that_fails_does_not_hide_the_cause(
    producer: Producer, client: Scripted, pauses: list[float]
) -> None:
    """The user's exception is raised, and the next transaction has a new client."""
    client.script["abort"] = [failure(KafkaError._STATE)]  # noqa: SLF001 - its name
    with producer:
        with pytest.raises(RuntimeError, match="mine"):
            run(producer, client, "abort")
        producer.produce_sync("t", b"after")
        assert producer.stats().opens == 2
    assert not pauses


def test_the_stored_offset_is_the_next_one(
    producer: Producer, client: Scripted, pauses: list[float]
) -> None:
    """Offset + 1 and the metadata are sent; the event has messages and metadata."""
    with producer, record(producer.monitor) as events:
        run(producer, client, "offsets")
        with producer.transaction():
            producer.mark_as_consumed(Marked(), Marked())
    assert "(42, 'why')" in client.calls
    assert len([each for each in client.calls if each.startswith("(42")]) == 2
    marked = [e for e in events if e.name == "transaction.marked_as_consumed"]
    assert [e["metadata"] for e in marked] == ["why", None]
    assert [type(each) for each in marked[0]["messages"]] == [Marked]
    assert marked[0].duration_ms is None
    assert not pauses


def test_a_command_holds_the_poll_lock_and_a_mark() -> None:
    """It may serve reports, and the client stays open meanwhile. Where another thread
    polls until the deadline, the command is not given."""
    client = open_noted(StillProducer(Bench()).connection, None)
    seen: list[object] = []

    def command(_: Client, __: float) -> None:
        seen.append((client.poll_lock.held_here, len(client.borrows)))

    assert commands._slice(client, command, clock.system_now() + 1)  # noqa: SLF001
    assert seen == [(True, 1)]
    assert not client.borrows
    assert client.poll_lock.take(Hold())
    with pytest.raises(ProduceError, match="holds the client's reports up"):
        commands._slice(client, command, clock.system_now() - 1)  # noqa: SLF001
    assert len(seen) == 1
