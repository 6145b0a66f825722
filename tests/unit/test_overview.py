"""`ledger()`, `health()` and `figures()`: the whole process at a glance."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

import waterdrop_py
from tests.doubles import Bench, eventually, kafka_failure
from waterdrop_py import Producer, ProducerPool, Status, overview
from waterdrop_py._engine.connection.ledger import Saved
from waterdrop_py._engine.introspection.accounts import ACCOUNTS, Labels
from waterdrop_py._engine.introspection.health import Health
from waterdrop_py.errors import (
    BrokerUnreachableError,
    InvalidArgumentError,
    ProduceError,
)
from waterdrop_py.overview import Ledger
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets
from waterdrop_py.testing import FakeClient, FakeClock

K = {"bootstrap.servers": "h:9092"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of another test."""
    gc.collect()
    monkeypatch.setattr(ACCOUNTS, "_open", {})
    monkeypatch.setattr(ACCOUNTS, "_sums", ({}, 0))


def make(**options: Any) -> Producer:
    """A producer whose messages are delivered at once."""
    return Producer(kafka=K, client_factory=FakeClient, **options)


# -- ledger() ------------------------------------------------------------------


def test_the_ledger_counts_everything_that_was_ever_made() -> None:
    """Open producers, variants, closed and collected ones; and no figure falls."""
    with FakeClock() as time:
        producers = [make(), make(id="a"), make(id="a", tags={"x": "y"})]
        for each in producers:
            each.variant(topic_config={"acks": 1}).produce_sync("t", b"x")
            each.produce_sync("t", b"x")
            time.advance(5)
            each.produce_sync("t", b"x")
            each.disconnect()
            time.advance(10)
            each.produce_sync("t", b"x")
        before = waterdrop_py.ledger()
        assert (before.opens, before.reopens) == (9, 3)
        assert before.disconnects == {"requested": 3}
        assert before.idle_gaps_s == Buckets.of(GAP_EDGES, [5, 10] * 3)
        assert before.reopen_times_ms.count == 3
        assert before.disconnected_s == 30
        assert before.connected_s == 150
        producers[0].close()
        assert waterdrop_py.ledger().opens == 9
        producers.clear()
        del each
        eventually(lambda: not ACCOUNTS.read()[0])
        after = waterdrop_py.ledger()
        assert (after.opens, after.reopens) == (9, 3)
        assert after.disconnects == {"requested": 3, "close": 6}
        assert after.idle_gaps_s == before.idle_gaps_s
        assert after.connected_s == before.connected_s
        time.advance(100)
        assert waterdrop_py.ledger() == after


def test_a_process_without_producers_has_an_empty_ledger() -> None:
    """Zeros, and edges all the same."""
    empty = waterdrop_py.ledger()
    assert empty == Ledger(
        0, 0, {}, 0, 0, Saved(), Buckets.of(REOPEN_EDGES), Buckets.of(GAP_EDGES), 0
    )
    assert str(empty) == (
        "not held: 0 connection-seconds, 0 thread-seconds and 0 descriptor-seconds; "
        "the price: 0 re-opens"
    )


def test_the_ledger_is_json_and_a_sentence() -> None:
    """What JSON gives back is what it got."""
    whole = Ledger(
        opens=13,
        reopens=12,
        disconnects={"idle": 12},
        connected_s=1.5,
        disconnected_s=3_600,
        saved=Saved(10_800, 18_000.4, 32_400),
        reopen_times_ms=Buckets.of(REOPEN_EDGES, [8.0] * 11 + [40.0]),
        idle_gaps_s=Buckets.of(GAP_EDGES, [300.0] * 12),
        unmeasured=1,
    )
    plain = whole.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["saved"]["connection_s"] == 10_800
    assert plain["idle_gaps_s"]["edges"] == list(GAP_EDGES)
    assert Buckets(**plain["idle_gaps_s"]) == whole.idle_gaps_s
    assert str(whole) == (
        "not held: 10,800 connection-seconds, 18,000 thread-seconds and 32,400 "
        "descriptor-seconds; the price: 12 re-opens, half of them within 10 ms and "
        "99 % within 50 ms"
    )


def test_a_dropped_producer_saves_until_it_is_collected() -> None:
    """Its time without a client ends with it, without a client to close."""
    with FakeClock() as time:
        dropped = make()
        dropped.produce_sync("t", b"x")
        dropped.disconnect()
        time.advance(7)
        del dropped
        gc.collect()
        time.advance(7)
        assert waterdrop_py.ledger().disconnected_s == 7


# -- figures() -----------------------------------------------------------------


