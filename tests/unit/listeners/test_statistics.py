"""Statistics: what librdkafka says, added up over clients so that no counter falls."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from waterdrop_py.listeners._series import Series
from waterdrop_py.listeners._statistics import COUNTERS, SeriesStatistics, Statistics

A, B = Series("a", ()), Series("b", ())


class Client:
    """Stands for `Event.client`: an object that can be held weakly."""


def emitted(tx: int, node: int = 1, **entry: Any) -> dict[str, Any]:
    """What a client emits that has sent `tx` requests to one broker."""
    broker = {"nodeid": node, "nodename": f"host{node}:9092", **entry}
    counters = {each.key: tx for each in COUNTERS}
    return {
        "msg_cnt": 2,
        "msg_size": 20,
        "tx": tx,
        "brokers": {f"host{node}:9092/{node}": {**counters, **broker}},
    }


def window(avg: int, count: int = 1) -> dict[str, int]:
    """What librdkafka says of a round trip."""
    return {"cnt": count, "avg": avg, "p50": avg, "p95": avg, "p99": avg, "max": avg}


def read(statistics: Statistics, series: Series = A) -> SeriesStatistics:
    """The sums of one series, with the counters checked to be alike."""
    sums = statistics.read()[series]
    for broker in sums.brokers.values():
        assert len(set(broker.counters.values())) == 1, broker.counters
    return sums


def tx(statistics: Statistics, node: str = "1", series: Series = A) -> int:
    """The counters of one broker."""
    return read(statistics, series).brokers[node].counters["tx"]


@pytest.fixture
def statistics() -> Statistics:
    """Statistics that have taken nothing."""
    return Statistics()


def test_counters_are_those_of_the_newest_statistics(statistics: Statistics) -> None:
    """librdkafka's counters are totals of a client, and are not added up twice."""
    client = Client()
    for number in (3, 5, 5):
        statistics.take(A, client, emitted(number))
    assert tx(statistics) == 5
    assert read(statistics).tx == 5


@pytest.mark.parametrize("collected", [True, False])
def test_a_next_client_is_added(statistics: Statistics, collected: bool) -> None:
    """The counters of a closed client stay, and those of the next one come on top,
    also where the next one has counted more by its first statistics."""
    first, second = Client(), Client()
    statistics.take(A, first, emitted(5))
    statistics.end(first)
    if collected:
        del first
        gc.collect()
    assert tx(statistics) == 5
    statistics.take(A, second, emitted(7))
    assert tx(statistics) == 12
    assert tx(statistics) == 12  # reading changes nothing


def test_queues_and_round_trips_are_of_open_clients(statistics: Statistics) -> None:
    """A closed client has no queue; statistics that come late bring none back."""
    client = Client()
    statistics.take(A, client, emitted(1, rtt=window(900)))
    sums = read(statistics)
    assert (sums.msg_cnt, sums.msg_size) == (2, 20)
    assert sums.brokers["1"].rtt == {"avg": 900, "p50": 900, "p95": 900, "p99": 900}
    statistics.end(client)
    statistics.take(A, client, emitted(4, rtt=window(900)))
    sums = read(statistics)
    assert (sums.msg_cnt, sums.brokers["1"].rtt) == (0, {})
    assert tx(statistics) == 4


def test_clients_of_one_series_add_up(statistics: Statistics) -> None:
    """Two clients add up; of their round trips, the longer one counts."""
    fast, slow, other = Client(), Client(), Client()
    statistics.take(A, fast, emitted(1, rtt=window(100), outbuf_latency=window(9)))
    statistics.take(A, slow, emitted(2, rtt=window(300), outbuf_latency=window(3)))
    statistics.take(B, other, emitted(40, rtt=window(900)))
    broker = read(statistics).brokers["1"]
    assert (broker.rtt["p50"], broker.outbuf_latency["p99"]) == (300, 9)
    assert tx(statistics) == 3
    assert tx(statistics, series=B) == 40


def test_an_interval_without_a_request_keeps_the_last_round_trip(
    statistics: Statistics,
) -> None:
    """A window in which nothing was measured says 0 everywhere, which is not told."""
    client = Client()
    statistics.take(A, client, emitted(1, rtt=window(0, count=0)))
    assert read(statistics).brokers["1"].rtt == {}
    statistics.take(A, client, emitted(2, rtt=window(100)))
    statistics.take(A, client, emitted(2, rtt=window(0, count=0)))
    assert read(statistics).brokers["1"].rtt["avg"] == 100


def test_a_broker_that_left_keeps_its_counters(statistics: Statistics) -> None:
    """A broker that is not in the newest statistics has counted all the same."""
    client = Client()
    statistics.take(A, client, emitted(5, node=1))
    statistics.take(A, client, emitted(6, node=2))
    assert (tx(statistics, "1"), tx(statistics, "2")) == (5, 6)


def test_entries_that_are_no_broker_are_left_out(statistics: Statistics) -> None:
    """Bootstrap servers and coordinators have ids below 0."""
    statistics.take(A, Client(), emitted(5, node=-1))
    assert read(statistics).brokers == {}


def test_many_clients_leave_one_sum(statistics: Statistics) -> None:
    """What is kept does not grow with the number of clients that there were."""
    for _ in range(1000):
        client = Client()
        statistics.take(A, client, emitted(1))
        del client
        statistics.read()
    assert tx(statistics) == 1000
    assert len(statistics) == 0


def test_a_forked_child_begins_at_zero(statistics: Statistics) -> None:
    """The parent's clients are no concern of its child."""
    client = Client()
    statistics.take(A, client, emitted(5))
    statistics.reset()
    assert statistics.read() == {}
    statistics.take(A, client, {"brokers": {}})
    statistics.take(A, None, emitted(5))  # collected before it was heard
    assert read(statistics).tx == 0
