"""Deferred messages: what sends them, what waits for them, and what ends them."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.support import connection_of, named
from tests.doubles import BOUND, Park, Run, eventually
from waterdrop_py import Producer
from waterdrop_py._engine.concurrency import threads, wakeup
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.process.poller import Poller
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.process.workers import Workers
from waterdrop_py._engine.produce import deferred as module
from waterdrop_py._engine.produce.deferred import Deferred
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py._engine.reports.handler import ReportHandler
from waterdrop_py.errors import (
    ProduceError,
    ProducerClosedError,
    ReentrantCallError,
)
from waterdrop_py.message import Message
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle

LATER = b"deferred"
TRANSACTIONAL = {"bootstrap.servers": "fake:1", "transactional.id": "t"}


def full_in_a_callback(
    producer: Producer, bench: Bench, park: Callable[[], None] = lambda: None
) -> list[DeliveryHandle]:
    """The next report's subscriber fills the queue and defers a message."""
    bench.limit = 1
    handles: list[DeliveryHandle] = []

    def act(_: object) -> None:
        if not handles:
            auto, bench.auto = bench.auto, False
            producer.produce_async("t", b"fills")
            handles.append(producer.produce_async("t", LATER))
            bench.auto = auto
            if auto:
                bench.client.ack()
            park()

    producer.monitor.subscribe("message.acknowledged", act)
    return handles


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at interpreter exit, or in uWSGI's master."""
    monkeypatch.setattr(threads, "forbidden", lambda: True)
    monkeypatch.setattr(RUNTIME, "poller", Poller(lambda _: None))
    monkeypatch.setattr(RUNTIME, "workers", Workers(RUNTIME.poller.do))


# -- who sends them ------------------------------------------------------------


def test_a_message_that_is_deferred_as_the_job_ends(bench: Bench, make: Make) -> None:
    """It finds the sender at work, which has seen no more messages: it is sent."""
    producer = make.quiet()
    handles: list[DeliveryHandle] = []
    producer.monitor.subscribe(
        "producer.connecting",
        lambda _: handles.append(producer.produce_async("t", b"first")),
    )
    producer.produce_sync("t", b"outer")
    assert handles[0].result(BOUND).error is None
    deferred = connection_of(producer).hooks.deferred
    assert isinstance(deferred, Deferred)
    add = deferred.add

    class Hooked(OwnedLock):
        """A message is deferred before it is released."""

        def release(self, hold: Hold) -> bool:
            if self.held_by(hold) and len(handles) == 1:
                handles.append(_filled())
                add(handles[1], "message.produce_async")
            return super().release(hold)

    eventually(lambda: not deferred._sending.locked)  # noqa: SLF001
    deferred._sending = Hooked()  # noqa: SLF001
    deferred.add(_filled(), "message.produce_async")
    eventually(lambda: len(handles) == 2 and handles[1].done(), "the second message")
    assert [payload for _, payload in bench.sent].count(LATER) == 2


def _filled() -> DeliveryHandle:
    return fill(Message("t", LATER), None)


def test_many_in_a_long_transaction_take_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They wait for its end, beyond every bound, and are sent in their order."""
    workers, sent = Workers(RUNTIME.poller.do), list[bytes]()
    monkeypatch.setattr(RUNTIME, "workers", workers)

    class Noting(FakeClient):
        """Notes what it is given."""

        def produce(self, *args: Any, **kwargs: Any) -> None:
            sent.append(kwargs["value"])
            super().produce(*args, **kwargs)

    producer = Producer(
        kafka={**TRANSACTIONAL, "message.timeout.ms": 50},
        client_factory=Noting,
        max_wait_timeout=50,
    )
    payloads = [str(number).encode() for number in range(30)]
    with producer.transaction():
        producer.produce_async("t", b"inside")
        handles = [Context().run(producer.produce_async, "t", payloads[0])]
        deferred = connection_of(producer).hooks.deferred
        assert isinstance(deferred, Deferred)
        sending = deferred._sending  # noqa: SLF001
        eventually(lambda: sending.locked, "a worker that waits")
        submitted: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr(workers, "submit", submitted.append)
            handles += [
                Context().run(producer.produce_async, "t", payload)
                for payload in payloads[1:]
            ]
        assert submitted == []
        time.sleep(0.1)
        assert sending.locked
        assert sent == [b"inside"]
        with pytest.raises(ReentrantCallError):
            handles[0].result(1)
    assert [handle.exception(BOUND) for handle in handles] == [None] * 30
    assert sent == [b"inside", *payloads]
    producer.close()


def test_a_close_ends_the_wait_for_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The producer closes while the transaction goes on: each deferred message has an
    outcome and is in the report, and the worker is free again."""
    workers = Workers(RUNTIME.poller.do)
    monkeypatch.setattr(RUNTIME, "workers", workers)
    producer = Producer(kafka=dict(TRANSACTIONAL), client_factory=FakeClient)
    park = Park()

    def transact() -> DeliveryHandle:
        with producer.transaction():
            producer.produce_async("t", b"inside")
            later = Context().run(producer.produce_async, "t", LATER)
            park()
        return later

    run = Run(transact)
    park.entered()
    report = producer.close(0.05)
    assert [message.payload for message in report.undelivered][-1] == LATER
    eventually(lambda: not workers._busy, "a worker that is free")  # noqa: SLF001
    park.go()
    try:
        later = run.result()
    except ProduceError:
        return  # the commit, on a closed client
    with pytest.raises(ProduceError, match="purge_queue"):
        later.result(0)


