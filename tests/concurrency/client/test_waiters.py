"""Threads that wait for reports, and serve them for one another."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import Run, eventually
from waterdrop_py._engine.client import pending, waiting, watchers
from waterdrop_py._engine.client.pending import PendingMessage
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py.errors import DeliveryTimeoutError, ProduceError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle


def test_callback_added_while_the_report_arrives(bench: Bench, make: Make) -> None:
    """A callback is called once, wherever the report overtakes its adding.

    The watcher has its entry and is stopped; the report resolves the handle, takes
    the entry away and calls what is in it: nothing yet. The watcher goes on.
    """
    producer = make.quiet()
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    heard: list[DeliveryHandle] = []

    class Late(list[object]):
        """An entry; the report arrives just before the callback is in it."""

        def append(self, item: object) -> None:
            bench.client.ack()
            eventually(handle.done)
            eventually(lambda: handle not in watchers.WATCHED)
            super().append(item)

    watchers.WATCHED[handle] = ([], Late())  # type: ignore[assignment]
    handle.add_done_callback(heard.append)
    assert heard == [handle]
    assert handle not in watchers.WATCHED


def test_waiters_are_served_by_one_of_them(bench: Bench, make: Make) -> None:
    """Eight threads that wait on one client all get their reports, one polling."""
    producer = make.quiet()
    bench.auto = False
    handles = [producer.produce_async("t", b"x") for _ in range(8)]
    waiters = [Run(partial(handle.result, 4)) for handle in handles]
    for _ in handles:
        bench.client.ack(1)
    assert all(waiter.result().error is None for waiter in waiters)


def test_a_waiter_that_gives_up_wakes_the_next(bench: Bench, make: Make) -> None:
    """A woken thread that does not poll wakes the next one.

    A polls; B and C wait. A stops and wakes B, whose time is over: B wakes C, which
    polls.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    bench.auto = False
    client = connection_of(producer).client
    hold = Hold()
    eventually(lambda: client.poll_lock.take(hold))
    producer.produce_async("t", b"x")
    woken: list[str] = []
    client.poll_lock.waiters += [client.pass_on_polling, lambda: woken.append("C")]
    client.stop_polling(hold)
    assert woken == ["C"]


def time_is_up(seconds: float) -> float:
    """A deadline."""
    from waterdrop_py._engine.concurrency import clock

    return clock.system_now() + seconds


@pytest.mark.parametrize("ends", ["done", "interrupted"])
def test_a_ring_is_passed_on_by_who_does_not_serve(
    bench: Bench, make: Make, ends: str
) -> None:
    """A thread that was woken to poll, and need not, wakes the next one.

    The thread that stopped polling has seen it waiting, and leaves the rest to it. Its
    message is done, or Ctrl-C interrupts it. If it did not wake another thread, no
    thread would serve the message.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client = connection_of(producer).client
    eventually(lambda: client.quiet)
    hold = Hold()
    hold.owner = 0  # another thread's
    assert client.poll_lock.take(hold)
    handle = producer.produce_async("t", b"x")
    arms: list[object] = []
    armed, client.poll_soon = client.poll_soon, arms.append
    looks = iter(["before", "in the queue"])

    def done() -> bool:
        """It is woken at its second look."""
        look = next(looks, None)
        if look == "in the queue":
            client.stop_polling(hold)
            assert not arms  # left to this waiter
            if ends == "interrupted":
                raise KeyboardInterrupt
        return look is None

    try:
        waiting.wait_serving(client, done, time_is_up(2))
    except KeyboardInterrupt:
        assert ends == "interrupted"
    assert arms == [client]
    client.poll_soon = armed
    handle.result(5)


def test_a_ring_is_passed_on_as_the_outcome_comes(bench: Bench, make: Make) -> None:
    """A thread that waits for one message is woken to poll, and its message has its
    outcome by then: it wakes another thread for the messages of others."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client = connection_of(producer).client
    eventually(lambda: client.quiet)
    hold = Hold()
    hold.owner = 0  # another thread's
    assert client.poll_lock.take(hold)
    handle = producer.produce_async("t", b"x")
    arms: list[object] = []
    armed, client.poll_soon = client.poll_soon, arms.append

    class Waited(PendingMessage):
        """A message whose outcome comes at the waiter's last look before its sleep."""

        looks = iter(["before", "as it is watched", "in the queue"])

        def done(self) -> bool:
            look = next(self.looks, None)
            if look == "in the queue":
                client.stop_polling(hold)
                assert not arms  # left to this waiter
                return True
            return look is None

    waited = Waited()
    waited._client = client  # noqa: SLF001
    assert pending.wait_until(waited, time_is_up(2))
    assert arms == [client]
    client.poll_soon = armed
    handle.result(5)


