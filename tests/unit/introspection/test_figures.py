"""What `stats()` says of gaps, re-opens and what was not held. On a fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Bench, Run
from waterdrop_py import Producer
from waterdrop_py._engine.connection import batch, ledger
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import DeliveryTimeoutError
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets
from waterdrop_py.testing import FakeClient, FakeClock, allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Measure = Callable[..., None]

K = {"bootstrap.servers": "h:9092"}


@pytest.fixture
def time_() -> Iterator[FakeClock]:
    """Idleness passes when the test says so."""
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def producer(time_: FakeClock) -> Iterator[Producer]:
    """A producer whose clients deliver at once."""
    with Producer(kafka=K, client_factory=FakeClient) as made:
        yield made


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Says what the next disconnects release; None: it cannot be measured."""
    told: list[dict[str, int] | None] = []

    def shares(_: object) -> list[dict[str, int]]:
        share = told.pop(0) if told else None
        return [] if share is None else [share]

    monkeypatch.setattr(batch.TeardownBatch, "_shares", shares)
    monkeypatch.setattr(ledger, "_released", {})

    def measured(*figures: tuple[int, int, int] | None) -> None:
        names = ("sockets", "threads", "fds")
        told.extend(
            None if each is None else dict(zip(names, each, strict=True))
            for each in figures
        )

    return measured


# -- idle gaps -----------------------------------------------------------------


def gaps(producer: Producer) -> tuple[float, ...]:
    """How many gaps there were, and what they add up to."""
    found = producer.stats().idle_gaps_s
    assert found.edges == GAP_EDGES
    return found.count, found.sum


def test_a_gap_ends_with_the_next_message(producer: Producer, time_: FakeClock) -> None:
    """Between the last activity and the next message; the one in progress is in
    none, and there is none before the first message."""
    time_.advance(100)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (0, 0)
    time_.advance(90)
    assert gaps(producer) == (0, 0)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (1, 90)
    time_.advance(3)
    producer.produce_async("t", b"x").result(5)
    assert producer.stats().idle_gaps_s == Buckets.of(GAP_EDGES, [90, 3])


def test_a_gap_below_a_second_is_none(producer: Producer, time_: FakeClock) -> None:
    """A second is the shortest."""
    for length in (0.5, 0.999, 1.0):
        producer.produce_sync("t", b"x")
        time_.advance(length)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (1, 1)


def test_a_gap_counts_whether_or_not_the_client_was_closed(
    producer: Producer, time_: FakeClock
) -> None:
    """From the last activity on, not from the close."""
    producer.produce_sync("t", b"x")
    time_.advance(40)
    assert producer.disconnect()
    time_.advance(30)
    producer.produce_sync("t", b"x")
    assert producer.stats().reopens == 1
    assert gaps(producer) == (1, 70)
    time_.advance(70)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (2, 140)


@pytest.mark.parametrize("closed", [False, True])
def test_connect_ends_a_gap(
    producer: Producer, time_: FakeClock, *, closed: bool
) -> None:
    """`connect()` is a use, on an open client and on a new one."""
    producer.produce_sync("t", b"x")
    time_.advance(10)
    if closed:
        producer.disconnect()
    producer.connect()
    assert gaps(producer) == (1, 10)
    time_.advance(5)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (2, 15)


@pytest.mark.parametrize("closed", [False, True])
def test_a_transaction_ends_a_gap(time_: FakeClock, *, closed: bool) -> None:
    """Its begin does, without any message in it; and its end is an activity."""
    kafka = {**K, "transactional.id": "x"}
    with Producer(kafka=kafka, client_factory=FakeClient) as producer:
        with producer.transaction():
            producer.produce_async("t", b"x")
        time_.advance(10)
        if closed:
            producer.disconnect()
        with producer.transaction():
            assert gaps(producer) == (1, 10)
        time_.advance(4)
        producer.produce_sync("t", b"x")
        assert gaps(producer) == (2, 14)


def use_bare_client(producer: Producer) -> None:
    """Open it for a block, and send nothing."""
    with producer.native():
        pass


