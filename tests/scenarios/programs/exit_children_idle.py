"""Children end while an executor of theirs idles, or still has work."""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from tests.scenarios.kit import TOPIC, WORDS, make_producer, say

PRODUCER = make_producer(kafka={"linger.ms": 20_000}, close_timeout=10_000)
EXECUTORS: list[ThreadPoolExecutor] = []


def send(name: str, pause: float = 0.0) -> str:
    """One message, which stays in the process until that ends."""
    time.sleep(pause)
    PRODUCER.produce_async(TOPIC, name)
    return name


def child(name: str) -> None:
    """Leave an executor behind: with idle threads, and with work for half a second."""
    executor = ThreadPoolExecutor(2)
    EXECUTORS.append(executor)
    executor.submit(send, f"child-{name}-first").result()
    if name == "works":
        for number in range(4):
            executor.submit(send, f"child-{name}-{number}", 0.2)


def main() -> None:
    """Processes of one kind, with one start method."""
    kind, method = WORDS[:2]
    if kind == "billiard":
        import billiard as processes
    else:
        processes = multiprocessing
    context: Any = processes.get_context(method)
    started = time.monotonic()
    if kind == "pool":
        with context.Pool(2) as pool:
            names = [f"child-pool-{number}" for number in range(6)]
            assert pool.map(send, names) == names
            pool.close()
            pool.join()
        say(codes=[0, 0])
    elif kind == "futures":
        names = [f"child-futures-{number}" for number in range(6)]
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(send, names)) == names
        say(codes=[0, 0])
    else:
        children = [
            context.Process(target=child, args=(name,)) for name in ("idles", "works")
        ]
        for process in children:
            process.start()
        for process in children:
            process.join(15)
        say(codes=[process.exitcode for process in children])
    say(took=time.monotonic() - started)
    sys.exit(0)


if __name__ == "__main__":
    main()
