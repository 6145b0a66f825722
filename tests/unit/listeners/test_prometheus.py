"""PrometheusListener: arguments, registration, numbers of series, workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from waterdrop_py import Producer, monitor
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.listeners import PrometheusListener
from waterdrop_py.listeners._prometheus_series import (
    ALWAYS,
    NOTHING,
    OF_STATISTICS,
    Distribution,
    Metric,
    Reading,
)
from waterdrop_py.listeners._prometheus_workers import WorkerMetrics
from waterdrop_py.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.typing import Unsubscribe

PER_MESSAGE = [name for name in EVENTS if name.startswith(("message.", "messages."))]
MANY = 1000
SIZES = (1.0, 2.0)


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def subscriptions() -> Iterator[list[Unsubscribe]]:
    """Subscriptions that end with the test."""
    begun: list[Unsubscribe] = []
    yield begun
    for end in begun:
        end()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"namespace": 1}, "namespace"),
        ({"namespace": "water-drop"}, "namespace"),
        ({"namespace": "1st"}, "namespace"),
        ({"tag_labels": "team"}, "tag_labels"),
        ({"tag_labels": 1}, "tag_labels"),
        ({"tag_labels": [1]}, "tag_labels"),
        ({"tag_labels": [""]}, "tag_labels"),
        ({"tag_labels": ["team", "team"]}, "tag_labels"),
        ({"tag_labels": ["app.team"]}, "tag_labels"),
        ({"tag_labels": ["__name"]}, "tag_labels"),
        ({"tag_labels": ["producer"]}, "tag_labels"),
        ({"tag_labels": ["reason"]}, "tag_labels"),
        ({"tag_labels": ["le"]}, "tag_labels"),
        ({"topics": "yes"}, "topics"),
        ({"statistics": 1}, "statistics"),
        ({"registry": object()}, "registry"),
    ],
)
def test_wrong_arguments_are_refused(
    options: dict[str, Any], field: str, registry: CollectorRegistry
) -> None:
    """The error names the argument, and nothing is registered."""
    with pytest.raises(InvalidArgumentError, match=f"^{field}: must be .*, got"):
        PrometheusListener(**{"registry": registry, **options})
    assert generate_latest(registry) == b""


def test_a_second_one_on_a_registry_is_refused(registry: CollectorRegistry) -> None:
    """As prometheus_client refuses all duplicates; another namespace is none."""
    PrometheusListener(registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        PrometheusListener(registry)
    PrometheusListener(registry, namespace="other")
    PrometheusListener(registry, namespace="")
    PrometheusListener(None)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Counter("waterdrop_errors", "taken", registry=registry)


def test_it_leaves_the_registry_with_its_last_subscription(
    registry: CollectorRegistry,
) -> None:
    """And it comes back with the next one."""
    listener = PrometheusListener(registry)
    one, other = Monitor().subscribe(listener), monitor.subscribe(listener)
    one()
    assert b"waterdrop_clients_open" in generate_latest(registry)
    other()
    assert generate_latest(registry) == b""
    end = Monitor().subscribe(listener)
    assert b"waterdrop_clients_open" in generate_latest(registry)
    end()


@pytest.mark.parametrize("workers", [False, True])
def test_no_event_per_message_is_subscribed(
    workers: bool, monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    """A message costs nothing unless topics are counted; statistics are collected only
    where they are wanted."""
    if workers:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    own = Monitor()
    end = own.subscribe(PrometheusListener(registry))
    assert not any(own.listens(name) for name in PER_MESSAGE)
    assert not own.listens("statistics.emitted")
    end()
    end = own.subscribe(PrometheusListener(registry, namespace="b", topics=True))
    assert own.listens("message.acknowledged")
    assert not own.listens("message.produced_async")
    end()
    end = own.subscribe(PrometheusListener(registry, namespace="c", statistics=True))
    assert own.asks_for("statistics.emitted")
    end()


def test_errors_without_a_client_are_pushed(
    monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    """In workers, where no thread pushes while no client is open."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    own = Monitor()
    end = own.subscribe(PrometheusListener(registry))
    owner = Owner()
    emitter = Emitter(owner, "p1", {}, own, Monitor())
    emitter.error("poller.error", ValueError("broken"))
    labels = {"producer": "", "type": "poller.error"}
    assert registry.get_sample_value("waterdrop_errors_total", labels) == 1
    end()


