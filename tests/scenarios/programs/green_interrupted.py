"""What interrupts a greenlet that waits: timeouts, kills, and signals."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import gevent

import waterdrop_py
from tests.scenarios.green_kit import WORDS, all_of, kit, monkey
from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.cooperative import Sleeper
from waterdrop_py._engine.concurrency.wakeup import sleep

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from waterdrop_py import Producer

TOPIC = kit.TOPIC
LIBRARY = os.path.join(os.path.dirname(waterdrop_py.__file__), "")


class Alarmed(Exception):
    """Raised by a signal handler."""


def give_up(producer: Producer) -> None:
    """`gevent.Timeout` and `kill` come out of every wait at once."""
    handle = producer.produce_async(TOPIC, b"lost")
    waits: dict[str, Callable[[], Any]] = {
        "produce_sync": lambda: producer.produce_sync(TOPIC, b"lost", timeout=30),
        "result": lambda: handle.result(30),
        "flush": lambda: producer.flush(30),
        "connect": lambda: producer.connect(30),
    }
    for name, wait in waits.items():
        began = time.monotonic()
        try:
            with gevent.Timeout(0.2):
                wait()
        except gevent.Timeout:
            kit.say(timed_out=name, took=time.monotonic() - began)
        greenlet = gevent.spawn(wait)
        gevent.sleep(0.1)
        began = time.monotonic()
        greenlet.kill(timeout=5)
        kit.say(killed=name, took=time.monotonic() - began, dead=greenlet.dead)
    kit.say(closed=producer.close(0.2).complete)


def give_up_in_subscriber(producer: Producer) -> None:
    """A subscriber that yields while it runs in the verb's own greenlet does not take
    its timeout away."""
    said: list[object] = []
    producer.produce_sync(TOPIC, b"first")
    producer.monitor.subscribe("error.occurred", said.append)
    producer.monitor.subscribe("message.produced_async", lambda _: gevent.sleep(5))
    began = time.monotonic()
    try:
        with gevent.Timeout(0.2):
            producer.produce_async(TOPIC, b"x")
    except gevent.Timeout:
        kit.say(timed_out="produce_async", took=time.monotonic() - began)
    greenlet = gevent.spawn(producer.produce_async, TOPIC, b"x")
    gevent.sleep(0.1)
    greenlet.kill(timeout=5)
    kit.say(dead=greenlet.dead, errors=len(said))
    kit.say(closed=producer.close(10).complete)


def kill_transaction(_: Producer) -> None:
    """A greenlet that is killed while it commits has ended its native call by then."""
    producer = kit.make_producer(kafka={"transactional.id": f"{TOPIC}-id"})
    with producer.transaction():
        producer.produce_sync(TOPIC, b"first")

    def transact() -> None:
        with producer.transaction():
            producer.produce_sync(TOPIC, b"second")
            ready.append(1)

    ended: list[int] = []

    def step() -> None:
        monkey.get_original("time", "sleep")(0.3)
        ended.append(1)

    calling = gevent.spawn(background.call, step)
    gevent.sleep(0.1)
    calling.kill(timeout=5)
    kit.say(dead=calling.dead, inside=not ended)
    for wait in range(0, 150, 10):
        ready: list[int] = []
        greenlet = gevent.spawn(transact)
        while not ready:
            gevent.sleep(0.001)
        gevent.sleep(wait / 1000)
        greenlet.kill(timeout=5)
        kit.say(dead=greenlet.dead, inside=producer.in_transaction)
    with producer.transaction():
        producer.produce_sync(TOPIC, b"last")
    kit.say(closed=producer.close(10).complete)


def alarm(producer: Producer) -> None:
    """A handler that raises costs no other greenlet its report.

    It raises inside the library only: in the greenlet, or in the hub that resumes it.
    """
    raised: list[int] = []

    def raise_alarm(_: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith(LIBRARY):
                raised.append(1)
                raise Alarmed
            frame = frame.f_back

    def send(_: int) -> int:
        came = 0
        for _number in range(100):
            try:
                producer.produce_sync(TOPIC, b"x", timeout=10)
            except Alarmed:
                came += 1
        return came

    errors: list[object] = []
    producer.produce_sync(TOPIC, b"first")
    producer.monitor.subscribe("message.produced_sync", _linger)
    producer.monitor.subscribe("error.occurred", errors.append)
    signal.signal(signal.SIGALRM, raise_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.0011)
    came = sum(all_of(5, send))
    signal.setitimer(signal.ITIMER_REAL, 0)
    kit.say(raised=len(raised), came=came, errors=len(errors))
    kit.say(closed=producer.close(10).complete, in_flight=producer.stats().in_flight)


def _linger(_: object) -> None:
    until = time.monotonic() + 0.000_5
    while time.monotonic() < until:
        pass


def interrupt_timer(_: Producer) -> None:
    """A handler that raises in the hub, in place of a timer, delays the greenlet."""
    resume = Sleeper._resume  # noqa: SLF001
    raised: list[int] = []

    def interrupted(sleeper: Sleeper) -> None:
        if not raised:
            raised.append(1)
            raise Alarmed
        resume(sleeper)

    Sleeper._resume = interrupted  # type: ignore[assignment, method-assign]  # noqa: SLF001
    began = time.monotonic()
    sleep(0.1)
    kit.say(took=time.monotonic() - began, raised=len(raised))


def terminate(producer: Producer) -> None:
    """A handler that runs on top of the hub closes the producer, fully."""
    acknowledged: list[object] = []
    producer.monitor.subscribe("message.acknowledged", acknowledged.append)
    said: list[Any] = []

    def close(*_: object) -> None:
        producer.produce_async(TOPIC, b"of the handler")
        said.append(producer.close(10).complete)

    signal.signal(signal.SIGTERM, close)
    all_of(10, lambda number: producer.produce_async(TOPIC, b"x").result(10))
    producer.produce_async(TOPIC, b"late")
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        gevent.sleep(0.01)
    kit.say(closed=said[0], acknowledged=len(acknowledged))


def terminate_in_hub(producer: Producer) -> None:
    """The same while every greenlet waits, so that the hub itself is interrupted."""
    gevent.spawn_later(0.2, lambda: None)
    native = monkey.get_original("_thread", "start_new_thread")
    original_sleep = monkey.get_original("time", "sleep")

    def kill_later() -> None:
        original_sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    said: list[Any] = []

    def close(*_: object) -> None:
        in_hub = gevent.getcurrent() is gevent.get_hub()
        handle = producer.produce_async(TOPIC, b"of the handler")
        report = producer.produce_sync(TOPIC, b"of the handler", timeout=10)
        closed = producer.close(10).complete
        said.append((in_hub, handle.done(), report.error is None, closed))

    acknowledged: list[object] = []
    producer.monitor.subscribe("message.acknowledged", acknowledged.append)
    producer.produce_sync(TOPIC, b"first")
    signal.signal(signal.SIGTERM, close)
    native(kill_later, ())
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        gevent.sleep(0.5)
    kit.say(said=said[0], acknowledged=len(acknowledged))


WAYS: dict[str, Callable[[Producer], None]] = {
    "give_up": give_up,
    "give_up_in_subscriber": give_up_in_subscriber,
    "kill_transaction": kill_transaction,
    "alarm": alarm,
    "interrupt_timer": interrupt_timer,
    "terminate": terminate,
    "terminate_in_hub": terminate_in_hub,
}


if __name__ == "__main__":
    WAYS[WORDS[0]](kit.make_producer())
