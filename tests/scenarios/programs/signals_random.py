"""Signals at random moments call the producer that they interrupt."""

from __future__ import annotations

import gc
import random
import signal
import sys
import time
import traceback
from typing import Any

from tests.scenarios.kit import SERVERS, TOPIC, WORDS, eventually, make_producer, say
from waterdrop_py.errors import ProducerClosedError, ReentrantCallError

MODE, SECONDS = WORDS[0], float(WORDS[1])
RANDOM = random.Random(int(WORDS[2]))
ERRORS: dict[str, int] = {}
HANDLES: list[Any] = []
COUNT = {"signals": 0, "sent": 0, "reentrant": 0}
ACKNOWLEDGED: list[str] = []
PRODUCER = make_producer(idle_disconnect_timeout=30_000)
OTHERS: list[Any] = []


def send() -> None:
    """One message, noted."""
    HANDLES.append(PRODUCER.produce_async(TOPIC, f"m-{COUNT['sent']}".encode()))
    COUNT["sent"] += 1


def close_another() -> None:
    """Another producer, from its first message to its end."""
    if not OTHERS or len(OTHERS) < COUNT["signals"] // 20:
        OTHERS.append(make_producer(SERVERS))
        OTHERS[-1].produce_async(TOPIC, b"other")
        OTHERS[-1].close(2)


CALLS = (
    send,
    send,
    PRODUCER.stats,
    lambda: repr(PRODUCER),
    PRODUCER.explain_idle,
    PRODUCER.disconnect,
    lambda: PRODUCER.flush(0.5),
    lambda: PRODUCER.produce_sync(TOPIC, b"sync", timeout=10),
    PRODUCER.health,
    lambda: HANDLES[-1].result(10) if HANDLES else None,
    close_another,
)


def guarded(call: Any) -> None:
    """Call; only the documented refusal may come out of it."""
    try:
        call()
    except ReentrantCallError:
        COUNT["reentrant"] += 1
    except BaseException as error:  # noqa: BLE001 - it is told, and fails the test
        name = getattr(call, "__name__", str(call))
        where = "".join(traceback.format_exception(error))[-1500:]
        ERRORS[f"{name}: {error!r} {where}"] = 1


def again() -> None:
    """The next signal, in a moment."""
    signal.setitimer(signal.ITIMER_REAL, RANDOM.uniform(0.000_02, 0.000_8))


def on_signal(*_: object) -> None:
    """Whatever was interrupted, call something."""
    COUNT["signals"] += 1
    guarded(RANDOM.choice(CALLS))
    again()


class Finalized:
    """Sends when it is collected."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        COUNT["signals"] += 1
        guarded(RANDOM.choice(CALLS[:6]))


def main() -> None:
    """Send, wait, flush and disconnect under fire; then account for everything."""
    PRODUCER.monitor.subscribe(
        "message.acknowledged", lambda event: ACKNOWLEDGED.append(event["topic"])
    )
    main_calls = (
        send,
        send,
        send,
        lambda: PRODUCER.produce_sync(TOPIC, b"sync", timeout=5),
        lambda: PRODUCER.flush(5),
        PRODUCER.disconnect,
        lambda: HANDLES[-1].result(5) if HANDLES else None,
        lambda: PRODUCER.connect(5),
    )
    end = time.monotonic() + SECONDS
    if MODE == "signals":
        signal.signal(signal.SIGALRM, on_signal)
        again()
    else:
        gc.set_threshold(5, 1, 1)
    while time.monotonic() < end:
        if MODE == "finalizers":
            Finalized()
            gc.collect() if RANDOM.random() < 0.02 else None
        guarded(RANDOM.choice(main_calls))
    # The handler arms the timer again: from here on its signals go nowhere, also as
    # the interpreter ends and gives them their default, which is to kill.
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    settled = eventually(lambda: all(handle.done() for handle in HANDLES), 10)
    failed = (
        sum(handle.exception(1) is not None for handle in HANDLES) if settled else -1
    )
    stats = PRODUCER.stats()
    say(settled=settled, failed=failed, in_flight=stats.in_flight, **COUNT)
    say(produced=stats.produced, acknowledged=stats.acknowledged)
    say(heard=len(ACKNOWLEDGED), errors=list(ERRORS))
    say(complete=PRODUCER.close(5).complete)
    try:
        PRODUCER.produce_async(TOPIC, b"late")
    except ProducerClosedError:
        sys.exit(0)
    sys.exit(9)


main()
