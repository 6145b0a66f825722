"""Message: types of values that applications use, and copies of mutable values."""
# ruff: noqa: SLF001 - what the client gets is private to the handle

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import Message, Producer
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = {"bootstrap.servers": "h"}


class Text(str, Enum):
    """A topic in a str-Enum."""

    VALUE = "orders"


class Bytes(bytes, Enum):
    """The same in a bytes-Enum."""

    VALUE = b"orders"


class Place(IntEnum):
    """A number in an IntEnum."""

    THIRD = 3


class Plain(Enum):
    """An enum whose members are not text."""

    VALUE = "orders"


class LoudText(str):
    """A str whose conversions give another text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"

    def encode(self, *_: Any) -> bytes:
        """Return another text."""
        return b"loud"


class LoudBytes(bytes):
    """Bytes whose conversion gives other bytes."""

    def __bytes__(self) -> bytes:
        return b"loud"


class LoudNumber(int):
    """An int whose conversions give another number."""

    def __index__(self) -> int:
        return 99

    __int__ = __index__


class Index:
    """An integer like numpy's."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


class bool_(Index):
    """A bool with an `__index__`, like that of older numpy."""


@pytest.fixture
def producer() -> Iterator[Producer]:
    """A producer whose client keeps the messages."""
    client = BufferedClient()
    with Producer(kafka=SERVERS, client_factory=client) as made:
        yield made


def sent(producer: Producer) -> list[Any]:
    """Value, headers and key of each message that reached the client."""
    producer.flush(5)
    client: Any = producer.config.client_factory
    return [(m.value(), m.headers(), m.key()) for m in client.messages]


def handed_over(**given: Any) -> Any:
    """The handle of a message with these fields, ready to be sent."""
    return fill(Message(**{"topic": "t", "payload": b"x", **given}), None)


@pytest.mark.parametrize("value", [Text.VALUE, LoudText("orders")])
def test_texts_are_sent_as_plain_text(value: Any) -> None:
    """A str-Enum is its value and a subclass its plain text, in every field."""
    handle = handed_over(
        topic=value,
        payload=value,
        key=value,
        partition_key=value,
        headers=[(value, value), (value, [value, b"x"])],
    )
    assert type(handle._topic) is str
    assert handle._topic == "orders"
    assert handle._payload == handle._key == handle._place.partition_key == b"orders"
    assert handle._headers == [
        ("orders", b"orders"),
        ("orders", b"orders"),
        ("orders", b"x"),
    ]
    assert {type(name) for name, _ in handle._headers} == {str}


@pytest.mark.parametrize("name", [Text.VALUE, LoudText("orders")])
def test_header_names_in_every_verb(producer: Producer, name: Any) -> None:
    """Header names are plain text too, also on the fast path for bytes."""
    message = {"topic": "t", "payload": b"x", "headers": {name: b"1"}}
    for _ in range(2):  # the second time the topic is known
        producer.produce_async("t", b"x", headers={name: b"1"})
        producer.produce_async("t", b"x", headers=[(name, b"1")])
        producer.produce_many_async([message, message])
        producer.buffer_many([message])
    found = [headers for _, headers, _ in sent(producer)]
    assert found == [[("orders", b"1")]] * 10
    assert {type(headers[0][0]) for headers in found} == {str}


@pytest.mark.parametrize("value", [Bytes.VALUE, LoudBytes(b"orders")])
def test_bytes_are_sent_as_plain_bytes(value: Any) -> None:
    """A bytes-Enum is its value and a subclass its plain bytes."""
    handle = handed_over(
        payload=value, key=value, partition_key=value, headers={"a": value}
    )
    found = [handle._payload, handle._key, handle._place.partition_key]
    found.append(handle._headers[0][1])
    assert found == [b"orders"] * 4
    assert {type(each) for each in found} == {bytes}


@pytest.mark.parametrize("value", [Place.THIRD, LoudNumber(3), Index(3), 3])
def test_ints_are_plain_ints(value: Any) -> None:
    """numpy's ints, IntEnums and subclasses of int become plain ints."""
    place = handed_over(partition=value, timestamp=value)._place
    assert (place.partition, place.timestamp) == (3, 3)
    assert {type(place.partition), type(place.timestamp)} == {int}


@pytest.mark.parametrize("value", [True, bool_(1), 1.0, "1", b"1", [1]])
@pytest.mark.parametrize("field", ["partition", "timestamp"])
def test_illegal_ints(field: str, value: Any) -> None:
    """A bool, numpy's too, is not an int."""
    with pytest.raises(MessageInvalidError) as caught:
        handed_over(**{field: value})
    assert list(caught.value.errors) == [field]


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (datetime(2026, 1, 1, tzinfo=timezone.utc), 1_767_225_600_000),
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            1_767_225_600_000,
        ),
        (datetime(2026, 1, 1, 0, 0, 0, 1_999, tzinfo=timezone.utc), 1_767_225_600_001),
    ],
)
def test_moments(moment: datetime, ms: int) -> None:
    """An aware datetime is its exact millisecond."""
    assert handed_over(timestamp=moment).message.timestamp == ms


