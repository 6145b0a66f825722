"""Send each line of standard input to a topic: python batch.py orders < FILE."""

import os
import signal
import sys

from waterdrop_py import Producer


def main() -> int:
    """Send all lines. 0: everything was delivered; 1: not everything."""
    # Without a handler, SIGTERM ends Python at once. This one ends it by an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    [topic] = sys.argv[1:]
    producer = Producer(os.environ.get("KAFKA_URL", "kafka://localhost:9092"))
    try:
        for line in sys.stdin:
            # Waits while librdkafka's queue is full, so memory stays bounded.
            producer.produce_async(topic, line.rstrip("\n"))
    finally:
        drained = producer.close()
        stats = producer.stats()
        print(f"delivered {stats.acknowledged}, failed {stats.failed}", file=sys.stderr)
    return 0 if drained.complete and not stats.failed else 1


if __name__ == "__main__":
    sys.exit(main())
