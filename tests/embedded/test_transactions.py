"""Transactions: what commits, what aborts, how threads wait, and the events."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from tests.embedded.support import BOUND, eventually, in_threads
from waterdrop_py import AbortTransaction, Status
from waterdrop_py.errors import (
    ProduceError,
    ProducerClosedError,
    ProducerNotTransactionalError,
    ReentrantCallError,
    TransactionalCloseError,
    TransactionalOffsetInvalidError,
    TransactionRequiredError,
    TuningWarning,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import DeliveryHandle, Producer
    from waterdrop_py.testing import EmbeddedCluster

    Make = Callable[..., Producer]

ENDS = ["transaction.started", "transaction.committed", "transaction.finished"]
ABORTS = ["transaction.started", "transaction.aborted", "transaction.finished"]


@pytest.fixture
def make(make_producer: MakeProducer) -> Make:
    """Build transactional producers, each with its own id."""

    def make(**options: Any) -> Producer:
        kafka = {"transactional.id": uuid.uuid4().hex, **options.pop("kafka", {})}
        return make_producer(kafka=kafka, **options)

    return make


@pytest.fixture
def producer(make: Make) -> Producer:
    """A transactional producer."""
    return make()


def values(cluster: EmbeddedCluster, topic: str) -> list[Any]:
    """What a topic holds, sorted. The mock shows aborted messages too."""
    return sorted(message.value() for message in cluster.read(topic))


def assert_works(producer: Producer, topic: str) -> None:
    """A transaction commits."""
    with producer.transaction():
        handle = producer.produce_async(topic, b"after")
    assert handle.result(0).error is None


# -- commit ------------------------------------------------------------------


def test_a_block_commits_at_its_end(
    producer: Producer, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """After the block all handles are final, and its events were emitted."""
    with producer.transaction():
        assert producer.in_transaction
        handles = [producer.produce_async(topic, b"%d" % n) for n in range(5)]
    assert not producer.in_transaction
    assert all(handle.done() and handle.exception() is None for handle in handles)
    assert values(cluster, topic) == [b"0", b"1", b"2", b"3", b"4"]
    assert log.names("transaction.") == ENDS
    assert all(e["producer_id"] == producer.id for e in log.events)
    assert (log.all("transaction.committed")[0].duration_ms or 0) > 0
    assert not log.all("error.occurred")


def test_an_empty_block_commits(producer: Producer, log: EventLog) -> None:
    """A transaction in which nothing was sent is valid."""
    with producer.transaction():
        pass
    assert log.names("transaction.") == ENDS


def test_return_break_and_continue_commit(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """`return`, `break` and `continue` commit, like the end of the block."""

    def leave() -> str:
        for _ in range(2):
            with producer.transaction():
                producer.produce_async(topic, b"x")
                return "value"
        return "no value"

    assert leave() == "value"
    for _ in range(2):
        with producer.transaction():
            break
    for _ in range(1):
        with producer.transaction():
            continue
    assert len(log.all("transaction.committed")) == 3
    assert not log.all("transaction.aborted")


def test_many_in_a_row(producer: Producer, topic: str, log: EventLog) -> None:
    """Ten transactions of five messages: fifty reports, no error, one client."""
    for _ in range(10):
        with producer.transaction():
            for _ in range(5):
                producer.produce_async(topic, b"x")
    assert producer.stats().acknowledged == 50
    assert producer.stats().opens == 1
    assert len(log.all("transaction.committed")) == 10
    assert not log.all("error.occurred")


def test_a_linger_is_not_waited_out(make: Make, topic: str) -> None:
    """A commit sends at once what would linger for a minute."""
    producer = make(kafka={"linger.ms": 60_000})
    producer.connect()
    started = time.monotonic()
    with producer.transaction():
        handle = producer.produce_async(topic, b"x")
    assert handle.result(0).offset == 0
    assert time.monotonic() - started < 5


# -- abort -------------------------------------------------------------------


class Strange(BaseException):
    """A BaseException that is not an `Exception`."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        Strange(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_aborts_and_is_raised_unchanged(
    make: Make, topic: str, log: EventLog, error: BaseException
) -> None:
    """The same exception is raised, purged messages are not `error.occurred`, and the
    next transaction works."""
    producer = make(kafka={"linger.ms": 60_000})
    with pytest.raises(type(error)) as caught, producer.transaction():
        handle = producer.produce_async(topic, b"x", label="mine")
        raise error
    assert caught.value is error
    failure = handle.exception(0)
    assert isinstance(failure, ProduceError)
    assert failure.code in {"purge_queue", "purge_inflight"}
    assert log.names("transaction.") == ABORTS[:2]
    (purged,) = log.all("message.purged")
    assert purged["label"] == "mine"
    assert not log.all("error.occurred")
    assert_works(producer, topic)
    assert producer.stats().opens == 1


