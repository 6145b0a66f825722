"""Everything at once, for some seconds, with a thread switch every microsecond."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.support import connection_of
from tests.doubles import Run, eventually
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py import DeliveryHandle, Producer

DURATION = 4.0
OPENS = 20
# How much longer a busy machine may take to come to more opens than that.
PATIENCE = 20.0
SENDERS = 6
SEED = 20_240_611


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads switch as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def go_on(producer: Producer, until: float) -> bool:
    """Whether the machine was too busy for enough windows, and may have more time."""
    return producer.stats().opens <= OPENS and time.monotonic() < until + PATIENCE


def send_for_a_while(
    producer: Producer, seed: int, until: float
) -> list[DeliveryHandle]:
    """Bursts by every way to send, and pauses about as long as the idle timeout."""
    chance, handles = random.Random(seed), []
    while time.monotonic() < until or go_on(producer, until):
        for _ in range(chance.randrange(1, 20)):
            payload = b"short cut" if chance.random() < 0.5 else "long way"
            handles.append(producer.produce_async("t", payload))
        if chance.random() < 0.3:
            handles[-1].result(5)
        if chance.random() < 0.1:
            producer.flush(1)
        time.sleep(chance.choice([0.0, 0.001, 0.006, 0.012]))
    return handles


@pytest.mark.usefixtures("switching")
def test_hammer(bench: Bench, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """No message is lost or doubled, no client misused, whatever meets whatever.

    Senders, a disconnecter and the reaper, on an idle timeout of 5 ms. How often a
    the windows were hit is reported at the end.
    """
    hits: Counter[str] = Counter()
    with allow_short_idle_timeouts():
        producer = make(idle_disconnect_timeout=5)
    for name in ("connected", "disconnected", "disconnect_refused"):
        producer.monitor.subscribe(
            f"producer.{name}", lambda event: hits.update([event.name])
        )
    until = time.monotonic() + DURATION
    stop = threading.Event()

    def disconnect_at_random() -> None:
        chance = random.Random(SEED)
        while not stop.wait(chance.uniform(0.001, 0.01)):
            hits.update([f"disconnect {producer.disconnect()}"])
            hits.update(reason.code for reason in producer.explain_idle().reasons)

    runs = [
        Run(partial(send_for_a_while, producer, SEED + n, until))
        for n in range(SENDERS)
    ]
    disconnecter = Run(disconnect_at_random)
    for run in runs:
        run.join(DURATION + PATIENCE + 10)
    stop.set()
    disconnecter.result()
    handles = [handle for run in runs for handle in run.result()]
    assert all(handle.result(5).error is None for handle in handles)
    assert len(bench.sent) == len(handles)
    connection_of(producer).reschedule()
    eventually(lambda: not bench.open_clients, "the last idle close")
    stats = producer.stats()
    assert (stats.produced, stats.acknowledged) == (len(handles), len(handles))
    assert sum(stats.disconnects.values()) == stats.opens == len(bench.clients)
    assert stats.opens > OPENS
    hits["messages"] = len(handles)
    with capsys.disabled():
        sys.stdout.write(f"\nhammer, seed {SEED}: {dict(sorted(hits.items()))}\n")
