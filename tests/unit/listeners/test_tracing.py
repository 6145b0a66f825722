"""The spans of `OpenTelemetryListener`: headers, attributes, and one end for each."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException
from opentelemetry import context, trace
from opentelemetry.propagators.textmap import TextMapPropagator

from tests.doubles import BOUND, Bench, eventually
from tests.unit.listeners.spans import Spans, context_of
from waterdrop_py import Message, Producer, middleware, monitor
from waterdrop_py._engine.concurrency.call_marks import polls_here
from waterdrop_py._engine.reports import accounting, giving_up
from waterdrop_py._engine.shutdown import steps
from waterdrop_py.errors import MessageInvalidError, ProduceError, ProducerClosedError
from waterdrop_py.message import traced
from waterdrop_py.middleware import Trace
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def buffered(producer: Producer, given: Any) -> object:
    """Buffer a message, and flush."""
    producer.buffer(**given)
    return producer.flush_buffer_async()


VERBS: dict[str, Callable[[Producer, Any], object]] = {
    "produce_sync": lambda producer, given: producer.produce_sync(**given),
    "produce_async": lambda producer, given: producer.produce_async(**given),
    "produce_many_sync": lambda producer, given: producer.produce_many_sync([given]),
    "produce_many_async": lambda producer, given: producer.produce_many_async([given]),
    "buffer": buffered,
    "variant": lambda producer, given: producer.variant(
        topic_config={"acks": 1}
    ).produce_async(**given),
}
LEGAL = {"topic": "t", "payload": b"x"}
INVALID = {"topic": "t", "payload": 5}


@pytest.fixture
def spans() -> Spans:
    """The spans of the test."""
    return Spans()


@pytest.fixture
def bench() -> Bench:
    """The clients of the test, which acknowledge everything."""
    return Bench()


@pytest.fixture
def make(bench: Bench, spans: Spans) -> Iterator[Callable[..., Producer]]:
    """A function that makes producers with spans, closed after the test. `then`: the
    steps behind the one of the listener."""
    made: list[Producer] = []

    def build(*then: Any, listener: Any = None, **options: Any) -> Producer:
        unsubscribe = monitor.subscribe(listener or spans.listener())
        try:
            producer = Producer({**bench.options(), **options})
        finally:
            unsubscribe()
        for step in then:
            producer.middleware.append(step)
        made.append(producer)
        return producer

    yield build
    for producer in made:
        producer.close(BOUND)
    assert not bench.violations
    assert spans.all_ended_once


def headers_of(bench: Bench) -> list[Any]:
    """The headers of all that was sent, as pairs."""
    given = [headers for client in bench.clients for *_, headers in client.headers]
    return [list(each.items()) if isinstance(each, dict) else each for each in given]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_makes_a_span(
    bench: Bench, spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """It is of kind PRODUCER, a child of the current one, and named in the headers."""
    with spans.tracer.start_as_current_span("caller") as caller:
        producer = make()
        VERBS[verb](producer, LEGAL)
        producer.close(BOUND)
    *done, _ = spans.done
    [span] = done
    assert span.name == "send t"
    assert span.kind is trace.SpanKind.PRODUCER
    assert span.parent == caller.get_span_context()
    assert span.status.is_unset
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "t",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
    }
    assert span.context is not None
    [headers] = headers_of(bench)
    assert context_of(headers) == (span.context.trace_id, span.context.span_id)


def test_attributes_of_a_key_and_of_a_tombstone(
    spans: Spans, make: Callable[..., Producer]
) -> None:
    """Only a key that is text is in the span; a null payload is a tombstone."""
    producer = make()
    producer.tombstone_sync("t", key="k")
    producer.produce_sync("t", b"x", key=b"k")
    first, second = (span.attributes or {} for span in spans.done)
    assert first["messaging.kafka.message.key"] == "k"
    assert first["messaging.kafka.message.tombstone"] is True
    assert "messaging.kafka.message.tombstone" not in second
    assert "messaging.kafka.message.key" not in second


@pytest.mark.parametrize(
    "given",
    [
        {"own": b"1"},
        {"own": "text", "more": [b"1", None]},
        [("own", b"1"), ("own", b"2")],
        (("own", "text"),),
        {},
        [],
    ],
)
def test_headers_of_the_caller_stay_as_they_are(
    bench: Bench, make: Callable[..., Producer], given: Any
) -> None:
    """The context is beside them. What the caller passed is not changed."""
    before = dict(given) if isinstance(given, dict) else [*given]
    make().produce_sync("t", b"x", headers=given)
    plain = Producer(bench.options())
    plain.produce_sync("t", b"x", headers=given)
    plain.close(BOUND)
    with_span, without = headers_of(bench)
    assert context_of(with_span) is not None
    assert [pair for pair in with_span if pair[0] != "traceparent"] == (without or [])
    assert before == (given if isinstance(given, dict) else [*given])


@pytest.mark.parametrize("given", [dict, list, tuple])
def test_a_message_with_a_traceparent_is_left_alone(
    bench: Bench, spans: Spans, make: Callable[..., Producer], given: Any
) -> None:
    """It has no span, and its headers are the caller's."""
    pairs = [("traceparent", b"theirs"), ("own", b"1")]
    make().produce_sync("t", b"x", headers=given(pairs))
    assert headers_of(bench) == [pairs]
    assert not spans.started


