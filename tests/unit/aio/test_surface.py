"""The members of `AsyncProducer`: those that api-aio.md names, with the sync verbs'
parameters, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import waterdrop_py
from waterdrop_py import AsyncProducer, Config, Producer
from waterdrop_py._settings.foreign_names import ARGUMENTS
from waterdrop_py.errors import (
    ConfigurationInvalidError,
    InvalidArgumentError,
    MessageInvalidError,
    ProducerClosedError,
)
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KAFKA = {"bootstrap.servers": "127.0.0.1:9"}
SYNC = {
    "produce": "produce_sync",
    "send": "produce_async",
    "produce_many": "produce_many_sync",
    "send_many": "produce_many_async",
    "tombstone": "tombstone_sync",
    "tombstone_many": "tombstone_many_sync",
    "flush": "flush",
    "flush_buffer": "flush_buffer_sync",
    "purge": "purge",
    "partition_count": "partition_count",
    "mark_as_consumed": "mark_as_consumed",
    "connect": "connect",
    "disconnect": "disconnect",
    "health": "health",
    "close": "close",
}
"""Each coroutine, and the sync verb that it mirrors."""
VERBS = {
    "produce",
    "send",
    "produce_many",
    "send_many",
    "tombstone",
    "tombstone_many",
}
"""What a variant has too, and awaits."""
PLAIN = {
    "buffer",
    "buffer_many",
    "variant",
    "stats",
    "explain_idle",
    "queue_size",
    "status",
    "is_connected",
    "is_idempotent",
    "is_transactional",
    "in_transaction",
    "buffer_size",
    "idle_ms",
    "id",
    "config",
    "monitor",
    "tags",
    "middleware",
}
BLOCKS = {"transaction", "native"}


@pytest.fixture
def producer() -> Iterator[AsyncProducer]:
    """One with a client that takes everything."""
    made = AsyncProducer(kafka=KAFKA, client_factory=BufferedClient)
    yield made
    made.sync_producer.close(force=True)


def test_it_has_the_members_that_are_named_and_no_others(
    producer: AsyncProducer,
) -> None:
    """There is no second name for a verb, and none of confluent's or asyncio's."""
    public = {name for name in dir(producer) if not name.startswith("_")}
    assert public == {*SYNC, *PLAIN, *BLOCKS, "sync_producer"}


def test_it_is_exported() -> None:
    """`from waterdrop_py import AsyncProducer`."""
    assert "AsyncProducer" in waterdrop_py.__all__
    assert waterdrop_py.AsyncProducer is AsyncProducer


@pytest.mark.parametrize("name", SYNC)
def test_a_verb_is_a_coroutine_function_with_the_sync_verbs_parameters(
    name: str,
) -> None:
    """Names, kinds, defaults and annotations are the sync verb's, one for one."""
    verb = getattr(AsyncProducer, name)
    assert inspect.iscoroutinefunction(verb)
    mirrored = inspect.signature(getattr(Producer, SYNC[name]))
    own = inspect.signature(verb)
    assert list(own.parameters.values()) == list(mirrored.parameters.values())
    assert inspect.getdoc(verb)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_what_neither_blocks_nor_suspends_is_plain(
    producer: AsyncProducer, name: str
) -> None:
    """It is a property or a function, as on `Producer`, and never awaited."""
    of_sync = inspect.getattr_static(Producer, name)
    own = inspect.getattr_static(AsyncProducer, name)
    assert isinstance(own, property) == isinstance(of_sync, property)
    assert not inspect.iscoroutinefunction(own)
    if not isinstance(own, property):
        mirrored = inspect.signature(getattr(Producer, name)).parameters
        assert list(inspect.signature(own).parameters) == list(mirrored)


def test_a_variant_has_the_same_verbs_awaited(producer: AsyncProducer) -> None:
    """And `.producer`, which is the `AsyncProducer` that made it."""
    variant = producer.variant(max_wait_timeout="5s")
    assert variant.producer is producer
    of_sync = {
        name
        for name in dir(producer.sync_producer.variant(max_wait_timeout="5s"))
        if not name.startswith("_")
    }
    own = {name for name in dir(variant) if not name.startswith("_")}
    renamed = {mirrored: name for name, mirrored in SYNC.items()}
    # `tombstone_async` and the like have no name of their own.
    expected = {renamed.get(each, each) for each in of_sync if each not in _DROPPED}
    assert own == expected
    for name in own & {*SYNC}:
        assert inspect.iscoroutinefunction(getattr(variant, name)), name


_DROPPED = {"tombstone_async", "tombstone_many_async", "flush_buffer_async"}


