"""The buffer and what runs beside it: forced interleavings."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.concurrency.support import connection_of, named
from tests.doubles import Park, Run, eventually, kafka_failure
from waterdrop_py import Message
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection.closing import refuse_senders
from waterdrop_py._engine.produce.buffer import Buffer
from waterdrop_py._engine.shutdown import steps
from waterdrop_py._engine.shutdown.close import start
from waterdrop_py.errors import (
    ProduceError,
    ProduceManyError,
    ProducerClosedError,
)
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import Producer
    from waterdrop_py.typing import Handle

DURATION = 3.0
SEED = 7


def sent(bench: Bench) -> list[Any]:
    """The payloads that any client took."""
    return [payload for _, payload in bench.sent]


def numbered(count: int, start: int = 0) -> list[Message]:
    """Messages with a header, which do not take the fast path."""
    return [
        Message("t", b"%d" % n, headers={"h": "v"}) for n in range(start, start + count)
    ]


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads switch as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_an_append_while_a_flush_takes(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is added after a flush has taken the buffer waits for the next."""
    producer = make.quiet()
    producer.buffer_many(numbered(2))
    park = Park()
    take = Buffer.take

    def taken(buffer: Buffer) -> Any:
        entries = take(buffer)
        if entries:
            park()
        return entries

    monkeypatch.setattr(Buffer, "take", taken)
    flush = Run(producer.flush_buffer_sync)
    park.entered()
    producer.buffer("t", b"later")
    assert producer.buffer_size == 1
    park.go()
    assert len(flush.result()) == 2
    assert producer.buffer_size == 1
    producer.flush_buffer_sync()
    assert sent(bench) == [b"0", b"1", b"later"]


def test_two_flushes_share_the_messages(bench: Bench, make: Make) -> None:
    """A flush that runs while another one sends takes none of its messages."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(3))
    with bench.park("produce") as park:
        first = Run(producer.flush_buffer_async)
        park.entered()
        assert Run(producer.flush_buffer_async).result() == []
    assert len(first.result()) == 3
    producer.flush(2)
    assert sent(bench) == [b"open", b"0", b"1", b"2"]


def test_a_failed_flush_goes_in_front_of_what_came_meanwhile(
    bench: Bench, make: Make
) -> None:
    """A flush that is refused half way puts the rest back, before later messages."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(4))
    # A message that is refused in a run is tried once more, the long way.
    refusals = iter([False, False, True, True])

    def refuse() -> None:
        if next(refusals, False):
            producer.buffer("t", b"meanwhile")
            raise kafka_failure(KafkaError.MSG_SIZE_TOO_LARGE)

    bench.parks["produce"] = refuse
    with pytest.raises(ProduceManyError) as failed:
        producer.flush_buffer_async()
    del bench.parks["produce"]
    assert len(failed.value.dispatched) == 2
    producer.flush_buffer_sync()
    assert sent(bench)[:5] == [b"open", b"0", b"1", b"2", b"3"]
    assert set(sent(bench)[5:]) == {b"meanwhile"}


def test_a_purge_while_a_flush_sends(bench: Bench, make: Make) -> None:
    """A purge leaves what a flush has taken; each message has exactly one outcome."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    bench.auto = False
    producer.buffer_many(numbered(3))
    with bench.park("produce") as park:
        flush = Run(producer.flush_buffer_async)
        park.entered()
        purge = Run(producer.purge)
        park.go()
        handles = flush.result()
        purge.result()
    bench.auto = True
    bench.client.ack()
    for handle in handles:
        error = handle.exception(5)
        assert error is None or isinstance(error, ProduceError)
    assert producer.buffer_size == 0
    assert producer.queue_size == 0


def test_an_idle_close_while_a_message_is_buffered(bench: Bench, make: Make) -> None:
    """A message added before the last look refuses the close; later, a new client
    sends it."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    connection = connection_of(producer)
    parts = connection.hooks.parts

    class Late:
        """Buffers a message when it is asked."""

        def refusal(self) -> None:
            """Nothing."""
            producer.buffer("t", b"after the look")

        def reset(self) -> None:
            """Nothing."""

    connection.hooks.add(Late())  # looked at last
    assert producer.disconnect()
    connection.hooks.parts = parts
    assert producer.buffer_size == 1
    producer.flush_buffer_sync()
    assert len(bench.clients) == 2
    producer.buffer("t", b"before the look")
    assert not producer.disconnect()
    producer.flush_buffer_sync()
    assert sent(bench) == [b"open", b"after the look", b"before the look"]


