"""`Client`: its counters, and when it is quiet."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.concurrency.still import StillProducer
from tests.concurrency.support import HookedCount
from tests.doubles import BOUND, Bench, Run, eventually
from waterdrop_py._engine.concurrency.counter import peek
from waterdrop_py._engine.connection.opening import open_noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client


def client_of(bench: Bench) -> Client:
    """An open client that no thread polls."""
    producer = StillProducer(bench)
    return open_noted(producer.connection, None)


def test_figure_does_not_count() -> None:
    """Reading a counter leaves it where it is."""
    counter = count()
    assert [peek(counter), peek(counter)] == [0, 0]
    next(counter)
    assert peek(counter) == 1


def test_in_flight_counts_what_was_taken_and_not_reported() -> None:
    """Refused ones were not taken; lost ones have their outcome."""
    client = client_of(Bench())
    for _ in range(5):
        next(client.sent)
    next(client.refused)
    client.acknowledged, client.failed = 2, 1
    assert (client.accepted(), client.in_flight()) == (4, 1)
    client.given_up = ValueError()
    assert client.in_flight() == 0


def during_the_read(client: Client, what: Callable[[], object]) -> None:
    """Let it happen between the reads of the two counters."""
    client.sent = HookedCount(client.sent, after_read=what)  # type: ignore[assignment]


def test_a_message_is_not_hidden_by_another_ones_report() -> None:
    """One is in flight; a second is sent and reported while that is being counted."""
    client = client_of(Bench())
    next(client.sent)

    def second() -> None:
        next(client.sent)
        client.acknowledged += 1

    during_the_read(client, second)
    assert client.in_flight() == 1


def test_a_message_is_not_hidden_by_another_ones_refusal() -> None:
    """One is in flight; a second is refused while that is being counted."""
    client = client_of(Bench())
    next(client.sent)

    def second() -> None:
        next(client.sent)
        next(client.refused)

    during_the_read(client, second)
    assert client.in_flight() == 1


def test_settle_is_quiet_only_when_nothing_is_left() -> None:
    """A borrow or a message keeps it served."""
    bench = Bench()
    client = client_of(bench)
    assert client.check_quiet()
    client.borrows.append(None)
    assert not client.check_quiet()
    assert not client.quiet
    client.borrows.pop()
    client.produce("t", b"x")  # type: ignore[misc]
    assert not client.check_quiet()
    client.serve(0.0)
    assert client.check_quiet()
    assert client.quiet


def test_settle_tells_of_the_end_of_a_refusal() -> None:
    """Only when something was refused, and nothing is left."""
    client, told = client_of(Bench()), list[str]()
    client.on_settled = lambda: told.append("settled")
    client.check_quiet()
    assert told == []
    client.refusals.add("in_flight")
    client.borrows.append(None)
    client.check_quiet()
    assert told == []
    client.borrows.pop()
    client.check_quiet()
    assert told == ["settled"]


def test_numbers_without_a_message_are_uncounted() -> None:
    """A number that a signal handler's exception left without a message is removed."""
    client = client_of(Bench())
    next(client.sent)
    client.counters_uncertain = True
    client.borrows.append(None)
    client.check_quiet()
    assert client.in_flight() == 1
    client.borrows.pop()
    client.check_quiet()
    assert client.in_flight() == 0
    assert not client.counters_uncertain


def test_an_older_answer_does_not_stay() -> None:
    """Two threads look at once whether reports are observed, and the one with the older
    answer is the last to write: it looks again."""
    client = client_of(Bench())

    class Reports:
        """A subscriber comes between the first answer and the thread's write of it."""

        def __init__(self) -> None:
            self._answers = [True, False]

        @property
        def unobserved(self) -> bool:
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    client.unobserved = False
    client.reports = Reports()  # type: ignore[assignment]
    client.refresh()
    assert not client.unobserved


def test_without_a_client_it_stays_quiet() -> None:
    """A late borrow finds a destroyed client quiet."""
    client = client_of(Bench())
    client.native = None
    client.borrows.append(None)
    assert client.check_quiet()
    assert client.quiet


def test_a_raising_poll_is_told_of() -> None:
    """A native error out of a poll is contained, and becomes an event.

    Any other exception is a signal handler's, and comes out of the interrupted call.
    """
    bench = Bench()
    producer = StillProducer(bench)
    kinds: list[str] = []
    producer.monitor.subscribe(
        "error.occurred", lambda event: kinds.append(event["type"])
    )
    client = open_noted(producer.connection, None)
    bench.fail("poll", KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE)))
    client.serve(0.0)
    assert kinds == ["poller.error"]
    bench.fail("poll", RuntimeError("a handler's"))
    with pytest.raises(RuntimeError, match="a handler's"):
        client.serve(0.0)
    assert kinds == ["poller.error"]


def test_the_worker_that_settles_wakes_the_next_waiter() -> None:
    """The thread that polled has left that to it."""
    client = client_of(Bench())
    woken: list[str] = []
    client.poll_lock.waiters.append(lambda: woken.append("next"))
    client.arrived.append((None, lambda _: None, None))
    client.settle()
    assert woken == ["next"]


def test_the_worker_that_settles_wakes_the_poll() -> None:
    """The thread that polls waits for the worker, with the poll lock held."""
    client = client_of(Bench())
    client.arrived.append((None, lambda _: None, None))
    polling = Run(lambda: client.wait_settled(BOUND / 2))
    eventually(lambda: client._on_settled)  # noqa: SLF001
    client.settle()
    assert polling.result()


def test_what_is_sent_again_is_not_counted_off() -> None:
    """It is in no client just now, and its number has a message all the same."""
    client = client_of(Bench())
    next(client.sent)
    client.counters_uncertain = True

    class Resending:
        """It has that message."""

        holds, waiting = True, False

    client.reports.resending = Resending()  # type: ignore[misc, assignment]
    client.check_quiet()
    assert client.in_flight() == 1
