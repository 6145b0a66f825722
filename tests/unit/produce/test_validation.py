"""Validation of messages: every rule, its extremes, and the error of a violation."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterdrop_py._engine.produce import validation
from waterdrop_py._engine.produce.validation import (
    as_message,
    as_messages,
    checked_topic,
    fields,
    fill,
)
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.message import Message

if TYPE_CHECKING:
    from waterdrop_py.delivery import DeliveryHandle

UTC = timezone.utc
INT64 = 2**63 - 1
# An int of more digits than str() converts, to which pytest can give no name.
HUGE = pytest.param(10**5_000, id="huge")


class Name(str, Enum):
    """A str-Enum of topics."""

    ORDERS = "orders"


class Plain(Enum):
    """An Enum whose value is a str."""

    ORDERS = "orders"


class Number(Enum):
    """An Enum that does not name a topic."""

    ONE = 1


def filled(limit: int | None = None, **fields: Any) -> DeliveryHandle:
    """The handle of a message with these fields."""
    return fill(Message(**{"topic": "t", "payload": b"x", **fields}), limit)


def errors_of(limit: int | None = None, **fields: Any) -> dict[str, str]:
    """The errors of a message with these fields."""
    with pytest.raises(MessageInvalidError) as caught:
        filled(limit, **fields)
    return caught.value.errors


@pytest.mark.parametrize("topic", ["a", "A.b_c-9", "x" * 249, "..."])
def test_legal_topics(topic: str) -> None:
    """A topic has 1 to 249 letters, digits, dots, underscores and dashes."""
    assert filled(topic=topic).message.topic == topic
    assert checked_topic(topic) == topic


def test_topics_by_enum() -> None:
    """A str-Enum's value is the name, and goes to the client as a plain str."""
    sent = filled(topic=Name.ORDERS)._topic  # noqa: SLF001 - what the client gets
    assert (sent, type(sent)) == ("orders", str)


@pytest.mark.parametrize(
    "field", ["topic", "payload", "key", "partition_key", "partition", "timestamp"]
)
def test_a_plain_enum_is_not_its_value(field: str) -> None:
    """An Enum that is not a str is refused, and the error asks for its value."""
    given: dict[str, Any] = {field: Plain.ORDERS}
    said = errors_of(**given)
    assert list(said) == [field]
    assert "did you mean Plain.ORDERS.value?" in said[field]


@pytest.mark.parametrize(
    "topic",
    ["", "x" * 250, "a b", "a\n", "ä", "a/b", b"t", None, 7, Number.ONE, ["t"]],
)
def test_illegal_topics(topic: Any) -> None:
    """Any other topic is refused: the whole string counts, also a trailing newline."""
    assert list(errors_of(topic=topic)) == ["topic"]
    with pytest.raises(MessageInvalidError):
        checked_topic(topic)


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (b"", b""),
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"xyz")[1:], b"yz"),
        (memoryview(b"abcd")[::2], b"ac"),
        ("ä", "ä".encode()),
        ("", b""),
        (None, None),
    ],
)
def test_legal_payloads(payload: Any, sent: bytes | None) -> None:
    """A payload is bytes of any kind, text (sent as UTF-8), or None."""
    assert filled(payload=payload)._payload == sent  # noqa: SLF001


def test_a_payload_is_copied() -> None:
    """Later changes of a bytearray by its owner are not sent."""
    buffer = bytearray(b"before")
    handle = filled(payload=buffer)
    buffer[:] = b"after!"
    assert handle.message.payload == b"before"


def released() -> memoryview:
    """A released memoryview is refused."""
    view = memoryview(b"x")
    view.release()
    return view


@pytest.mark.parametrize(
    "payload", [7, 1.5, True, {"a": 1}, ["x"], object(), "\ud800", released()]
)
def test_illegal_payloads(payload: Any) -> None:
    """Any other payload is refused, and not shown, as it may be a secret."""
    assert list(errors_of(payload=payload)) == ["payload"]


@pytest.mark.parametrize("field", ["key", "partition_key"])
@pytest.mark.parametrize(
    ("value", "sent"), [(None, None), (b"k", b"k"), ("ä", "ä".encode())]
)
def test_legal_keys(field: str, value: Any, sent: bytes | None) -> None:
    """A key is non-empty bytes or text, or None."""
    assert getattr(filled(**{field: value}).message, field) == sent


