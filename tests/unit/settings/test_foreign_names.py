"""Names of other libraries and of futures are answered with ours."""

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
    """A producer with a fake client."""
    with Producer(
        kafka={"bootstrap.servers": "fake:1"}, client_factory=FakeClient
    ) as one:
        yield one


def refused(owner: object, name: str) -> str:
    """The text of the `AttributeError`, which names owner and name."""
    with pytest.raises(AttributeError) as caught:
        getattr(owner, name)
    assert not hasattr(owner, name)
    assert getattr(owner, name, 5) == 5
    assert (caught.value.name, caught.value.obj) == (name, owner)
    return str(caught.value)


@pytest.mark.parametrize("name", PRODUCER)
def test_names_of_other_producers(producer: Producer, name: str) -> None:
    """Producers and variants answer foreign names, but not unknown ones."""
    assert refused(producer, name).endswith(PRODUCER[name])
    assert PRODUCER[name] in refused(producer.variant(max_wait_timeout=5), name)
    assert refused(producer, "nothing_like_it").endswith("'nothing_like_it'")


def test_names_that_only_the_producer_has(producer: Producer) -> None:
    """A variant answers them with `variant.producer`."""
    variant = producer.variant(max_wait_timeout=5)
    assert "variant.producer.connect" in refused(variant, "connect")


@pytest.mark.parametrize("name", HANDLE)
def test_names_of_futures(producer: Producer, name: str) -> None:
    """A handle answers names of futures, also those that the standard library reads."""
    assert refused(producer.produce_async("t", b"x"), name).endswith(HANDLE[name])


@pytest.mark.parametrize("name", REPORT)
def test_names_of_messages(producer: Producer, name: str) -> None:
    """A report answers names of confluent-kafka's message with its own `message`."""
    assert refused(producer.produce_sync("t", b"x"), name).endswith(REPORT[name])


def test_functions_of_the_standard_library(producer: Producer) -> None:
    """A function for futures works, or raises the answer."""
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
    """A foreign argument is a TypeError that names ours; nothing is sent."""
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
def test_missing_arguments(producer: Producer, verb: str) -> None:
    """The TypeError names the missing argument."""
    send = getattr(producer, verb)
    with pytest.raises(TypeError, match=rf"{verb}\(\) needs 'topic'"):
        send()
    missing = list(SEND[verb])[1]
    with pytest.raises(TypeError, match=rf"{verb}\(\) needs '{missing}'"):
        send("t")
    named = {"key": "k"} if missing == "key" else {}
    with pytest.raises(TypeError, match=rf"{verb}\(\) takes topic.* by position"):
        send("t", b"x", b"key", 3, 4, **named)


def test_a_type_error_of_user_code_is_unchanged(producer: Producer) -> None:
    """A TypeError that middleware raises is not answered as a wrong call."""
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
    """A foreign key of a mapping is answered like a keyword."""
    ours = "timestamp" if name == "timestamp_ms" else "payload"
    with pytest.raises(MessageInvalidError, match=f"did you mean '{ours}'"):
        producer.produce_many_sync([{"topic": "t", name: b"x"}])


# -- tests of an application ---------------------------------------------------


def test_patched_methods(producer: Producer) -> None:
    """`mock.patch.object` works on producers and variants, and is undone afterwards.

    Setting a misspelt attribute raises as without it.
    """
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
    """An autospec has the signatures, and only attributes that a producer has."""
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
    """A status is its name as text, and in JSON, alone and inside `Health`."""
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
    """The repr of a double shows how many messages it has."""
    client = BufferedClient()
    with Producer(kafka={"bootstrap.servers": "h:1"}, client_factory=client) as one:
        one.produce_sync("t", b"x")
    assert repr(client) == "<BufferedClient waiting=0 messages=1>"
    assert repr(FakeClient({"sasl.password": "secret"})) == "<FakeClient waiting=0>"
    clock = FakeClock()
    clock.advance(2.5)
    assert repr(clock) == "<FakeClock now=1000002.5>"
    assert repr(client.messages[0]).startswith("<FakeMessage topic='t' partition=0 off")
