"""Variant: legal settings, and which variants share a client."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Bench, eventually
from waterdrop_py import Producer
from waterdrop_py._engine.assembly import Components
from waterdrop_py._settings.topic_config import PER_TOPIC
from waterdrop_py.errors import ProducerClosedError, VariantInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEGAL: dict[str, Any] = {
    "acks": 1,
    "request.required.acks": "all",
    "request.timeout.ms": 1_000,
    "message.timeout.ms": 1_000,
    "delivery.timeout.ms": "1000",
    "partitioner": "murmur2",
    "compression.codec": "zstd",
    "compression.type": "lz4",
    "compression.level": 3,
}


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench that checks at the end that no rule was violated."""
    bench = Bench()
    yield bench
    assert not bench.violations
    assert not bench.open_clients


@pytest.fixture
def make(bench: Bench) -> Iterator[Callable[..., Producer]]:
    """A function that makes producers on the bench; they are closed after the test."""
    made: list[Producer] = []

    def build(**options: Any) -> Producer:
        kafka = {"message.timeout.ms": 1, **options.pop("kafka", {})}
        made.append(Producer(**bench.options(kafka=kafka, **options)))
        return made[-1]

    yield build
    for producer in made:
        producer.close(2)


def refused(producer: Producer, **settings: Any) -> dict[str, str]:
    """The errors of these settings."""
    with pytest.raises(VariantInvalidError) as invalid:
        producer.variant(**settings)
    return invalid.value.errors


def test_it_opens_nothing(bench: Bench, make: Callable[..., Producer]) -> None:
    """Making a variant opens no client; it cannot be copied or pickled."""
    producer = make()
    variant = producer.variant(topic_config={"acks": 1}, max_wait_timeout="5s")
    assert variant.producer is producer
    assert producer.id in repr(variant)
    assert bench.clients == []
    for wrong in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            wrong(variant)


@pytest.mark.parametrize("name", sorted(LEGAL))
def test_every_per_topic_property(
    bench: Bench, make: Callable[..., Producer], name: str
) -> None:
    """A client is opened with the variant's property and the producer's other ones."""
    variant = make(kafka={"retries": 7}).variant(topic_config={name: LEGAL[name]})
    variant.produce_sync("t", b"x")
    [client] = bench.clients
    assert client.conf[name] == LEGAL[name]
    assert client.conf["retries"] == 7


def test_the_table_is_complete() -> None:
    """The tests cover every legal property."""
    assert set(LEGAL) == PER_TOPIC


@pytest.mark.parametrize(
    ("topic_config", "path", "expected"),
    [
        ({"batch.size": 1}, "topic_config.batch.size", "not per topic"),
        ({"linger.ms": 1}, "topic_config.linger.ms", "not per topic"),
        ({"bootstrap.servers": "x"}, "topic_config.bootstrap.servers", "not per topic"),
        ({"nonsense": 1}, "topic_config.nonsense", "not per topic"),
        ({5: 1}, "topic_config.5", "not per topic"),
        ({"acks": "many"}, "topic_config.acks", "many"),
        ({"acks": []}, "topic_config.acks", "got a list"),
        ({"acks": timedelta(1)}, "topic_config.acks", "got a timedelta"),
        ({"acks": "1\0"}, "topic_config.acks", "NUL"),
        ({"acks": 10**5_000}, "topic_config.acks", "beyond"),
        ({"message.timeout.ms": -1}, "topic_config.message.timeout.ms", "-1"),
        ({"compression.type": "rar"}, "topic_config.compression.type", "rar"),
        ({}, "topic_config", "non-empty mapping"),
        ([("acks", 1)], "topic_config", "got a list"),
        ("acks=1", "topic_config", "non-empty mapping"),
        (5, "topic_config", "non-empty mapping"),
    ],
)
def test_bad_topic_config(
    make: Callable[..., Producer], topic_config: Any, path: str, expected: str
) -> None:
    """Each kind of illegal topic_config is an error when the variant is made."""
    errors = refused(make(), topic_config=topic_config)
    assert set(errors) == {path}
    assert expected in errors[path]


@pytest.mark.parametrize("value", [-1, "10", "5", 5.0, True, b"5s", [], "x"])
def test_bad_max_wait_timeout(make: Callable[..., Producer], value: Any) -> None:
    """`max_wait_timeout` is a duration like the option of that name."""
    assert set(refused(make(), max_wait_timeout=value)) == {"max_wait_timeout"}


def test_every_violation_at_once(make: Callable[..., Producer]) -> None:
    """One error names every illegal setting."""
    errors = refused(
        make(), topic_config={"linger.ms": 1, "batch.size": 1}, max_wait_timeout=-1
    )
    assert set(errors) == {
        "max_wait_timeout",
        "topic_config.linger.ms",
        "topic_config.batch.size",
    }


@pytest.mark.parametrize("name", ["acks", "request.required.acks"])
@pytest.mark.parametrize("on", [True, "true"])
def test_acks_of_an_idempotent_producer(
    make: Callable[..., Producer], name: str, on: Any
) -> None:
    """An idempotent producer allows no acks, but other properties."""
    producer = make(kafka={"enable.idempotence": on})
    assert set(refused(producer, topic_config={name: "all"})) == {
        f"topic_config.{name}"
    }
    producer.variant(topic_config={"compression.type": "zstd"})