def test_a_message_buffered_as_the_producer_closes(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message added after the close has sent the buffer, and before senders are
    refused, is in the report."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    connection = connection_of(producer)
    refuse = refuse_senders

    def overtaken(*arguments: Any) -> Any:
        """Buffer a message just before the senders are refused."""
        if arguments[0] is not connection:
            return refuse(*arguments)  # of a producer that another test has dropped
        monkeypatch.undo()
        producer.buffer("t", b"late")
        return refuse(*arguments)

    monkeypatch.setattr(steps, "refuse_senders", overtaken)
    report = producer.close(2)
    assert [message.payload for message in report.undelivered] == [b"late"]
    assert producer.buffer_size == 0


def test_an_append_that_the_close_overtakes(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An add that the producer's close overtakes between its look and its append is
    refused, and the buffer stays empty."""
    producer = make.quiet()
    producer.buffer("t", b"first")
    park = Park()
    add = Buffer.add

    def stopped(buffer: Buffer, messages: Any) -> Any:
        park()
        return add(buffer, messages)

    monkeypatch.setattr(Buffer, "add", stopped)
    appender = Run(partial(producer.buffer, "t", b"late"))
    park.entered()
    assert producer.close(2).delivered == 1
    park.go()
    with pytest.raises(ProducerClosedError):
        appender.result()
    assert producer.buffer_size == 0
    assert sent(bench) == [b"first"]


def test_a_second_close_while_the_first_hands_over(bench: Bench, make: Make) -> None:
    """A close refuses no sender before it has sent the whole buffer."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(5))
    with bench.park("produce") as park:
        first = Run(partial(producer.close, 4))
        park.entered()
        second = Run(partial(producer.close, 4))
        second.join(0.1)
        assert str(producer.status) == "connected"
    reports = [first.result(), second.result()]
    assert {(each.delivered, each.complete) for each in reports} == {(5, True)}
    assert sent(bench) == [b"open", *(b"%d" % n for n in range(5))]


def test_a_close_meets_the_exit_that_hands_over(bench: Bench, make: Make) -> None:
    """The exit handler hands the buffer over on the main thread, and another thread
    closes. That refuses no sender before, and the exit handler closes."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(5))
    shutdown = start(connection_of(producer), clock.system_now() + 4)
    with bench.park("produce") as park:
        exiting = Run(shutdown.begin_here)
        park.entered()
        closing = Run(partial(producer.close, 4))
        closing.join(0.1)
        assert str(producer.status) == "connected"
    exiting.result()
    shutdown.run_here()
    report = closing.result()
    assert (report.delivered, report.complete) == (5, True)
    assert sent(bench) == [b"open", *(b"%d" % n for n in range(5))]


def test_an_interrupted_hand_over_goes_on(bench: Bench, make: Make) -> None:
    """Ctrl-C while close() sends the buffer is raised to its caller at once. The worker
    sends the rest."""
    producer = make()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(2))
    producer.buffer("not a topic", b"x")
    producer.buffer_many(numbered(2, 2))
    caller_has_it = Park()

    def interrupt(_: object) -> None:
        if not caller_has_it.is_open:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            caller_has_it()

    producer.monitor.subscribe("error.occurred", interrupt)
    with pytest.raises(KeyboardInterrupt):
        producer.close(2)
    caller_has_it.go()
    report = producer.close(2)
    assert report.complete
    assert sent(bench) == [b"open", b"0", b"1", b"2", b"3"]
    assert [message.payload for message in report.undelivered] == [b"x"]
    assert len(named(make.events, "producer.closed")) == 1


@pytest.mark.parametrize("error", [SystemExit(), GeneratorExit(), MemoryError()])
def test_a_hand_over_that_raises(
    error: BaseException, bench: Bench, make: Make
) -> None:
    """What a middleware step raises stops no close: the rest is in its report."""
    producer = make()
    producer.produce_sync("t", b"open")

    def step(message: Message) -> Message:
        if message.payload == b"1":
            raise error
        return message

    producer.middleware.append(step)
    producer.buffer_many(numbered(3))
    report = producer.close(3)
    assert report.complete
    assert b"1" in [message.payload for message in report.undelivered]
    assert report.delivered + len(report.undelivered) == 3
    assert [each["error"] for each in named(make.events, "error.occurred")] == [error]


def test_a_shorter_close_while_another_hands_over(bench: Bench, make: Make) -> None:
    """It ends at its own bound, and so does the close that it overtakes."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    bench.auto, bench.limit = False, 2
    producer.buffer_many(numbered(5))
    first = Run(partial(producer.close, 30))
    eventually(lambda: len(sent(bench)) == 3)
    started = time.monotonic()
    report = producer.close(0.1)
    assert time.monotonic() - started < 0.1 + 0.5
    assert report.complete
    assert first.result().complete


def test_close_inside_the_hand_over(bench: Bench, make: Make) -> None:
    """A middleware step or a signal handler that closes the producer while its close
    sends the buffer does not wait for itself."""
    producer = make.quiet()
    inner: list[Any] = []

    def step(message: Message) -> Message:
        if not inner:
            started = time.monotonic()
            inner.append(producer.close(3))
            inner.append(time.monotonic() - started)
        return message

    producer.middleware.append(step)
    producer.buffer_many(numbered(3))
    report = producer.close(3)
    assert not inner[0].complete
    assert inner[1] < 1
    assert (report.delivered, report.complete) == (3, True)


def test_a_flush_parked_in_the_client_meets_the_close(bench: Bench, make: Make) -> None:
    """Sent messages are delivered; all others are with the caller of the flush."""
    producer = make.quiet()
    producer.produce_sync("t", b"open")
    producer.buffer_many(numbered(3))
    with bench.park("produce") as park:
        flush = Run(producer.flush_buffer_async)
        park.entered()
        close = Run(partial(producer.close, 4))
        eventually(lambda: str(producer.status) == "closing")
    report = close.result()
    assert report.complete
    try:
        handles = flush.result()
    except ProducerClosedError:
        assert producer.buffer_size + len(sent(bench)) == 4
    else:
        assert all(handle.exception(0) is None for handle in handles)
        assert len(sent(bench)) == 4


def append_for_a_while(producer: Producer, seed: int, until: float) -> int:
    """Add messages singly and in bursts; returns how many."""
    chance, count = random.Random(seed), 0
    while time.monotonic() < until:
        for _ in range(chance.randrange(1, 10)):
            producer.buffer("t", b"%d:%d" % (seed, count))
            count += 1
        size = chance.randrange(3)
        producer.buffer_many(
            [Message("t", b"%d:%d" % (seed, count + k)) for k in range(size)]
        )
        count += size
        time.sleep(chance.choice([0.0, 0.001, 0.007]))
    return count


def flush_for_a_while(producer: Producer, seed: int, until: float) -> list[Handle]:
    """Flush again and again; returns the handles."""
    chance = random.Random(seed)
    handles: list[Handle] = []
    while time.monotonic() < until:
        try:
            handles += producer.flush_buffer_async()
        except ProduceManyError as failed:
            handles += failed.dispatched
        time.sleep(chance.choice([0.0, 0.001, 0.006]))
    return handles


def disconnect_for_a_while(producer: Producer, until: float) -> None:
    """Disconnect again and again."""
    while time.monotonic() < until:
        producer.disconnect()
        time.sleep(0.003)


@pytest.mark.usefixtures("switching")
def test_buffer_loses_nothing_while_it_is_flushed(bench: Bench, make: Make) -> None:
    """Under adds, flushes, refusals and disconnects, each message is sent exactly once,
    and the flushes return all handles."""
    with allow_short_idle_timeouts():
        producer = make.quiet(idle_disconnect_timeout=5, wait_on_queue_full=False)
    bench.limit = 60
    until = time.monotonic() + DURATION
    appenders = [
        Run(partial(append_for_a_while, producer, SEED + n, until)) for n in range(4)
    ]
    flushers = [
        Run(partial(flush_for_a_while, producer, SEED + n, until)) for n in range(3)
    ]
    disconnecter = Run(partial(disconnect_for_a_while, producer, until))
    for run in (*appenders, *flushers, disconnecter):
        run.join(DURATION + 10)
    bench.limit = 10**6
    handles = producer.flush_buffer_async()
    assert producer.flush(5) == 0
    for run in flushers:
        handles += run.result()
    assert all(handle.exception(5) is None for handle in handles)
    counts = Counter(sent(bench))
    assert set(counts.values()) == {1}
    total = sum(run.result() for run in appenders)
    assert len(counts) == len(handles) == total > 500
    assert producer.stats().opens > 3
