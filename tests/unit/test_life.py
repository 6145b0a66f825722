"""What is known of one client."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.concurrency.still import StillProducer
from tests.concurrency.support import HookedCount
from tests.doubles import Bench
from waterdrop_py._engine.client.client import Life, figure

if TYPE_CHECKING:
    from collections.abc import Callable


def life_of(bench: Bench) -> Life:
    """The life of an open client, which nobody polls."""
    producer = StillProducer(bench)
    return producer.slot.ready(None)


def test_figure_does_not_count() -> None:
    """Reading a counter leaves it where it is."""
    counter = count()
    assert [figure(counter), figure(counter)] == [0, 0]
    next(counter)
    assert figure(counter) == 1


def test_in_flight_counts_what_was_taken_and_not_reported() -> None:
    """Refused ones were not taken; lost ones have their outcome."""
    life = life_of(Bench())
    for _ in range(5):
        next(life.sent)
    next(life.refused)
    life.acknowledged, life.failed = 2, 1
    assert (life.taken(), life.in_flight()) == (4, 1)
    life.lost = ValueError()
    assert life.in_flight() == 0


def during_the_read(life: Life, what: Callable[[], object]) -> None:
    """Let it happen between the reads of the two counters."""
    life.sent = HookedCount(life.sent, after_read=what)  # type: ignore[assignment]


def test_a_message_is_not_hidden_by_another_ones_report() -> None:
    """One is in flight; a second is sent and reported while that is being counted."""
    life = life_of(Bench())
    next(life.sent)

    def second() -> None:
        next(life.sent)
        life.acknowledged += 1

    during_the_read(life, second)
    assert life.in_flight() == 1


def test_a_message_is_not_hidden_by_another_ones_refusal() -> None:
    """One is in flight; a second is refused while that is being counted."""
    life = life_of(Bench())
    next(life.sent)

    def second() -> None:
        next(life.sent)
        next(life.refused)

    during_the_read(life, second)
    assert life.in_flight() == 1


def test_settle_is_quiet_only_when_nothing_is_left() -> None:
    """A mark, or a message, keeps it served."""
    bench = Bench()
    life = life_of(bench)
    assert life.settle()
    life.inuse.append(None)
    assert not life.settle()
    assert not life.quiet
    life.inuse.pop()
    life.produce("t", b"x")  # type: ignore[misc]
    assert not life.settle()
    life.serve(0.0)
    assert life.settle()
    assert life.quiet


def test_settle_tells_of_the_end_of_a_refusal() -> None:
    """Only when something was refused, and nothing is left."""
    life, told = life_of(Bench()), list[str]()
    life.on_settled = lambda: told.append("settled")
    life.settle()
    assert told == []
    life.refusals.add("in_flight")
    life.inuse.append(None)
    life.settle()
    assert told == []
    life.inuse.pop()
    life.settle()
    assert told == ["settled"]


def test_torn_numbers_are_uncounted() -> None:
    """A number that a signal handler's exception left without a message goes."""
    life = life_of(Bench())
    next(life.sent)
    life.torn = True
    life.inuse.append(None)
    life.settle()
    assert life.in_flight() == 1
    life.inuse.pop()
    life.settle()
    assert life.in_flight() == 0
    assert not life.torn


def test_without_a_client_it_stays_quiet() -> None:
    """A mark that comes late finds a destroyed client quiet."""
    life = life_of(Bench())
    life.client = None
    life.inuse.append(None)
    assert life.settle()
    assert life.quiet


def test_a_raising_poll_is_told_of() -> None:
    """A native error out of a poll is contained, and becomes an event.

    What is none is a signal handler's, and goes through to whoever it interrupted.
    """
    bench = Bench()
    producer = StillProducer(bench)
    kinds: list[str] = []
    producer.monitor.subscribe(
        "error.occurred", lambda event: kinds.append(event["type"])
    )
    life = producer.slot.ready(None)
    bench.fail("poll", KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE)))
    life.serve(0.0)
    assert kinds == ["poller.error"]
    bench.fail("poll", RuntimeError("a handler's"))
    with pytest.raises(RuntimeError, match="a handler's"):
        life.serve(0.0)
    assert kinds == ["poller.error"]