@pytest.mark.parametrize("field", ["key", "partition_key"])
@pytest.mark.parametrize("value", [b"", "", 7, False, bytearray(b"k"), "\ud800"])
def test_illegal_keys(field: str, value: Any) -> None:
    """Empty keys and other types are refused."""
    assert list(errors_of(**{field: value})) == [field]


@pytest.mark.parametrize(
    ("value", "sent"),
    [(None, None), (-1, None), (0, 0), (7, 7), (2**31 - 1, 2**31 - 1)],
)
def test_legal_partitions(value: Any, sent: int | None) -> None:
    """A partition is 0 to the largest int32; -1 and None mean the partitioner."""
    assert filled(partition=value).message.partition == sent


@pytest.mark.parametrize("value", [-2, 2**31, HUGE, 1.0, "1", True, b"1"])
def test_illegal_partitions(value: Any) -> None:
    """A number beyond int32 and other types, bool included, are refused."""
    assert list(errors_of(partition=value)) == ["partition"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (1, 1),
        (INT64, INT64),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), None),
    ],
)
def test_timestamps(value: Any, sent: int | None) -> None:
    """A timestamp is int milliseconds from 1 on, or an aware datetime."""
    if value is not None and sent is None:
        assert list(errors_of(timestamp=value)) == ["timestamp"]
    else:
        assert filled(timestamp=value).message.timestamp == sent


@pytest.mark.parametrize(
    "value",
    [0, -1, INT64 + 1, HUGE, 1.5, True, "1", timedelta(1), datetime(2026, 1, 1)],  # noqa: DTZ001
)
def test_illegal_timestamps(value: Any) -> None:
    """A number out of range, a naive datetime, and other types are refused."""
    assert list(errors_of(timestamp=value)) == ["timestamp"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"a": "ä"}, [("a", "ä".encode())]),
        ({"a": None, "b": b""}, [("a", None), ("b", b"")]),
        ([("a", b"1"), ["a", "2"]], [("a", b"1"), ("a", b"2")]),
        ({"a": [b"1", "2", None]}, [("a", b"1"), ("a", b"2"), ("a", None)]),
        ({"a": []}, None),
        ((("a", b"1"),), [("a", b"1")]),
        (MappingProxyType({"ä": b"1"}), [("ä", b"1")]),
    ],
)
def test_legal_headers(value: Any, sent: Any) -> None:
    """Headers are a mapping or pairs; a list as a value makes one header each."""
    assert filled(headers=value)._headers == sent  # noqa: SLF001


@pytest.mark.parametrize(
    "value",
    [
        "a=b",
        b"ab",
        7,
        {"a"},
        [("a",)],
        [("a", b"1", b"2")],
        ["ab"],
        [7],
        {7: b"x"},
        {"a\0b": b"x"},
        {"a": 7},
        {"a": bytearray(b"x")},
        {"a": [b"1", 7]},
        {"a": "\ud800"},
        {"\ud800": b"x"},
    ],
)
def test_illegal_headers(value: Any) -> None:
    """Other types, names that are not text, and NUL, which cuts a name, are refused."""
    assert list(errors_of(headers=value)) == ["headers"]


def test_labels_are_free() -> None:
    """A label is any object. It is returned as it is, and not sent."""
    label = object()
    assert filled(label=label).label is label


def test_all_violations_at_once() -> None:
    """One error names every invalid field."""
    errors = errors_of(
        topic="",
        payload=7,
        key=b"",
        partition=-2,
        partition_key=b"",
        timestamp=0,
        headers=7,
    )
    assert sorted(errors) == sorted(set(validation.FIELDS) - {"label"})
    # The size is judged of a message that is right otherwise.
    assert sorted(errors_of(1, payload="xx", key="")) == ["key"]


@pytest.mark.parametrize(
    ("given", "at_fault"),
    [
        ({"topic": "a b", "kye": 1}, {"topic", "payload", "kye"}),
        ({"payload": 7, "key": 10**5_000}, {"topic", "payload", "key"}),
    ],
)
def test_all_violations_of_a_mapping_at_once(given: Any, at_fault: set[str]) -> None:
    """An error for a missing or unknown field also names wrong values, unless a
    middleware may still repair them."""
    with pytest.raises(MessageInvalidError) as caught:
        as_message(given, whole=True)
    assert set(caught.value.errors) == at_fault
    with pytest.raises(MessageInvalidError) as caught:
        as_message(given)
    assert set(caught.value.errors) < at_fault