# -- who waits for them --------------------------------------------------------


def test_it_can_be_asked_while_a_worker_waits_for_room(
    bench: Bench, make: Make
) -> None:
    """Other threads wait for a handle whose message the client has refused."""
    producer, park = make(), Park()
    handles = full_in_a_callback(producer, bench, park)
    bench.auto = False
    producer.produce_async("t", b"outer")
    bench.client.ack()
    park.entered()
    tried = bench.calls["produce"]
    eventually(lambda: bench.calls["produce"] > tried + 1, "tries of the worker")
    assert not handles[0].done()
    waiting = Run(lambda: handles[0].result(BOUND))
    assert "pending" in repr(handles[0])
    park.go()
    bench.auto = True
    bench.client.ack()
    assert waiting.result().error is None
    assert [payload for _, payload in bench.sent] == [b"outer", b"fills", LATER]


def test_another_threads_message_is_not_waited_for_in_a_callback() -> None:
    """It waits for a transaction, whose commit waits for the reports that the callback
    holds up."""
    producer = Producer(kafka=dict(TRANSACTIONAL), client_factory=FakeClient)
    park = Park()
    handles: list[DeliveryHandle] = []
    answers: list[object] = []

    def wait(_: object) -> None:
        if not answers:
            park()
            answers.append(threading.get_ident())
            with pytest.raises(ReentrantCallError):
                handles[0].result(BOUND)
            answers.append("refused")

    producer.monitor.subscribe("message.acknowledged", wait)
    with producer.transaction():
        producer.produce_async("t", b"inside")
        park.entered()
        handles.append(Context().run(producer.produce_async, "t", LATER))
        park.go()
        eventually(lambda: "refused" in answers, "the refusal")
    assert threading.get_ident() not in answers
    assert handles[0].exception(BOUND) is None
    producer.close()


