"""A send and a close at the same moment: one of the two sees the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.concurrency.support import HookedCount, HookedMarks, connection_of, named
from tests.doubles import Park, Run, eventually, kafka_failure
from waterdrop_py._engine.client.pins import Pins
from waterdrop_py._engine.client.poll_lock import PollLock
from waterdrop_py._engine.concurrency.locks import Hold
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.concurrency.support import Make
    from tests.doubles import Bench


@pytest.mark.parametrize("payload", [b"x", "long way"])
def test_send_between_the_look_and_the_close(
    bench: Bench, make: Make, payload: bytes | str
) -> None:
    """A sender stopped before its mark finds its client gone, and takes the next."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client, park = connection_of(producer).client, Park()
    client.quiet = False  # as between two sends of a busy producer
    client.borrows = HookedMarks(before_append=park)
    sender = Run(lambda: producer.produce_async("t", payload))
    park.entered()
    assert producer.disconnect()
    client.quiet = False  # the disconnect need not be the last to settle
    park.go()
    assert sender.result().result(5).offset == 0
    assert [len(native.taken) for native in bench.clients] == [1, 1]


def test_mark_seen_by_the_look(bench: Bench, make: Make) -> None:
    """A sender between its mark and its produce keeps its client."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client, park = connection_of(producer).client, Park()
    client.sent = HookedCount(client.sent, before_next=park)  # type: ignore[assignment]
    sender = Run(lambda: producer.produce_async("t", b"x"))
    park.entered()
    assert [reason.code for reason in producer.explain_idle().reasons] == [
        "call",
        "disabled",
    ]
    assert not producer.disconnect()
    park.go()
    sender.result().result(5)
    assert len(bench.clients) == 1


def test_send_that_ends_between_the_two_looks(bench: Bench, make: Make) -> None:
    """A sender that ends between the look for marks and that for messages is seen.

    The sender has its mark, and is stopped before its number. The retirer counts
    the messages: none. The sender goes on and takes its mark away. Had the retirer
    not looked for marks before, it would find none now, and close on a message.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    bench.auto = False
    client, park = connection_of(producer).client, Park()

    def let_the_sender_end() -> None:
        park.go()
        eventually(lambda: len(bench.client.taken) == 2 and not list(client.borrows))

    client.sent = counter = HookedCount(client.sent, before_next=park)  # type: ignore[assignment]
    sender = Run(lambda: producer.produce_async("t", b"x"))
    park.entered()
    counter.after_read = let_the_sender_end
    assert not producer.disconnect()
    bench.client.ack()
    assert sender.result().result(5).offset == 1


def test_send_after_the_last_look(bench: Bench, make: Make) -> None:
    """A sender that comes after the retirer's last look finds its client gone.

    If the client were still in the connection then, the sender would pass its
    re-check, and hand its message to a client that is about to be closed.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    senders: list[Run] = []

    class Looked(Pins):
        """The pins, which are looked at last."""

        def __iter__(self) -> Iterator[Any]:
            if not senders:
                senders.append(Run(lambda: producer.produce_async("t", "x")))
                senders[0].join(0.1)
            return super().__iter__()

    connection_of(producer).client.pins = Looked()
    assert producer.disconnect()
    assert senders[0].result().result(5).offset == 0
    assert [len(client.taken) for client in bench.clients] == [1, 1]


def test_send_parked_inside_the_client(bench: Bench, make: Make) -> None:
    """disconnect() neither waits for a send in progress nor closes under it."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    with bench.park("produce") as park:
        sender = Run(lambda: producer.produce_async("t", b"x"))
        park.entered()
        assert Run(producer.disconnect).result() is False
    sender.result().result(5)


def test_client_is_put_back_after_a_refusal(bench: Bench, make: Make) -> None:
    """A refused disconnect changes nothing: the same client serves the next send."""
    producer = make.quiet()
    bench.auto = False
    first = producer.produce_async("t", b"x")
    assert not producer.disconnect()
    assert producer.is_connected
    assert str(producer.status) == "connected"
    second = producer.produce_async("t", b"y")
    bench.client.ack()
    assert all(handle.result(5).error is None for handle in (first, second))
    assert len(bench.clients) == 1