class Simple(TextMapPropagator):
    """Writes the id of the span, and baggage of its own."""

    fields = frozenset({"simple", "baggage"})  # type: ignore[assignment]

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        """Two headers."""
        span = trace.get_current_span(context).get_span_context().span_id
        setter.set(carrier, "simple", str(span))
        setter.set(carrier, "baggage", "ours")

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        """Not used."""
        raise NotImplementedError


def test_with_another_propagator(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Its headers carry the context, beside a header of the caller's of that name. A
    message that has its context is left alone, as is one with a `traceparent`."""
    producer = make(listener=spans.listener(propagator=Simple()))
    for headers in ({"baggage": b"theirs"}, {"simple": b"1"}, {"traceparent": b"1"}):
        producer.produce_sync("t", b"x", headers=headers)
    first, second, third = headers_of(bench)
    [ended] = spans.ended
    assert first == [("baggage", b"theirs"), ("simple", str(ended).encode())]
    assert (second, third) == ([("simple", b"1")], [("traceparent", b"1")])


def test_by_hand_and_twice(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """A producer that was made before gets `listener.trace`. Two steps make one span;
    any function may call it."""
    listener = spans.listener()
    make(listener.trace, listener=listener).produce_sync("t", b"x")
    producer = Producer(
        bench.options(middleware=[lambda each: replace(listener.trace(each), label=1)])
    )
    producer.produce_sync("t", b"x")
    producer.close(BOUND)
    assert spans.outcomes == [None, None]
    assert None not in map(context_of, headers_of(bench))


def test_without_tracing_no_step_is_added(spans: Spans, bench: Bench) -> None:
    """The fast path stays as it is."""
    listener = spans.listener(tracing=False)
    assert not hasattr(listener, "on_producer_configured")


def test_suppressed_instrumentation(
    spans: Spans, make: Callable[..., Producer]
) -> None:
    """An exporter that sends through a producer does not trace its own messages."""
    key = context._SUPPRESS_INSTRUMENTATION_KEY  # noqa: SLF001 - the exporters' own
    token = context.attach(context.set_value(key, True))
    try:
        make().produce_sync("t", b"x")
    finally:
        context.detach(token)
    assert not spans.started


# -- one end for each -------------------------------------------------------


def raising(error: BaseException, message: Message) -> Message:
    """A step that raises for the payload `bad`."""
    if message.payload == b"bad":
        raise error
    return message


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", [LookupError("mine"), KeyboardInterrupt()])
def test_a_later_step_that_raises(
    spans: Spans, make: Callable[..., Producer], verb: str, error: BaseException
) -> None:
    """The span has ended as the exception comes out, with its class."""
    producer = make(partial(raising, error))
    with pytest.raises(type(error)) as caught:
        VERBS[verb](producer, {"topic": "t", "payload": b"bad"})
    assert caught.value is error
    assert spans.outcomes == [type(error).__name__]
    producer.purge()


@pytest.mark.parametrize("verb", VERBS)
def test_a_later_step_that_returns_nothing(
    spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """As one that raises."""
    producer = make(lambda _: None)
    with pytest.raises(MessageInvalidError) as caught:
        VERBS[verb](producer, LEGAL)
    assert "must return a Message" in str(caught.value)
    assert spans.outcomes == ["MessageInvalidError"]
    producer.purge()


def test_a_batch_of_which_one_is_refused_by_a_step(
    spans: Spans, make: Callable[..., Producer]
) -> None:
    """Nothing is sent, so the spans of those before it end as well."""
    producer = make(partial(raising, LookupError("mine")))
    batch = [Message("t", each) for each in (b"1", b"2", b"bad", b"3")]
    with pytest.raises(LookupError):
        producer.produce_many_async(batch)
    assert spans.outcomes == ["LookupError"] * 3


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"buffer"}))
def test_an_invalid_message(
    spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """Its span has ended as the refusal is raised."""
    with pytest.raises(MessageInvalidError) as caught:
        VERBS[verb](make(), INVALID)
    assert caught.value.errors
    assert spans.outcomes == ["MessageInvalidError"]


@pytest.mark.parametrize("verb", ["produce_many_sync", "produce_many_async"])
def test_a_batch_of_which_one_is_invalid(
    spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """Nothing is sent, so the spans of all of it end."""
    with pytest.raises(MessageInvalidError):
        getattr(make(), verb)([Message("t", b"1"), Message("t", 5)])  # type: ignore[arg-type]
    assert spans.outcomes == ["MessageInvalidError"] * 2


@pytest.mark.parametrize("topic", [None, 5, "a" * 9_999, "no topic"])
def test_the_name_of_a_span_is_short(
    spans: Spans, make: Callable[..., Producer], topic: Any
) -> None:
    """A topic that cannot be one is not in it."""
    with pytest.raises(MessageInvalidError):
        make().produce_async(topic, b"x")
    [span] = spans.done
    assert span.name == ("send no topic" if topic == "no topic" else "send")


@pytest.mark.parametrize("headers", [5, "text", [("one",)], [5], {1: b"x"}])
def test_headers_that_are_none(
    spans: Spans, make: Callable[..., Producer], headers: Any
) -> None:
    """The step leaves them to the validation, which names them."""
    with pytest.raises(MessageInvalidError) as caught:
        make().produce_async("t", b"x", headers=headers)
    assert set(caught.value.errors) == {"headers"}
    assert spans.outcomes == ["MessageInvalidError"]


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"buffer", "variant"}))
def test_a_full_queue(
    bench: Bench, spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """The message that finds no room ends with `queue_full`, the others with theirs."""
    bench.auto, bench.limit = False, 1
    producer = make(wait_on_queue_full=False)
    first = producer.produce_async("t", b"x")
    with pytest.raises(ProduceError) as caught:
        VERBS[verb](producer, LEGAL)
    assert caught.value.code == "queue_full"
    assert spans.outcomes == ["queue_full"]
    bench.client.ack()
    first.result(BOUND)
    assert spans.outcomes == ["queue_full", None]


def test_a_batch_of_which_a_part_finds_room(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Those that were handed over end with their reports, the others at once."""
    bench.auto, bench.limit = False, 2
    producer = make(wait_on_queue_full=False)
    with pytest.raises(ProduceError):
        producer.produce_many_async([LEGAL] * 5)
    assert spans.outcomes == ["queue_full"] * 3
    bench.client.ack()
    assert producer.flush(BOUND) == 0
    assert spans.outcomes == ["queue_full"] * 3 + [None] * 2


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"variant"}))
def test_a_closed_producer(
    spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """A refused message has no open span, whether or not one was started."""
    producer = make()
    producer.close(BOUND)
    with pytest.raises(ProducerClosedError):
        VERBS[verb](producer, LEGAL)
    assert set(spans.outcomes) <= {"ProducerClosedError"}
    assert spans.all_ended_once


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"buffer"}))
@pytest.mark.parametrize(
    "error",
    [KafkaException(KafkaError(KafkaError._AUTHENTICATION)), OSError("none")],  # noqa: SLF001 - its name
)
def test_a_client_that_does_not_open(
    bench: Bench,
    spans: Spans,
    make: Callable[..., Producer],
    verb: str,
    error: Exception,
) -> None:
    """The span ends with the refusal."""
    bench.fail("open", error)
    producer = make()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever; that it ends
        VERBS[verb](producer, LEGAL)
    expected = getattr(caught.value, "code", type(caught.value).__name__)
    assert spans.outcomes == [expected]


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"buffer"}))
def test_a_message_that_the_client_refuses(
    bench: Bench, spans: Spans, make: Callable[..., Producer], verb: str
) -> None:
    """The span ends with librdkafka's code."""
    producer = make()
    bench.fail("produce", KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
    with pytest.raises(ProduceError) as caught:
        VERBS[verb](producer, LEGAL)
    assert spans.outcomes == [caught.value.code] == ["msg_size_too_large"]


def test_a_message_that_is_not_delivered(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Its span has the status ERROR, and the code of the report."""
    bench.auto = False
    handle = make().produce_async("t", b"x")
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - librdkafka's name
    error = handle.exception(BOUND)
    assert isinstance(error, ProduceError)
    assert spans.outcomes == [error.code] == ["msg_timed_out"]
    assert spans.done[0].status.status_code is trace.StatusCode.ERROR


def test_a_wait_that_ends_does_not_end_the_span(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """A timed-out `produce_sync` goes on: its span ends with the report."""
    bench.auto = False
    producer = make()
    with pytest.raises(TimeoutError):
        producer.produce_sync("t", b"x", timeout=0.01)
    assert spans.outcomes == []
    bench.client.ack()
    assert producer.flush(BOUND) == 0
    assert spans.outcomes == [None]


def test_the_span_ends_before_the_handle_resolves(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Who waits for the outcome finds the span ended; done callbacks do, too."""
    bench.auto = False
    producer = make()
    seen: list[bool] = []
    for number in range(1, 201):
        handle = producer.produce_async("t", b"x")
        spans.on_ending = lambda: seen.append(handle.done())  # noqa: B023 - of this turn
        if number % 2:
            handle.add_done_callback(lambda _: seen.append(len(spans.done) < number))  # noqa: B023 - of this turn
        bench.client.ack()
        handle.result(BOUND)
        assert len(spans.done) == number
    producer.close(BOUND)
    assert len(seen) == 300
    assert not any(seen)


def test_a_buffered_message_has_one_span(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """However often its flush fails, and with one context."""
    producer = make(wait_on_queue_full=False)
    bench.fail("open", *[OSError("none")] * 2)
    producer.buffer_many([LEGAL, LEGAL])
    for _ in range(2):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever
            producer.flush_buffer_async()
        assert spans.ended == {}
        assert len(spans.started) == 2
    producer.flush_buffer_sync()
    assert spans.outcomes == [None, None]
    assert {span for _, span in map(context_of, headers_of(bench))} == set(spans.ended)  # type: ignore[misc]


def test_buffered_messages_that_are_purged(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Those that a failed flush has left end with `purge_queue`."""
    producer = make()
    bench.fail("open", OSError("none"))
    producer.buffer_many([LEGAL, LEGAL])
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever
        producer.flush_buffer_async()
    producer.buffer("t", b"not flushed yet")
    producer.purge()
    assert spans.outcomes == ["purge_queue"] * 2


@pytest.mark.parametrize("force", [False, True])
def test_messages_that_a_close_gives_up(
    bench: Bench, spans: Spans, make: Callable[..., Producer], force: bool
) -> None:
    """In flight, invalid in the buffer, or left there by a failed flush."""
    bench.auto = False
    producer = make()
    producer.produce_async("t", b"in flight")
    producer.buffer(**INVALID)  # type: ignore[arg-type]
    with pytest.raises(MessageInvalidError):
        producer.flush_buffer_async()
    report = producer.close(0.1, force=force)
    assert len(report.undelivered) == 2
    assert {type(each) for each in report.undelivered} == {Message}
    given_up = "purge_queue" if force else "MessageInvalidError"
    assert sorted(spans.outcomes) == sorted(["purge_queue", given_up])


def test_messages_that_a_close_loses(
    bench: Bench,
    spans: Spans,
    make: Callable[..., Producer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that does not report what it purges."""
    monkeypatch.setattr(steps, "SLOWEST", 1.0)  # on a busy machine it takes longer
    bench.auto = False
    producer = make()
    handles = [producer.produce_async("t", b"x") for _ in range(3)]
    client: Any = bench.client
    client.purge = lambda *_: client.lost()
    assert len(producer.close(0).undelivered) == 3
    codes = [getattr(each.exception(0), "code", None) for each in handles]
    assert spans.outcomes == codes == ["purge_inflight"] * 3


@pytest.mark.parametrize("lost", [False, True])
def test_a_close_does_not_wait_for_many_spans(
    bench: Bench,
    spans: Spans,
    make: Callable[..., Producer],
    monkeypatch: pytest.MonkeyPatch,
    lost: bool,
) -> None:
    """It gives up many messages, and their spans end once it has."""
    monkeypatch.setattr(steps, "SLOWEST", 1.0)  # on a busy machine it takes longer
    for module in (accounting, giving_up):
        monkeypatch.setattr(module, "FEW", 2)
    bench.auto = False
    producer = make()
    handles = [producer.produce_async("t", b"x") for _ in range(50)]
    client: Any = bench.client
    if lost:
        client.purge = lambda *_: client.lost()
    spans.on_ending = lambda: time.sleep(0.02)
    assert len(producer.close(0).undelivered) == 50
    assert all(each.done() for each in handles)
    assert len(spans.done) < 50
    eventually(lambda: len(spans.done) == 50)
    assert len(set(spans.outcomes)) == 1


def test_messages_without_a_report(spans: Spans, make: Callable[..., Producer]) -> None:
    """A foreign client that reports nothing: `report_lost`."""
    producer = make(client_factory=lambda _: MagicMock())
    handle = producer.produce_async("t", b"x")
    error = handle.exception(BOUND)
    assert isinstance(error, ProduceError)
    assert spans.outcomes == [error.code] == ["report_lost"]


def send_while_opening(bench: Bench, producer: Producer) -> list[Any]:
    """Have the next open of a client send a message; its handle, once it has."""
    sent: list[Any] = []

    def factory_calls() -> None:
        if not sent:
            sent.append(producer.produce_async("t", b"deferred"))

    bench.parks["open"] = factory_calls
    return sent


def test_a_deferred_message(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """One that a callback sends while its own call opens the client, ends, too."""
    producer = make()
    sent = send_while_opening(bench, producer)
    producer.produce_sync("t", b"x")
    sent[0].result(BOUND)
    assert spans.outcomes == [None, None]


def test_a_deferred_message_that_fails(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Its span ends with its own error."""
    producer = make()
    sent = send_while_opening(bench, producer)
    bench.fail("open", OSError("none"), OSError("none"))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever; that it ends
        producer.produce_sync("t", b"x")
    errors = [caught.value, sent[0].exception(BOUND)]
    names = [getattr(each, "code", type(each).__name__) for each in errors]
    assert sorted(spans.outcomes) == sorted(names)


def test_spans_end_on_workers(spans: Spans, make: Callable[..., Producer]) -> None:
    """What processes them holds up neither the poll nor the caller's thread."""
    threads: set[str] = set()
    spans.on_ending = lambda: threads.add(threading.current_thread().name)
    producer = make()
    for _ in range(20):
        producer.produce_sync("t", b"x")
        producer.produce_async("t", b"x").result(BOUND)
    assert all(each.startswith("waterdrop-closer") for each in threads)


def test_a_message_that_is_interrupted_as_it_is_handed_over(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """The client may have it, so its report ends the span."""
    producer = make()

    def interrupt() -> None:
        bench.parks.pop("produced")
        raise KeyboardInterrupt

    bench.parks["produced"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        producer.produce_async("t", b"x")
    producer.close(BOUND)
    assert spans.outcomes == [None]


def test_a_message_that_was_interrupted_and_not_handed_over(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """No report ever comes: its span ends once nothing refers to the message."""
    producer = make()
    bench.fail("produce", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        producer.produce_async("t", b"x")
    producer.close(BOUND)
    gc.collect()
    eventually(lambda: spans.outcomes == ["report_lost"])


# -- what later steps do ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Priced(Message):
    """A message of a user's own class."""

    price: int = 0


def test_later_steps_find_the_message_that_earlier_ones_made(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """Of its own class, and with a changed copy the span still has its outcome."""
    seen: list[Message] = []

    def look(message: Message) -> Message:
        seen.append(message)
        return Message("other", message.payload, headers=message.headers)

    producer = make(look)
    producer.produce_many_sync([Priced("t", b"x", price=7), Message("t", b"y")])
    assert [type(each) for each in seen] == [Priced, Message]
    assert getattr(seen[0], "price", None) == 7
    assert [span.name for span in spans.done] == ["send other"] * 2
    named = "messaging.destination.name"
    assert [(each.attributes or {})[named] for each in spans.done] == ["other"] * 2


def test_a_wrapped_step(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """A function that calls `listener.trace` may change what it returns."""
    listener = spans.listener()
    steps = [lambda each: replace(listener.trace(each), topic="moved")]
    producer = make(*steps, listener=spans.listener(tracing=True))
    client = BufferedClient()
    other = Producer(
        kafka={"bootstrap.servers": "x:9092"}, client_factory=client, middleware=steps
    )
    other.produce_sync("t", b"x")
    other.close(BOUND)
    assert [each.topic() for each in client.messages] == ["moved"]
    assert spans.outcomes == [None]
    producer.close(BOUND)


def test_a_message_that_is_never_sent(spans: Spans) -> None:
    """A span of a message that its caller drops ends, too."""
    message = spans.listener().trace(Message("t", b"x", headers={"own": b"1"}))
    assert set(message.headers or ()) == {"own", "traceparent"}
    assert not spans.ended
    del message
    eventually(lambda: spans.outcomes == ["report_lost"])


# -- what raises -------------------------------------------------------------


def test_a_span_processor_that_raises(
    spans: Spans,
    make: Callable[..., Producer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The outcome of the message stays what it is, and the exception is logged."""

    def fail() -> None:
        raise LookupError("of the processor")

    spans.on_ending = fail
    with caplog.at_level(logging.ERROR, "waterdrop_py"):
        make().produce_sync("t", b"x")
        eventually(lambda: "LookupError: of the processor" in caplog.text)
    spans.on_ending = lambda: None
    assert spans.outcomes == [None]


def test_what_a_step_raises_is_not_logged_by_a_thread_that_polls(
    spans: Spans,
    make: Callable[..., Producer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler of the application may hold its lock, and wait for that client."""
    polled: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            polled.append(polls_here())

    def fail() -> None:
        assert polls_here()
        raise LookupError("of the processor")

    handler, logger = Handler(), logging.getLogger("waterdrop_py")
    monkeypatch.setattr(middleware, "_quiet_until", [0.0])
    logger.addHandler(handler)
    try:
        spans.on_ending = fail
        make().produce_sync("t", b"x")
        eventually(lambda: bool(polled))
    finally:
        logger.removeHandler(handler)
        spans.on_ending = lambda: None
    assert polled == [False]


def test_a_propagator_that_raises(
    bench: Bench, spans: Spans, make: Callable[..., Producer]
) -> None:
    """As any step that raises: nothing is sent, and the span has ended."""

    class Broken(Simple):
        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
            """Raise."""
            raise LookupError("of the propagator")

    producer = make(listener=spans.listener(propagator=Broken()))
    with pytest.raises(LookupError):
        producer.produce_sync("t", b"x")
    assert len(spans.ended) == 1
    assert not bench.sent


def test_a_trace_tells_once() -> None:
    """However many threads and steps end it."""
    heard: list[Any] = []
    one = Trace(lambda *outcome: heard.append(outcome))
    both = traced(Message("t", b"x"), None, one, one)
    for each in both.traces:
        each.end(None, None)
    del each, both, one
    gc.collect()
    [(report, error, seconds)] = heard
    assert (report, error) == (None, None)
    assert seconds >= 0


def test_a_trace_that_has_told_keeps_nothing() -> None:
    """A handle that the user keeps does not keep the span."""

    class Hearing:
        """Hears an outcome."""

        def __call__(self, *_: object) -> None:
            """Nothing."""

    hearing = Hearing()
    kept, one = weakref.ref(hearing), Trace(hearing)
    del hearing
    assert kept() is not None
    one.end(None, None)
    assert kept() is None
