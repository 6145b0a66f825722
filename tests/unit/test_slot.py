"""The slot, one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE
from tests.doubles import Bench
from waterdrop_py._engine.concurrency.locks import Ticket
from waterdrop_py.testing import FakeClock

if TYPE_CHECKING:
    from waterdrop_py.monitor import Event
    from waterdrop_py.typing import KafkaClient


def idle_producer() -> tuple[StillProducer, list[Event]]:
    """One with an idle timeout of IDLE, and what it refuses."""
    producer = StillProducer(Bench(), idle_disconnect_timeout=int(IDLE * 1000))
    refused: list[Event] = []
    producer.monitor.subscribe("producer.disconnect_refused", refused.append)
    return producer, refused


def test_an_interrupted_opening_leaves_no_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client is destroyed at once, and not when the garbage collector comes by."""
    bench = Bench()
    slot = StillProducer(bench).slot

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("waterdrop_py._engine.connection.brokers.watch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            slot.ready(None)
    assert [client.closed for client in bench.clients] == [True]
    assert slot.ready(None).client is bench.client


def test_a_reason_is_said_once() -> None:
    """However often the reaper comes by; once more after an activity."""
    with FakeClock() as time:
        producer, refused = idle_producer()
        slot = producer.slot
        life = slot.ready(None)
        life.inuse.append(None)
        time.advance(IDLE)
        for _ in range(3):
            slot.reap(slot.engine.batch([slot]))
        assert [event["reason"] for event in refused] == ["call"]
        slot.restart_deadline()
        slot.reap(slot.engine.batch([slot]))
        assert [event["reason"] for event in refused] == ["call", "call"]


def test_an_ended_close_lets_the_next_one_go_on() -> None:
    """A client that was refused for the close before it is looked at when that ends."""
    with FakeClock() as time:
        producer, refused = idle_producer()
        slot, schedule = producer.slot, producer.engine.schedule
        slot.ready(None)
        assert slot.retire("requested").ending is not None
        slot.ready(None)
        time.advance(IDLE)
        assert schedule.sweep(time.now()) == [slot]
        slot.reap(slot.engine.batch([slot]))
        assert [event["reason"] for event in refused] == ["call"]
        assert schedule.sweep(time.now()) == []
        producer.engine.run_jobs()
        assert schedule.sweep(time.now()) == [slot]


def test_settle_looks_again_after_its_mark() -> None:
    """A message that comes between the look and the mark of quiet is seen."""
    producer = StillProducer(Bench())
    life = producer.slot.ready(None)
    client = life.client
    assert client is not None

    class Late:
        """A client whose next message comes right after the first look at it."""

        def __init__(self, inner: KafkaClient) -> None:
            self._inner, self._looks = inner, 0

        def __len__(self) -> int:
            found = len(self._inner)
            self._looks += 1
            if self._looks == 1:
                self._inner.produce("t", value=b"x")
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    life.client = cast("KafkaClient", Late(client))
    assert not life.settle()
    assert not life.quiet


def test_a_close_waits_for_whoever_polls() -> None:
    """A client is not closed inside somebody's poll turn, and is when that ends."""
    bench = Bench()
    producer = StillProducer(bench)
    life = producer.slot.ready(None)
    assert producer.slot.retire("requested").ending is not None
    turn = Ticket()
    assert life.turn.take(turn)
    producer.engine.run_jobs()
    assert bench.open_clients
    life.leave(turn)
    producer.engine.run_jobs()
    assert not bench.open_clients
