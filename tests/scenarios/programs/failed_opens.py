"""Opens a client that librdkafka refuses as it is made, many times over."""

from __future__ import annotations

import os
import threading

from confluent_kafka import KafkaException

from tests.scenarios.kit import SERVERS, WORDS, library_threads, make_producer, say
from waterdrop_py.errors import WaterdropError

REFUSED = {"security.protocol": "ssl", "ssl.ca.pem": "nonsense"}


def main() -> None:
    """Nothing stays of a client that was refused."""
    producer = make_producer(SERVERS, kafka=REFUSED)
    failures = 0

    def attempt() -> int:
        try:
            with producer.native():
                return 0
        except (KafkaException, WaterdropError):
            return 1

    attempt()
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(int(WORDS[0])):
        failures += attempt()
    say(failures=failures, fds=len(os.listdir("/proc/self/fd")) - fds)
    say(threads=threading.active_count() - threads, native=library_threads())
    say(status=str(producer.status), opens=producer.stats().opens)
    producer.close(1)


main()