def test_abort_transaction_is_swallowed(make: Make, topic: str, log: EventLog) -> None:
    """AbortTransaction is swallowed, and nothing of the block was sent."""
    producer = make(kafka={"linger.ms": 60_000})
    with producer.transaction():
        handle = producer.produce_async(topic, b"x")
        raise AbortTransaction
    assert isinstance(handle.exception(0), ProduceError)
    assert log.names("transaction.") == ABORTS
    assert not log.all("error.occurred")


def test_a_generator_closed_inside_the_block_aborts(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """A generator aborts, even if another context closes it."""

    def feed() -> Generator[None]:
        with producer.transaction():
            producer.produce_async(topic, b"x")
            yield

    feeding = feed()
    next(feeding)
    in_threads(1, lambda _: feeding.close())
    assert log.names("transaction.") == ABORTS[:2]
    assert not producer.in_transaction
    producer.produce_sync(topic, b"after")


def test_a_report_that_came_before_the_abort_stays(
    producer: Producer, topic: str
) -> None:
    """`produce_sync` returns a real report inside a block that is aborted later."""
    with producer.transaction():
        report = producer.produce_sync(topic, b"x", partition=1)
        raise AbortTransaction
    assert (report.partition, report.offset, report.error) == (1, 0, None)


def test_an_abort_may_wait_for_what_is_in_flight(
    make: Make, topic: str, log: EventLog
) -> None:
    """With `wait_timeout_on_transaction_abort` nothing is purged, linger or not."""
    producer = make(wait_timeout_on_transaction_abort=5000, kafka={"linger.ms": 60_000})
    with producer.transaction():
        handle = producer.produce_async(topic, b"x", partition=0)
        raise AbortTransaction
    assert handle.result(0).offset == 0
    assert not log.all("message.purged")
    assert not log.all("error.occurred")
    assert log.names("transaction.") == ABORTS


def test_the_wait_before_an_abort_is_a_ceiling(
    make: Make, cluster: EmbeddedCluster, topic: str
) -> None:
    """The abort takes place after that time, even if messages are left."""
    producer = make(wait_timeout_on_transaction_abort=200)
    producer.connect()
    with suppress(AbortTransaction), producer.transaction():
        cluster.set_rtt(1000)
        handle = producer.produce_async(topic, b"x")
        started = time.monotonic()
        raise AbortTransaction
    assert isinstance(handle.exception(0), ProduceError)
    assert 0.2 <= time.monotonic() - started < 4


# -- nesting -----------------------------------------------------------------


def test_blocks_inside_a_block_join_it(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """Nested blocks are one transaction, committed at the end of the outermost."""
    with producer.transaction():
        producer.produce_async(topic, b"outer")
        with producer.transaction(), producer.transaction():
            producer.produce_async(topic, b"inner")
        assert not log.all("transaction.committed")
    assert log.names("transaction.") == ENDS


def test_abort_transaction_aborts_all_levels(
    make: Make, topic: str, log: EventLog
) -> None:
    """AbortTransaction of an inner block is swallowed at the end of the outermost."""
    producer = make(kafka={"linger.ms": 60_000})
    after = []
    with producer.transaction():
        outer = producer.produce_async(topic, b"outer")
        with producer.transaction():
            inner = producer.produce_async(topic, b"inner")
            raise AbortTransaction
        after.append("not reached")
    assert not after
    assert isinstance(outer.exception(0), ProduceError)
    assert isinstance(inner.exception(0), ProduceError)
    assert log.names("transaction.") == ABORTS


def test_a_failed_inner_block_aborts_the_outer(
    make: Make, topic: str, log: EventLog
) -> None:
    """Nothing is committed, even if the exception is caught, and the block raises."""
    producer = make(kafka={"linger.ms": 60_000})
    with pytest.raises(ProduceError) as caught, producer.transaction():
        outer = producer.produce_async(topic, b"outer")
        with suppress(ValueError), producer.transaction():
            raise ValueError("inner")
        producer.produce_async(topic, b"more")
    assert caught.value.code == "aborted"
    assert isinstance(caught.value.__cause__, ValueError)
    assert isinstance(outer.exception(0), ProduceError)
    assert not log.all("transaction.committed")
    assert len(log.all("transaction.aborted")) == 1
    assert_works(producer, topic)


def test_an_interrupted_message_aborts_its_transaction(make: Make, topic: str) -> None:
    """It aborts even if the exception is caught, as the message may have been sent."""
    producer = make(kafka={"linger.ms": 60_000})
    with pytest.raises(ProduceError) as caught, producer.transaction():
        producer.produce_async(topic, b"1")
        client = producer._connection.client  # noqa: SLF001 - the client's class cannot change
        taken = client.produce

        def interrupted(*arguments: Any) -> None:
            taken(*arguments)  # type: ignore[misc]
            raise KeyboardInterrupt  # as a signal handler does

        client.produce = interrupted
        with suppress(KeyboardInterrupt):
            producer.produce_async(topic, b"2")
        client.produce = taken
        producer.produce_async(topic, b"3")
    assert caught.value.code == "aborted"
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
    assert_works(producer, topic)


class Raising(confluent_kafka.Producer):
    """A subclass that raises after it has queued its third message."""

    sent = 0

    def produce(self, *arguments: Any, **given: Any) -> None:
        """Queue it, and raise."""
        super().produce(*arguments, **given)
        Raising.sent += 1
        if Raising.sent == 3:
            raise ZeroDivisionError


def test_a_wrapper_that_raises_aborts_its_transaction(make: Make, topic: str) -> None:
    """The exception is the cause of the abort, even if it is caught."""
    Raising.sent = 0
    producer = make(kafka={"linger.ms": 60_000}, client_factory=Raising)
    with pytest.raises(ProduceError) as caught, producer.transaction():
        producer.produce_async(topic, b"1")
        producer.produce_async(topic, b"2")
        with suppress(ZeroDivisionError):
            producer.produce_async(topic, b"3")
        producer.produce_async(topic, b"4")
    assert caught.value.code == "aborted"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert_works(producer, topic)


def test_a_message_from_outside_is_no_part_of_it(
    make: Make, cluster: EmbeddedCluster, topic: str
) -> None:
    """A message of another context is delivered in its own transaction, while the one
    that is open is aborted."""
    producer = make(kafka={"linger.ms": 60_000})
    with producer.transaction():
        producer.produce_async(topic, b"inside")
        handle = Context().run(producer.produce_async, topic, b"outside")
        raise AbortTransaction
    assert handle.result(BOUND).error is None
    assert values(cluster, topic) == [b"outside"]


def test_a_message_sent_as_it_ends_is_no_part_of_it(make: Make, topic: str) -> None:
    """What runs during a commit sends in its own transaction, also in a copy of the
    context that the block ran in."""
    producer = make(kafka={"linger.ms": 60_000})
    begun: list[object] = []
    handles: list[DeliveryHandle] = []
    producer.monitor.subscribe("transaction.started", begun.append)

    @producer.monitor.on("message.acknowledged")
    def react(_: object) -> None:
        if not handles:
            handles.append(inside.run(producer.produce_async, topic, b"reaction"))

    with producer.transaction():
        inside = copy_context()
        producer.produce_async(topic, b"x")
    assert handles[0].result(BOUND).error is None
    assert len(begun) == 2


# -- sends outside of a block ------------------------------------------------


def test_sends_outside_a_block_have_their_own(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """One transaction for each call, and one for a whole batch."""
    calls: list[Callable[[], object]] = [
        lambda: producer.produce_sync(topic, b"x"),
        lambda: producer.produce_async(topic, b"x"),
        lambda: producer.produce_many_sync([{"topic": topic, "payload": b"x"}] * 10),
        lambda: producer.produce_many_async([{"topic": topic, "payload": b"x"}] * 10),
        lambda: producer.tombstone_sync(topic, key=b"k"),
    ]
    for count, call in enumerate(calls, 1):
        call()
        assert len(log.all("transaction.committed")) == count
    assert producer.stats().acknowledged == 23
    with producer.transaction():
        producer.produce_sync(topic, b"x")
        producer.produce_many_sync([{"topic": topic, "payload": b"x"}] * 10)
    assert len(log.all("transaction.committed")) == len(calls) + 1


def test_a_flushed_buffer_is_one_transaction(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """A flush of the buffer is one transaction, sync or async; an empty one is none."""
    for flush in (producer.flush_buffer_sync, producer.flush_buffer_async):
        for _ in range(3):
            producer.buffer(topic, b"x")
        assert len(flush()) == 3
        assert producer.flush_buffer_sync() == []
    assert len(log.all("transaction.committed")) == 2


@pytest.mark.parametrize("verb", ["flush_buffer_sync", "flush_buffer_async"])
def test_a_rolled_back_flush_is_all_back_in_the_buffer(
    make: Make, cluster: EmbeddedCluster, topic: str, verb: str
) -> None:
    """After a rolled back transaction, a flush puts all messages back in order, and the
    next flush sends them."""
    producer = make()
    producer.connect()
    for n in range(3):
        producer.buffer(topic, b"%d" % n, partition=0)
    cluster.push_errors("AddPartitionsToTxn", "topic_authorization_failed")
    with pytest.raises(ProduceError):
        getattr(producer, verb)()
    assert producer.buffer_size == 3
    reports = producer.flush_buffer_sync()
    assert [report.message.payload for report in reports] == [b"0", b"1", b"2"]
    assert producer.buffer_size == 0


# -- how threads wait --------------------------------------------------------


def test_threads_take_turns(producer: Producer, topic: str, log: EventLog) -> None:
    """Five threads with ten transactions of three messages: fifty commits, and no
    message in another thread's transaction."""
    seen: list[tuple[str, object]] = []
    producer.monitor.subscribe(
        "transaction.started", lambda _: seen.append(("began", threading.get_ident()))
    )

    def work(index: int) -> None:
        for _ in range(10):
            with producer.transaction():
                for _ in range(3):
                    producer.produce_async(topic, b"x", label=index)
                seen.append(("inside", threading.get_ident()))

    assert not in_threads(5, work)
    assert len(log.all("transaction.committed")) == 50
    assert producer.stats().acknowledged == 150
    assert not log.all("error.occurred")
    # Nobody begins before the one before has left its block.
    assert all(
        (one[0], two[0]) == ("began", "inside") and one[1] == two[1]
        for one, two in zip(seen[::2], seen[1::2], strict=True)
    )


def test_two_producers_run_side_by_side(make: Make, topic: str) -> None:
    """Two producers may be in transactions at one time."""
    producers = [make(), make()]
    both = threading.Barrier(2)

    def work(index: int) -> None:
        for _ in range(3):
            with producers[index].transaction():
                producers[index].produce_async(topic, b"x")
                both.wait(BOUND)

    assert not in_threads(2, work)
    assert [each.stats().acknowledged for each in producers] == [3, 3]


def test_two_transactions_in_one_thread(make: Make, topic: str, log: EventLog) -> None:
    """Transactions of different producers nest, and each ends for itself."""
    first, second = make(id="first"), make(id="second")
    with pytest.raises(ValueError, match="mine"), first.transaction():
        with second.transaction():
            assert first.in_transaction
            assert second.in_transaction
            second.produce_async(topic, b"x")
        raise ValueError("mine")
    assert [e["producer_id"] for e in log.all("transaction.committed")] == ["second"]
    assert [e["producer_id"] for e in log.all("transaction.aborted")] == ["first"]


@pytest.mark.timed
def test_a_thread_that_waits_for_its_turn_gives_up(make: Make, topic: str) -> None:
    """A send of another thread waits for its own bound at most, and raises then."""
    producer = make()
    raised: list[BaseException] = []

    def send(_: int) -> None:
        producer.produce_sync(topic, b"x", timeout=0.3)

    with producer.transaction():
        started = time.monotonic()
        raised += in_threads(1, send)
        assert 0.3 <= time.monotonic() - started < 2
    (error,) = raised
    assert isinstance(error, ProduceError)
    assert error.code == "timed_out"


def test_a_task_that_is_not_inside_does_not_deadlock(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """In an asyncio task outside of the thread's transaction, verbs that wait are
    refused, and `produce_async` is sent when the transaction has ended."""

    async def inside(begun: asyncio.Event, tried: asyncio.Event) -> None:
        with producer.transaction():
            producer.produce_async(topic, b"inside")
            begun.set()
            await tried.wait()

    async def outside(begun: asyncio.Event, tried: asyncio.Event) -> Any:
        await begun.wait()
        try:
            assert not producer.in_transaction
            with pytest.raises(ReentrantCallError):
                producer.produce_sync(topic, b"refused")
            with pytest.raises(ReentrantCallError), producer.transaction():
                pass
            return producer.produce_async(topic, b"outside")
        finally:
            tried.set()

    async def run() -> Any:
        begun, tried = asyncio.Event(), asyncio.Event()
        joined = asyncio.gather(inside(begun, tried), outside(begun, tried))
        return (await asyncio.wait_for(joined, BOUND))[1]

    handle = asyncio.run(run())
    assert handle.result(BOUND).error is None
    assert eventually(lambda: len(log.all("transaction.committed")) == 2)


def test_a_thread_that_got_the_context_is_inside(
    producer: Producer, topic: str, log: EventLog
) -> None:
    """`asyncio.to_thread` copies the context: what it sends is in the transaction."""

    async def run() -> None:
        with producer.transaction():
            await asyncio.to_thread(producer.produce_sync, topic, b"x")

    asyncio.run(run())
    assert log.names("transaction.") == ENDS


# -- subscribers and signal handlers ----------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        "message.acknowledged",
        "transaction.started",
        "transaction.committed",
        "transaction.finished",
    ],
)
def test_a_subscriber_may_use_the_producer(
    producer: Producer, cluster: EmbeddedCluster, topic: str, event: str
) -> None:
    """`produce_async` from any event around a transaction returns a handle, which is
    sent in a transaction of its own; verbs that wait answer, and nothing deadlocks."""
    other = f"other-{uuid.uuid4().hex}"
    handles: list[Any] = []
    answers: list[object] = []

    def react(_: object) -> None:
        if handles:
            return
        handles.append(producer.produce_async(other, b"reaction", partition=0))
        with pytest.raises(ReentrantCallError):
            producer.produce_sync(other, b"refused")
        answers.append(producer.disconnect())

    producer.monitor.subscribe(event, react)
    with producer.transaction():
        producer.produce_async(topic, b"x")
    assert eventually(lambda: bool(handles) and handles[0].done())
    assert handles[0].result(0).error is None
    assert answers == [False]
    assert values(cluster, topic) == [b"x"]
    assert values(cluster, other) == [b"reaction"]


def test_a_subscriber_of_a_purge_may_send(
    make: Make, cluster: EmbeddedCluster, topic: str
) -> None:
    """A dead letter sent by a subscriber of the abort is sent after it."""
    producer = make(kafka={"linger.ms": 60_000})
    letters = f"letters-{uuid.uuid4().hex}"
    handles: list[Any] = []

    @producer.monitor.on("message.purged")
    def keep(event: Any) -> None:
        handles.append(producer.produce_async(letters, event["message"].payload))

    with producer.transaction():
        producer.produce_async(topic, b"x")
        raise AbortTransaction
    assert eventually(lambda: bool(handles) and handles[0].done())
    assert values(cluster, letters) == [b"x"]


def test_close_from_a_subscriber_closes_behind_the_transaction(
    producer: Producer, cluster: EmbeddedCluster, topic: str
) -> None:
    """A close inside a subscriber of a commit begins to close; the commit succeeds."""
    reports: list[Any] = []

    @producer.monitor.on("message.acknowledged")
    def close(_: object) -> None:
        if not reports:
            reports.append(producer.close())

    with producer.transaction():
        producer.produce_async(topic, b"x")
    assert [report.complete for report in reports] == [False]
    assert eventually(lambda: producer.status is Status.CLOSED)
    assert values(cluster, topic) == [b"x"]


@pytest.mark.parametrize("moment", ["body", "commit"])
def test_a_signal_handler_may_send(
    make: Make, cluster: EmbeddedCluster, topic: str, moment: str
) -> None:
    """A signal handler that interrupts the body sends inside the transaction; one that
    interrupts the commit sends after it. Neither deadlocks."""
    producer = make()
    producer.connect()
    handles: list[Any] = []

    def handler(_: int, __: object) -> None:
        handles.append(producer.produce_async(topic, b"signal"))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with producer.transaction():
            producer.produce_async(topic, b"x")
            if moment == "commit":
                cluster.set_rtt(300)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            if moment == "body":
                assert eventually(lambda: bool(handles))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert eventually(lambda: bool(handles) and handles[0].done())
    assert handles[0].result(0).error is None
    cluster.set_rtt(0)
    assert values(cluster, topic) == [b"signal", b"x"]


@pytest.mark.parametrize("rtt", [150, 700])
def test_an_interrupted_commit_aborts(
    make: Make, cluster: EmbeddedCluster, topic: str, rtt: int, log: EventLog
) -> None:
    """Ctrl-C during the commit is raised by the block, and the next transaction works:
    on the same client if it could be aborted, else on another."""
    producer = make(wait_backoff_on_transaction_command=50)
    producer.connect()

    class Interrupted(BaseException):
        pass

    def handler(_: int, __: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Interrupted), producer.transaction():
            producer.produce_sync(topic, b"x")
            cluster.set_rtt(rtt)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        cluster.set_rtt(0)
    assert not producer.in_transaction
    assert producer.produce_sync(topic, b"after").error is None
    assert not log.all("producer.reload")


# -- idleness ----------------------------------------------------------------


def refusals(log: EventLog) -> list[str]:
    """Why idle disconnects were refused."""
    return [event["reason"] for event in log.all("producer.disconnect_refused")]


def test_idle_between_transactions_and_never_inside(
    make: Make, topic: str, log: EventLog
) -> None:
    """The refusal names the owner; after its end the idle time starts again."""
    producer = make(idle_disconnect_timeout=500)
    with producer.transaction():
        producer.produce_sync(topic, b"x")
        # On a busy machine the message may be in flight beyond the first deadline.
        assert eventually(lambda: "transaction" in refusals(log))
        time.sleep(0.6)
        assert producer.is_connected
        assert not producer.disconnect()
        reasons = {each.code: each for each in producer.explain_idle().reasons}
        owner = threading.current_thread().name
        assert reasons["transaction"].owner == owner
    told = log.all("producer.disconnect_refused")
    assert [e["owner"] for e in told if e["reason"] == "transaction"] == [owner]
    committed = log.times("transaction.committed")[0]
    gone = log.wait("producer.disconnected")
    assert gone["reason"] == "idle"
    assert log.times("producer.disconnecting")[0] - committed >= 0.5
    producer.produce_sync(topic, b"awake")
    assert producer.stats().opens == 2


def test_an_old_client_is_replaced_between_transactions(
    make: Make, topic: str, log: EventLog
) -> None:
    """A client that is too old is replaced between transactions without a pause."""
    producer = make(max_connection_age=200)
    until = time.monotonic() + BOUND
    while producer.stats().disconnects.get("age", 0) < 2:
        assert time.monotonic() < until, "its age is not looked at"
        with producer.transaction():
            producer.produce_async(topic, b"x")
    errors = log.all("error.occurred")
    assert not [each for each in errors if each["producer_id"] == producer.id]


# -- close -------------------------------------------------------------------


def test_close_inside_the_block_is_refused(producer: Producer, topic: str) -> None:
    """A close inside a transaction raises; if caught, the transaction continues."""
    with producer.transaction():
        with pytest.raises(TransactionalCloseError):
            producer.close()
        producer.produce_async(topic, b"x")
    assert producer.produce_sync(topic, b"after").error is None
    assert producer.close().complete
    with pytest.raises(ProducerClosedError), producer.transaction():
        pass


def test_close_from_another_thread_waits_for_the_end(
    producer: Producer, cluster: EmbeddedCluster, topic: str
) -> None:
    """A close commits the running transaction, and refuses those that would begin."""
    reports: list[Any] = []
    closing = threading.Thread(target=lambda: reports.append(producer.close()))

    def send(_: int) -> None:
        producer.produce_sync(topic, b"no", timeout=0.05)

    with producer.transaction():
        producer.produce_async(topic, b"1")
        closing.start()
        # Before the close has begun, it waits to begin in vain.
        assert eventually(
            lambda: isinstance(in_threads(1, send)[0], ProducerClosedError)
        )
        producer.produce_async(topic, b"2")
    closing.join(BOUND)
    assert reports[0].complete
    assert producer.status is Status.CLOSED
    assert values(cluster, topic) == [b"1", b"2"]


def test_transactions_in_a_row_meet_a_close(
    producer: Producer, cluster: EmbeddedCluster, topic: str
) -> None:
    """A close from another thread between transactions: each one commits, or is refused
    before it has begun."""
    committed: list[bytes] = []

    def work(_: int) -> None:
        for n in range(100_000):
            with producer.transaction():
                producer.produce_async(topic, b"%d" % n)
            committed.append(b"%d" % n)

    thread = threading.Timer(0.2, producer.close)
    thread.start()
    (error,) = in_threads(1, work)
    thread.join(BOUND)
    assert isinstance(error, ProducerClosedError), repr(error)
    assert values(cluster, topic) == sorted(committed)


def test_close_does_not_wait_beyond_its_bound(make: Make, topic: str) -> None:
    """A close does not wait for ever for a transaction, whose block raises then."""
    producer = make()
    durations: list[float] = []

    def close(_: int) -> None:
        started = time.monotonic()
        producer.close(0.3)
        durations.append(time.monotonic() - started)

    with pytest.raises(ProduceError), producer.transaction():
        producer.produce_async(topic, b"x")
        assert not in_threads(1, close)
    assert durations[0] < 1.0
    assert producer.status is Status.CLOSED


def test_close_flushes_the_buffer_in_a_transaction(
    producer: Producer, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """Buffered messages of a transactional producer are committed by its close."""
    for n in range(3):
        producer.buffer(topic, b"%d" % n)
    report = producer.close()
    assert report.delivered == 3
    assert report.complete
    assert not report.undelivered
    assert log.names("transaction.") == ENDS
    assert values(cluster, topic) == [b"0", b"1", b"2"]


@pytest.mark.timed
def test_close_with_every_broker_down_in_a_transaction(
    make: Make, cluster: EmbeddedCluster, topic: str, log: EventLog
) -> None:
    """A close without a broker returns the messages in time and abandons no client,
    though a native close would wait for the coordinator."""
    producer = make()
    producer.connect()
    for n in range(3):
        producer.buffer(topic, b"%d" % n)
    for broker in (1, 2, 3):
        cluster.broker_down(broker)
    started = time.monotonic()
    report = producer.close(1)
    assert time.monotonic() - started < 1.5
    assert [each.payload for each in report.undelivered] == [b"0", b"1", b"2"]
    assert not log.errors("producer.close.abandoned")


# -- arguments ---------------------------------------------------------------


class Consumer:
    """The part of a consumer that `mark_as_consumed` needs."""

    def consumer_group_metadata(self) -> object:
        """The group."""
        return object()


class Consumed:
    """A message as a consumer returns it."""

    def __init__(self, topic: object = "t", partition: object = 0) -> None:
        self._topic, self._partition = topic, partition

    def topic(self) -> object:
        """Its topic."""
        return self._topic

    def partition(self) -> object:
        """Its partition."""
        return self._partition

    def offset(self) -> int:
        """Its offset."""
        return 1


def test_marking_needs_a_transaction_first(
    producer: Producer, make_producer: MakeProducer
) -> None:
    """Outside of a transaction it is refused, whatever the arguments."""
    for each in (producer, make_producer()):
        with pytest.raises(TransactionRequiredError):
            each.mark_as_consumed(object(), object(), metadata=1)  # type: ignore[arg-type]


def test_marking_names_every_bad_argument(producer: Producer, log: EventLog) -> None:
    """Wrong arguments are named, and the transaction continues."""
    with producer.transaction():
        with pytest.raises(TransactionalOffsetInvalidError) as caught:
            producer.mark_as_consumed(object(), object(), metadata=123)  # type: ignore[arg-type]
        assert set(caught.value.errors) == {"consumer", "messages", "metadata"}
    assert not log.all("transaction.marked_as_consumed")
    assert log.all("transaction.committed")


def test_transactions_need_an_id(make_producer: MakeProducer) -> None:
    """Without a `transactional.id`, a transaction is refused and nothing is opened."""
    producer = make_producer()
    with pytest.raises(ProducerNotTransactionalError):
        producer.transaction()
    assert not producer.is_transactional
    assert not producer.in_transaction
    assert producer.status is Status.CONFIGURED


# -- fork --------------------------------------------------------------------


def test_a_child_forked_inside_a_transaction_starts_clean(
    make: Make, cluster: EmbeddedCluster, topic: str
) -> None:
    """The child is in no transaction, begins its own, and the parent's commits."""
    producer = make()
    with producer.transaction():
        producer.produce_sync(topic, b"parent")
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            code = 1
            try:
                producer.monitor.subscribe("error.occurred", print)
                if not producer.in_transaction:
                    with pytest.warns(TuningWarning, match="fence each other"):
                        producer.produce_sync(topic, b"child")
                    code = 0
            finally:
                os._exit(code)
        producer.produce_sync(topic, b"more")
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert values(cluster, topic) == [b"child", b"more", b"parent"]
