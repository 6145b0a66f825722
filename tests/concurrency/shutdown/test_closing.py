"""The close of a client, and of a producer, under way."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import nullcontext, suppress
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.concurrency.support import connection_of, named
from tests.doubles import Park, Run, eventually
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock, threads
from waterdrop_py._engine.concurrency.wakeup import sleep
from waterdrop_py._engine.connection import teardown
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.process.poller import Poller
from waterdrop_py._engine.process.reaper import RELIEF
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.process.workers import Workers
from waterdrop_py._engine.reports.giving_up import give_up, open_handles
from waterdrop_py._engine.shutdown import close, steps
from waterdrop_py.errors import BrokerUnreachableError, ProducerClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle, Event, Producer
    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.reports.accounting import DrainReport


def test_send_meets_a_closing_client(bench: Bench, make: Make) -> None:
    """While a close hangs, a send goes to the next client at once; no third one
    is opened beside them, and the next close waits for the first."""
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("close") as park:
        disconnecting = Run(producer.disconnect)
        park.entered()
        assert str(producer.status) == "disconnecting"
        assert producer.produce_sync("t", b"y", timeout=2).offset == 0
        assert producer.disconnect() is False
        assert [reason.code for reason in producer.explain_idle().reasons] == [
            "call",
            "disabled",
        ]
        assert len(bench.open_clients) == 2
    assert disconnecting.result() is True
    eventually(lambda: len(bench.open_clients) == 1)
    assert producer.disconnect()


@pytest.mark.timed
def test_hung_close_delays_no_other_producer(bench: Bench, make: Make) -> None:
    """Twelve hung closes leave room for the thirteenth, which does not hang."""
    hung = [make.quiet() for _ in range(12)]
    for producer in hung:
        producer.produce_sync("t", b"x")
    other = make.quiet()
    other.produce_sync("t", b"x")
    with bench.park("close") as park:
        stuck = [Run(producer.disconnect) for producer in hung]
        for _ in stuck:
            park.entered()
        bench.parks.pop("close")
        started = time.monotonic()
        assert other.disconnect()
        assert time.monotonic() - started < 1
    assert all(run.result() for run in stuck)


@pytest.mark.timed
def test_close_is_bounded_when_the_native_close_hangs(bench: Bench, make: Make) -> None:
    """close(timeout) returns in time, and says that it abandoned the client."""
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("close"):
        started = time.monotonic()
        assert producer.close(0.1).complete
        assert time.monotonic() - started < 0.1 + 0.5
        errors = named(make.events, "error.occurred")
        assert [error["type"] for error in errors] == ["producer.close.abandoned"]
        assert str(producer.status) == "closed"
    eventually(lambda: not bench.open_clients)
    assert len(named(make.events, "producer.disconnected")) == 1


@pytest.mark.timed
def test_close_waits_for_a_native_call(bench: Bench, make: Make) -> None:
    """A client with a thread inside is not destroyed, however short the bound."""
    producer = make()
    producer.produce_sync("t", b"x")
    with bench.park("list_topics") as park:
        connecting = Run(producer.connect)
        park.entered()
        started = time.monotonic()
        producer.close(0)
        assert time.monotonic() - started < 1
        assert bench.open_clients
        assert not bench.violations
    with suppress(ProducerClosedError, BrokerUnreachableError):
        connecting.result()
    eventually(lambda: not bench.open_clients)


def test_close_accounts_for_everything(bench: Bench, make: Make) -> None:
    """What the broker does not acknowledge in time is purged, and listed in order."""
    producer = make.quiet()
    bench.auto = False
    handles = [producer.produce_async("t", str(n).encode()) for n in range(5)]
    bench.client.ack(2)
    report = producer.close(0.05)
    assert (report.delivered, report.failed) in {(2, 0), (1, 0), (0, 0)}
    assert [message.payload for message in report.undelivered] == [b"2", b"3", b"4"]
    codes = [getattr(handle.exception(0), "code", None) for handle in handles]
    assert codes == [None, None, "purge_queue", "purge_queue", "purge_queue"]


def test_second_close_waits_for_the_first(bench: Bench, make: Make) -> None:
    """Threads that close together get the same whole report, and one close."""
    producer = make()
    bench.auto = False
    producer.produce_async("t", b"x")
    workers = [Run(lambda: producer.close(4)) for _ in range(4)]
    eventually(lambda: named(make.events, "producer.closing"))
    with pytest.raises(ProducerClosedError):
        producer.produce_async("t", b"y")
    bench.client.ack()
    reports = [run.result() for run in workers]
    assert {(report.delivered, report.complete) for report in reports} == {(1, True)}
    assert len(named(make.events, "producer.closed")) == 1
    assert producer.close() == reports[0]


class Interrupting:
    """A subscriber on a worker that presses Ctrl-C, and stays until `caller` got it."""

    def __init__(self) -> None:
        self._pressed = False
        self.got_it = Park()

    def __call__(self, _: object) -> None:
        """Once: later events pass."""
        if not self._pressed:
            self._pressed = True
            assert threading.current_thread() is not threading.main_thread()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self.got_it()

    def caller(self, call: Callable[[], object]) -> None:
        """Make the call, whose wait Ctrl-C ends."""
        with pytest.raises(KeyboardInterrupt):
            call()
        self.got_it.go()


@pytest.mark.parametrize(
    "event", ["producer.closing", "producer.disconnecting", "producer.closed"]
)
def test_interrupted_close_ends_in_the_background(
    bench: Bench, make: Make, event: str
) -> None:
    """A Ctrl-C inside close() is the caller's, at once. The close goes on, and happens
    once."""
    producer = make()
    producer.produce_sync("t", b"x")
    interrupting = Interrupting()
    producer.monitor.subscribe(event, interrupting)
    interrupting.caller(lambda: producer.close(2))
    eventually(lambda: str(producer.status) == "closed")
    assert producer.close(2).complete
    assert producer.stats().disconnects == {"close": 1}
    assert producer.stats().produced == 1
    ends = ["producer.closing", "producer.disconnecting", "producer.disconnected"]
    ends.append("producer.closed")
    eventually(lambda: named(make.events, "producer.closed"))
    assert [each.name for each in make.events if each.name in ends] == ends


def test_interrupted_close_closes_the_variants(bench: Bench, make: Make) -> None:
    """They are closed in the background too, and no variant is made meanwhile."""
    producer = make()
    variant = producer.variant(topic_config={"acks": 1})
    producer.produce_sync("t", b"x")
    variant.produce_sync("t", b"x")
    interrupting = Interrupting()
    producer.monitor.subscribe("producer.closing", interrupting)
    interrupting.caller(lambda: producer.close(2))
    eventually(lambda: not bench.open_clients)
    eventually(lambda: named(make.events, "producer.closed"))
    (closed,) = named(make.events, "producer.closed")
    assert closed["stats"].variants["acks=1"].disconnects == {"close": 1}


def test_interrupted_wait_for_the_native_close(bench: Bench, make: Make) -> None:
    """A Ctrl-C while a client is destroyed does not destroy, or count, it twice."""
    producer = make()
    producer.produce_sync("t", b"x")
    client = connection_of(producer).client
    interrupting = Interrupting()
    with bench.park("close") as park:

        def pressed_and_parked() -> None:
            interrupting(None)
            park()

        bench.parks["close"] = pressed_and_parked
        interrupting.caller(lambda: producer.close(3))
        park.entered()
        park.go()
    assert producer.close(3).complete
    assert client.native is None
    assert bench.calls["close"] == 1
    assert producer.stats().disconnects == {"close": 1}


def test_interrupted_disconnect_lets_go_all_the_same(bench: Bench, make: Make) -> None:
    """A Ctrl-C while a disconnect is told of neither leaks nor loses the client."""
    producer = make()
    producer.produce_sync("t", b"x")
    interrupting = Interrupting()
    producer.monitor.subscribe("producer.disconnecting", interrupting)
    interrupting.caller(producer.disconnect)
    eventually(lambda: not bench.open_clients)
    eventually(lambda: named(make.events, "producer.disconnected"))
    producer.produce_sync("t", b"x")
    assert producer.disconnect()


def test_an_interrupted_request_is_taken_back(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C before a worker has taken a disconnect() leaves the client open, and a
    close() is continued by the next one."""
    producer = make()
    producer.produce_sync("t", b"x")
    workers = Workers(lambda _: None)
    monkeypatch.setattr(RUNTIME, "workers", workers)

    here, start = threading.get_ident(), threads.start

    def interrupted(name: str, run: Callable[[], None]) -> bool:
        """The poller may start a worker meanwhile, and is not interrupted."""
        if threading.get_ident() != here:
            return start(name, run)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            producer.disconnect()
    assert producer.is_connected
    ran = Park()
    workers.submit(ran.go)
    eventually(lambda: not workers.waiting())
    ran()
    assert producer.is_connected
    assert producer.disconnect()
    workers.end_if_idle()
    eventually(lambda: not workers._threads)  # noqa: SLF001
    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            producer.close(2)
    assert producer.close(2).complete
    assert len(named(make.events, "producer.closed")) == 1


