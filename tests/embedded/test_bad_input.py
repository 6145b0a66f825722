"""Messages that are not legal: named field by field, all at once, and never sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND
from waterdrop_py import Message
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    MessageInvalidError,
    WaterdropError,
)

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer

ILLEGAL: list[tuple[str, Any]] = [
    ("topic", ""),
    ("topic", None),
    ("topic", b"orders"),
    ("topic", "or ders"),
    ("topic", "örders"),
    ("topic", "orders\n"),
    ("topic", "a" * 250),
    ("payload", 5),
    ("payload", 1.5),
    ("payload", {"a": 1}),
    ("payload", ["x"]),
    ("payload", "\ud800"),
    ("key", ""),
    ("key", b""),
    ("key", 5),
    ("key", bytearray(b"k")),
    ("key", "\ud800"),
    ("partition", -2),
    ("partition", True),
    ("partition", "1"),
    ("partition", 1.0),
    ("partition", 2**31),
    ("partition_key", b""),
    ("partition_key", 5),
    ("timestamp", 0),
    ("timestamp", -1),
    ("timestamp", True),
    ("timestamp", 1.5),
    ("timestamp", "now"),
    ("timestamp", 2**63),
    ("timestamp", datetime(2024, 1, 1)),  # noqa: DTZ001 - the naive one is refused
    ("timestamp", timedelta(seconds=1)),
    ("headers", "text"),
    ("headers", b"bytes"),
    ("headers", 5),
    ("headers", {"h": 5}),
    ("headers", {5: "v"}),
    ("headers", {b"h": "v"}),
    ("headers", {"h\0": "v"}),
    ("headers", {"h": ["v", 5]}),
    ("headers", {"h": [["v"]]}),
    ("headers", [("h", "v", "w")]),
    ("headers", ["hv"]),
    ("headers", {"h": "\ud800"}),
]


@pytest.mark.parametrize(("field", "value"), ILLEGAL)
def test_each_illegal_field_is_named(
    make_producer: MakeProducer, field: str, value: Any
) -> None:
    """By every verb; nothing is opened, nothing is sent."""
    producer = make_producer()
    given = {"topic": "orders", "payload": b"x", field: value}
    verbs: list[tuple[str, Any]] = [
        (field, lambda: producer.produce_sync(**given)),
        (field, lambda: producer.produce_async(**given)),
        (f"messages[0].{field}", lambda: producer.produce_many_sync([given])),
        (f"messages[0].{field}", lambda: producer.produce_many_async([given])),
    ]
    for path, verb in verbs:
        with pytest.raises(MessageInvalidError) as raised:
            verb()
        assert set(raised.value.errors) == {path}
        assert path in str(raised.value)
    assert not producer.is_connected
    assert producer.stats().produced == 0


def test_all_violations_come_at_once(make_producer: MakeProducer) -> None:
    """Seven fields at fault, seven entries."""
    with pytest.raises(MessageInvalidError) as raised:
        make_producer().produce_sync(
            "a b",
            5,  # type: ignore[arg-type]
            key="",
            partition=-5,
            partition_key="",
            timestamp=0,
            headers=5,  # type: ignore[arg-type]
        )
    assert sorted(raised.value.errors) == [
        "headers",
        "key",
        "partition",
        "partition_key",
        "payload",
        "timestamp",
        "topic",
    ]


def test_what_is_missing_hides_nothing(make_producer: MakeProducer) -> None:
    """All violations of all messages of a batch, tombstones too, come at once. What
    middleware may still repair is left to it."""
    batch = [{"topic": "a b", "kye": 1}, {"topic": "t", "payload": b"x", "headers": 5}]
    producer = make_producer()
    with pytest.raises(MessageInvalidError) as raised:
        producer.produce_many_sync(batch)
    expected = {f"messages[0].{name}" for name in ("topic", "payload", "kye")}
    assert set(raised.value.errors) == {*expected, "messages[1].headers"}
    with pytest.raises(MessageInvalidError) as raised:
        producer.tombstone_many_async(batch)
    expected = {f"messages[0].{name}" for name in ("topic", "key", "kye")}
    assert set(raised.value.errors) == {
        *expected,
        "messages[1].key",
        "messages[1].headers",
    }
    with pytest.raises(MessageInvalidError) as raised:
        producer.tombstone_sync("a b", key=None)
    assert set(raised.value.errors) == {"topic", "key"}
    producer.middleware.append(lambda message: message)
    with pytest.raises(MessageInvalidError) as raised:
        producer.produce_many_sync(batch)
    assert set(raised.value.errors) == {"messages[0].kye", "messages[0].payload"}
    with pytest.raises(MessageInvalidError) as raised:
        producer.tombstone_async("a b", key=None)
    assert set(raised.value.errors) == {"key"}
    assert not producer.is_connected


@pytest.mark.parametrize(
    ("batch", "path", "hint"),
    [
        ([{"topic": "t"}], "messages[0].payload", "missing"),
        ([{"payload": b"x"}], "messages[0].topic", "missing"),
        ([{"topic": "t", "value": b"x"}], "messages[0].value", "'payload'"),
        (
            [{"topic": "t", "payload": b"x", "keys": b"k"}],
            "messages[0].keys",
            "'key'",
        ),
        (
            [{"topic": "t", "payload": b"x", "zzz": 1}],
            "messages[0].zzz",
            "no such field; its fields are topic",
        ),
        ([("t", b"x")], "messages[0].message", "must be a Message or a mapping, got"),
        ([None], "messages[0].message", "got None"),
        (Message("t", b"x"), "messages", "list of Message"),
        ({"topic": "t", "payload": b"x"}, "messages", "list of Message"),
        ("text", "messages", "list of Message"),
        (None, "messages", "list of Message"),
    ],
)
def test_what_is_no_batch_of_messages_is_named(
    make_producer: MakeProducer, batch: Any, path: str, hint: str
) -> None:
    """With the place, and the nearest legal thing."""
    producer = make_producer()
    for verb in (producer.produce_many_sync, producer.produce_many_async):
        with pytest.raises(MessageInvalidError) as raised:
            verb(batch)
        assert hint in raised.value.errors[path]
    assert not producer.is_connected


def test_a_null_payload_is_explicit(make_producer: MakeProducer, topic: str) -> None:
    """The verb needs an argument; None is one."""
    producer = make_producer()
    with pytest.raises(TypeError, match="payload"):
        producer.produce_sync(topic)  # type: ignore[call-arg]
    report = producer.produce_many_sync([{"topic": topic, "payload": None}])[0]
    assert report.message.payload is None


@pytest.mark.parametrize("payload", [5, b"secret", "secret", None, {"a": "secret"}])
def test_any_message_can_be_shown(payload: Any) -> None:
    """repr never raises, for an illegal message neither, and shows no payload."""
    shown = repr(Message("t", payload, key="secret", headers={"h": "secret"}))
    assert "secret" not in shown
    assert "'t'" in shown


@pytest.mark.parametrize("timeout", [-1, "5s", True, float("nan"), [1]])
def test_illegal_timeouts_are_named(
    make_producer: MakeProducer, topic: str, timeout: Any
) -> None:
    """In every method that takes one, before anything is done."""
    producer = make_producer()
    for call in (
        lambda: producer.produce_sync(topic, b"x", timeout=timeout),
        lambda: producer.flush(timeout),
        lambda: producer.close(timeout),
        lambda: producer.health(deep=True, timeout=timeout),
        lambda: producer.connect(timeout),
    ):
        with pytest.raises(WaterdropError, match="timeout"):
            call()
    assert not producer.is_connected
    report = producer.produce_sync(topic, b"x", timeout=timedelta(seconds=BOUND))
    assert report.error is None


def test_an_illegal_message_is_not_an_error_event(
    make_producer: MakeProducer, log: EventLog
) -> None:
    """It is the caller's to see, and no failure of delivery."""
    with pytest.raises(MessageInvalidError):
        make_producer().produce_sync("a b", b"x")
    assert not log.all("message.produced_sync")


def test_the_commonest_mistake_is_answered(make_producer: MakeProducer) -> None:
    """Properties where options belong: did you mean kafka={...}?"""
    from waterdrop_py import Producer

    with pytest.raises(ConfigurationInvalidError, match=r"did you mean kafka=\{"):
        Producer({"bootstrap.servers": "localhost:9092"})
    with pytest.raises(ConfigurationInvalidError) as raised:
        make_producer(kafka={"linger.mss": 5, "acks": "sometimes"})
    assert set(raised.value.errors) == {"kafka.linger.mss", "kafka.acks"}