@pytest.mark.parametrize(
    "moment",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    ],
)
def test_the_ends_of_the_calendar(moment: datetime) -> None:
    """The first and last datetimes are legal or a MessageInvalidError."""
    with suppress(MessageInvalidError):
        handed_over(timestamp=moment)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"topic": Plain.VALUE}, "did you mean Plain.VALUE.value?"),
        ({"headers": {Plain.VALUE: b"x"}}, "did you mean Plain.VALUE.value?"),
        ({"headers": {"a": Plain.VALUE}}, "did you mean Plain.VALUE.value?"),
        ({"payload": Plain.VALUE}, "did you mean Plain.VALUE.value?"),
        ({"topic": "a b"}, "must be a str of 1 to 249 of A-Z a-z 0-9 . _ -, got 'a b'"),
        ({"key": b""}, "must be non-empty bytes or str, or None, got b''"),
        ({"partition": -2}, "or -1 or None for the partitioner, got -2"),
        ({"timestamp": datetime(2026, 1, 1)}, "which has no time zone"),  # noqa: DTZ001
        ({"headers": 7}, "must be a mapping or a list of (name, value) pairs, got an"),
    ],
)
def test_the_error_says_what_is_legal(given: Any, expected: str) -> None:
    """The error says what is legal, what was given, and what was probably meant."""
    with pytest.raises(MessageInvalidError) as caught:
        handed_over(**given)
    [sentence] = caught.value.errors.values()
    assert expected in sentence


def batch(producer: Producer, messages: list[Any]) -> tuple[int, ...]:
    """The indexes of the illegal messages in the error."""
    with pytest.raises(MessageInvalidError) as caught:
        producer.produce_many_async(messages)
    return caught.value.indexes


def test_indexes(producer: Producer) -> None:
    """The error has the positions of the illegal messages, also after pickling."""
    good = {"topic": "t", "payload": b"x"}
    assert batch(producer, [good, {**good, "key": b""}, good, 7]) == (1, 3)
    assert batch(producer, [Message("t", 7), good]) == (0,)  # type: ignore[arg-type]
    with pytest.raises(MessageInvalidError) as caught:
        producer.buffer_many([good, 7])  # type: ignore[list-item]
    assert caught.value.indexes == (1,)
    with pytest.raises(MessageInvalidError) as caught:
        producer.tombstone_many_sync([{**good, "key": "k"}, good])
    assert caught.value.indexes == (1,)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.indexes, again.errors) == (caught.value.indexes, caught.value.errors)
    with pytest.raises(MessageInvalidError) as caught:
        producer.produce_async("", b"x")
    assert caught.value.indexes == ()


BUFFERING: dict[str, Any] = {
    "buffer": lambda p, v, h: p.buffer("t", v, headers=h),
    "buffer_many of mappings": lambda p, v, h: p.buffer_many(
        [{"topic": "t", "payload": v, "headers": h}]
    ),
    "buffer_many of messages": lambda p, v, h: p.buffer_many(
        [Message("t", v, headers=h)]
    ),
    "produce_async": lambda p, v, h: p.produce_async("t", v, headers=h),
    "produce_many_async": lambda p, v, h: p.produce_many_async(
        [{"topic": "t", "payload": v, "headers": h}]
    ),
}


@pytest.mark.parametrize("verb", BUFFERING)
def test_later_changes_are_not_sent(producer: Producer, verb: str) -> None:
    """Payload, headers, their pairs and lists of values are copied in the call."""
    payload, values = bytearray(b"0"), [b"0"]
    pairs: list[Any] = [["a", values]]
    named: dict[str, Any] = {"a": values}
    for headers in (named, pairs, (("a", values),)):
        values[:] = [b"0"]
        payload[:] = b"0"
        BUFFERING[verb](producer, payload, headers)
        payload[:] = b"1"
        values[:] = [b"1", b"2"]
        named["b"] = b"1"
        pairs.append(("c", b"1"))
    BUFFERING[verb](producer, memoryview(payload), None)
    payload[:] = b"2"
    found = sent(producer)
    assert [value for value, _, _ in found] == [b"0", b"0", b"0", b"1"]
    assert [headers for _, headers, _ in found[:1]] == [[("a", b"0")]]
    assert ("c", b"1") not in found[1][1][:1]
    assert all(headers[0] == ("a", b"0") for _, headers, _ in found[:3])


def test_buffered_messages_are_validated_by_the_flush(producer: Producer) -> None:
    """Buffering copies illegal values too, without an error."""
    released = memoryview(b"x")
    released.release()
    for headers in ("a=b", 7, [7], [("a",)], {7: b"x"}, None):
        producer.buffer("t", 7, headers=headers)  # type: ignore[arg-type]
    producer.buffer("t", released)
    assert producer.buffer_size == 7
    with pytest.raises(MessageInvalidError) as caught:
        producer.flush_buffer_async()
    assert caught.value.indexes == tuple(range(7))
    producer.purge()


def test_a_step_does_not_change_the_callers_headers() -> None:
    """A middleware step that adds a header in place changes a copy."""

    def traced(message: Message) -> Message:
        headers: Any = message.headers
        headers["trace"] = b"1"
        return message

    shared = {"a": b"x"}
    client = BufferedClient()
    with Producer(
        kafka=SERVERS, client_factory=client, middleware=[traced]
    ) as producer:
        producer.produce_sync("t", b"x", headers=shared)
        producer.produce_many_sync([{"topic": "t", "payload": b"x", "headers": shared}])
        producer.buffer("t", b"x", headers=shared)
        producer.flush(5)
    assert shared == {"a": b"x"}
    assert [dict(each.headers()) for each in client.messages] == [
        {"a": b"x", "trace": b"1"}
    ] * 3