@pytest.mark.parametrize("given", [{"topic": "a b"}, Message("a b", 7)])  # type: ignore[arg-type]
def test_all_violations_of_a_tombstone_at_once(given: Any) -> None:
    """A tombstone is checked for its key and all else but the payload."""
    with pytest.raises(MessageInvalidError) as caught:
        as_message(given, null=True, whole=True)
    assert set(caught.value.errors) == {"topic", "key"}


@pytest.mark.parametrize(("size", "legal"), [(3, True), (4, False)])
def test_payload_limit(size: int, *, legal: bool) -> None:
    """`max_payload_size` counts bytes, also of text; its error has both figures."""
    payload = "x" * (size - 2) + "ä"
    if legal:
        filled(3, payload=payload)
    else:
        assert errors_of(3, payload=payload)["payload"] == (
            "must be at most 3 bytes (max_payload_size), got 4"
        )
    filled(3, payload=None)


def test_mappings() -> None:
    """A mapping of its fields is accepted as a message, and not changed."""
    given = {"topic": "t", "payload": None, "key": "k"}
    assert as_message(given) == Message("t", None, key="k")
    assert as_message(MappingProxyType(given)) == Message("t", None, key="k")
    assert given == {"topic": "t", "payload": None, "key": "k"}
    message = Message("t", b"x")
    assert as_message(message) is message


@pytest.mark.parametrize(
    ("given", "at_fault"),
    [
        ({}, {"topic", "payload"}),
        ({"topic": "t"}, {"payload"}),
        ({"topic": "t", "payload": b"x", "colour": 1}, {"colour"}),
        ({"topic": "t", "value": b"x"}, {"value", "payload"}),
        ({"topic": "t", "payload": b"x", 7: 1}, {"7"}),
        (7, {"message"}),
        ("t", {"message"}),
        (None, {"message"}),
        (("t", b"x"), {"message"}),
    ],
)
def test_no_messages(given: Any, at_fault: set[str]) -> None:
    """A missing payload and an unknown field are refused, with the nearest name."""
    with pytest.raises(MessageInvalidError) as caught:
        as_message(given)
    assert set(caught.value.errors) == at_fault
    if "value" in at_fault:
        assert "did you mean 'payload'?" in caught.value.errors["value"]


def test_batches_name_the_place() -> None:
    """An error names every invalid message of a batch by its index."""
    batch = [Message("t", b"x"), {"topic": "t"}, 7]
    with pytest.raises(MessageInvalidError) as caught:
        as_messages(batch)  # type: ignore[arg-type]
    assert set(caught.value.errors) == {"messages[1].payload", "messages[2].message"}


def test_batches_of_every_kind() -> None:
    """A batch is any iterable of messages, also an empty one."""
    message = Message("t", b"x")
    for batch in ([message], (message,), iter([message]), {1: message}.values()):
        assert as_messages(batch) == [message]
    assert as_messages([]) == []


@pytest.mark.parametrize(
    "given", ["t", b"t", {"topic": "t"}, Message("t", b""), 7, None]
)
def test_no_batches(given: Any) -> None:
    """A single message or a string is refused as a batch."""
    with pytest.raises(MessageInvalidError) as caught:
        as_messages(given)
    assert list(caught.value.errors) == ["messages"]


def test_known_topics_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of valid topics is bounded."""
    monkeypatch.setattr(fields, "KNOWN_TOPICS", set())
    monkeypatch.setattr(fields, "_MAX_KNOWN_TOPICS", 2)
    for number in range(5):
        filled(topic=f"topic-{number}")
    assert len(fields.KNOWN_TOPICS) == 2


def test_nothing_of_a_message_is_in_its_repr() -> None:
    """The `repr` of a message shows neither payload, key nor headers."""
    message = Message("t", b"s3cret", key="s3cret", headers={"a": "s3cret"})
    assert "s3cret" not in repr(message)
    assert "t" in repr(Message("t", None))


FIELD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.binary()),
)


@given(st.fixed_dictionaries(dict.fromkeys(validation.FIELDS, FIELD)))
def test_anything_is_filled_or_refused(fields: dict[str, Any]) -> None:
    """Any input raises MessageInvalidError, or gives values of the right types."""
    at_fault: set[str] = set()
    message = Message("t", b"x")
    try:
        message = fill(Message(**fields), None).message
    except MessageInvalidError as error:
        at_fault |= set(error.errors)
    assert at_fault <= set(validation.FIELDS)
    if not at_fault:
        assert isinstance(message.topic, str)
        assert message.payload is None or isinstance(message.payload, bytes)
        assert message.timestamp is None or isinstance(message.timestamp, int)