def test_figures_are_told_apart_by_labels() -> None:
    """The user's id, the pool's name that the user gave, and tags. All others add
    up."""
    tags = {"b": "2", "a": "1"}
    made = [make(), make(), make(id="x"), make(id="x", tags=tags)]
    for each in made:
        each.produce_sync("t", b"x")
    made[0].variant(topic_config={"acks": 1}).produce_sync("t", b"x")
    options: dict[str, Any] = {"kafka": K, "client_factory": FakeClient}
    pools = [
        ProducerPool(options, name="orders", size=2),
        ProducerPool({**options, "id": "mine"}),
        ProducerPool(options),
    ]
    for pool in pools:
        with pool.acquire() as lease:
            lease.produce_sync("t", b"x")
    found = overview.figures(lambda labels: labels)
    assert {labels: stats.opens for labels, stats in found.items()} == {
        Labels(): 4,
        Labels("x"): 1,
        Labels("x", None, (("a", "1"), ("b", "2"))): 1,
        Labels(None, "orders"): 1,
        Labels(None, "mine"): 1,
    }
    by_name = {None: 4, "x": 2, "orders": 1, "mine": 1}
    named = overview.figures(lambda labels: labels.name)
    assert {name: stats.opens for name, stats in named.items()} == by_name
    for pool in pools:
        pool.close()
    for each in made:
        each.close()
    named = overview.figures(lambda labels: labels.name)
    assert {name: stats.opens for name, stats in named.items()} == by_name


def test_figures_of_producers_that_never_opened() -> None:
    """Their buffer and their timeout; nothing is left once they are collected."""
    made = [make(id=name, idle_disconnect_timeout="1m") for name in ("a", "b")]
    made[0].buffer("t", b"x")
    found = overview.figures(lambda labels: labels.id)
    assert [found[name].buffered for name in ("a", "b")] == [1, 0]
    assert found["b"].idle_timeout_ms == 60_000
    assert found["b"].opens == 0
    made[0].close()
    made.clear()
    gc.collect()
    assert overview.figures(lambda labels: labels.id).keys() <= {"a"}


def test_what_has_ended_is_one_sum_for_each_set_of_labels() -> None:
    """However many producers there were; gauges have nothing of them."""
    for index in range(50):
        with make(id=f"{index % 2}", idle_disconnect_timeout="1m") as each:
            each.produce_sync("t", b"x")
            del each
    gc.collect()
    accounts, sums = ACCOUNTS.read()
    assert accounts == []
    assert len(sums) == 2
    total = overview.figures(lambda _: 0)[0]
    assert (total.opens, total.acknowledged) == (50, 50)
    assert (total.in_flight, total.buffered, total.idle_timeout_ms) == (0, 0, None)


def test_of_several_timeouts_it_is_the_longest() -> None:
    """Those that never close are left out; None only where all never do."""
    kept = [make(idle_disconnect_timeout=each) for each in (0, "1m", "3m", "2m")]
    assert overview.figures(lambda _: 0)[0].idle_timeout_ms == 180_000
    assert len(kept) == 4


def test_reading_figures_opens_nothing_and_is_no_activity() -> None:
    """A scrape every 15 s keeps no client open."""
    with FakeClock() as time, make(idle_disconnect_timeout="30s") as producer:
        overview.figures(lambda _: 0)
        assert producer.status is Status.CONFIGURED
        producer.produce_sync("t", b"x")
        time.advance(29)
        overview.figures(lambda _: 0)
        waterdrop_py.ledger()
        waterdrop_py.health()
        assert producer.idle_ms == 29_000


# -- producers that were collected ---------------------------------------------