@pytest.mark.parametrize(
    "look",
    [
        Producer.stats,
        Producer.health,
        Producer.explain_idle,
        repr,
        lambda producer: producer.partition_count("t"),
        use_bare_client,
    ],
)
def test_what_is_no_use_ends_no_gap(
    producer: Producer, time_: FakeClock, look: Callable[[Producer], object]
) -> None:
    """Looking at a producer, and using its bare client; also where that opens one."""
    producer.produce_sync("t", b"x")
    time_.advance(10)
    producer.disconnect()
    look(producer)
    time_.advance(10)
    look(producer)
    assert gaps(producer) == (0, 0)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (1, 20)


def test_a_client_that_was_never_used_has_no_gap(
    producer: Producer, time_: FakeClock
) -> None:
    """Before the first message there was no activity that a gap could begin with."""
    for _ in range(2):
        with producer.native():
            time_.advance(10)
        producer.disconnect()
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (0, 0)


def test_several_messages_end_one_gap(producer: Producer, time_: FakeClock) -> None:
    """A batch, and what follows it at once."""
    producer.produce_sync("t", b"x")
    time_.advance(5)
    producer.produce_many_sync([{"topic": "t", "payload": b"x"}] * 3)
    producer.produce_sync("t", b"x")
    assert gaps(producer) == (1, 5)