def test_a_transactional_producer(make: Callable[..., Producer]) -> None:
    """A transactional producer has one client: only `max_wait_timeout` may differ."""
    producer = make(kafka={"transactional.id": "x", "transaction.timeout.ms": 1_000})
    errors = refused(producer, topic_config={"compression.type": "zstd"})
    assert set(errors) == {"topic_config"}
    producer.variant(max_wait_timeout=1)


def test_a_variant_without_topic_config_shares_the_client(
    bench: Bench, make: Callable[..., Producer]
) -> None:
    """Variants without a topic_config share client, buffer and counters."""
    producer = make()
    variants = [
        producer.variant(max_wait_timeout=5_000),
        producer.variant(max_wait_timeout=timedelta(seconds=5)),
        producer.variant(),
    ]
    producer.produce_sync("t", b"x")
    for variant in variants:
        variant.produce_sync("t", b"y")
    assert len(bench.clients) == 1
    variants[0].buffer("t", b"z")
    assert (producer.buffer_size, variants[2].buffer_size) == (1, 1)
    assert producer.stats().variants == {}
    assert producer.stats().produced == 4


def test_equal_ones_share_a_client(bench: Bench, make: Callable[..., Producer]) -> None:
    """Equal topic_configs share one client, which is not the producer's."""
    producer = make()
    producer.produce_sync("t", b"x")
    equal = [
        producer.variant(topic_config={"acks": 1, "compression.type": "zstd"}),
        producer.variant(topic_config={"compression.type": "zstd", "acks": 1}),
        producer.variant(
            topic_config={"compression.type": "zstd", "acks": "1"},
            max_wait_timeout=5_000,
        ),
    ]
    for variant in equal:
        variant.produce_sync("t", b"y")
    assert len(bench.clients) == 2
    producer.variant(topic_config={"acks": 0}).produce_async("t", b"z")
    assert len(bench.clients) == 3
    [first, second] = producer.stats().variants.values()
    assert (first.opens, first.produced) == (1, 3)
    assert (second.opens, second.produced) == (1, 1)
    assert set(producer.stats().variants) == {"acks=1,compression.type=zstd", "acks=0"}


@pytest.mark.parametrize(
    "kafka",
    [
        {"message.timeout.ms": 5, "delivery.timeout.ms": 6},
        {"delivery.timeout.ms": 6},
        {"topic.message.timeout.ms": 6},
        {"topic.delivery.timeout.ms": 6},
        {"default.topic.config": {"message.timeout.ms": 6}},
    ],
)
def test_no_other_name_of_the_property_wins(
    bench: Bench, make: Callable[..., Producer], kafka: dict[str, Any]
) -> None:
    """librdkafka gets only the variant's value, not the producer's alias."""
    producer = make(kafka=kafka)
    producer.variant(topic_config={"message.timeout.ms": 1_000}).produce_sync("t", b"x")
    conf = bench.client.conf
    inner = conf.get("default.topic.config", {})
    names = [
        name
        for name in [*inner, *conf]
        if name.removeprefix("topic.") in {"message.timeout.ms", "delivery.timeout.ms"}
    ]
    assert names == ["message.timeout.ms"]
    assert conf["message.timeout.ms"] == 1_000


def test_the_callers_dict_is_copied(make: Callable[..., Producer]) -> None:
    """The caller's topic_config is neither changed nor kept."""
    producer = make()
    mine = {"acks": 1}
    variant = producer.variant(topic_config=mine)
    assert mine == {"acks": 1}
    mine["acks"] = 0
    variant.produce_sync("t", b"x")
    assert set(producer.stats().variants) == {"acks=1"}
    assert "acks" not in producer.config.kafka


def test_after_the_close(bench: Bench, make: Callable[..., Producer]) -> None:
    """A closed producer makes no variants, and its variants are closed too."""
    producer = make()
    used = producer.variant(topic_config={"acks": 1})
    used.produce_sync("t", b"x")
    unused = producer.variant(topic_config={"acks": 0})
    assert producer.close(2).complete
    assert bench.open_clients == []
    with pytest.raises(ProducerClosedError):
        producer.variant(max_wait_timeout=1)
    for variant in (used, unused):
        verbs: list[Callable[[], object]] = [
            partial(variant.produce_async, "t", b"x"),
            partial(variant.buffer, "t", b"x"),
            variant.flush_buffer_async,
            variant.flush,
            variant.purge,
        ]
        for verb in verbs:
            with pytest.raises(ProducerClosedError):
                verb()


def test_a_close_while_one_is_made(
    bench: Bench, make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that is made while the producer closes is refused."""
    producer = make()
    made = Components.variant

    def overtaken(*arguments: Any) -> Any:
        producer.close(2)
        return made(*arguments)

    monkeypatch.setattr(Components, "variant", overtaken)
    with pytest.raises(ProducerClosedError):
        producer.variant(topic_config={"acks": 1})


def test_a_dropped_producer_closes_them(
    bench: Bench, make: Callable[..., Producer]
) -> None:
    """Clients of variants are closed when the producer is garbage-collected."""
    producer = Producer(**bench.options(kafka={"message.timeout.ms": 1}))
    producer.produce_sync("t", b"x")
    producer.variant(topic_config={"acks": 1}).produce_sync("t", b"y")
    assert len(bench.open_clients) == 2
    del producer
    eventually(lambda: not bench.open_clients, "both clients are closed")
