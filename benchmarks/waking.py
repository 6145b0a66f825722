"""Measures the first message after an idle disconnect, against a new client's first."""

from __future__ import annotations

import gc
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from benchmarks import clients, rivals
from benchmarks.measure import interleave, percentile, timed_ms, wait_until
from benchmarks.rows import BARE, OURS, Row, at_most, compared
from waterdrop_py._engine.process import poller, reaper, workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.rivals import Rival
    from benchmarks.setting import Broker, Setting
    from waterdrop_py import Event

PAYLOAD = bytes(100)
BLOCK = 10
IDLE_MS = 50
LINGER_SECONDS = 0.02
SETTLE_SECONDS = 0.01


def first_delivery(setting: Setting) -> list[Row]:
    """Time of a message when the library has neither a client nor a thread."""
    topic = clients.new_topic()
    disconnected: SimpleQueue[Event] = SimpleQueue()
    _shorten_lingering()
    blocks = setting.pick(10, 1)
    with clients.ours(setting.broker, idle_ms=IDLE_MS, linger_ms=0) as producer:
        producer.monitor.subscribe("producer.disconnected", disconnected.put)

        def ours() -> float:
            took = timed_ms(lambda: producer.produce_sync(topic, PAYLOAD))
            reason = disconnected.get(timeout=clients.BOUND_SECONDS)["reason"]
            if reason != "idle":
                raise RuntimeError(f"disconnected because {reason}, not idle")
            wait_until(_is_quiet, clients.BOUND_SECONDS, "the threads' end")
            time.sleep(SETTLE_SECONDS)
            return took

        contenders: dict[str, Callable[[], float]] = {
            OURS: ours,
            BARE: partial(_bare, setting.broker, topic),
        }
        for kind in rivals.kinds(setting):
            contenders[kind.name] = partial(_rival, kind, setting.broker, topic)
        interleave(2, contenders)
        measured = [interleave(BLOCK, contenders) for _ in range(blocks)]
    return _rows(setting, measured)


def _shorten_lingering() -> None:
    """Let the library's threads end 20 ms after their last work, instead of 3 s.

    A round measures the first message after they have ended, so it would take 3 s. The
    poller finds a closed client among the quiet ones, which it checks once a second.
    """
    for module in (workers, poller, reaper):
        vars(module)["LINGER"] = LINGER_SECONDS
    vars(poller)["QUIET_PERIOD"] = LINGER_SECONDS


def _is_quiet() -> bool:
    return not any(each.name.startswith("waterdrop") for each in threading.enumerate())


def _bare(broker: Broker, topic: str) -> float:
    started = time.perf_counter()
    client = clients.bare(broker, linger_ms=0)
    clients.bare_send(client, topic, PAYLOAD)
    took = (time.perf_counter() - started) * 1000
    clients.close_bare(client)
    time.sleep(SETTLE_SECONDS)
    return took


def _rival(kind: type[Rival], broker: Broker, topic: str) -> float:
    started = time.perf_counter()
    client = kind(broker, 0)
    client.one_by_one(topic, 1, PAYLOAD)
    took = (time.perf_counter() - started) * 1000
    client.close()
    del client
    gc.collect()  # AIOProducer's close does not close its librdkafka client
    time.sleep(SETTLE_SECONDS)
    return took


def _rows(setting: Setting, blocks: list[dict[str, list[float]]]) -> list[Row]:
    must, aim = (1.1, 1.0) if setting.broker.secure else (1.15, 1.05)
    judged = setting.broker.embedded or setting.broker.secure
    return [
        compared(
            f"first delivery after idle disconnect, {name}",
            {
                client: [percentile(block[client], share) for block in blocks]
                for client in blocks[0]
            },
            unit="ms",
            n=len(blocks) * BLOCK,
            must=at_most(must) if judged and share == 0.5 else None,
            aim=at_most(aim) if judged and share == 0.5 else None,
            note="the library's threads have ended, as they have after seconds of "
            "idleness, and are started again; the others: a fresh client's first "
            "delivery",
        )
        for name, share in (("p50", 0.5), ("p90", 0.9))
    ]
