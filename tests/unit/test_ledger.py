"""Figures that outlive clients, and what they are read with."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py import Producer
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.introspection.stats import read_stats
from waterdrop_py.testing import FakeClient, FakeClock

if TYPE_CHECKING:
    import pytest


def test_figures_survive_reconnects() -> None:
    """Counts and times add up over two clients; the present one is included."""
    with FakeClock() as time:
        bench = Bench()
        producer = StillProducer(bench)
        slot = producer.slot
        assert read_stats(slot).reopen_ms is None
        life = slot.ready(None)
        for sends in (3, 2):
            life = slot.ready(None)
            for _ in range(sends):
                next(life.sent)
                life.acknowledged += 1
            time.advance(10)
            if sends == 3:
                assert slot.retire("requested").ending is not None
                producer.engine.run_jobs()
                time.advance(5)
        life.failed += 1
        next(life.sent)
        next(life.sent)
        stats = read_stats(slot)
        assert (stats.opens, dict(stats.disconnects)) == (2, {"requested": 1})
        assert (stats.produced, stats.acknowledged, stats.failed) == (7, 5, 1)
        assert stats.in_flight == 1
        assert (stats.connected_ms, stats.idle_ms_saved) == (20_000, 5_000)
        assert stats.reopen_ms is not None
        life.failed += 1
        slot.retire("idle_")
        time.advance(1)
        assert read_stats(slot).idle_ms_saved == 6_000
        assert read_stats(slot).connected_ms == 20_000


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
    """A client that is let go of with messages lost has no message without outcome."""
    producer = StillProducer(Bench())
    life = producer.slot.ready(None)
    for _ in range(3):
        next(life.sent)
    life.acknowledged = 1
    life.lost = ValueError()
    producer.slot.ledger.closed(life, "close")
    totals, present = producer.slot.ledger.book
    assert (totals.produced, totals.acknowledged, totals.failed) == (3, 1, 2)
    assert present is None


def test_idle_time_is_read_while_a_client_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The open comes after the reader saw that there is none: the figure stays one."""
    with FakeClock() as time:
        producer = StillProducer(Bench())
        ledger = producer.slot.ledger
        life = producer.slot.ready(None)
        ledger.closed(life, "close")
        time.advance(2)

        def opened_now() -> float:
            monkeypatch.undo()
            ledger.opened(life, 1.0)
            return clock.now()

        monkeypatch.setattr(
            "waterdrop_py._engine.connection.ledger.clock.now", opened_now
        )
        assert ledger.idle_ms_saved() == 2_000
