"""Names of confluent-kafka, kafka-python and futures are answered with ours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import inspect
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from waterdrop_py import DeliveryReport, Message, Producer, Status
from waterdrop_py._settings.foreign_names import ARGUMENTS, HANDLE, PRODUCER, REPORT
from waterdrop_py.errors import MessageInvalidError
from waterdrop_py.testing import BufferedClient, FakeClient, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def producer() -> Iterator[Producer]:
    """A producer that needs no Kafka."""
    with Producer(
        kafka={"bootstrap.servers": "fake:1"}, client_factory=FakeClient
    ) as one:
        yield one


def refused(owner: object, name: str) -> str:
    """What the `AttributeError` says, which names owner and name."""
    with pytest.raises(AttributeError) as caught:
        getattr(owner, name)
    assert not hasattr(owner, name)
    assert getattr(owner, name, 5) == 5
    assert (caught.value.name, caught.value.obj) == (name, owner)
    return str(caught.value)


@pytest.mark.parametrize("name", PRODUCER)
def test_names_of_other_producers(producer: Producer, name: str) -> None:
    """With the name that it has here; a variant too. Unknown ones as ever."""
    assert refused(producer, name).endswith(PRODUCER[name])
    assert PRODUCER[name] in refused(producer.variant(max_wait_timeout=5), name)
    assert refused(producer, "nothing_like_it").endswith("'nothing_like_it'")


def test_what_a_variant_does_not_have(producer: Producer) -> None:
    """Its producer may."""
    variant = producer.variant(max_wait_timeout=5)
    assert "variant.producer.connect" in refused(variant, "connect")


@pytest.mark.parametrize("name", HANDLE)
def test_names_of_futures(producer: Producer, name: str) -> None:
    """Of every library's, also those that `concurrent.futures` looks for."""
    assert refused(producer.produce_async("t", b"x"), name).endswith(HANDLE[name])


@pytest.mark.parametrize("name", REPORT)
def test_names_of_messages(producer: Producer, name: str) -> None:
    """Confluent's message is split into report and message here."""
    assert refused(producer.produce_sync("t", b"x"), name).endswith(REPORT[name])


def test_what_the_standard_library_looks_for(producer: Producer) -> None:
    """It meets the answer, or works."""
    handle = producer.produce_async("t", b"x")
    with pytest.raises(AttributeError, match="as_future"):
        concurrent.futures.wait([handle], timeout=0)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="as_future"):
        list(concurrent.futures.as_completed([handle], timeout=0))  # type: ignore[arg-type]

    async def main() -> Any:
        return await asyncio.gather(
            handle,
            asyncio.ensure_future(handle),
            asyncio.wrap_future(handle.as_future()),
        )

    assert [type(each) for each in asyncio.run(main())] == [DeliveryReport] * 3
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(handle)


SEND: dict[str, dict[str, Any]] = {
    "produce_sync": {"topic": "t", "payload": b"x"},
    "produce_async": {"topic": "t", "payload": b"x"},
    "buffer": {"topic": "t", "payload": b"x"},
    "tombstone_sync": {"topic": "t", "key": "k"},
    "tombstone_async": {"topic": "t", "key": "k"},
}


@pytest.mark.parametrize("verb", SEND)
@pytest.mark.parametrize("name", [*ARGUMENTS, "kye", "zzz"])
def test_arguments_of_other_producers(producer: Producer, verb: str, name: str) -> None:
    """A TypeError that names ours; nothing is sent or kept, on a busy client too."""
    send = getattr(producer, verb)
    producer.produce_async("t", b"x")
    if name in inspect.signature(send).parameters:
        return
    for given in (SEND[verb], {"topic": "t"}):
        with pytest.raises(TypeError) as caught:
            send(**given, **{name: b"v"})
        text = str(caught.value)
        assert text.startswith(f"{verb}() has no argument {name!r}; ")
        expected = {"kye": "did you mean 'key'?", "zzz": "it has topic"}
        assert expected.get(name, ARGUMENTS.get(name, "")) in text
    assert producer.stats().produced == 1
    assert not producer.buffer_size


