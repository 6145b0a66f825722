"""Cancel everything at every await: each verb, at each of its suspensions.

For each verb the table "Cancelling, and time" says what becomes of it. Each case is run
anew for each suspension, cancelled as the task begins to wait and in the turn in which
what it waits for has come, and dropped as by a loop that is closed, until it completes.
The number of suspensions is a property of the test's report.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer

from tests.embedded.aio.support import arrived, at_rest
from tests.embedded.support import EventLog
from tests.looping import Cancelled, cancelled, eventually, outcomes, run, turns
from waterdrop_py.errors import ProduceError, ProducerClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.embedded.aio.support import MakeAsync
    from waterdrop_py import AsyncProducer
    from waterdrop_py.testing import EmbeddedCluster

KINDS = {
    "as it waits": {},
    "as it is woken": {"late": True},
    "as it is dropped": {"drop": True},
}
"""When it is cancelled: the arguments of `cancelled`."""
MOST = 40
"""Suspensions of a case, at most."""
BATCH = 30
TINY = {"queue.buffering.max.messages": 10, "linger.ms": 20}
"""A queue that is full until the linger is over."""


@dataclass
class World:
    """What a case works on, made anew for each of its runs."""

    make: MakeAsync
    cluster: EmbeddedCluster
    topic: str
    name: bytes
    producer: AsyncProducer
    log: EventLog
    kept: dict[str, Any] = field(default_factory=dict)

    def batch(self) -> list[dict[str, Any]]:
        """Numbered messages, all of one partition."""
        return [self.message(number) for number in range(BATCH)]

    def message(self, number: int) -> dict[str, Any]:
        """One of them."""
        payload = b"%s-%02d" % (self.name, number)
        return {"topic": self.topic, "payload": payload, "partition": 0}

    def payloads(self) -> list[bytes]:
        """Those that arrived, each of them once, in order."""
        found = [
            message.value() or b""
            for message in self.cluster.read(self.topic)
            if message.partition() == 0
        ]
        own = [each for each in found if each.startswith(self.name + b"-")]
        assert len(own) == len(set(own)), f"sent twice: {own}"
        return own


Prepare = "Callable[[World], Awaitable[None]]"
Call = "Callable[[World], Coroutine[Any, Any, Any]]"
Check = "Callable[[World, Cancelled], Awaitable[None]]"


async def _nothing(world: World) -> None:
    """The client is not open."""


async def _open(world: World) -> None:
    await world.producer.produce(world.topic, b"open", partition=1)
    await at_rest(world.producer)


async def _filled(world: World) -> None:
    """With a full queue."""
    await _open(world)
    for _ in range(10):
        await world.producer.send(world.topic, b"full", partition=1)


async def _in_flight(world: World) -> None:
    await _open(world)
    world.kept["handle"] = await world.producer.send(
        world.topic, world.message(0)["payload"], partition=0
    )


async def _buffered(world: World) -> None:
    await _open(world)
    world.producer.buffer_many(world.batch())


async def _accounted(world: World, ended: Cancelled) -> None:
    """What was counted as handed over has arrived, and nothing else."""
    await at_rest(world.producer)
    others = await asyncio.to_thread(arrived, world.cluster, world.topic)
    assert sum(others.values()) == world.producer.stats().acknowledged


async def _prefix(world: World, ended: Cancelled) -> None:
    """What was handed over is the beginning of the batch; the rest never comes."""
    await _accounted(world, ended)
    own = await asyncio.to_thread(world.payloads)
    assert own == [each["payload"] for each in world.batch()][: len(own)]


async def _rest_is_buffered(world: World, ended: Cancelled) -> None:
    """The rest is at the front of the buffer, and is sent by the next flush."""
    await at_rest(world.producer)
    stayed = world.producer.buffer_size
    own = await asyncio.to_thread(world.payloads)
    assert len(own) + stayed == BATCH
    reports = await world.producer.flush_buffer()
    assert len(reports) == stayed
    assert await asyncio.to_thread(world.payloads) == [
        each["payload"] for each in world.batch()
    ]


async def _usable(world: World, ended: Cancelled) -> None:
    await at_rest(world.producer)


async def _disconnected(world: World, ended: Cancelled) -> None:
    await eventually(lambda: not world.producer.is_connected, "carried through")


async def _purged(world: World, ended: Cancelled) -> None:
    handle = world.kept["handle"]
    # Not the handle: a purge that has not ended would purge the next message, too.
    await eventually(lambda: bool(world.log.all("buffer.purged")), "carried through")
    assert handle.done()
    assert handle.exception() is None or handle.exception().code.startswith("purge")
    assert world.producer.buffer_size == 0


async def _handle_is_good(world: World, ended: Cancelled) -> None:
    report = await world.kept["handle"]
    assert report.error is None
    assert await world.kept["handle"] == report


async def _closed(world: World, ended: Cancelled) -> None:
    report = await world.producer.close(10)
    assert report.complete
    assert report == await world.producer.close()
    assert await asyncio.to_thread(world.payloads) == [world.message(0)["payload"]]
    with pytest.raises(ProducerClosedError):
        await world.producer.send(world.topic, b"later")


@dataclass(frozen=True)
class Case:
    """A verb in one situation."""

    call: Any
    prepare: Any = _open
    check: Any = _accounted
    kafka: dict[str, Any] = field(default_factory=dict)
    transactional: bool = False
    siblings: bool = True
    """Whether other tasks send meanwhile, which must notice nothing."""
    at_once: bool = True
    """Whether nothing is waited for after the cancelling. A transaction's abort is, as
    for any exception."""
    after: bool = True
    """Whether the producer can be used afterwards."""


def _one(verb: str, **fields: Any) -> Any:
    def call(world: World) -> Any:
        message = world.message(0)
        named = {**message, **fields}
        topic, payload = named.pop("topic"), named.pop("payload")
        if fields:
            named.pop("partition")
        return getattr(world.producer, verb)(topic, payload, **named)

    return call


def _many(verb: str) -> Any:
    return lambda world: getattr(world.producer, verb)(world.batch())


def _tombstones(world: World) -> Any:
    return world.producer.tombstone_many(
        [{"topic": world.topic, "key": b"%d" % number} for number in range(BATCH)]
    )


async def _handle(world: World) -> Any:
    return await world.kept["handle"]


async def _native(world: World) -> None:
    async with world.producer.native() as client:
        assert client is not None


CASES: dict[str, Case] = {
    "produce, no client": Case(_one("produce"), _nothing),
    "produce": Case(_one("produce")),
    "produce, look-up": Case(_one("produce", partition_key=b"k")),
    "produce, full queue": Case(_one("produce"), _filled, kafka=TINY),
    "send, no client": Case(_one("send"), _nothing),
    "send, look-up": Case(_one("send", partition_key=b"k")),
    "send, full queue": Case(_one("send"), _filled, kafka=TINY),
    "await handle": Case(_handle, _in_flight, _handle_is_good, {"linger.ms": 20}),
    "produce_many": Case(_many("produce_many"), _nothing, _prefix, TINY),
    "send_many": Case(_many("send_many"), _nothing, _prefix, TINY),
    "tombstone": Case(lambda w: w.producer.tombstone(w.topic, key=b"k"), _nothing),
    "tombstone_many": Case(_tombstones, _nothing, kafka=TINY),
    "flush": Case(lambda w: w.producer.flush(), _in_flight, kafka={"linger.ms": 20}),
    "flush, with a buffer": Case(
        lambda w: w.producer.flush(), _buffered, _rest_is_buffered, TINY
    ),
    "flush_buffer": Case(
        lambda w: w.producer.flush_buffer(), _buffered, _rest_is_buffered, TINY
    ),
    "purge": Case(
        lambda w: w.producer.purge(),
        _in_flight,
        _purged,
        {"linger.ms": 1_000},
        siblings=False,
    ),
    "partition_count": Case(lambda w: w.producer.partition_count(w.topic), _open),
    "partition_count, no client": Case(
        lambda w: w.producer.partition_count(w.topic), _nothing, _usable
    ),
    "connect": Case(lambda w: w.producer.connect(10), _nothing, _usable),
    "health": Case(lambda w: w.producer.health(deep=True), _nothing, _usable),
    "disconnect": Case(
        lambda w: w.producer.disconnect(), _open, _disconnected, siblings=False
    ),
    "native": Case(_native, _nothing, _usable),
    "close": Case(
        lambda w: w.producer.close(10),
        _in_flight,
        _closed,
        {"linger.ms": 20},
        siblings=False,
        after=False,
    ),
}


# -- transactions --------------------------------------------------------------


async def _block(world: World) -> None:
    async with world.producer.transaction():
        await world.producer.send(**world.message(0))
        await world.producer.produce(**world.message(1))
        await world.producer.produce_many(world.batch()[2:5])


async def _held(world: World) -> None:
    """Another task is in a transaction."""
    await _open(world)
    release, inside = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        async with world.producer.transaction():
            await world.producer.send(world.topic, b"holder", partition=1)
            inside.set()
            await release.wait()

    world.kept["holder"] = asyncio.ensure_future(holder())
    await inside.wait()
    world.kept["release"] = release


async def _waiting_block(world: World) -> None:
    """Begins to wait for its turn; the one in its way ends a little later."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, world.kept["release"].set)
    await _block(world)


