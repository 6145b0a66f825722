"""PrometheusListener: what a scrape says, in prometheus_client's real exposition."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.embedded.support import eventually
from waterdrop_py import Config, Event, ProducerPool, monitor
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py.errors import ProduceError
from waterdrop_py.events import ERROR_TYPES
from waterdrop_py.listeners import PrometheusListener
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.embedded.support import MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

COUNTERS = ("_total", "_count", "_sum", "_bucket")
STATISTICS = {"statistics.interval.ms": 50}


class Scraper:
    """A registry with a listener that is subscribed, as Prometheus sees it."""

    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.listener = PrometheusListener(self.registry, **options)
        self.stop = monitor.subscribe(self.listener)
        self._before: dict[Any, float] = {}

    def scrape(self) -> dict[Any, float]:
        """All values, by name and labels. No counter is less than it was."""
        text = generate_latest(self.registry).decode()
        values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        for key, value in self._before.items():
            # A producer that never opened a client leaves nothing behind.
            assert values.get(key, 0) >= value, key
        self._before = {
            key: value for key, value in values.items() if key[0].endswith(COUNTERS)
        }
        return values

    def value(self, name: str, **labels: str) -> float | None:
        """One value; None if there is no such series."""
        return self.scrape().get((f"waterdrop_{name}", frozenset(labels.items())))

    def all(self, name: str, **labels: str) -> dict[str, float]:
        """The values of a name that have these labels, by those that remain."""
        wanted = labels.items()
        return {
            ",".join(value for _, value in sorted(having - wanted)): value
            for (name_, having), value in self.scrape().items()
            if name_ == f"waterdrop_{name}" and wanted <= having
        }


@pytest.fixture
def scraper() -> Iterator[Callable[..., Scraper]]:
    """Makes scrapers, whose subscriptions end with the test."""
    made: list[Scraper] = []

    def make(**options: Any) -> Scraper:
        made.append(Scraper(**options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_what_a_producer_did(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Messages, clients and times by the producer's id, as `stats()` has them; also of
    a producer that was made before the listener."""
    producer = make_producer(id=name, idle_disconnect_timeout=60_000)
    for _ in range(3):
        producer.produce_sync(topic, b"x")
    producer.buffer(topic, b"y")
    shown = scraper()
    assert shown.value("messages_produced_total", producer=name) == 3
    assert shown.value("messages_acknowledged_total", producer=name) == 3
    assert shown.value("messages_failed_total", producer=name) == 0
    assert shown.value("messages_buffered", producer=name) == 1
    assert shown.value("messages_in_flight", producer=name) == 0
    assert shown.value("clients_open", producer=name) == 1
    assert shown.value("idle_timeout_seconds", producer=name) == 60