def test_a_gap_takes_no_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One reading for the first message after quiet, none for those that follow."""
    bench = Bench()
    bench.auto = False
    read: list[None] = []

    class Counting(FakeClock):
        def now(self) -> float:
            read.append(None)
            return super().now()

    with Counting() as time_, Producer(**bench.options()) as producer:
        producer.produce_async("t", b"x")
        producer.produce_async("t", b"x")
        time_.advance(1)
        read.clear()
        producer.produce_async("t", b"x")
        monkeypatch.undo()
        assert read == []
        bench.client.ack()


# -- re-opens ------------------------------------------------------------------


def test_reopens_are_the_opens_after_the_first(producer: Producer) -> None:
    """Each that served a message has an entry, and is told as its client closes."""
    closed: list[Any] = []
    producer.monitor.subscribe("producer.disconnected", closed.append)
    assert producer.stats().reopens == 0
    for opens in range(1, 4):
        producer.produce_sync("t", b"x")
        stats = producer.stats()
        assert (stats.opens, stats.reopens) == (opens, opens - 1)
        assert stats.reopen_times_ms.edges == REOPEN_EDGES
        assert stats.reopen_times_ms.count == opens - 1
        producer.disconnect()
    first, *others = [each["reopen_ms"] for each in closed]
    assert first is None
    assert sum(others) == producer.stats().reopen_times_ms.sum
    assert all(each > 0 for each in others)


def test_a_reopen_lasts_from_the_use_to_the_first_delivery() -> None:
    """Not to the moment at which the client is there, and not to a later delivery."""
    bench = Bench()
    with Producer(**bench.options()) as producer:
        producer.produce_sync("t", b"x")
        producer.disconnect()
        bench.auto = False
        first = producer.produce_async("t", b"x")
        second = producer.produce_async("t", b"x")
        with pytest.raises(DeliveryTimeoutError):
            first.result(0.05)
        assert producer.stats().reopen_times_ms.count == 0
        bench.client.ack(1)
        first.result(5)
        took_ms = producer.stats().reopen_times_ms.sum
        assert took_ms >= 50
        with pytest.raises(DeliveryTimeoutError):
            second.result(0.05)
        bench.client.ack()
        second.result(5)
        assert producer.stats().reopen_times_ms.sum == took_ms


def test_a_reopen_by_connect_lasts_to_the_metadata(producer: Producer) -> None:
    """A message that follows changes nothing."""
    producer.produce_sync("t", b"x")
    producer.disconnect()
    producer.connect()
    times = producer.stats().reopen_times_ms
    assert times.count == 1
    producer.produce_sync("t", b"x")
    assert producer.stats().reopen_times_ms == times


def test_a_reopen_that_serves_nothing_has_no_time(producer: Producer) -> None:
    """For the bare client, or for a message that is not delivered."""
    closed: list[Any] = []
    producer.monitor.subscribe("producer.disconnected", closed.append)
    producer.produce_sync("t", b"x")
    producer.disconnect()
    with producer.native():
        pass
    producer.produce_sync("t", b"x")  # it found a client
    producer.disconnect()
    stats = producer.stats()
    assert (stats.reopens, stats.reopen_times_ms.count) == (1, 0)
    assert [each["reopen_ms"] for each in closed] == [None, None]


def test_a_message_that_fails_is_not_served() -> None:
    """The first delivery counts, not the first report."""
    bench = Bench()
    with Producer(**bench.options()) as producer:
        producer.produce_sync("t", b"x")
        producer.disconnect()
        bench.auto = False
        failed = producer.produce_async("t", b"x")
        bench.client.fail(-192)
        assert failed.exception(5) is not None
        assert producer.stats().reopen_times_ms.count == 0
        delivered = producer.produce_async("t", b"x")
        bench.client.ack()
        delivered.result(5)
        assert producer.stats().reopen_times_ms.count == 1


# -- what was not held ---------------------------------------------------------


def saved(producer: Producer) -> tuple[float, float, float]:
    """The three figures."""
    found = producer.stats().saved
    return found.connection_s, found.thread_s, found.descriptor_s


def test_a_disconnect_counts_what_it_released(
    producer: Producer, time_: FakeClock, measure: Measure
) -> None:
    """For as long as there is no client, each by what its own disconnect released."""
    measure((3, 5, 9), (4, 6, 10))
    producer.produce_sync("t", b"x")
    producer.disconnect()
    time_.advance(10)
    assert saved(producer) == (30, 50, 90)
    producer.produce_sync("t", b"x")
    time_.advance(10)
    assert saved(producer) == (30, 50, 90)
    producer.disconnect()
    time_.advance(2)
    assert saved(producer) == (38, 62, 110)
    assert producer.stats().idle_ms_saved == 12_000
    assert producer.stats().unmeasured == 0


def test_an_unmeasured_disconnect_counts_like_the_last_measured_one(
    producer: Producer, time_: FakeClock, measure: Measure
) -> None:
    """Of this producer first, whatever others have released since."""
    measure((3, 5, 9), (1, 1, 1), None)
    producer.produce_sync("t", b"x")
    producer.disconnect()
    producer.produce_sync("t", b"x")
    with Producer(kafka=K, client_factory=FakeClient) as other:
        other.produce_sync("t", b"x")
        other.disconnect()
    producer.disconnect()
    time_.advance(10)
    assert saved(producer) == (30, 50, 90)
    assert producer.stats().unmeasured == 1


def test_without_one_it_counts_like_another_producers(
    producer: Producer, time_: FakeClock, measure: Measure
) -> None:
    """Of one with the same servers; with other servers, nothing."""
    measure((3, 5, 9), None, None)
    others = {"bootstrap.servers": "other:9092"}
    with (
        Producer(kafka=K, client_factory=FakeClient) as first,
        Producer(kafka=others, client_factory=FakeClient) as elsewhere,
    ):
        for each in (first, producer, elsewhere):
            each.produce_sync("t", b"x")
            each.disconnect()
        time_.advance(10)
        assert saved(producer) == (30, 50, 90)
        assert saved(elsewhere) == (0, 0, 0)
        assert (producer.stats().unmeasured, elsewhere.stats().unmeasured) == (1, 1)


def test_nothing_is_released_twice(
    producer: Producer, time_: FakeClock, measure: Measure
) -> None:
    """Where the process holds more after a close, the close has released nothing."""
    measure((2, -1, -5))
    producer.produce_sync("t", b"x")
    producer.disconnect()
    time_.advance(10)
    assert saved(producer) == (20, 0, 0)


def test_it_counts_from_the_close_on_once_it_is_measured(
    producer: Producer, time_: FakeClock, measure: Measure
) -> None:
    """A measurement comes later than the close, perhaps than the next open."""
    measure((3, 5, 9))
    producer.produce_sync("t", b"x")
    announce = batch.TeardownBatch.announce
    late: list[Any] = []

    def announce_later(each: object) -> None:
        late.append(each)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch.TeardownBatch, "announce", announce_later)
        producer.disconnect()
        time_.advance(10)
        assert saved(producer) == (0, 0, 0)
        producer.produce_sync("t", b"x")
        time_.advance(10)
    assert saved(producer) == (0, 0, 0)
    announce(late[0])
    assert saved(producer) == (30, 50, 90)


def test_a_close_that_takes_long_saves_nothing_meanwhile(
    time_: FakeClock, measure: Measure
) -> None:
    """The connections are there until the client is destroyed."""
    measure((3, 5, 9))
    bench = Bench()
    with Producer(**bench.options()) as producer:
        producer.produce_sync("t", b"x")
        with bench.park("close") as park:
            closing = Run(producer.disconnect)
            park.entered()
            time_.advance(5)
            park.go()
            assert closing.result()
        time_.advance(10)
        assert saved(producer) == (30, 50, 90)
        assert producer.stats().idle_ms_saved == 15_000


@pytest.mark.parametrize("open_", [False, True])
def test_close_ends_it(time_: FakeClock, measure: Measure, *, open_: bool) -> None:
    """`idle_ms_saved` and `saved` stop with `close()`, with a client and without."""
    measure((3, 5, 9), (3, 5, 9))
    producer = Producer(kafka=K, client_factory=FakeClient)
    producer.produce_sync("t", b"x")
    producer.disconnect()
    time_.advance(10)
    if open_:
        producer.produce_sync("t", b"x")
    producer.close()
    time_.advance(10)
    stats = producer.stats()
    assert saved(producer) == (30, 50, 90)
    assert stats.idle_ms_saved == 10_000
    assert stats.connected_ms == 0


def test_it_is_measured_whether_or_not_a_subscriber_listens(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's resources are counted before and after."""
    counted: list[None] = []

    def count() -> object:
        counted.append(None)
        return count_resources()

    monkeypatch.setattr(batch, "count_resources", count)
    monkeypatch.setattr(batch, "MEASURED", 10_000)  # others may not be collected yet
    producer.produce_sync("t", b"x")
    producer.disconnect()
    assert len(counted) >= 2


