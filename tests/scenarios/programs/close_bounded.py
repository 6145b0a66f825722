"""Closes with messages that do not get through, and accounts for them."""

from __future__ import annotations

import time

from tests.scenarios.kit import SERVERS, TOPIC, WORDS, make_producer, say
from waterdrop_py.testing import DroppingProxy

SITUATION, COUNT, TIMEOUT = WORDS[0], int(WORDS[1]), float(WORDS[2])


def main() -> None:
    """One situation, and the bound of the close in it."""
    if SITUATION == "black-hole":
        with DroppingProxy(SERVERS) as proxy:
            run(proxy.bootstrap_servers, proxy)
    else:
        run(SERVERS, None)


def run(servers: str, proxy: DroppingProxy | None) -> None:
    """Send, close within the bound, compare the report with what was sent."""
    producer = make_producer(servers, kafka={"queue.buffering.max.messages": 200_000})
    delivered = 0
    if proxy is not None:
        producer.produce_sync(TOPIC, b"before")
        proxy.black_hole()
        proxy.refuse()
    handles = [producer.produce_async(TOPIC, b"%d" % n, label=n) for n in range(COUNT)]
    started, worked = time.monotonic(), time.process_time()
    report = producer.close(TIMEOUT, force=SITUATION == "force")
    took, worked = time.monotonic() - started, time.process_time() - worked
    labels = [message.label for message in report.undelivered]
    delivered = report.delivered
    say(
        took=took,
        worked=worked,
        complete=report.complete,
        total=delivered + report.failed + len(labels),
        undelivered=len(labels),
        ordered=labels == sorted(labels),
        resolved=all(handle.done() for handle in handles),
        status=str(producer.status),
    )


main()