async def _turn_goes_on(world: World, ended: Cancelled) -> None:
    await world.kept["holder"]
    await _decided(world, ended)


async def _decided(world: World, ended: Cancelled) -> None:
    """Every transaction that was started has ended, and a next one commits."""

    def open_ones() -> int:
        ends = len(world.log.all("transaction.committed"))
        ends += len(world.log.all("transaction.aborted"))
        return len(world.log.all("transaction.started")) - ends

    # The next transaction waits for what is carried through.
    async with world.producer.transaction():
        handle = await world.producer.send(world.topic, b"next", partition=1)
    assert (await handle).error is None
    await eventually(lambda: open_ones() == 0, "every transaction has ended")
    assert not world.producer.in_transaction
    await at_rest(world.producer)


async def _inside(world: World) -> None:
    """In a transaction, with the group of a consumer."""
    properties = {
        "bootstrap.servers": world.cluster.bootstrap_servers,
        "group.id": world.topic,
    }
    world.kept["consumer"] = Consumer(properties)
    world.kept["block"] = world.producer.transaction()
    await world.kept["block"].__aenter__()


def _mark(world: World) -> Any:
    message: Any = SimpleNamespace(
        topic=lambda: world.topic,
        partition=lambda: 0,
        offset=lambda: 7,
        leader_epoch=lambda: None,
        error=lambda: None,
    )
    return world.producer.mark_as_consumed(world.kept["consumer"], message)