# -- the rest ------------------------------------------------------------------


def test_the_idle_timeout_is_the_one_in_force() -> None:
    """In milliseconds, in both reports and in every state; None: never."""
    with Producer(kafka=K, client_factory=FakeClient) as never:
        assert never.stats().idle_timeout_ms is None
        assert never.explain_idle().timeout_ms is None
    with allow_short_idle_timeouts():
        options: Any = {"idle_disconnect_timeout": "45s", "client_factory": FakeClient}
        producer = Producer(kafka=K, **options)
    variant = producer.variant(topic_config={"acks": 1})
    variant.produce_sync("t", b"x")
    assert producer.explain_idle().timeout_ms == 45_000
    producer.produce_sync("t", b"x")
    stats = producer.stats()
    assert stats.idle_timeout_ms == producer.explain_idle().timeout_ms == 45_000
    assert stats.variants["acks=1"].idle_timeout_ms == 45_000
    producer.close()
    assert producer.explain_idle().timeout_ms == 45_000


def test_variants_have_figures_of_their_own(
    producer: Producer, time_: FakeClock
) -> None:
    """Of their own client; the producer's figures count none of them."""
    variant = producer.variant(topic_config={"acks": 1})
    variant.produce_sync("t", b"x")
    time_.advance(8)
    variant.produce_sync("t", b"x")
    stats = producer.stats()
    theirs = stats.variants["acks=1"]
    assert (stats.idle_gaps_s.count, theirs.idle_gaps_s.count) == (0, 1)
    assert (stats.opens, theirs.opens, theirs.reopens) == (0, 1, 0)


def test_closed_tells_the_final_figures(time_: FakeClock) -> None:
    """Once for a producer and its variants, as `stats()` says them afterwards."""
    producer = Producer(kafka=K, client_factory=FakeClient)
    told: list[Any] = []
    producer.monitor.subscribe("producer.closed", told.append)
    for acks in (0, 1):
        producer.variant(topic_config={"acks": acks}).produce_sync("t", b"x")
    producer.produce_sync("t", b"x")
    time_.advance(2)
    producer.produce_sync("t", b"x")
    producer.close()
    producer.close()
    (closed,) = told
    assert closed["stats"] == producer.stats()
    assert closed["stats"].disconnects == {"close": 1}
    assert closed["stats"].idle_gaps_s.sum == 2
    assert [each.opens for each in closed["stats"].variants.values()] == [1, 1]