def test_it_reads_as_its_producer_does(producer: AsyncProducer) -> None:
    """`len`, `bool`, `repr` and the properties are those of the `Producer`."""
    sync = producer.sync_producer
    producer.buffer("t", b"x")
    assert len(producer) == len(sync) == 0
    assert bool(producer) is True
    assert repr(producer) == repr(sync).replace("<Producer", "<AsyncProducer")
    assert producer.buffer_size == sync.buffer_size == 1
    assert producer.monitor is sync.monitor
    assert producer.config is sync.config
    assert producer.middleware is sync.middleware
    assert (producer.id, producer.status) == (sync.id, sync.status)
    # `idle_ms` aside, which is the time of the call.
    assert producer.stats() == sync.stats()


def test_a_front_end_of_a_producer_shares_it() -> None:
    """`AsyncProducer(producer)` has its client, buffer, monitor and figures."""
    with Producer(kafka=KAFKA, client_factory=BufferedClient) as sync:
        first, second = AsyncProducer(sync), AsyncProducer(sync)
        assert first.sync_producer is second.sync_producer is sync
        first.buffer("t", b"x")
        assert second.buffer_size == 1
        with pytest.raises(
            (TypeError, InvalidArgumentError, ConfigurationInvalidError)
        ):
            AsyncProducer(sync, id="another")


@pytest.mark.parametrize(
    "make",
    [
        lambda: AsyncProducer(Config(kafka=KAFKA, id="mine")),
        lambda: AsyncProducer({"kafka": KAFKA, "id": "mine"}),
        lambda: AsyncProducer("kafka://127.0.0.1:9", id="mine"),
        lambda: AsyncProducer("kafka://127.0.0.1:9/?id=mine"),
        lambda: AsyncProducer(kafka=KAFKA, id="mine"),
    ],
    ids=["Config", "mapping", "URL and option", "URL", "options"],
)
def test_it_takes_what_a_producer_takes(
    make: Callable[[], AsyncProducer], started_here: list[str]
) -> None:
    """A `Config`, a mapping, a URL, keyword options; without a loop, a thread, a
    socket."""
    made = make()
    assert made.id == "mine"
    assert str(made.status) == "configured"
    assert started_here == []


def test_an_invalid_configuration_is_told_as_a_producer_tells_it() -> None:
    """All violations at once."""
    with pytest.raises(ConfigurationInvalidError) as raised:
        AsyncProducer(kafka={**KAFKA, "nonsense": 1}, max_wait_timeout=-1)
    assert set(raised.value.errors) == {"kafka.nonsense", "max_wait_timeout"}


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_neither_copied_nor_pickled(
    producer: AsyncProducer, act: Callable[[object], object]
) -> None:
    """A `TypeError`, as for a `Producer`."""
    with pytest.raises(TypeError, match="AsyncProducer"):
        act(producer)


def test_the_context_manager_opens_nothing_and_closes(
    producer: AsyncProducer,
) -> None:
    """Also the `Producer` that somebody else made."""

    async def main() -> None:
        async with AsyncProducer(producer.sync_producer) as entered:
            assert str(entered.status) == "configured"
        assert str(entered.status) == "closed"
        with pytest.raises(ProducerClosedError):
            await producer.produce("t", b"x")

    asyncio.run(main())
    assert str(producer.sync_producer.status) == "closed"


def test_it_is_no_plain_context_manager(producer: AsyncProducer) -> None:
    """`with AsyncProducer(...)` would have to block."""
    plain: Any = producer
    with pytest.raises((TypeError, AttributeError)), plain:
        pass


# -- plain functions where plain ones are meant --------------------------------


async def coroutine_function(*_: Any, **__: Any) -> Any:
    """What is refused."""


class CoroutineCall:
    """An object whose `__call__` is a coroutine function."""

    async def __call__(self, *_: Any, **__: Any) -> None:
        """Refused too."""