async def _marked(world: World, ended: Cancelled) -> None:
    """The mark was carried through: the transaction commits with it. The mock stores no
    offsets of transactions; tests/kafka/test_aio.py looks at those."""
    await world.kept["block"].__aexit__(None, None, None)
    assert len(world.log.all("transaction.marked_as_consumed")) == 1
    assert len(world.log.all("transaction.committed")) == 1
    await asyncio.to_thread(world.kept["consumer"].close)
    await _decided(world, ended)


CASES |= {
    "mark_as_consumed": Case(
        _mark, _inside, _marked, transactional=True, siblings=False
    ),
    "transaction": Case(_block, _nothing, _decided, transactional=True, at_once=False),
    "transaction, waiting for its turn": Case(
        _waiting_block,
        _held,
        _turn_goes_on,
        transactional=True,
        at_once=False,
        siblings=False,
    ),
    "produce, its own transaction": Case(
        _one("produce"), _nothing, _decided, transactional=True, at_once=False
    ),
    "send, its own transaction": Case(
        _one("send"), _nothing, _decided, transactional=True, at_once=False
    ),
    "produce_many, its own transaction": Case(
        _many("produce_many"), _nothing, _decided, transactional=True, at_once=False
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_verb_cancelled_at_each_of_its_suspensions(
    name: str,
    make_async: MakeAsync,
    cluster: EmbeddedCluster,
    record_property: Callable[[str, object], None],
) -> None:
    """The table's row holds each time: `CancelledError` comes out at once, siblings and
    counters notice nothing, and the producer goes on."""
    case = CASES[name]
    counts: dict[str, int] = {}
    numbers = itertools.count()
    for kind in KINDS:
        counts[kind] = missed = 0
        for at in range(1, MOST + 1):
            topic = f"cancel-{next(numbers)}-{uuid.uuid4().hex[:12]}"
            cluster.create_topic(topic, 3)
            producer = make_async(
                kafka=case.kafka, transactional=case.transactional, close_timeout=5_000
            )
            log = EventLog(producer.monitor)
            world = World(make_async, cluster, topic, b"m", producer, log)
            found = run(_run(case, world, at, kind))
            producer.sync_producer.close(5)
            log.stop()
            counts[kind] += found.reached
            missed = 0 if found.reached else missed + 1
            # A quick broker may answer before the last suspension, once.
            if missed == 2:
                break
        else:
            pytest.fail(f"{name}: more than {MOST} suspensions")
    record_property("suspension_points", counts)
    print(f"{name}: cancelled at {counts} suspensions")  # noqa: T201 - for the record


async def _run(case: Case, world: World, at: int, kind: str) -> Cancelled:
    await case.prepare(world)
    siblings: list[asyncio.Future[Any]] = []
    work = case.call(world)
    if case.siblings:
        siblings.append(asyncio.ensure_future(_sibling(world, b"before")))
        await turns(1)
    task = asyncio.ensure_future(cancelled(work, at, **KINDS[kind]))
    await turns(1)
    if case.siblings:
        siblings.append(asyncio.ensure_future(_sibling(world, b"after")))
    found = await task
    for each in await outcomes(siblings):
        assert each is None, f"a sibling noticed: {each!r}"
    if not found.reached or kind == "as it is dropped":
        assert found.raised is None, repr(found)
    else:
        assert isinstance(found.raised, asyncio.CancelledError), repr(found)
        if case.at_once:
            assert found.after == 0, "the cancelling was delayed"
    await case.check(world, found)
    if case.after:
        report = await world.producer.produce(world.topic, b"end", partition=2)
        assert report.error is None
        await at_rest(world.producer)
    return found


async def _sibling(world: World, name: bytes) -> None:
    for number in range(2):
        report = await world.producer.produce(
            world.topic, b"%s-%d" % (name, number), partition=1
        )
        assert report.error is None


def test_a_cancelled_flush_leaves_no_thread_busy(
    make_async: MakeAsync, dead: str
) -> None:
    """Within 0.5 s: nothing is called any more that waits for the brokers."""
    producer = make_async(dead, kafka={"message.timeout.ms": 60_000})

    async def main() -> None:
        await producer.send("t", b"x")
        flushing = asyncio.ensure_future(producer.flush())
        await asyncio.sleep(0.2)
        assert not flushing.done()
        flushing.cancel()
        await turns(3)
        assert flushing.cancelled()
        await eventually(
            lambda: "call" not in {r.code for r in producer.explain_idle().reasons}
        )
        await producer.close(force=True)

    run(main())


@pytest.mark.parametrize("verb", ["connect", "health", "partition_count"])
def test_a_cancelled_question_to_a_dead_broker_ends_at_once(
    make_async: MakeAsync, dead: str, verb: str
) -> None:
    """And delays the close within its bound only."""
    producer = make_async(dead)
    questions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "connect": lambda: producer.connect(60),
        "health": lambda: producer.health(deep=True, timeout=60),
        "partition_count": lambda: producer.partition_count("t"),
    }

    async def main() -> None:
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(questions[verb]())
        await asyncio.sleep(0.2)
        assert not asking.done()
        asking.cancel()
        await turns(3)
        assert asking.cancelled()
        started = loop.time()
        await producer.close(1)
        assert loop.time() - started < 10  # not the 60 s of the question

    run(main())


def test_a_timeout_is_told_apart_from_a_cancelling(
    make_async: MakeAsync, dead: str
) -> None:
    """`wait_for` withdraws or gives up the wait; `timeout=` is the library's own
    error, and the delivery goes on in both cases."""
    producer = make_async(dead, kafka={"message.timeout.ms": 60_000})

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.produce("t", b"x"), 0.1)
        assert producer.queue_size == 1
        with pytest.raises(ProduceError) as raised:
            await producer.produce("t", b"x", timeout=0.1)
        assert isinstance(raised.value, TimeoutError)
        assert raised.value.checklist
        assert producer.queue_size == 2
        report = await producer.close(force=True)
        assert len(report.undelivered) == 2

    run(main())
