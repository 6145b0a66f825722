"""Forks in C, which runs none of Python's hooks; the child does what its word says."""

from __future__ import annotations

import _thread
import ctypes
import gc
import os
import signal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from tests.scenarios.kit import (
    SERVERS,
    TOPIC,
    WORDS,
    library_threads,
    make_producer,
    say,
    wait_for_child,
)
from waterdrop_py.errors import ProduceError, TuningWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py import Producer

WAY = WORDS[0]
KAFKA = {"transactional.id": TOPIC} if WAY == "transactional" else {}
PRODUCER = make_producer(SERVERS, kafka=KAFKA, close_timeout=2_000)
HELD: list[Any] = []


def fork() -> int:
    """libc's, with the GIL held, as uWSGI does.

    If a thread of Python's waits for the GIL at that moment, the child inherits its
    mutex locked, and waits for good, whatever the program does. So the child tries the
    GIL first, without the library, and the fork is made again where it is broken: on a
    busy machine in 1 of 100.
    """
    native_fork = ctypes.PyDLL(None).fork
    while True:
        time.sleep(0.3)
        reading, writing = os.pipe()
        # As while something is un-acknowledged: the next send takes the fast path.
        PRODUCER._connection.client.quiet = WAY == "transactional"  # noqa: SLF001 - no other way
        pid = int(native_fork())
        if not pid:
            signal.alarm(2)  # ends the process, without the GIL
            switch_threads()
            signal.alarm(0)
            os.write(writing, b"x")
            return 0
        os.close(writing)
        works = os.read(reading, 1)
        os.close(reading)
        if works:
            return pid
        os.waitpid(pid, 0)


def switch_threads() -> None:
    """Have another thread take the GIL from this one, and give it back."""
    turns = [threading.Lock(), threading.Lock()]
    for lock in turns:
        lock.acquire()

    def answer() -> None:
        for _ in range(10):
            turns[0].acquire()
            turns[1].release()

    _thread.start_new_thread(answer, ())
    for _ in range(10):
        turns[0].release()
        turns[1].acquire()


def buffer() -> None:
    """Keep a message, beside none of the parent's."""
    PRODUCER.buffer(TOPIC, b"child-0")
    PRODUCER.flush(10)


def native() -> None:
    """The bare client is one of the child's own."""
    with PRODUCER.native() as client:
        say(topics=len(client.list_topics(timeout=10).topics) > 0)


def threads() -> None:
    """Threads of the child's own find out at the same moment."""
    barrier = threading.Barrier(8)

    def send(number: int) -> None:
        barrier.wait()
        PRODUCER.produce_sync(TOPIC, f"child-{number}", timeout=10)

    senders = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def drop() -> None:
    """The child drops the parent's producer before it uses anything."""
    global PRODUCER  # noqa: PLW0603 - the last reference
    PRODUCER = None  # type: ignore[assignment]
    gc.collect()


def transaction() -> None:
    """The child is told that it opens its parent's `transactional.id`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with PRODUCER.transaction():
            PRODUCER.produce_async(TOPIC, b"child-0")
        PRODUCER.produce_sync(TOPIC, b"child-1")
    told = [each for each in caught if each.category is TuningWarning]
    say(warned=len(told), where=[os.path.basename(each.filename) for each in told])


def handle() -> None:
    """What the parent has on its way is not the child's to wait for."""
    try:
        HELD[0].result(5)
    except ProduceError as error:
        say(code=error.code)
    say(done=HELD[0].done())


VERBS: dict[str, Callable[[], object]] = {
    "sync": lambda: PRODUCER.produce_sync(TOPIC, b"child-0", timeout=10),
    "async": lambda: PRODUCER.produce_async(TOPIC, b"child-0").result(10),
    "left": lambda: PRODUCER.produce_async(TOPIC, b"child-0"),
    "many": lambda: PRODUCER.produce_many_sync(
        [{"topic": TOPIC, "payload": b"child-0"}]
    ),
    "buffer": buffer,
    "connect": lambda: (PRODUCER.connect(10), PRODUCER.disconnect()),
    "native": native,
    "flush": lambda: say(left=PRODUCER.flush(5)),
    "purge": PRODUCER.purge,
    "figures": lambda: say(
        stats=[PRODUCER.stats().opens, PRODUCER.queue_size, PRODUCER.buffer_size],
        status=str(PRODUCER.status),
        connected=PRODUCER.is_connected,
        idle=PRODUCER.idle_ms,
        why=[reason.code for reason in PRODUCER.explain_idle().reasons],
        healthy=PRODUCER.health().healthy,
    ),
    "close": lambda: say(complete=PRODUCER.close(5).complete),
    "disconnect": lambda: say(disconnected=PRODUCER.disconnect()),
    "handle": handle,
    "done": lambda: say(done=HELD[0].done()),
    "drop": drop,
    "threads": threads,
    "transactional": transaction,
    "nothing": lambda: None,
}


def main() -> None:
    """Fork with a client open and in use, and let both sides end as programs do."""
    slow: Producer | None = None
    if WAY in {"handle", "done", "nothing", "drop", "close", "figures"}:
        slow = make_producer(SERVERS, kafka={"linger.ms": 30_000})
        HELD.append(slow.produce_async(TOPIC, b"slow"))
    PRODUCER.produce_sync(TOPIC, b"parent-first")
    if WAY != "transactional":
        PRODUCER.buffer(TOPIC, b"parent-second")
    pid = fork()
    if not pid:
        VERBS[WAY]()
        say(leaving=time.monotonic(), threads=library_threads())
        sys.exit(0)
    say(child_code=wait_for_child(pid, 15), gone=time.monotonic())
    PRODUCER.produce_sync(TOPIC, b"parent-last")
    if slow is not None:
        assert slow.flush(10) == 0
        slow.close(5)
    say(parent_opens=PRODUCER.stats().opens)
    say(parent_complete=PRODUCER.close(5).complete)


main()
