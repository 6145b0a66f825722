"""A client is asked for its brokers: no close waits in the way, and none is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import Run, eventually
from waterdrop_py import Status
from waterdrop_py._engine.connection.discovery import learn
from waterdrop_py._engine.process.workers import Workers
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench


def test_a_close_waits_for_the_question(bench: Bench, make: Make) -> None:
    """The client is detached at once, the next send opens another one, and the
    client is destroyed when the answer has come: no native call meets its close."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    with bench.park("list_topics") as parked:
        learn(connection, connection.client)
        parked.entered()
        reasons = [reason.code for reason in producer.explain_idle().reasons]
        assert reasons == ["disabled"]  # no idle timeout, and no call in progress
        disconnecting = Run(producer.disconnect)
        eventually(lambda: connection.client.native is None, "it was detached")
        producer.produce_sync("t", b"y")
        assert len(bench.clients) == 2
        assert not bench.clients[0].closing
    assert disconnecting.result() is True
    eventually(lambda: bench.clients[0].closed, "it was destroyed")


@pytest.mark.timed
@pytest.mark.parametrize("timeout", [0.1, 30.0])
def test_a_question_that_hangs_holds_no_close_up(
    bench: Bench, make: Make, timeout: float
) -> None:
    """`close` returns soon, within its bound, and says nothing of an abandoned client:
    it is destroyed when the question ends."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    with record(producer.monitor) as events, bench.park("list_topics") as parked:
        learn(connection, connection.client)
        parked.entered()
        started = time.monotonic()
        report = producer.close(timeout)
        assert time.monotonic() - started < 0.6 + 0.2  # a loaded machine
        assert report.complete
        assert producer.status is Status.CLOSED
        assert not bench.client.closing
    eventually(lambda: bench.client.closed, "it was destroyed")
    assert not [event for event in events if event.name == "error.occurred"]
    (told,) = [event for event in events if event.name == "producer.disconnected"]
    assert told["released"] is None


def test_without_a_thread_nothing_is_asked(
    bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At interpreter exit no worker can start: the poller must not wait for an
    answer in its place."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    workers = Workers(lambda job: job())  # what the poller does with its jobs
    monkeypatch.setattr(connection.runtime, "workers", workers)
    monkeypatch.setattr(
        "waterdrop_py._engine.concurrency.threads.start", lambda *_: False
    )
    learn(connection, connection.client)
    monkeypatch.undo()
    assert not workers.waiting()
    assert bench.calls["list_topics"] == 0


def test_a_question_is_no_activity(bench: Bench, make: Make) -> None:
    """Neither the idle time nor any counter sees it."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    before = connection.client.last_activity
    learn(connection, connection.client)
    eventually(lambda: bench.calls["list_topics"] == 1, "it was asked")
    assert connection.client.last_activity == before
    assert producer.stats().produced == 1


def test_what_a_factorys_client_raises_is_told(bench: Bench, make: Make) -> None:
    """Once: that client is not asked again."""
    producer = make()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    bench.fail("list_topics", ValueError("no metadata here"))
    with record(producer.monitor) as events:
        learn(connection, connection.client)
        eventually(lambda: bool(events), "it was told")
    (told,) = [event for event in events if event.name == "error.occurred"]
    assert told["type"] == "librdkafka.error"
    assert connection.client.asking.ask_at == float("inf")
    assert not connection.client.asking.requests
