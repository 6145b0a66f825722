"""Texts of errors: the message, the limit, and advice; copies and pickles of errors."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.doubles import BOUND
from waterdrop_py import DeliveryHandle, DeliveryReport, Message, Producer
from waterdrop_py._engine.client.pending import subject_of
from waterdrop_py._engine.client.subjects import limit_of, nearest, short
from waterdrop_py.errors import (
    DeliveryTimeoutError,
    ProduceError,
    ProduceManyError,
    ProducerClosedError,
)
from waterdrop_py.testing import FakeClient

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slow(FakeClient):
    """A client that serves no report while `held_by` has an entry."""

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self.held_by: list[int] = [1]
        super().__init__(conf)

    def poll(self, timeout: float = -1) -> int:
        """Wait a moment and serve nothing while the client is held."""
        if self.held_by:
            threading.Event().wait(min(max(timeout, 0.0), 0.01))
            return 0
        return super().poll(timeout)

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Purge, and serve reports from then on."""
        super().purge(in_queue, in_flight, blocking)
        self.held_by.clear()


class Failing(FakeClient):
    """Fails messages to topics `not...` in the call, and `no...` in the report."""

    code = KafkaError._MSG_TIMED_OUT  # noqa: SLF001 - its name
    one_at_a_time = threading.RLock()

    def produce(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Refuse or queue a message."""
        if topic.startswith("not"):
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        with self.one_at_a_time:  # before the poller has acknowledged it
            super().produce(topic, *args, **kwargs)
            if topic.startswith("no"):
                callback, _, message = self._waiting.pop()
                message._partition = -1  # noqa: SLF001 - as where the topic is unknown
                self._waiting.append((callback, KafkaError(self.code), message))

    def poll(self, timeout: float = -1) -> int:
        """Serve what waits."""
        with self.one_at_a_time:
            return super().poll(timeout)


@pytest.fixture
def producer(request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A producer of the client that the test chooses."""
    client = getattr(request, "param", Slow())
    with Producer(kafka={"bootstrap.servers": "fake:1"}, client_factory=client) as one:
        yield one
        one.close(0, force=True)


def handle_of(**fields: Any) -> DeliveryHandle:
    """A handle with these private fields."""
    handle = DeliveryHandle()
    handle._topic = "orders"  # noqa: SLF001 - made by the library only
    for name, value in fields.items():
        setattr(handle, f"_{name}", value)
    return handle


def test_the_subject_of_a_message() -> None:
    """The subject has topic, partition, key and label, if they are set."""
    assert subject_of(handle_of()) == "'orders'"
    handle = handle_of(key=b"abc", label=7)
    assert subject_of(handle, 3) == "'orders' partition 3 (key 'abc', label 7)"


class Rude:
    """An object whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"abc", "'abc'"),
        (b"\xff\x00", r"b'\xff\x00'"),
        ("é", "'é'"),
        (b"x" * 41, f"{'x' * 40!r}..."),
        (b"\xff" * 41, f"{bytes([255]) * 40!r}..."),
        ("y" * 10**6, f"{'y' * 40!r}..."),
        (True, "True"),
        (10**50, "an int"),
        (Rude(), "a Rude"),
        ([1] * 1000, "a list"),
    ],
)
def test_keys_and_labels_are_bounded(value: Any, text: str) -> None:
    """Text and numbers are shown shortened; of other objects only the type is shown."""
    assert short(value) == text


def test_the_limit_and_where_it_is_set() -> None:
    """A limit is shown with its value and whether the user set it, under any alias."""
    assert limit_of("fenced", {}) == ""
    assert limit_of("msg_timed_out", {}) == "; message.timeout.ms is 150000 (default)"
    own = {"topic.delivery.timeout.ms": "5000"}
    assert limit_of("msg_timed_out", own) == "; message.timeout.ms is 5000 (kafka)"
    assert "queue.buffering.max.kbytes is 1048576" in limit_of("queue_full", {})


def test_the_nearest_topic() -> None:
    """The hint names the nearest known topic, and never the name itself."""
    assert nearest("ordres", {"orders", "ordres"}) == "; did you mean 'orders'?"
    assert nearest("ordres", {"ordres", "zzz"}) == ""


def test_a_timeout_names_message_and_limit(producer: Producer) -> None:
    """The error names the message, and the argument or option that set the limit."""
    with pytest.raises(DeliveryTimeoutError) as caught:
        producer.produce_sync("orders", b"x", key="abc", label="l", timeout=0.05)
    assert str(caught.value).startswith(
        "no delivery report for 'orders' (key 'abc', label 'l') within 0.05 s "
        "(timeout); delivery goes on"
    )
    variant = producer.variant(max_wait_timeout=50)
    with pytest.raises(DeliveryTimeoutError, match=r"0\.05 s \(max_wait_timeout\)"):
        variant.produce_sync("orders", b"x")
    with pytest.raises(DeliveryTimeoutError, match=r"0\.05 s \(max_wait_timeout\)"):
        variant.produce_many_sync([Message("orders", b"x"), Message("orders", b"y")])
    with pytest.raises(DeliveryTimeoutError, match=r"'orders' within 0 s \(timeout\)"):
        producer.produce_async("orders", b"x").result(0)


@pytest.mark.parametrize("producer", [Failing()], indirect=True)
def test_a_failed_message_is_named(producer: Producer) -> None:
    """A message that its report or the call failed is named with the limit."""
    producer.produce_sync("a-no-topic", b"x")
    with pytest.raises(ProduceError) as caught:
        producer.produce_sync("no-topic", b"x", key=b"k", partition=None)
    text = str(caught.value)
    assert text.startswith("'no-topic' (key 'k'): Local: Message timed out")
    assert "message.timeout.ms is 150000 (default)" in text
    assert caught.value.checklist
    with pytest.raises(ProduceError) as refused:
        producer.produce_sync("not-taken", b"x", partition=2)
    assert str(refused.value).startswith("'not-taken' partition 2: Broker: Message")
    assert "message.max.bytes is 1000000 (default)" in str(refused.value)


@pytest.mark.parametrize("producer", [Failing()], indirect=True)
@pytest.mark.parametrize("name", ["unknown", "unknown part"])
def test_a_missing_topic_names_the_nearest_one(
    producer: Producer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The error names the nearest topic that this producer has sent to."""
    codes = {
        "unknown": KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its name
        "unknown part": KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
    monkeypatch.setattr(Failing, "code", codes[name])
    producer.produce_sync("orders-no", b"x")
    for _ in range(2):
        with pytest.raises(ProduceError) as caught:
            producer.produce_sync("no-orders", b"x")
        text = str(caught.value)
        assert "topic 'no-orders' does not exist; did you mean 'orders-no'?" in text
        assert "auto.create.topics.enable" in text


# -- errors that are raised repeatedly ------------------------------------------


def purged(producer: Producer, count: int) -> list[DeliveryHandle]:
    """Purged handles, which share their error."""
    handles = [
        producer.produce_async("orders", b"x", key=b"k%d" % n) for n in range(count)
    ]
    producer.purge()
    errors = [handle.exception(BOUND) for handle in handles]
    assert {error is errors[0] for error in errors} == {True}
    return handles


def alive(kind: type) -> int:
    """The number of live objects of the class."""
    return sum(type(each) is kind for each in gc.get_objects())


def frames(error: BaseException | None) -> int:
    """The number of frames in the traceback of an error."""
    assert error is not None
    return len(traceback.extract_tb(error.__traceback__))


def test_a_shared_error_collects_no_frames(producer: Producer) -> None:
    """Each result of a purged message raises a copy that names the message.

    The shared error has no traceback, and keeps no variable of a caller alive.
    """

    class Kept:
        pass

    before = alive(ProduceError)
    handles = purged(producer, 2000)
    kept = Kept()
    references = sys.getrefcount(kept)

    def ask(handle: DeliveryHandle, _: Kept) -> ProduceError:
        with pytest.raises(ProduceError) as caught:
            handle.result(0)
        return caught.value

    raised = [ask(handle, kept) for handle in handles]
    assert max(map(frames, raised)) < 20
    assert frames(handles[0].exception(0)) == 0
    assert str(raised[7]).startswith("'orders' (key 'k7'): Local: Purged in queue")
    del raised
    gc.collect()
    assert sys.getrefcount(kept) == references
    assert alive(ProduceError) < before + 10


def test_the_result_of_one_handle_raised_repeatedly(producer: Producer) -> None:
    """The traceback does not grow, from two threads and a future; no cycle is left."""
    (handle,) = purged(producer, 1)
    longest: list[int] = []

    def ask() -> None:
        for _ in range(1000):
            try:
                handle.result(0)
            except ProduceError as error:
                longest.append(frames(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(longest) == 2000
    assert max(longest) < 10
    for _ in range(100):
        with pytest.raises(ProduceError, match="orders"):
            handle.as_future().result(0)
    assert frames(handle.exception(0)) == 0
    gc.collect()
    gc.disable()
    try:
        before = alive(ProduceError)
        for _ in range(100):
            with contextlib.suppress(ProduceError):
                handle.result(0)
        assert alive(ProduceError) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("producer", [Failing()], indirect=True)
def test_a_batch_leaves_no_cycle(producer: Producer) -> None:
    """The error of a batch has its handles, and is freed with its last reference."""
    batch = [Message(topic, b"x") for topic in ("yes", "no", "yes", "no")]

    def fail() -> None:
        with contextlib.suppress(ProduceManyError):
            producer.produce_many_sync(batch)

    with pytest.raises(ProduceManyError, match="'no': Local: Message timed") as caught:
        producer.produce_many_sync(batch)
    dispatched = caught.value.dispatched
    assert caught.value.failed == [(1, dispatched[1]), (3, dispatched[3])]
    del caught, dispatched
    gc.collect()
    gc.disable()
    try:
        before = alive(ProduceManyError)
        for _ in range(20):
            fail()
        assert alive(ProduceManyError) == before
    finally:
        gc.enable()


# -- copies ------------------------------------------------------------------


def test_a_report_can_be_copied_and_pickled(producer: Producer) -> None:
    """A copy or an unpickled report has all values and equals the original."""
    label = {"id": [1]}
    handle = producer.produce_async(
        "orders", b"x", key="k", headers={"h": "v"}, timestamp=5, label=label
    )
    _release(producer)
    report = handle.result(10)
    copies = [
        copy.copy(report),
        copy.deepcopy(report),
        pickle.loads(pickle.dumps(report)),
        copy.deepcopy(pickle.loads(pickle.dumps(report))),
    ]
    for each in copies:
        assert isinstance(each, DeliveryReport)
        assert each == report
        assert hash(each) == hash(report)
        for name in ("topic", "partition", "offset", "timestamp", "latency_ms"):
            assert getattr(each, name) == getattr(report, name)
        assert each.label == label
        assert each.message == report.message
        assert each.error is None
        assert repr(each) == repr(report)
    assert copies[1].label is not label
    assert report != handle
    other = producer.produce_sync("orders", b"x", key="k", timestamp=5, label=label)
    assert other != report


def test_a_report_of_a_failed_message_is_copied_too(producer: Producer) -> None:
    """A copied report has its error; a label that cannot be pickled becomes None."""
    lock = threading.Lock()
    handle = producer.produce_async("orders", b"x", label=lock)
    producer.purge()
    assert isinstance(handle.exception(10), ProduceError)
    report = handle._report()  # noqa: SLF001 - what events carry
    pickled = pickle.loads(pickle.dumps(report))
    assert pickled == report
    assert pickled.label is None
    assert pickled.error.code == "purge_queue"
    assert copy.deepcopy(report).label is lock


def test_errors_are_copied_whole() -> None:
    """A copy has cause and attributes; only a pickle lacks the handles of a batch."""
    handle = handle_of()
    error = ProduceManyError("m", code="c", retriable=True, dispatched=[handle])
    error.__cause__ = KafkaException(KafkaError(1))
    for each in (copy.copy(error), copy.deepcopy(error)):
        assert each is not error
        assert each.dispatched == [handle]
        assert (each.code, each.retriable, each.args) == ("c", True, ("m",))
        assert each.__cause__ is error.__cause__
    pickled = pickle.loads(pickle.dumps(error))
    assert (pickled.code, pickled.dispatched, pickled.failed) == ("c", [], [])
    timed_out = copy.copy(DeliveryTimeoutError("late", checklist=("point",)))
    assert str(timed_out) == "late\n  - point"
    assert copy.copy(ProducerClosedError("x")).args == ("x",)


def _release(producer: Producer) -> None:
    client: Any = producer._connection.client.native  # noqa: SLF001 - the test's own
    client.held_by.clear()


# -- errors of the open, fatal errors, and advice --------------------------


def opens_nothing(_: dict[str, Any]) -> FakeClient:
    """A factory whose client cannot be made."""
    raise KafkaException(KafkaError(KafkaError._FAIL, "no room"))  # noqa: SLF001


def test_an_open_that_failed_names_the_message() -> None:
    """The error of a failed open names the message that needed the client."""
    kafka = {"bootstrap.servers": "fake:1"}
    with (
        Producer(kafka=kafka, client_factory=opens_nothing) as producer,
        pytest.raises(ProduceError) as failed,
    ):
        producer.produce_async("orders", b"x", key="k")
    text = str(failed.value)
    assert text.startswith("'orders' (key 'k'): the client could not be opened; ")
    assert isinstance(failed.value.__cause__, KafkaException)


@pytest.mark.parametrize("producer", [FakeClient()], indirect=True)
def test_a_fatal_error_that_stays_names_each_message(producer: Producer) -> None:
    """After a fatal error each call raises an error that names its own message."""
    producer.produce_sync("orders", b"x")
    client = producer._connection.client  # noqa: SLF001 - as librdkafka's poll does
    client.note_fatal(KafkaError(KafkaError._FENCED, "gone", fatal=True))  # noqa: SLF001
    for topic in ("orders", "others"):
        with pytest.raises(ProduceError) as refused:
            producer.produce_async(topic, b"x", key="k")
        assert str(refused.value).startswith(f"'{topic}' (key 'k'): ")
        assert refused.value.code == "fenced"
        assert refused.value.fatal


class Unauthorized(FakeClient):
    """A client that refuses every message."""

    def produce(self, topic: str, *_: Any, **__: Any) -> None:
        """Refuse the message."""
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


@pytest.mark.parametrize("producer", [Unauthorized()], indirect=True)
def test_a_refusal_names_its_message_and_what_to_change(producer: Producer) -> None:
    """The error names the message, and its checklist is the advice for this code."""
    with pytest.raises(ProduceError) as refused:
        producer.produce_async("orders", b"x")
    assert str(refused.value).startswith("'orders': ")
    assert refused.value.checklist == (
        "the principal needs the ACLs Write and Describe on the Topic",
    )


class Traced(Slow):
    """A wrapper that counts calls of `cluster_id`."""

    asked = 0

    def cluster_id(self, timeout: float = -1) -> str:
        """A method of the user that raises."""
        self.asked += 1
        raise LookupError(timeout)


@pytest.mark.parametrize("producer", [Traced()], indirect=True)
def test_a_wrapper_is_not_asked_for_the_cluster_id(producer: Producer) -> None:
    """Only librdkafka is asked: methods of a wrapper may raise, or be traced."""
    handle = producer.produce_async("orders", b"x")
    with pytest.raises(DeliveryTimeoutError):
        handle.result(0.05)
    client: Any = producer.config.client_factory
    assert client.asked == 0