@pytest.mark.timed
def test_a_poll_that_ends_before_the_wakeup_is_added(bench: Bench, make: Make) -> None:
    """Its thread wakes no other one. The thread that queues up sees that the lock is
    free, and polls."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client = connection_of(producer).client
    eventually(lambda: client.poll_at and client.quiet, "the poller knows it")
    client.poll_soon = lambda _: None  # no poller helps
    client.poll_at = float("inf")
    hold = Hold()
    hold.owner = 0  # another thread's
    assert client.poll_lock.take(hold)
    handle = producer.produce_async("t", b"x")

    class Late(list[Any]):
        """Wake-ups; the poll ends just before one is added."""

        def append(self, wakeup: object) -> None:
            client.stop_polling(hold)
            super().append(wakeup)

    client.poll_lock.waiters = Late()
    started = time.monotonic()
    assert handle.result(4).error is None
    assert time.monotonic() - started < 2


@pytest.mark.timed
def test_timed_out_wait_changes_nothing(bench: Bench, make: Make) -> None:
    """result() gives up at its bound; a later one has the report."""
    producer = make.quiet()
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    started = time.monotonic()
    with pytest.raises(DeliveryTimeoutError):
        handle.result(0.02)
    assert time.monotonic() - started < 0.5
    assert not watchers.WATCHED.get(handle, ([], []))[0]
    bench.client.ack()
    assert handle.result(5).error is None


def test_a_full_queue_is_drained_by_the_waiting_sender(
    bench: Bench, make: Make
) -> None:
    """Four threads push 400 messages through a queue of ten."""
    producer = make.quiet(wait_backoff_on_queue_full=5)
    bench.limit = 10
    senders = [
        Run(lambda: [producer.produce_async("t", b"x") for _ in range(100)])
        for _ in range(4)
    ]
    handles = [handle for sender in senders for handle in sender.result()]
    assert all(handle.result(5).error is None for handle in handles)
    assert len(bench.sent) == 400


@pytest.mark.parametrize("backoff", [0, 1])
def test_full_queue_ends_at_its_deadline(
    bench: Bench, make: Make, backoff: int
) -> None:
    """When nothing drains, the deadline raises queue_full, with nothing sent."""
    producer = make.quiet(
        wait_backoff_on_queue_full=backoff, wait_timeout_on_queue_full=30
    )
    bench.auto = False
    bench.limit = 1
    producer.produce_async("t", b"x")
    with pytest.raises(ProduceError) as caught:
        producer.produce_async("t", b"y")
    assert caught.value.code == "queue_full"
    assert len(bench.sent) == 1


@pytest.mark.timed
def test_zero_backoff_serves_reports(bench: Bench, make: Make) -> None:
    """Without a backoff, the sender that waits for room serves the reports itself."""
    producer = make.quiet(wait_backoff_on_queue_full=0)
    bench.limit = 1
    producer.produce_sync("t", b"first")
    client = connection_of(producer).client
    eventually(lambda: client.quiet)
    client.poll_soon = lambda _: None  # no poller helps
    client.poll_at = float("inf")
    polls, started = bench.calls["poll"], time.monotonic()
    handles = [producer.produce_async("t", b"x") for _ in range(5)]
    assert bench.calls["poll"] - polls >= 4
    assert time.monotonic() - started < 1
    assert all(handle.result(5).error is None for handle in handles)


def test_flush_waits_for_another_threads_turn(bench: Bench, make: Make) -> None:
    """flush() beside a poll that hangs ends at its bound, with the count."""
    producer = make.quiet()
    bench.auto = False
    handle = producer.produce_async("t", b"x")
    with bench.park("poll") as park:
        park.entered()
        assert producer.flush(0.05) == 1
    bench.client.ack()
    handle.result(5)
    assert producer.flush(1) == 0