def test_what_a_producer_did_not_hold(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Disconnects, gaps, re-opens and what was saved, as `stats()` has them."""
    shown = scraper()
    producer = make_producer(id=name)
    producer.produce_sync(topic, b"x")
    producer.disconnect()
    assert shown.value("clients_open", producer=name) == 0
    time.sleep(1.05)
    producer.produce_sync(topic, b"x")
    assert eventually(lambda: shown.value("reopen_seconds_count", producer=name) == 1)
    assert shown.all("client_disconnects_total", producer=name) == {"requested": 1}
    assert shown.value("client_opens_total", producer=name) == 2
    assert shown.value("idle_gap_seconds_bucket", producer=name, le="2.0") == 1
    gap = shown.value("idle_gap_seconds_sum", producer=name)
    apart = shown.value("client_disconnected_seconds_total", producer=name)
    together = shown.value("client_connected_seconds_total", producer=name)
    stats = producer.stats()
    assert gap == pytest.approx(stats.idle_gaps_s.sum)
    assert apart == pytest.approx(stats.idle_ms_saved / 1000, abs=0.01)
    assert together is not None
    assert 0 < together <= stats.connected_ms / 1000
    saved = shown.value("saved_connection_seconds_total", producer=name)
    assert saved == pytest.approx(stats.saved.connection_s, rel=0.05)
    assert shown.value("saved_thread_seconds_total", producer=name) is not None
    assert shown.value("saved_descriptor_seconds_total", producer=name) is not None


def test_a_producer_that_never_idles_has_no_timeout(
    make_producer: MakeProducer, name: str, scraper: Callable[..., Scraper]
) -> None:
    """The series is absent, which no alert takes for a timeout of 0 s."""
    make_producer(id=name, idle_disconnect_timeout=0)
    shown = scraper()
    assert shown.value("idle_timeout_seconds", producer=name) is None
    make_producer(id=name, idle_disconnect_timeout=30_000)
    make_producer(id=name, idle_disconnect_timeout=45_000)
    assert shown.value("idle_timeout_seconds", producer=name) == 45


def test_no_counter_falls(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Two producers of one id, variants, a close, and a producer that is collected: all
    count on (each scrape compares with the one before)."""
    shown = scraper()
    one, other = make_producer(id=name), make_producer(id=name)
    for number, each in enumerate((one, other, one.variant(topic_config={"acks": 1}))):
        each.produce_sync(topic, b"x")
        assert shown.value("messages_acknowledged_total", producer=name) == number + 1
    assert shown.value("clients_open", producer=name) == 3
    one.close()
    assert shown.value("clients_open", producer=name) == 1
    assert shown.value("messages_acknowledged_total", producer=name) == 3
    other.disconnect()
    other.produce_sync(topic, b"x")
    other.close()
    del one, other, each
    gc.collect()
    assert shown.value("messages_acknowledged_total", producer=name) == 4
    assert shown.value("client_opens_total", producer=name) == 4
    assert shown.all("client_disconnects_total", producer=name) == {
        "close": 3,
        "requested": 1,
    }


def test_producers_without_an_id_add_up(
    make_producer: MakeProducer, topic: str, scraper: Callable[..., Scraper]
) -> None:
    """They have one series, whose label is empty, however many there are."""
    shown = scraper()
    before = shown.value("messages_acknowledged_total", producer="") or 0
    for _ in range(5):
        make_producer().produce_sync(topic, b"x")
    assert shown.value("messages_acknowledged_total", producer="") == before + 5
    names = shown.all("messages_acknowledged_total")
    assert not any(label.startswith("waterdrop-") for label in names)


def test_errors_of_a_pool_have_its_name(
    dead: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Also those of the pool itself, which no producer has."""
    shown = scraper()
    with ProducerPool(Config(kafka={"bootstrap.servers": dead}), name=name) as pool:
        pool.monitor.subscribe("pool.*", Raising())
        pool.acquire().release()
    labels = {"producer": name, "type": "subscriber.error"}
    assert eventually(lambda: bool(shown.value("errors_total", **labels)))


class Raising:
    """A subscriber that fails."""

    def __call__(self, event: Event) -> None:
        """Raise."""
        raise ValueError(event.name)


def test_an_error_that_only_it_hears_is_logged(
    make_producer: MakeProducer,
    topic: str,
    scraper: Callable[..., Scraper],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A listener that counts does not say what went wrong."""
    LOG.reset()  # one of a kind is logged per second
    scraper()
    with pytest.raises(ProduceError):
        make_producer().produce_sync(topic, b"x", partition=99)
    assert "message.produce_sync" in caplog.text


@pytest.mark.own_process
@pytest.mark.parametrize("named", [True, False])
def test_a_pool_is_one_series(
    cluster: EmbeddedCluster,
    topic: str,
    name: str,
    named: bool,
    scraper: Callable[..., Scraper],
) -> None:
    """The producers of a pool have its name, and none where the user gave it none;
    never those of its slots."""
    kafka = {"bootstrap.servers": cluster.bootstrap_servers, "linger.ms": 0}
    label, shown = (name if named else ""), scraper()
    before = shown.value("messages_acknowledged_total", producer=label) or 0
    with ProducerPool(
        Config(kafka=kafka), size=2, name=name if named else None
    ) as pool:
        with pool.acquire() as first, pool.acquire() as second:
            first.produce_sync(topic, b"x")
            second.produce_sync(topic, b"x")
            with pytest.raises(ProduceError):
                second.produce_sync(topic, b"x", partition=99)
        after = shown.value("messages_acknowledged_total", producer=label)
        assert after == before + 2
        failed = shown.value(
            "errors_total", producer=label, type="message.produce_sync"
        )
        assert failed is not None
        assert shown.value("errors_total", producer=second.id) is None


def test_tags_become_labels_where_they_are_named(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Only the tags that are named, in events as in figures; a missing one is empty."""
    shown = scraper(tag_labels=["team", "tier"], namespace="mine")
    producer = make_producer(id=name, tags={"team": "sales", "build": "17"})
    producer.produce_sync(topic, b"x")
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"x", partition=99)
    labels = {"producer": name, "team": "sales", "tier": ""}
    values = shown.scrape()
    assert values["mine_messages_acknowledged_total", frozenset(labels.items())] == 1
    of_errors = {**labels, "type": "message.produce_sync"}
    assert values["mine_errors_total", frozenset(of_errors.items())] == 1
    assert not any("build" in dict(having) for _, having in values)


def test_errors_and_refusals(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Both count by closed sets: whatever callbacks are named, theirs are one type."""

    def broken(*_: object) -> None:
        raise ValueError("broken")

    shown = scraper()
    producer = make_producer(
        id=name, idle_disconnect_timeout=50, kafka={"on_delivery": broken}
    )
    producer.produce_sync(topic, b"x")
    producer.buffer(topic, b"y")
    callbacks = {"producer": name, "type": "callbacks.error"}
    assert eventually(lambda: shown.value("errors_total", **callbacks) == 1)
    refused = {"producer": name, "reason": "buffered"}
    assert eventually(
        lambda: shown.value("disconnect_refusals_total", **refused) == 1
    ), shown.all("disconnect_refusals_total")
    kinds = shown.all("errors_total", producer=name)
    assert all(each == "callbacks.error" or each in ERROR_TYPES for each in kinds)


def test_outcomes_by_topic(
    make_producer: MakeProducer,
    cluster: EmbeddedCluster,
    topic: str,
    name: str,
    scraper: Callable[..., Scraper],
) -> None:
    """Each accepted message counts once, under its topic and its outcome."""
    shown = scraper(topics=True)
    producer = make_producer(id=name)
    producer.produce_many_sync([{"topic": topic, "payload": b"x"}] * 20)
    producer.produce_async(topic, b"x").result(10)
    producer.produce_sync(topic, b"x")
    cluster.push_errors("Produce", *["topic_authorization_failed"] * 3)
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"x")
    counted = shown.all("topic_messages_total", producer=name)
    assert counted == {f"acknowledged,{topic}": 22, f"failed,{topic}": 1}
    stats = producer.stats()
    assert (stats.acknowledged, stats.failed) == (22, 1)


def test_statistics_add_up_over_clients(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Requests go on from where the closed client was, and no client's counters are
    lost or told twice; queues and round trips are those of the open client."""
    shown = scraper(statistics=True)
    producer = make_producer(id=name, kafka=STATISTICS)
    emitted: list[Event] = []
    producer.monitor.subscribe("statistics.emitted", emitted.append)
    requests: list[float] = []
    for _ in range(3):
        for partition in range(3):
            producer.produce_sync(topic, b"x", partition=partition)
        # The next statistics have these messages, and those after them any others.
        wanted = len(emitted) + 3
        assert eventually(lambda wanted=wanted: len(emitted) >= wanted)  # type: ignore[misc]
        rtt = shown.all("broker_rtt_seconds", producer=name)
        assert {key.partition(",")[2] for key in rtt} == {"avg", "p50", "p95", "p99"}
        assert all(0 < value < 5 for value in rtt.values())
        assert shown.value("queue_messages", producer=name) == 0
        requests.append(sum(shown.all("broker_requests_total", producer=name).values()))
        producer.disconnect()
        assert not shown.all("broker_rtt_seconds", producer=name)
    # Each client did about the same.
    assert requests[1] == pytest.approx(2 * requests[0], rel=0.5)
    assert requests[2] == pytest.approx(3 * requests[0], rel=0.5)
    brokers = shown.all("broker_connects_total", producer=name)
    assert all(broker.isdigit() for broker in brokers)


def test_a_scrape_is_no_activity(
    make_producer: MakeProducer, topic: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Producers that are scraped all the time idle, and none opens for a scrape."""
    shown = scraper(statistics=True)
    producer = make_producer(id=name, idle_disconnect_timeout=200)
    unused = make_producer(id=f"{name}-unused")
    producer.produce_sync(topic, b"x")
    assert eventually(
        lambda: shown.value("clients_open", producer=name) == 0, within=1.0
    )
    for _ in range(20):
        shown.scrape()
    assert (producer.stats().opens, unused.stats().opens) == (1, 0)


def test_no_secret_is_exposed(
    make_producer: MakeProducer, dead: str, name: str, scraper: Callable[..., Scraper]
) -> None:
    """Neither credentials nor what a message holds is in any label."""
    shown = scraper(topics=True, statistics=True)
    with allow_short_idle_timeouts():
        producer = make_producer(
            dead,
            id=name,
            kafka={
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "secret-user",
                "sasl.password": "secret-word",
                "message.timeout.ms": 300,
            },
        )
    with pytest.raises(ProduceError):
        producer.produce_sync("topic", b"secret-payload", key=b"secret-key")
    assert shown.all("topic_messages_total", producer=name) == {"failed,topic": 1}
    assert "secret" not in generate_latest(shown.registry).decode()
