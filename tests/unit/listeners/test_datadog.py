"""`DatadogListener`: what an agent is told on a UDP socket, and that sums are exact."""

from __future__ import annotations

import gc
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError

from tests.doubles import BOUND, Bench, eventually
from tests.unit.listeners.agent import Agent
from waterdrop_py import Message, Producer, monitor
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.listeners import DatadogListener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def agent() -> Iterator[Agent]:
    """The agent of the test."""
    running = Agent()
    yield running
    running.close()


@pytest.fixture
def listen(agent: Agent) -> Iterator[Callable[..., DatadogListener]]:
    """A function that subscribes a listener for the test; it pushes when asked to."""
    ends: list[Callable[[], object]] = []

    def build(**options: Any) -> DatadogListener:
        listener = DatadogListener(agent.client(), **{"interval": 3600, **options})
        ends.append(monitor.subscribe(listener))
        return listener

    yield build
    for end in ends:
        end()


def test_counts_and_gauges(
    agent: Agent,
    bench: Bench,
    listen: Callable[..., DatadogListener],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """Counts are told as differences, from the subscription on."""
    bench.auto = False
    producer, mine = make(), f"producer:{name}"
    handles = [producer.produce_async("t", b"before") for _ in range(3)]
    listener = listen()
    handles += [producer.produce_async("t", b"x") for _ in range(4)]
    producer.buffer("t", b"x")
    listener.push_now()
    assert agent.sum("produced", mine) == 4
    assert agent.sum("connected", mine) == 0, "it was open before"
    assert agent.last("clients.open", mine) == 1
    assert agent.last("in_flight", mine) == 7
    assert agent.last("buffer.size", mine) == 1
    bench.client.ack(5)
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - librdkafka's name
    assert [handle.exception(BOUND) for handle in handles]
    producer.purge()
    listener.push_now()
    listener.push_now()
    assert agent.sum("produced", mine) == 4
    assert agent.sum("acknowledged", mine) == 5
    assert agent.sum("failed", mine) == 2
    error = "type:librdkafka.dispatch_error"
    assert agent.sum("error_occurred", mine, error) == 2
    assert agent.last("in_flight", mine) == 0
    producer.close(BOUND)
    assert agent.sum("disconnected", mine, "reason:close") == 1
    assert agent.last("clients.open", mine) == 0


def test_tags(
    agent: Agent,
    listen: Callable[..., DatadogListener],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """The listener's own, the producer's id, and those of the producer's that it
    names; a producer without an id has no such tag."""
    listen(tags=["env:test"], tag_labels=("team",))
    tags = {"team": "a", "secret": "b"}
    make(tags=tags).close(BOUND)
    with_id = make(tags=tags)
    with_id.produce_sync("t", b"x")
    with_id.close(BOUND)
    without = make(id=None, tags={"team": name})
    without.produce_sync("t", b"x")
    without.close(BOUND)
    assert agent.sum("produced", "env:test", "team:a", f"producer:{name}") == 1
    assert agent.sum("produced", "env:test", f"team:{name}") == 1


def test_a_namespace(agent: Agent, make: Callable[..., Producer], name: str) -> None:
    """It is in front of each name; empty, there is none."""
    for namespace in ("kafka.out", ""):
        listener = DatadogListener(agent.client(), namespace=namespace)
        unsubscribe = monitor.subscribe(listener)
        producer = make()
        producer.produce_sync("t", b"x")
        producer.close(BOUND)
        unsubscribe()
    agent.listen()
    names = {told.name for told in agent.sums if f"producer:{name}" in told.tags}
    assert {"kafka.out.produced", "produced"} <= names


def test_sends_by_topic(
    agent: Agent,
    listen: Callable[..., DatadogListener],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """WaterDrop's counts of messages by verb and topic."""
    listener, producer = listen(topics=True), make()
    producer.produce_sync("a", b"x")
    producer.produce_async("a", b"x")
    producer.produce_many_sync([Message("a", b"x"), Message("b", b"x")])
    producer.produce_many_async([Message("b", b"x")] * 3)
    producer.tombstone_async("b", key=b"k")
    producer.buffer_many([Message("a", b"x")] * 2)
    producer.flush_buffer_sync()
    producer.buffer("b", b"x")
    producer.flush_buffer_async()
    listener.push_now()
    found = {
        (metric, topic): agent.sum(metric, f"producer:{name}", f"topic:{topic}")
        for metric in (
            "produced_sync",
            "produced_async",
            "flushed_sync",
            "flushed_async",
        )
        for topic in "ab"
    }
    assert found == {
        ("produced_sync", "a"): 2,
        ("produced_sync", "b"): 1,
        ("produced_async", "a"): 1,
        ("produced_async", "b"): 4,
        ("flushed_sync", "a"): 2,
        ("flushed_sync", "b"): 0,
        ("flushed_async", "a"): 0,
        ("flushed_async", "b"): 1,
    }


def test_without_topics_no_event_comes_per_message(
    listen: Callable[..., DatadogListener],
) -> None:
    """So a message costs what it did."""
    before = {each for each in EVENTS if monitor.listens(each)}
    listen()
    heard = {each for each in EVENTS if monitor.listens(each)} - before
    assert not [each for each in heard if each.startswith(("message", "statistics"))]


def test_sums_are_exact(
    agent: Agent,
    listen: Callable[..., DatadogListener],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """Over threads that send, push, disconnect, close and drop producers of one id."""
    listener, over = listen(), threading.Event()

    def push() -> None:
        while not over.is_set():
            listener.push_now()
            agent.listen()

    def work() -> None:
        for _ in range(10):
            producer = make()
            for _ in range(20):
                producer.produce_sync("t", b"x")
            assert producer.flush(BOUND) == 0
            producer.disconnect()
            producer.produce_sync("t", b"x")
            producer.close(BOUND)

    pushing = threading.Thread(target=push)
    pushing.start()
    working = [threading.Thread(target=work) for _ in range(3)]
    for each in working:
        each.start()
    for each in working:
        each.join(60)
    over.set()
    pushing.join(BOUND)
    gc.collect()
    listener.push_now()
    mine = f"producer:{name}"
    assert agent.sum("produced", mine) == agent.sum("acknowledged", mine) == 630
    closes = agent.sum("disconnected", mine, "reason:close")
    requested = agent.sum("disconnected", mine, "reason:requested")
    assert agent.sum("connected", mine) == closes + requested == 60


def test_the_end_of_a_subscription_is_pushed(
    agent: Agent, make: Callable[..., Producer], name: str
) -> None:
    """And nothing after it; a new subscription begins where it begins."""
    listener, producer, mine = DatadogListener(agent.client()), make(), name
    unsubscribe = monitor.subscribe(listener)
    producer.produce_sync("t", b"x")
    unsubscribe()
    assert agent.sum("acknowledged", f"producer:{mine}") == 1
    producer.produce_sync("t", b"x")
    producer.disconnect()
    assert agent.sum("acknowledged", f"producer:{mine}") == 1
    unsubscribe = monitor.subscribe(listener)
    producer.produce_sync("t", b"x")
    unsubscribe()
    assert agent.sum("acknowledged", f"producer:{mine}") == 2


def test_it_pushes_by_itself(
    agent: Agent,
    listen: Callable[..., DatadogListener],
    make: Callable[..., Producer],
    name: str,
) -> None:
    """Every `interval` while a client is open."""
    listen(interval=0.01)
    producer = make()
    producer.produce_sync("t", b"x")
    mine = f"producer:{name}"
    eventually(lambda: agent.sum("acknowledged", mine) == 1)


def test_a_client_that_samples_or_buffers(
    agent: Agent, make: Callable[..., Producer], name: str
) -> None:
    """Its sample rate does not apply to sums, and its buffer is flushed."""
    client = agent.client(disable_buffering=False, flush_interval=1)
    client.default_sample_rate = 0.01
    unsubscribe = monitor.subscribe(DatadogListener(client))
    producer = make()
    producer.produce_sync("t", b"x")
    producer.close(BOUND)
    assert agent.sum("acknowledged", f"producer:{name}") == 1
    unsubscribe()


class Raising:
    """A client that raises, once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.raises = True

    def __getattr__(self, name: str) -> Any:
        if self.raises and name == "increment":
            return self._raise
        return getattr(self._client, name)

    def _raise(self, *_: object) -> None:
        self.raises = False
        raise OSError("no agent")


def test_a_push_that_fails_is_made_up_for(
    agent: Agent, make: Callable[..., Producer], name: str
) -> None:
    """What could not be told is told the next time."""
    listener = DatadogListener(Raising(agent.client()))
    unsubscribe = monitor.subscribe(listener)
    producer = make()
    producer.produce_sync("t", b"x")
    with pytest.raises(OSError, match="no agent"):
        listener.push_now()
    listener.push_now()
    assert agent.sum("produced", f"producer:{name}") == 1
    unsubscribe()


def test_the_default_client() -> None:
    """It is `datadog.statsd`, which `datadog.initialize` sets up."""
    import datadog

    listener = DatadogListener()
    assert listener._statsd is datadog.statsd  # type: ignore[attr-defined]  # noqa: SLF001


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"statsd": "localhost:8125"}, "statsd: must be a datadog.DogStatsd"),
        ({"namespace": None}, "namespace: must be a str"),
        ({"tags": "env:prod"}, "tags: must be an iterable of str"),
        ({"tags": ["env:prod", 5]}, "tags: must be an iterable of str"),
        ({"tag_labels": "team"}, "tag_labels: must be"),
        ({"topics": 1}, "topics: must be a bool"),
        ({"statistics": None}, "statistics: must be a bool"),
        ({"interval": 0}, "interval: must be more than 0"),
        ({"interval": float("inf")}, "interval: must be more than 0"),
        ({"interval": timedelta(days=-1)}, "interval: must be 0 or more"),
        ({"interval": "10s"}, "interval: must be a number of seconds"),
    ],
)
def test_arguments(options: dict[str, Any], text: str) -> None:
    """What is wrong is refused, with its name, its value, and what would be legal."""
    with pytest.raises(InvalidArgumentError, match=text):
        DatadogListener(**options)