class Owner:
    """Stands for a producer."""


def series(registry: CollectorRegistry) -> int:
    """How many series a scrape has."""
    lines = generate_latest(registry).decode().splitlines()
    return sum(not line.startswith("#") for line in lines)


@pytest.mark.own_process
def test_series_of_a_thousand_producers(
    registry: CollectorRegistry, subscriptions: list[Unsubscribe]
) -> None:
    """Without ids they add up, so the number of series is that of one producer. With
    ids there is one set of series for each; an id is the user's decision."""
    subscriptions.append(monitor.subscribe(PrometheusListener(registry)))
    kafka = {"bootstrap.servers": "127.0.0.1:1"}
    kept = [Producer(kafka=kafka)]
    one = series(registry)
    kept += [Producer(kafka=kafka) for _ in range(MANY)]
    assert series(registry) == one
    named = [Producer(kafka=kafka, id="series-0")]
    each = series(registry) - one
    assert each < 60
    named += [Producer(kafka=kafka, id=f"series-{n}") for n in range(1, MANY)]
    assert series(registry) == one + MANY * each
    for producer in (*kept, *named):
        producer.close()


class Workers:
    """Metrics as in a worker, on a registry that can be read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = (
            Metric("things", "counter", "Things.", ("kind",)),
            Metric("now", "gauge", "Now."),
            Metric("sizes", "histogram", "Sizes.", edges=SIZES),
        )
        self.metrics = WorkerMetrics(metrics, ("producer",), "w", self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        """One value of producer `a`."""
        return self.registry.get_sample_value(name, {"producer": "a", **labels})


def reading(
    things: float, now: float | None = None, sizes: Distribution | None = None
) -> Reading:
    """What a listener has read."""
    numbers: dict[str, dict[tuple[str, ...], float]] = {"things": {("a", "x"): things}}
    if now is not None:
        numbers["now"] = {("a",): now}
    return Reading(numbers, {} if sizes is None else {"sizes": {("a",): sizes}})


def test_workers_add_differences() -> None:
    """Counters grow by what has come; a gauge of what is gone is 0; a forked child
    begins to add again from zero."""
    workers = Workers()
    workers.metrics.update(reading(3, now=2))
    workers.metrics.update(reading(5, now=7))
    assert (workers.value("w_things_total", kind="x"), workers.value("w_now")) == (5, 7)
    workers.metrics.update(reading(5))
    assert workers.value("w_now") == 0
    workers.metrics.reset()
    workers.metrics.update(reading(2))
    assert workers.value("w_things_total", kind="x") == 7
    workers.metrics.update(NOTHING)


def test_workers_observe_what_has_come() -> None:
    """Counts and sums become those of the buckets, also in the last one, which has no
    upper edge, and where a mean lies on an edge."""
    workers = Workers()
    workers.metrics.update(reading(0, sizes=Distribution((2, 0, 1), (1.5, 0.0, 90.0))))
    workers.metrics.update(reading(0, sizes=Distribution((2, 3, 1), (1.5, 6.0, 90.0))))
    workers.metrics.update(reading(0, sizes=Distribution((2, 3, 2), (1.5, 6.0, 92.0))))
    counts = [workers.value("w_sizes_bucket", le=le) for le in ("1.0", "2.0", "+Inf")]
    assert counts == [2, 5, 7]
    assert workers.value("w_sizes_sum") == pytest.approx(99.5)


def test_names_are_prometheus_own() -> None:
    """A counter's name has no `_total` yet, and base units are in the names."""
    for metric in (*ALWAYS, *OF_STATISTICS):
        assert not metric.name.endswith(("_total", "_ms", "_count", "_sum", "_bucket"))
        assert metric.help.endswith(".")
        assert bool(metric.edges) is (metric.kind == "histogram")
