"""An idempotent producer whose client is lost for good goes on with another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import in_threads
from waterdrop_py.errors import ProduceError
from waterdrop_py.testing import trigger_fatal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py import Producer
    from waterdrop_py.testing import EmbeddedCluster

EPOCH = 47
KIND = "librdkafka.idempotent_fatal_error"


def make(make_producer: MakeProducer, **options: Any) -> Producer:
    """An idempotent producer that is reloaded at once."""
    defaults = {
        "reload_on_idempotent_fatal_error": True,
        "wait_backoff_on_idempotent_fatal_error": 10,
    }
    kafka = {"enable.idempotence": True}
    return make_producer(kafka=kafka, **{**defaults, **options})


def verbs(producer: Producer, topic: str) -> dict[str, Callable[[], Any]]:
    """The four verbs; each returns the errors of its messages."""
    many = [{"topic": topic, "payload": b"x"}] * 3
    return {
        "sync": lambda: [producer.produce_sync(topic, b"x").error],
        "async": lambda: [producer.produce_async(topic, b"x").exception(10)],
        "many_sync": lambda: [each.error for each in producer.produce_many_sync(many)],
        "many_async": lambda: [
            each.exception(10) for each in producer.produce_many_async(many)
        ],
    }


@pytest.mark.parametrize("verb", ["sync", "async", "many_sync", "many_async"])
def test_a_lost_client_is_replaced_without_a_trace(
    make_producer: MakeProducer, topic: str, log: EventLog, verb: str
) -> None:
    """The caller sees no error; error, reload and reloaded are told, with the real
    code behind `_FATAL`."""
    producer = make(make_producer)
    producer.produce_sync(topic, b"first")
    trigger_fatal_error(producer, EPOCH, "boom")
    assert not any(verbs(producer, topic)[verb]())
    (told,) = log.errors(KIND)
    (reload,) = log.all("producer.reload")
    (reloaded,) = log.all("producer.reloaded")
    for event in (told, reload):
        assert event["attempt"] == 1
        assert event["error"].code == "invalid_producer_epoch"
        assert event["error"].fatal
    assert reloaded["attempt"] == 1
    assert (reloaded.duration_ms or 0) >= 10
    assert producer.stats().disconnects == {"reload": 1}


def test_one_reload_for_each_fatal_state(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """Eight threads meet it at once: one of them reloads, and all deliver."""
    producer = make(make_producer)
    producer.produce_sync(topic, b"first")
    for round_ in range(1, 6):
        trigger_fatal_error(producer, EPOCH, "boom")
        assert not in_threads(8, lambda _: producer.produce_sync(topic, b"x"))
        assert len(log.all("producer.reloaded")) == round_
        assert len(log.errors(KIND)) == round_
    assert producer.stats().acknowledged == 41
    assert producer.stats().opens == 6


def test_the_brokers_own_fatal_error(
    make_producer: MakeProducer, cluster: EmbeddedCluster, topic: str
) -> None:
    """The message that met it fails with its error; the next one finds a new client."""
    producer = make(make_producer)
    producer.produce_sync(topic, b"first", partition=0)
    cluster.push_errors("Produce", 45)
    with pytest.raises(ProduceError):
        producer.produce_sync(topic, b"lost", partition=0)
    assert producer.produce_sync(topic, b"next", partition=0).error is None
    assert producer.stats().disconnects == {"reload": 1}


def test_reloads_are_capped_and_counted_afresh_by_a_success(
    make_producer: MakeProducer, topic: str, log: EventLog
) -> None:
    """A client that delivered something counts as recovered."""
    producer = make(make_producer, max_attempts_on_idempotent_fatal_error=2)
    for _ in range(3):
        producer.produce_sync(topic, b"x")
        trigger_fatal_error(producer, EPOCH, "boom")
    producer.produce_sync(topic, b"x")
    assert [e["attempt"] for e in log.all("producer.reload")] == [1, 1, 1]

    # Nothing is delivered from here on: every new client is lost at once.
    @producer.monitor.on("producer.connected")
    def lose(_: object) -> None:
        trigger_fatal_error(producer, EPOCH, "again")

    trigger_fatal_error(producer, EPOCH, "boom")
    with pytest.raises(ProduceError) as caught:
        producer.produce_sync(topic, b"x")
    assert caught.value.code == "invalid_producer_epoch"
    assert caught.value.fatal
    assert [e["attempt"] for e in log.all("producer.reload")] == [1, 1, 1, 1, 2]


@pytest.mark.timed
@pytest.mark.parametrize(
    "options",
    [
        {"reload_on_idempotent_fatal_error": False},
        {"non_reloadable_errors": ("invalid_producer_epoch",)},
    ],
    ids=["disabled", "excluded"],
)
def test_without_reload_every_verb_says_why(
    make_producer: MakeProducer, topic: str, log: EventLog, options: dict[str, Any]
) -> None:
    """Each time, with the real code; nothing is reloaded, and close returns in time."""
    producer = make(make_producer, **options)
    producer.produce_sync(topic, b"first")
    trigger_fatal_error(producer, EPOCH, "boom")
    for _ in range(3):
        for call in verbs(producer, topic).values():
            with pytest.raises(ProduceError) as caught:
                call()
            assert caught.value.code == "invalid_producer_epoch"
            assert caught.value.fatal
    assert not log.names("producer.reload")
    assert producer.stats().opens == 1
    started = time.monotonic()
    assert producer.close(5).complete
    assert time.monotonic() - started < 2
