"""Send the lines of several files from several processes: python parallel.py FILE..."""

import os
import sys
from concurrent.futures import ProcessPoolExecutor

from waterdrop_py import Producer

# Each process of the pool opens a client of its own at its first send.
producer = Producer(os.environ.get("KAFKA_URL", "kafka://localhost:9092"))


def send_file(path: str) -> int:
    """Send each line; how many were not delivered."""
    with open(path) as lines:
        handles = [
            producer.produce_async("orders", line.rstrip("\n")) for line in lines
        ]
    return sum(handle.exception() is not None for handle in handles)


if __name__ == "__main__":
    with ProcessPoolExecutor(max_workers=4) as processes:
        failed = sum(processes.map(send_file, sys.argv[1:]))
    print(f"failed {failed}", file=sys.stderr)
    sys.exit(1 if failed else 0)