def test_the_worker_does_not_wait_for_what_it_sends(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on the worker as a message is sent is refused a wait for that message,
    and can close the producer."""
    producer = make()
    handles: list[DeliveryHandle] = []
    answers: list[object] = []
    me = threading.get_ident()
    note = ReportHandler.note_topic

    def wait(self: ReportHandler, topic: str) -> None:
        note(self, topic)
        if threading.get_ident() != me and not answers:
            with pytest.raises(ReentrantCallError):
                handles[0].result(BOUND)
            answers.append(producer.close(BOUND).complete)

    monkeypatch.setattr(ReportHandler, "note_topic", wait)
    producer.monitor.subscribe(
        "producer.connecting",
        lambda _: handles.append(producer.produce_async("t", LATER)),
    )
    with suppress(ProducerClosedError):
        producer.produce_async("t", b"outer")
    eventually(lambda: bool(answers))
    assert answers == [False]
    assert handles[0].exception(BOUND) is None or bench.sent
    eventually(lambda: str(producer.status) == "closed")


# -- the close -----------------------------------------------------------------


def test_a_close_sends_them_first(bench: Bench, make: Make) -> None:
    """A close that begins while they wait delivers them, and its report counts them."""
    producer, park = make(), Park()
    handles = full_in_a_callback(producer, bench, park)
    producer.produce_async("t", b"outer")
    park.entered()
    closing = Run(lambda: producer.close(BOUND))
    accounting = connection_of(producer).reports
    eventually(lambda: accounting.accounting is not None, "a close that has begun")
    park.go()
    report = closing.result()
    assert report.complete
    assert report.undelivered == []
    assert report.delivered >= 2  # the outer one's report may have come before
    assert handles[0].exception(0) is None
    assert [payload for _, payload in bench.sent] == [b"outer", b"fills", LATER]


def test_a_close_waits_for_the_transaction_before_them() -> None:
    """The close refuses new transactions, and still lets theirs begin."""
    producer = Producer(kafka=dict(TRANSACTIONAL), client_factory=FakeClient)
    park, inside = Park(), Park()

    def transact() -> DeliveryHandle:
        with producer.transaction():
            producer.produce_async("t", b"inside")
            later = Context().run(producer.produce_async, "t", LATER)
            inside()
            park()
        return later

    inside.go()
    run = Run(transact)
    park.entered()
    closing = Run(lambda: producer.close(BOUND))
    transactions = producer._components.transactions  # noqa: SLF001
    assert transactions is not None
    eventually(lambda: transactions._shut, "a close that waits")  # noqa: SLF001
    park.go()
    assert run.result().exception(BOUND) is None
    assert closing.result().undelivered == []


def test_a_subscriber_on_the_worker_may_close(bench: Bench, make: Make) -> None:
    """In the background, and the messages behind that one are still sent."""
    producer = make()
    producer.produce_sync("t", b"outer")
    deferred = connection_of(producer).hooks.deferring(
        lambda: Deferred(_dispatch(producer), None)
    )
    reports: list[bool] = []

    @producer.monitor.on("error.occurred")
    def close(_: object) -> None:
        if not reports:
            behind.append(_filled())
            deferred.add(behind[0], "message.produce_async")
            reports.append(producer.close(BOUND).complete)

    behind: list[DeliveryHandle] = []
    bench.fail("produce", ValueError("refused"))
    deferred.add(_filled(), "message.produce_async")
    eventually(lambda: bool(reports))
    assert reports == [False]
    assert behind[0].exception(BOUND) is None
    eventually(lambda: str(producer.status) == "closed")


@pytest.mark.parametrize("force", [False, True])
def test_a_close_gives_the_rest_up(bench: Bench, make: Make, *, force: bool) -> None:
    """What finds no room within the bound has an outcome, and is in the report once."""
    producer = make()
    handles = full_in_a_callback(producer, bench)
    producer.produce_async("t", b"outer").result(BOUND)
    eventually(lambda: bool(handles))
    bench.auto = False
    bench.limit = 0
    connection = connection_of(producer)
    deferred = connection.hooks.deferred
    assert deferred is not None
    late = [_filled() for _ in range(3)]
    for handle in late:
        deferred.add(handle, "message.produce_async")
    report = producer.close(0.05, force=force)
    assert report.complete
    lost = [message.payload for message in report.undelivered].count(LATER)
    assert lost >= 3
    for handle in late:
        error = handle.exception(0)
        assert isinstance(error, ProduceError)
        assert error.code in {"purge_queue", "queue_full"}
    events = named(make.events, "error.occurred")
    told = [payload for payload in events if payload.get("message") == late[0].message]
    assert len(told) >= 3


def test_a_close_meets_a_deferred_message_as_it_is_sent(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has seen the client open, and has not noted it as the message's: the
    close waits for that, and counts the message once."""
    producer, park = make.quiet(), Park()
    producer.produce_sync("t", b"outer")
    connection = connection_of(producer)
    note = ReportHandler.note_topic

    def parked(self: ReportHandler, topic: str) -> None:
        note(self, topic)
        monkeypatch.setattr(ReportHandler, "note_topic", note)
        park()

    def tick(duration: float) -> None:
        park.go()
        wakeup.sleep(duration)

    connection.hooks.deferring(lambda: Deferred(_dispatch(producer), None))
    deferred = connection.hooks.deferred
    assert deferred is not None
    monkeypatch.setattr(ReportHandler, "note_topic", parked)
    handle = _filled()
    deferred.add(handle, "message.produce_async")
    park.entered()
    monkeypatch.setattr(module, "sleep", tick)
    report = producer.close(0)
    park.go()
    assert handle.done()
    assert report.delivered + report.failed + len(report.undelivered) == 1
    assert [payload for _, payload in bench.sent].count(LATER) == 1


def test_a_close_meets_a_deferred_message_that_was_sent(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has sent the message, and has not removed it yet: the close leaves it
    its own outcome."""
    producer, park = make(), Park()
    producer.produce_sync("t", b"outer")
    connection = connection_of(producer)
    send = Deferred._send  # noqa: SLF001

    def parked(self: Deferred, *arguments: Any) -> None:
        send(self, *arguments)
        park()

    monkeypatch.setattr(Deferred, "_send", parked)
    deferred = connection.hooks.deferring(lambda: Deferred(_dispatch(producer), None))
    handle = _filled()
    deferred.add(handle, "message.produce_async")
    park.entered()
    assert handle.result(5).offset == 1
    report = producer.close(0)
    park.go()
    assert report.undelivered == []
    assert not named(make.events, "error.occurred")


def test_one_thread_at_a_time_sends_them(bench: Bench, make: Make) -> None:
    """A job that finds another thread at it leaves the messages to that one."""
    producer = make.quiet()
    producer.produce_sync("t", b"outer")
    deferred = Deferred(_dispatch(producer), None)
    other = Hold()
    assert deferred._sending.take(other)  # noqa: SLF001
    deferred.add(_filled(), "message.produce_async")
    deferred._send_all(inf)  # noqa: SLF001
    assert len(bench.sent) == 1
    assert deferred._sending.release(other)  # noqa: SLF001
    deferred._send_all(inf)  # noqa: SLF001
    assert [payload for _, payload in bench.sent] == [b"outer", LATER]


def _dispatch(producer: Producer) -> Any:
    return producer._components.dispatch  # noqa: SLF001


# -- without threads -----------------------------------------------------------


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("event", ["producer.connecting", "producer.connected"])
def test_without_threads_it_is_sent_as_the_open_ends(
    bench: Bench, make: Make, event: str
) -> None:
    """No later call is needed."""
    producer = make.quiet()
    handles: list[DeliveryHandle] = []

    def send(_: object) -> None:
        if not handles:  # the client is closed behind it, for the sake of forks
            handles.append(producer.produce_async("t", LATER))

    producer.monitor.subscribe(event, send)
    producer.produce_async("t", b"outer")
    assert [handle.done() for handle in handles] == [True]
    assert sorted(payload for _, payload in bench.sent) == [LATER, b"outer"]


def test_with_no_thread_to_spare_it_is_sent_as_the_open_ends(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has all the threads it may have. No later call is needed."""
    monkeypatch.setattr(threads, "start", lambda *_: False)
    monkeypatch.setattr(RUNTIME, "poller", Poller(lambda _: None))
    monkeypatch.setattr(RUNTIME, "workers", Workers(RUNTIME.poller.do))
    producer = make.quiet()
    handles: list[DeliveryHandle] = []

    def send(_: object) -> None:
        handles.append(producer.produce_async("t", LATER))

    producer.monitor.subscribe("producer.connecting", send)
    producer.produce_async("t", b"outer")
    assert len(handles) == 1
    assert sorted(payload for _, payload in bench.sent) == [LATER, b"outer"]


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("ended", [False, True])
def test_without_threads_it_is_sent_when_there_is_room(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    """Behind the poll that the callback was in, before the call returns: in uWSGI's
    master, which closes the client then, and at the exit, which does not."""
    monkeypatch.setattr(RUNTIME, "ended", ended)
    producer = make()
    handles = full_in_a_callback(producer, bench)
    producer.produce_async("t", b"outer")
    assert handles[0].done()
    assert [payload for _, payload in bench.sent] == [b"outer", b"fills", LATER]


@pytest.mark.usefixtures("no_threads")
def test_without_threads_it_is_sent_behind_the_transaction() -> None:
    """In one of its own, as the block ends."""
    producer = Producer(kafka=dict(TRANSACTIONAL), client_factory=FakeClient)
    with producer.transaction():
        producer.produce_async("t", b"inside")
        handle = Context().run(producer.produce_async, "t", LATER)
        assert not handle.done()
    assert handle.done()
    assert handle.exception(0) is None
    producer.close()


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("raises", ["before", "inside"])
def test_a_signal_handler_raises_as_it_is_sent_here(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch, raises: str
) -> None:
    """Its exception comes out. The message is not sent twice: it is sent when
    that call ends, or, where it may have been sent, its outcome is `report_lost`."""
    producer = make.quiet()
    handles: list[DeliveryHandle] = []
    note = ReportHandler.note_topic

    def interrupt(*_: object) -> None:
        monkeypatch.setattr(ReportHandler, "note_topic", note)
        raise KeyboardInterrupt

    def send(_: object) -> None:
        if handles:
            return
        handles.append(producer.produce_async("t", LATER))
        if raises == "before":
            monkeypatch.setattr(ReportHandler, "note_topic", interrupt)
        else:
            bench.fail("produce", KeyboardInterrupt())

    producer.monitor.subscribe("producer.connecting", send)
    with pytest.raises(KeyboardInterrupt):
        producer.produce_async("t", b"outer")
    if raises == "before":
        assert handles[0].exception(BOUND) is None
        assert [payload for _, payload in bench.sent] == [LATER]
    else:
        error = handles[0].exception(0)
        assert isinstance(error, ProduceError)
        assert error.code == "report_lost"
        producer.produce_async("t", b"next")
        assert [payload for _, payload in bench.sent] == [b"next"]


# -- a forked child ------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork to survive")
def test_a_forked_child_sends_none_of_them() -> None:
    """They are the parent's: their handles say so, and nothing waits."""
    producer = Producer(kafka=dict(TRANSACTIONAL), client_factory=FakeClient)
    with producer.transaction():
        producer.produce_async("t", b"inside")
        handle = Context().run(producer.produce_async, "t", LATER)
        child = os.fork()
        if not child:
            try:
                code = getattr(handle.exception(1), "code", None)
                os._exit(0 if code == "forked" else 3)
            finally:
                os._exit(4)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert handle.exception(BOUND) is None
    producer.close()
