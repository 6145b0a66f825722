"""A process under gevent ends, or forks, with messages under way."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import gevent

from tests.scenarios.green_kit import WORDS, kit
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py import Producer

TOPIC = kit.TOPIC


def plain(producer: Producer) -> None:
    """The main greenlet ends."""
    for number in range(100):
        producer.produce_async(TOPIC, f"m-{number}")


def early(producer: Producer) -> None:
    """A greenlet ends the program while others wait."""
    for number in range(100):
        gevent.spawn(producer.produce_sync, TOPIC, f"m-{number}")
    gevent.sleep(0)
    gevent.spawn(sys.exit, 0).join()


def thread(producer: Producer) -> None:
    """A `threading.Thread`, which is a greenlet, still sends."""

    def send() -> None:
        for number in range(100):
            producer.produce_async(TOPIC, f"m-{number}")
            gevent.sleep(0.001)

    threading.Thread(target=send).start()


def pool(producer: Producer) -> None:
    """A thread of gevent's pool, which is one of the system, sends and waits."""
    pool = gevent.get_hub().threadpool
    sent = [
        pool.spawn(producer.produce_sync, TOPIC, f"m-{number}") for number in range(100)
    ]
    gevent.joinall(sent, timeout=20, raise_error=True)


def fork(producer: Producer) -> None:
    """Parent and child each send; the child closes at its exit."""
    producer.produce_sync(TOPIC, b"m-0")
    handle = producer.produce_async(TOPIC, b"m-1")
    pid = os.fork()
    if pid == 0:
        try:
            handle.result(5)
            kit.say(inherited="resolved")
        except ProduceError as error:
            kit.say(inherited=error.code)
        gevent.joinall(
            [
                gevent.spawn(producer.produce_sync, TOPIC, f"m-{n}")
                for n in range(2, 40)
            ],
            timeout=10,
            raise_error=True,
        )
        for number in range(40, 50):
            producer.produce_async(TOPIC, f"m-{number}")
        sys.exit(7)
    for number in range(50, 100):
        producer.produce_async(TOPIC, f"m-{number}")
    _, status = os.waitpid(pid, 0)
    kit.say(child=os.waitstatus_to_exitcode(status))


WAYS: dict[str, Callable[[Producer], None]] = {
    "plain": plain,
    "early": early,
    "thread": thread,
    "pool": pool,
    "fork": fork,
}

if __name__ == "__main__":
    WAYS[WORDS[0]](kit.make_producer(close_timeout=10_000))