REFUSED = {
    "function": coroutine_function,
    "method": CoroutineCall().__call__,
    "object": CoroutineCall(),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize(
    ("option", "path"),
    [
        ({"middleware": [None]}, "middleware"),
        ({"oauth_token_provider": None}, "oauth_token_provider"),
        ({"client_factory": None}, "client_factory"),
        ({"kafka": {**KAFKA, "error_cb": None}}, "kafka.error_cb"),
        ({"kafka": {**KAFKA, "stats_cb": None}}, "kafka.stats_cb"),
        ({"kafka": {**KAFKA, "throttle_cb": None}}, "kafka.throttle_cb"),
        ({"kafka": {**KAFKA, "oauth_cb": None}}, "kafka.oauth_cb"),
        ({"kafka": {**KAFKA, "on_delivery": None}}, "kafka.on_delivery"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@pytest.mark.parametrize("front", [Producer, AsyncProducer])
def test_a_coroutine_function_is_refused_as_an_option(
    front: Any, option: dict[str, Any], path: str, kind: str
) -> None:
    """Its coroutine would never run; the error names the option."""
    refused = REFUSED[kind]

    def put(value: Any) -> Any:
        if value is None:
            return refused
        if isinstance(value, list):
            return [put(each) for each in value]
        if isinstance(value, dict):
            return {name: put(each) for name, each in value.items()}
        return value

    options = {"kafka": KAFKA, **put(option)}
    with pytest.raises(ConfigurationInvalidError) as raised:
        front(**options)
    assert any(each.startswith(path) for each in raised.value.errors), raised.value


@pytest.mark.parametrize("kind", REFUSED)
def test_a_coroutine_function_is_refused_as_an_argument(
    producer: AsyncProducer, kind: str
) -> None:
    """As a subscriber, a done callback, an `errback` and a later middleware step."""
    refused: Any = REFUSED[kind]

    async def main() -> None:
        with pytest.raises(InvalidArgumentError):
            producer.monitor.subscribe("producer.connected", refused)
        with pytest.raises(InvalidArgumentError):
            waterdrop_py.monitor.subscribe("*", refused)
        with pytest.raises(InvalidArgumentError):
            await producer.connect(errback=refused)
        for add in (producer.middleware.append, producer.middleware.prepend):
            with pytest.raises((InvalidArgumentError, ConfigurationInvalidError)):
                add(refused)
        handle = await producer.send("t", b"x")
        with pytest.raises(InvalidArgumentError):
            handle.add_done_callback(refused)
        await handle

    asyncio.run(main())


def test_a_listener_with_a_coroutine_method_is_refused(
    producer: AsyncProducer,
) -> None:
    """It is a subscriber like any other."""

    class Listener:
        async def on_producer_connected(self, event: Any) -> None:
            """Never awaited."""

    with pytest.raises(InvalidArgumentError):
        producer.monitor.subscribe(Listener())


# -- bad input ----------------------------------------------------------------


def test_bad_input_is_told_before_anything_is_sent(producer: AsyncProducer) -> None:
    """With the sync verbs' errors: field, value and what would be legal."""
    no: Any = object()
    wrong = [{"topic": "t", "payload": b"x"}, {}]
    messages = [
        producer.produce(no, b"x"),
        producer.send("t", no),
        producer.produce_many(wrong),
        producer.send_many(wrong),
        producer.tombstone("t", key=no),
        producer.tombstone_many(wrong),
        producer.partition_count("no such name"),
    ]
    arguments: dict[str, list[Any]] = {
        "timeout": [
            producer.produce("t", b"x", timeout=no),
            producer.flush(no),
            producer.close(no),
            producer.health(timeout=no),
            producer.connect(no),
        ],
        "force": [producer.close(force=no)],
        "deep": [producer.health(deep=no)],
        "max_retries": [producer.connect(max_retries=no)],
    }

    async def main() -> None:
        for call in messages:
            with pytest.raises(MessageInvalidError):
                await call
        for name, calls in arguments.items():
            for call in calls:
                with pytest.raises(InvalidArgumentError, match=name):
                    await call
        assert producer.stats().produced == 0
        assert str(producer.status) != "closed"

    asyncio.run(main())


@pytest.mark.parametrize("name", ["poll", "begin_transaction", "produce_sync", "start"])
def test_names_of_others_are_not_there(producer: AsyncProducer, name: str) -> None:
    """`hasattr` stays False, as for a `Producer`."""
    assert not hasattr(producer, name)


@pytest.mark.parametrize("verb", ["produce", "send", "tombstone"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_others_is_answered(
    producer: AsyncProducer, verb: str, name: str
) -> None:
    """With what an `AsyncProducer` has, and never with a verb of `Producer` alone."""
    fields = {"key": "k"} if verb == "tombstone" else {"payload": b"x"}

    async def main() -> None:
        with pytest.raises(TypeError) as raised:
            await getattr(producer, verb)("t", **fields, **{name: 1})
        text = str(raised.value)
        assert text == f"{verb}() has no argument {name!r}; {ARGUMENTS[name]}"
        assert "AsyncProducer." in text or "sync" not in text

    if name not in inspect.signature(getattr(producer, verb)).parameters:
        asyncio.run(main())
    assert producer.stats().produced == 0
