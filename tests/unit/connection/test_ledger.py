"""Figures that outlive clients, and what they are read with."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py import Producer
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.introspection.stats import read_stats
from waterdrop_py.testing import FakeClient, FakeClock


def test_figures_survive_reconnects() -> None:
    """Counts and times add up over two clients; the present one is included."""
    with FakeClock() as time:
        bench = Bench()
        producer = StillProducer(bench)
        connection = producer.connection
        assert read_stats(connection).reopen_ms is None
        client = open_noted(connection, None)
        for sends in (3, 2):
            client = open_noted(connection, None)
            for _ in range(sends):
                next(client.sent)
                client.acknowledged += 1
            time.advance(10)
            if sends == 3:
                assert disconnect(connection, "requested").teardown is not None
                producer.runtime.run_jobs()
                time.advance(5)
        client.failed += 1
        next(client.sent)
        next(client.sent)
        stats = read_stats(connection)
        assert (stats.opens, dict(stats.disconnects)) == (2, {"requested": 1})
        assert (stats.produced, stats.acknowledged, stats.failed) == (7, 5, 1)
        assert stats.in_flight == 1
        assert (stats.connected_ms, stats.idle_ms_saved) == (20_000, 5_000)
        assert stats.reopen_ms is not None
        client.failed += 1
        disconnect(connection, "idle_")
        time.advance(1)
        assert read_stats(connection).idle_ms_saved == 6_000
        assert read_stats(connection).connected_ms == 20_000


def test_figures_are_plain() -> None:
    """`asdict`, pickle and JSON take them; what is done to them changes no other."""
    with Producer(kafka={"bootstrap.servers": "h"}, client_factory=FakeClient) as each:
        each.variant(topic_config={"acks": 1}).produce_sync("t", b"x")
        each.produce_sync("t", b"x")
        each.disconnect()
        stats = each.stats()
        plain = json.loads(json.dumps(asdict(stats)))
        assert plain["disconnects"] == {"requested": 1}
        assert plain["variants"]["acks=1"]["produced"] == 1
        assert pickle.loads(pickle.dumps(stats)) == stats
        asdict(stats)["disconnects"].clear()
        assert isinstance(stats.disconnects, dict)
        stats.disconnects.clear()
        assert each.stats().disconnects == {"requested": 1}


def test_what_is_lost_counts_as_failed() -> None:
    """A client that is closed with messages lost has no message without outcome."""
    producer = StillProducer(Bench())
    client = open_noted(producer.connection, None)
    for _ in range(3):
        next(client.sent)
    client.acknowledged = 1
    client.given_up = ValueError()
    producer.connection.ledger.closed(client, "close")
    totals, present, _ = producer.connection.ledger.book
    assert (totals.produced, totals.acknowledged, totals.failed) == (3, 1, 2)
    assert present is None