def test_interrupt_while_the_client_is_detached(bench: Bench, make: Make) -> None:
    """A Ctrl-C between the look and the close puts the client back."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    ledger = connection.ledger

    class Interrupted:
        """A ledger in whose first call the signal arrives."""

        def __getattr__(self, name: str) -> Any:
            connection.ledger = ledger
            raise KeyboardInterrupt

    connection.ledger = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        disconnect(connection, "requested")
    assert producer.is_connected
    producer.produce_sync("t", b"y", timeout=2)
    assert producer.disconnect()
    assert len(bench.clients) == 1


@pytest.mark.parametrize("moment", ["before the job", "before its thread"])
def test_an_interrupted_begin_is_begun_again(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A signal handler raises as a close is handed to its thread: the next look at the
    client sees to it that it takes place, and the one after closes the next."""
    producer = make()
    producer.produce_sync("t", b"x")
    # Without the threads that other tests' closes have left.
    workers = Workers(lambda _: None)
    monkeypatch.setattr(RUNTIME, "workers", workers)
    monkeypatch.setattr(teardown, "RETRY", 0.0)

    me = get_ident()

    def raising_here(function: Callable[..., Any]) -> Callable[..., Any]:
        """Signal handlers run on this thread alone; others start theirs as ever."""

        def raising(*arguments: Any) -> Any:
            if get_ident() != me:
                return function(*arguments)
            raise KeyboardInterrupt

        return raising

    with monkeypatch.context() as patch:
        if moment == "before the job":
            patch.setattr(workers, "submit", raising_here(workers.submit))
        else:
            patch.setattr(threads, "start", raising_here(threads.start))
        with pytest.raises(KeyboardInterrupt):
            disconnect(connection_of(producer), "requested")
    producer.produce_sync("t", b"y")
    eventually(producer.disconnect)
    assert len(bench.clients) == 2
    eventually(lambda: not bench.open_clients)
    eventually(lambda: not workers.waiting())


