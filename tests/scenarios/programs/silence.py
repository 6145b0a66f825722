"""Fails in one way, without any set-up of logging."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from tests.scenarios.kit import (
    SERVERS,
    TOPIC,
    WORDS,
    eventually,
    make_producer,
    say,
    wait_for_child,
)
from waterdrop_py import Message, listeners, monitor

if TYPE_CHECKING:
    from waterdrop_py import Event

WAY, *REST = WORDS


def broken(*_: object) -> NoReturn:
    """Fail, as code of the user's."""
    raise LookupError("the user's own")


def said() -> bytes:
    """What is on standard error, which is a file."""
    return os.pread(2, 100_000, 0)


def counted() -> int:
    """How many errors are said there, or counted."""
    more = re.findall(rb"; and (\d+) more\n", said())
    return said().count(b" subscriber.error:") + sum(map(int, more))


def heard_by(event: Event) -> None:
    """Hear of an error."""
    say(heard=event["type"])


def healthy() -> None:
    """Send, let go, send again, and end without a close."""
    producer = make_producer(id="well", idle_disconnect_timeout=300)
    for _ in range(3):
        producer.produce_sync(TOPIC, b"x")
        producer.produce_many_sync([Message(TOPIC, b"y") for _ in range(10)])
        producer.buffer(TOPIC, b"z")
        producer.flush_buffer_sync()
        assert eventually(lambda: not producer.is_connected)
    producer.produce_async(TOPIC, b"last")


def done_callback() -> None:
    """A callback of a handle raises, for each of 50 messages."""
    producer = make_producer(id="odd")
    for _ in range(50):
        producer.produce_async(TOPIC, b"x").add_done_callback(broken)
    assert producer.flush(10) == 0


def subscriber() -> None:
    """A subscriber raises, once."""
    producer = make_producer(id="odd")
    producer.monitor.subscribe("producer.connected", broken)
    producer.produce_sync(TOPIC, b"x")


def no_client() -> None:
    """Errors of producers that never open a client, and an end without an exit."""
    monitor.subscribe("producer.created", broken)
    for _ in range(20):
        make_producer(id="odd")
    eventually(lambda: counted() >= 20)
    os._exit(0)


def forked() -> None:
    """A process forks while a count is held back; the child ends by itself."""
    done_callback()
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    say(child=wait_for_child(pid))


def native_callback() -> None:
    """A callback that librdkafka calls raises."""
    producer = make_producer(id="odd", kafka={"on_delivery": broken})
    producer.produce_sync(TOPIC, b"x")


def middleware() -> None:
    """A step raises: the caller has that, and nothing else is said."""
    producer = make_producer(id="odd", middleware=[broken])
    try:
        producer.produce_sync(TOPIC, b"x")
    except LookupError:
        say(raised=True)


def dead() -> None:
    """No broker, until that is said, which may take as long as is asked for; and for
    one more check of the poller's."""
    producer = make_producer(SERVERS, id="lonely", close_timeout=200)
    producer.produce_async("orders", b"x")
    assert eventually(lambda: bool(said()), float(REST[0]))
    time.sleep(1.2)


def connecting() -> None:
    """Nothing is sent, and no broker answers."""
    producer = make_producer(SERVERS, id="lonely")
    try:
        producer.connect(3, interval_start=0.2)
    except Exception as error:  # noqa: BLE001 - whatever it is
        say(raised=type(error).__name__)


def flood() -> None:
    """Ten thousand messages fail, in a few seconds."""
    producer = make_producer(
        SERVERS, id="lonely", close_timeout=500, kafka={"message.timeout.ms": 1_000}
    )
    for _ in range(10):
        for _ in range(1_000):
            producer.produce_async("orders", b"x")
        time.sleep(0.4)
    assert eventually(lambda: producer.stats().failed == 10_000)


def undeliverable() -> None:
    """The process ends with messages that no broker takes."""
    producer = make_producer(SERVERS, id="lonely", close_timeout=int(REST[0]))
    for _ in range(30):
        producer.produce_async("orders", b"x")
    producer.buffer("invoices", b"x")
    sys.exit(5)


def listening() -> None:
    """A function of the user's hears of errors: the log leaves them to it."""
    producer = make_producer(SERVERS, id="lonely", close_timeout=1_500)
    producer.monitor.subscribe("error.*", heard_by)
    producer.monitor.subscribe("producer.connected", broken)
    producer.produce_async("orders", b"x")


def configured() -> None:
    """The application logs to a file of its own, or not at all."""
    if REST[0] == "disabled":
        logging.disable()
    elif REST[0] == "level":
        logging.getLogger("waterdrop_py").setLevel(logging.CRITICAL)
    else:
        logging.basicConfig(
            stream=sys.stdout, format="%(levelname)s %(name)s %(message)s"
        )
    dead_for(3)


def dead_for(seconds: float) -> None:
    """A producer with no broker."""
    producer = make_producer(
        SERVERS, id="lonely", close_timeout=200, kafka={"message.timeout.ms": 1_000}
    )
    producer.produce_async("orders", b"x")
    time.sleep(seconds)


def listener() -> None:
    """The two listeners of the library's hear of errors; the warning comes still."""
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    producer = make_producer(
        SERVERS, id="lonely", close_timeout=200, kafka={"message.timeout.ms": 1_000}
    )
    producer.monitor.subscribe(listeners.LoggingListener("app"))
    producer.produce_async("orders", b"x")
    time.sleep(3)


def handler() -> None:
    """A log handler flushes the producer under its lock, as `logging.shutdown` does,
    just as a message of that producer has failed."""
    producer = make_producer(
        SERVERS, id="lonely", close_timeout=500, kafka={"message.timeout.ms": 1_000}
    )

    class ToKafka(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            producer.produce_async("logs", record.getMessage())

    to_kafka = ToKafka()
    logging.getLogger().addHandler(to_kafka)
    logging.getLogger("app").warning("first")
    to_kafka.acquire()
    try:
        time.sleep(2.5)  # the poller serves the report meanwhile
        say(left=producer.flush())
    finally:
        to_kafka.release()


say(way=WAY)
partial(globals()[WAY])()