@pytest.mark.parametrize("idle", [False, True])
def test_a_collected_producer_tells_its_final_figures(
    *, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `producer.closed`, with its client open or not, in a circle or not."""
    told: list[Any] = []
    stop = waterdrop_py.monitor.subscribe("producer.closed", told.append)
    try:
        for circle in (False, True):
            producer = make(id=f"{circle}")
            producer.variant(topic_config={"acks": 1}).produce_sync("t", b"x")
            for _ in range(3):
                producer.produce_sync("t", b"x")
            if idle:
                producer.disconnect()
            around: list[Any] = [producer]
            if circle:
                around.append(around)
            del producer, around
            gc.collect()
            eventually(lambda circle=circle: len(told) > circle)  # type: ignore[misc]
    finally:
        stop()
    assert [each["producer_id"] for each in told] == ["False", "True"]
    for each in told:
        stats = each["stats"]
        assert (stats.opens, stats.produced, stats.acknowledged) == (1, 3, 3)
        assert stats.disconnects == {"requested" if idle else "close": 1}
        assert stats.variants["acks=1"].disconnects == {"close": 1}
    eventually(lambda: not ACCOUNTS.read()[0])
    assert waterdrop_py.ledger().opens == 4


def test_a_collected_producer_that_no_subscriber_hears_starts_nothing() -> None:
    """Without a client there is nothing to close, and no thread is started for it."""
    producer = make()
    producer.produce_sync("t", b"x")
    producer.disconnect()
    connection = producer._connection  # noqa: SLF001 - outlives it here
    del producer
    gc.collect()
    assert connection.shutdown is None


# -- health() ------------------------------------------------------------------


def lost(code: str, *, fatal: bool = True) -> ProduceError:
    """An error of a producer."""
    error = ProduceError("it is broken", code=code)
    error.fatal = fatal
    return error


AWAY = BrokerUnreachableError("no broker of 'h:9092' answered in time")


@pytest.mark.parametrize(
    ("error", "code", "live_code"),
    [
        (None, 200, 200),
        (AWAY, 503, 200),
        (lost("msg_timed_out", fatal=False), 503, 200),
        (lost("cluster_authorization_failed"), 503, 503),
        (lost("out_of_order_sequence_number"), 503, 503),
        (lost("fenced"), 503, 200),
        (lost("producer_fenced"), 503, 200),
        (lost("transaction_timed_out"), 503, 200),
    ],
)
def test_health_as_a_response(
    error: BaseException | None, code: int, live_code: int
) -> None:
    """503 for readiness where anything is wrong; for liveness where a restart is the
    cure."""
    health = Health(error is None, Status.CONNECTED, False, None, error)
    answer, body = health.http()
    assert (answer, health.http(live=True)[0]) == (code, live_code)
    assert json.loads(json.dumps(body)) == body
    assert body["state"] == "connected"
    assert body["status"] == ("healthy" if error is None else "unhealthy")
    assert "latency_ms" not in body
    if error is None:
        assert "error" not in body
    else:
        assert body["error"] == {"type": type(error).__name__, "message": str(error)}


def test_a_closed_producer_needs_no_restart() -> None:
    """It is not ready, and it is alive."""
    producer = make()
    producer.close()
    code, body = producer.health().http()
    assert (code, body["state"], body["status"]) == (503, "closed", "unhealthy")
    assert body["error"]["type"] == "ProducerClosedError"
    assert producer.health().http(live=True)[0] == 200


def test_a_deep_answer_has_its_latency() -> None:
    """In milliseconds; an argument that is no bool is refused."""
    with make() as producer:
        code, body = producer.health(deep=True).http()
        assert code == 200
        assert body["latency_ms"] >= 0
        with pytest.raises(InvalidArgumentError, match="live"):
            producer.health().http(live="yes")  # type: ignore[arg-type]


def test_no_secret_is_in_a_response() -> None:
    """Whatever is wrong with a login."""
    kafka = {
        **K,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "s3cret-s3cret",
    }
    bench = Bench()
    bench.fail("list_topics", *[AWAY] * 3)
    with Producer(**bench.options(kafka=kafka)) as producer:
        answers = [
            producer.health(deep=True, timeout=0.2).http(),
            waterdrop_py.health(deep=True, timeout=0.2).http(),
            producer.health().http(),
        ]
        assert "s3cret" not in json.dumps(answers)


def test_the_health_of_a_process_without_producers() -> None:
    """Nothing is wrong with it."""
    found = waterdrop_py.health()
    assert found.healthy
    assert found.http() == (200, {"status": "healthy", "producers": {}})
    assert waterdrop_py.health(deep=True).healthy


def test_the_health_of_a_process_is_that_of_its_producers() -> None:
    """Of each that is not closed, opened or not, without variants and collected ones;
    of two with one id, the worse."""
    made = [make(id=name) for name in ("a", "b", "c", "twice", "twice")]
    made[0].variant(topic_config={"acks": 1}).produce_sync("t", b"x")
    made[1].produce_sync("t", b"x")
    made[2].close()
    found = waterdrop_py.health()
    assert found.healthy
    assert found.producers.keys() == {"a", "b", "twice"}
    assert found.producers["b"] == made[1].health()
    connection = made[3]._connection  # noqa: SLF001 - where the error would be kept
    made[3].connect()
    client = connection.client
    client.note_fatal(kafka_failure(-150).args[0])
    connection.keep_fatal_error(client)
    found = waterdrop_py.health()
    assert not found.healthy
    assert not found.producers["twice"].healthy
    code, body = found.http()
    assert (code, body["status"]) == (503, "unhealthy")
    assert body["producers"]["a"] == {"status": "healthy", "state": "configured"}
    assert body["producers"]["twice"]["status"] == "unhealthy"
    del made[0]
    gc.collect()
    assert "a" not in waterdrop_py.health().producers
    for each in made:
        each.close(0, force=True)


def test_a_deep_look_at_all_is_bounded_once() -> None:
    """Every producer is asked at the same time: a slow one takes none of the time of
    another."""
    bench = Bench()
    with bench.park("list_topics"):
        slow = [Producer(id=f"slow-{i}", **bench.options()) for i in range(4)]
        fast = [make(id=f"fast-{i}") for i in range(4)]
        found = waterdrop_py.health(deep=True, timeout=0.3)
        assert not found.healthy
        assert found.producers.keys() == {each.id for each in (*slow, *fast)}
        for name, health in found.producers.items():
            assert health.healthy == name.startswith("fast")
            assert health.deep
        assert found.http(live=True)[0] == 200
    for each in (*slow, *fast):
        each.close(1)


@pytest.mark.parametrize(
    "arguments", [{"deep": 1}, {"timeout": "5"}, {"timeout": -1}, {"timeout": None}]
)
def test_bad_arguments_of_health(arguments: Any) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidArgumentError, match=next(iter(arguments))):
        waterdrop_py.health(**arguments)