def test_a_refusal_on_a_quiet_client_arms(bench: Bench, make: Make) -> None:
    """A refused message that ended the quiet leaves no message unserved behind it.

    Refused on a quiet client, it ended the quiet; the next sender sees a client
    that is served, and does not arm the poller.
    """
    producer = make.quiet()
    bench.fail("produce", kafka_failure(KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(ProduceError, match="msg_size_too_large"):
        producer.produce_async("t", b"too much")
    heard: list[object] = []
    producer.produce_async("t", b"x").add_done_callback(heard.append)
    eventually(lambda: heard, "the report was served")


def test_quiet_is_taken_back_when_a_send_meets_it(bench: Bench, make: Make) -> None:
    """The poller's mark of quiet and a send at the same moment lose no report.

    The poller has found nothing, marks the client quiet, and looks again; a sender
    that read the mark before produces in between, and counts on being served.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    connection = connection_of(producer)
    client = connection.client
    heard: list[object] = []
    client.quiet = False

    def send() -> None:
        """What the sender, which saw no quiet, does between the two looks."""
        client.borrows = plain
        client.quiet = False
        producer.produce_async("t", b"x").add_done_callback(heard.append)
        client.quiet = True  # the poller's mark, set before the sender looked

    plain = client.borrows
    client.borrows = HookedMarks(after_look=send)
    client.poll_soon(client)
    eventually(lambda: heard, "the report was served")
    eventually(lambda: client.quiet)


def test_woken_is_decided_under_the_mark(bench: Bench, make: Make) -> None:
    """A client that falls quiet before the sender's mark is armed by that sender."""
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    client = connection_of(producer).client
    heard: list[object] = []
    eventually(lambda: client.poll_at and client.quiet, "the poller knows it")
    client.quiet = False
    client.borrows = HookedMarks(before_append=lambda: setattr(client, "quiet", True))
    client.poll_at = float("inf")  # not on the list of the poller
    producer.produce_async("t", "long way").add_done_callback(heard.append)
    eventually(lambda: heard, "the report was served")


def test_activity_of_a_refused_send_is_counted_once(bench: Bench, make: Make) -> None:
    """A refused message is neither in flight nor produced."""
    producer = make()
    bench.fail("produce", kafka_failure(KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(ProduceError):
        producer.produce_async("t", b"x")
    stats = producer.stats()
    assert (stats.produced, stats.in_flight) == (0, 0)
    assert producer.disconnect()
    assert named(make.events, "producer.disconnected")[0]["messages"] == 0


def test_two_disconnects_of_one_client(bench: Bench, make: Make) -> None:
    """The slower one of two does not throw out the client that came after.

    It has read the client, and is stopped; another thread closes that client,
    and a send opens the next one.
    """
    producer = make.quiet()
    producer.produce_sync("t", b"first")
    connection = connection_of(producer)

    class Overtaken(PollLock):
        """The poll lock, which a disconnect takes before it decides."""

        def take(self, hold: Hold) -> bool:
            connection.client.poll_lock = PollLock()
            assert Run(producer.disconnect).result()
            Run(partial(producer.produce_sync, "t", b"second")).result()
            return super().take(hold)

    connection.client.poll_lock = Overtaken()
    retirement = disconnect(connection, "requested")
    assert [refusal.code for refusal in retirement.refusals] == ["call"]
    assert producer.is_connected
    assert connection.client.native is bench.client
    assert producer.stats().disconnects == {"requested": 1}


def test_two_openers(bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one of two finds the client open that the other one opened.

    It has seen no client, and is stopped before it takes the lifecycle lock.
    """
    producer = make.quiet()

    def overtaken() -> Hold:
        monkeypatch.undo()
        Run(partial(producer.produce_async, "t", b"faster")).result()
        return Hold()

    monkeypatch.setattr("waterdrop_py._engine.connection.opening.Hold", overtaken)
    producer.produce_sync("t", b"slower")
    assert len(bench.clients) == 1
    assert [payload for _, payload in bench.sent] == [b"faster", b"slower"]