def test_disconnect_returns_when_it_was_told(bench: Bench, make: Make) -> None:
    """The caller returns after it was told, also when a subscriber takes long. One that
    never returns does not keep the caller."""
    producer = make()
    told: list[str] = []
    park = Park()

    def slowly(event: Event) -> None:
        sleep(RELIEF * 1.5)
        told.append(event["reason"])

    unsubscribe = producer.monitor.subscribe("producer.disconnected", slowly)
    producer.produce_sync("t", b"x")
    assert producer.disconnect()
    assert told == ["requested"]
    unsubscribe()

    def for_ever(_: Event) -> None:
        try:
            park()
        finally:
            told.append("detached")

    producer.monitor.subscribe("producer.disconnected", for_ever)
    producer.produce_sync("t", b"y")
    assert producer.disconnect()
    assert told == ["requested"]
    park.go()


def test_a_close_without_any_thread(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a subscriber, as the process ends or has all the threads it may have: it is
    put off, and does not call itself until the stack is full."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    monkeypatch.setattr(RUNTIME, "poller", Poller(lambda _: None))
    monkeypatch.setattr(RUNTIME, "workers", Workers(RUNTIME.poller.do))
    producer = make()
    reports: list[DrainReport] = []
    close = lambda _: reports.append(producer.close(timeout=5))  # noqa: E731
    producer.monitor.subscribe("message.acknowledged", close)
    assert producer.produce_sync("t", b"x").offset == 0
    assert [report.complete for report in reports] == [False]
    RUNTIME.poller.do(lambda: None)
    assert str(producer.status) == "closed"


@pytest.mark.timed
def test_close_from_a_disconnecting_subscriber(bench: Bench, make: Make) -> None:
    """close() there does not wait for the disconnect that is about to begin."""
    producer = make()
    producer.produce_sync("t", b"x")
    reports: list[bool] = []
    producer.monitor.subscribe(
        "producer.disconnecting", lambda _: reports.append(producer.close(4).complete)
    )
    started = time.monotonic()
    assert producer.disconnect()
    assert time.monotonic() - started < 2
    assert reports == [False]
    eventually(lambda: str(producer.status) == "closed")
    assert not named(make.events, "error.occurred")


def test_close_and_send_from_a_disconnected_subscriber(
    bench: Bench, make: Make
) -> None:
    """There the client is gone: a send opens the next one, a close closes fully."""
    producer = make()
    producer.produce_sync("t", b"x")
    seen: list[object] = []

    def act(_: object) -> None:
        if not seen:
            seen.append(producer.disconnect())
            seen.append(producer.produce_sync("t", b"y", timeout=2).offset)
            seen.append(producer.close(2).complete)

    producer.monitor.subscribe("producer.disconnected", act)
    assert producer.disconnect()
    eventually(lambda: len(seen) == 3)
    assert seen == [False, 0, True]


def test_native_block_holds_the_client(bench: Bench, make: Make) -> None:
    """Inside native() the client is not closed, and it is once the block ends."""
    producer = make()
    with producer.native() as client:
        assert not producer.disconnect()
        [reason] = [
            reason
            for reason in producer.explain_idle().reasons
            if reason.code == "pinned"
        ]
        assert reason.owner
        closing = Run(lambda: producer.close(0))
        closing.result()
        assert len(client) == 0
        assert bench.open_clients
    eventually(lambda: not bench.open_clients)


def test_a_job_that_waits_for_the_poll_of_the_close(bench: Bench, make: Make) -> None:
    """A job that waits for the end of a poll also runs after the poll of a close."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    client, ran = connection_of(producer).client, Park()
    with bench.park("close") as park:
        closing = Run(producer.disconnect)
        park.entered()
        client.when_not_polled(ran.go)
        client.when_not_polled(ran)
    closing.result()
    ran.entered()


@pytest.mark.timed
@pytest.mark.parametrize("hangs", ["broker", "close"])
def test_many_closes_at_once(bench: Bench, make: Make, hangs: str) -> None:
    """Twenty against a broker that answers nothing, or whose native close hangs: each
    ends within its bound, on a thread of its own."""
    producers = [make.quiet() for _ in range(20)]
    bench.auto = hangs != "broker"
    for producer in producers:
        producer.produce_async("t", b"x")

    def close(producer: Producer) -> tuple[float, DrainReport]:
        started = time.monotonic()
        report = producer.close(0.3)
        return time.monotonic() - started, report

    with bench.park("close") if hangs == "close" else nullcontext():
        runs = [Run(partial(close, producer)) for producer in producers]
        ends = [run.result() for run in runs]
    assert max(took for took, _ in ends) < 0.3 + 0.5
    assert all(report.complete for _, report in ends)
    assert sum(len(report.undelivered) for _, report in ends) == 20 * (not bench.auto)
    eventually(lambda: not bench.open_clients)


@pytest.mark.parametrize("at_once", [False, True])
def test_closes_that_close_one_another(bench: Bench, make: Make, at_once: bool) -> None:
    """A subscriber of each producer's events closes all producers. No close waits for
    one that waits for it, on whichever threads they run."""
    producers = [make.quiet() for _ in range(3)]
    both = threading.Barrier(len(producers))

    def close_all(_: object) -> None:
        if at_once:
            with suppress(threading.BrokenBarrierError):
                both.wait(1)
        for producer in producers:
            producer.close(20)

    for producer in producers:
        producer.produce_sync("t", b"x")
        producer.monitor.subscribe("producer.closing", close_all)
    started = time.monotonic()
    closing = producers if at_once else producers[:1]
    runs = [Run(partial(producer.close, 20)) for producer in closing]
    assert all(run.result().complete for run in runs)
    assert time.monotonic() - started < 4
    eventually(lambda: {str(each.status) for each in producers} == {"closed"})


@pytest.mark.timed
def test_disconnect_inside_a_callback_does_not_wait_for_subscribers(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It returns once that is decided. A subscriber may wait for the callback."""
    monkeypatch.setattr(teardown, "RETRY", 60.0)
    producer = make()
    took: list[float] = []
    callback_ended = Park()

    def disconnects() -> bool:
        started = time.monotonic()
        done = producer.disconnect()
        took.append(time.monotonic() - started)
        return done

    def disconnect_here(_: object) -> None:
        eventually(disconnects)  # the call that sent may not have returned yet
        callback_ended.go()

    producer.monitor.subscribe("producer.disconnecting", lambda _: callback_ended())
    producer.produce_async("t", b"x").add_done_callback(disconnect_here)
    eventually(lambda: callback_ended.is_open)
    assert max(took) < 2
    eventually(lambda: not bench.open_clients)


def test_close_waits_for_a_teardown_that_its_thread_has_begun(
    bench: Bench, make: Make
) -> None:
    """A worker has it from then on: the thread that began it may wait for it."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    with bench.park("close") as park:
        assert disconnect(connection, "requested").teardown is not None
        park.entered()
        shutdown = close.start(connection, clock.system_now() + 4)
        assert not shutdown.must_not_wait()
    assert producer.close(4).complete


@pytest.mark.timed
def test_close_inside_the_native_close(bench: Bench, make: Make) -> None:
    """A callback that librdkafka calls there does not wait for the close around it."""
    producer = make()
    producer.produce_sync("t", b"x")
    inner: list[DrainReport] = []
    took: list[float] = []

    def callback() -> None:
        started = time.monotonic()
        inner.append(producer.close(3))
        took.append(time.monotonic() - started)

    bench.parks["close"] = callback
    assert producer.close(3).complete
    assert [report.complete for report in inner] == [False]
    assert took[0] < 1
    assert not named(make.events, "error.occurred")


@pytest.mark.timed
def test_a_close_on_the_poller_at_the_exit(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread starts any more, and a callback on the poller closes: what that submits
    is left to this very thread, which runs it."""
    workers = Workers(RUNTIME.poller.do)
    monkeypatch.setattr(RUNTIME, "workers", workers)
    producer = make()
    producer.produce_sync("t", b"x")
    start = threads.start
    ran = Park()

    def none_starts(name: str, run: Callable[[], None]) -> bool:
        return name != "closer" and start(name, run)

    monkeypatch.setattr(threads, "start", none_starts)
    began = time.monotonic()

    def callback() -> None:
        producer.close(4)
        ran.go()

    RUNTIME.poller.do(callback)
    ran()
    assert str(producer.status) == "closed"
    assert time.monotonic() - began < 2
    assert not named(make.events, "error.occurred")
    assert producer.close().complete


@pytest.mark.timed
def test_a_close_that_gives_up_much_on_a_busy_machine(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller waits for the whole report, where the worker needs longer for the
    messages than an idle machine would."""
    producer = make.quiet()
    bench.auto = False
    for _ in range(10_000):
        producer.produce_async("t", b"x")
    monkeypatch.setattr(steps, "SLOWEST", 0.001)

    def slowly(*arguments: Any) -> Any:
        lost = give_up(*arguments)
        sleep(0.9)
        return lost

    monkeypatch.setattr(steps, "give_up", slowly)
    report = producer.close(0.5)
    assert report.complete
    assert len(report.undelivered) == 10_000


def test_a_report_that_comes_as_it_is_given_up(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller serves it while the close lists what it gives up: it counts once."""
    producer = make.quiet()
    bench.auto = False
    for number in range(4):
        producer.produce_async("t", b"%d" % number)

    def overtaken(client: Client, _: float) -> list[DeliveryHandle]:
        lost = open_handles(client)
        bench.client.ack(1)
        bench.client.fail(KafkaError._PURGE_QUEUE)  # noqa: SLF001 - librdkafka's name
        waiting.serve_arrived(client)
        eventually(lambda: all(each.done() for each in lost))  # the poller may serve
        return lost

    monkeypatch.setattr(steps, "give_up", overtaken)
    report = producer.close(0)
    assert report.delivered == 1
    assert [message.payload for message in report.undelivered] == [b"1", b"2", b"3"]