@pytest.mark.parametrize("verb", SEND)
def test_what_is_missing(producer: Producer, verb: str) -> None:
    """By its name."""
    send = getattr(producer, verb)
    with pytest.raises(TypeError, match=rf"{verb}\(\) needs 'topic'"):
        send()
    missing = list(SEND[verb])[1]
    with pytest.raises(TypeError, match=rf"{verb}\(\) needs '{missing}'"):
        send("t")
    named = {"key": "k"} if missing == "key" else {}
    with pytest.raises(TypeError, match=rf"{verb}\(\) takes topic.* by position"):
        send("t", b"x", b"key", 3, 4, **named)


def test_a_type_error_from_inside_comes_out_as_it_is(producer: Producer) -> None:
    """It is no wrong call."""
    error = TypeError("mine")

    def step(_: Message) -> Message:
        raise error

    producer.middleware.append(step)
    for verb in ("produce_sync", "produce_async"):
        with pytest.raises(TypeError) as caught:
            getattr(producer, verb)("t", b"x")
        assert caught.value is error


@pytest.mark.parametrize("name", ["value", "msg", "timestamp_ms"])
def test_keys_of_a_mapping(producer: Producer, name: str) -> None:
    """A mapping is answered as keywords are."""
    ours = "timestamp" if name == "timestamp_ms" else "payload"
    with pytest.raises(MessageInvalidError, match=f"did you mean '{ours}'"):
        producer.produce_many_sync([{"topic": "t", name: b"x"}])


# -- tests of an application ---------------------------------------------------


def test_patched_methods(producer: Producer) -> None:
    """`mock.patch.object` works on a producer, and on a variant; afterwards the method
    is there again. Misspelt attributes are refused as before."""
    for one in (producer, producer.variant(max_wait_timeout=5)):
        for name in ("produce_sync", "produce_async", "flush"):
            with mock.patch.object(one, name) as patched:
                getattr(one, name)("t", b"x", key="k")
            patched.assert_called_once_with("t", b"x", key="k")
            assert not vars(one)
        with mock.patch.object(one, "produce_sync", autospec=True) as patched:
            one.produce_sync("t", b"x")
            with pytest.raises(TypeError):
                one.produce_sync("t", b"x", value=b"y")  # type: ignore[call-arg]
        with pytest.raises(AttributeError, match="to set"):
            one.produce_snyc = 5
    with pytest.raises(AttributeError):
        producer.status = Status.CLOSED  # type: ignore[misc]
    assert producer.stats().produced == 0


def test_an_autospec() -> None:
    """It has the signatures, and no attributes that a producer has not."""
    spec = mock.create_autospec(Producer, instance=True)
    spec.produce_sync("t", b"x", key="k")
    with pytest.raises(TypeError):
        spec.produce_async("t", b"x", value=b"y")
    for name in ("produce", "poll"):
        with pytest.raises(AttributeError):
            getattr(spec, name)
        for one in (Producer, Producer(kafka={"bootstrap.servers": "h:1"})):
            assert name not in dir(one)
        with pytest.raises(AttributeError, match="type object 'Producer' has no"):
            getattr(Producer, name)
    assert "produce_sync" in dir(Producer)


def test_a_status_in_json(producer: Producer) -> None:
    """As its name, alone and in the health; and it is that text."""
    assert json.dumps({"status": producer.status}) == '{"status": "configured"}'
    assert json.loads(json.dumps(asdict(producer.health())))["status"] == "configured"
    assert json.dumps(asdict(producer.explain_idle()))
    assert json.dumps(asdict(producer.stats()))
    status = Status.CONNECTED
    assert (str(status), f"{status}", status.value) == ("connected",) * 3
    assert status == "connected"
    assert Status("connected") is status
    assert copy.deepcopy(status) is status


def test_doubles_have_a_repr() -> None:
    """With what a test wants to know when it fails."""
    client = BufferedClient()
    with Producer(kafka={"bootstrap.servers": "h:1"}, client_factory=client) as one:
        one.produce_sync("t", b"x")
    assert repr(client) == "<BufferedClient waiting=0 messages=1>"
    assert repr(FakeClient({"sasl.password": "secret"})) == "<FakeClient waiting=0>"
    clock = FakeClock()
    clock.advance(2.5)
    assert repr(clock) == "<FakeClock now=1000002.5>"
    assert repr(client.messages[0]).startswith("<FakeMessage topic='t' partition=0 off")
