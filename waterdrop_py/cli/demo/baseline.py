"""Bare confluent_kafka clients, measured in the same run for comparison."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka
from confluent_kafka import KafkaException

from waterdrop_py.cli.demo.cluster import QUIET
from waterdrop_py.cli.demo.usage import Resources

if TYPE_CHECKING:
    from waterdrop_py.cli.demo.cluster import Target

KEY: Final = b"bare"
"""The key of the messages of bare clients, which share the topic."""
DELIVERY_SECONDS: Final = 10.0
"""Seconds to wait for a report."""
END_SECONDS: Final = 2.0
_MAIN: Final = """
import sys
sys.path[:] = {path!r}
from waterdrop_py.cli.demo.bare_clients import main
main()
"""
"""Imports from where this process does, and not from the current folder."""


class BareClient:
    """A `confluent_kafka.Producer` as an application would use it.

    Attributes:
        acknowledged: how many messages were reported as delivered.
    """

    def __init__(self, target: Target) -> None:
        self.acknowledged = 0
        self._topic = target.topic
        self._partitions = target.partitions
        self._client = confluent_kafka.Producer({**target.kafka(), **QUIET})

    def deliver(self, partition: int) -> None:
        """Send a message, and poll until its report has come.

        Raises `KafkaException` if it was not delivered, and `TimeoutError` if there was
        no report within 10 s.
        """
        outcome: list[Any] = []
        self._produce(partition, outcome)
        deadline = time.monotonic() + DELIVERY_SECONDS
        while not outcome:
            self._client.poll(0.2)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    "a bare client's message had no report within "
                    f"{DELIVERY_SECONDS:g} s"
                )
        if outcome[0] is not None:
            raise KafkaException(outcome[0])

    def send(self, count: int) -> None:
        """Send messages to the partitions in turn, without waiting."""
        for number in range(count):
            self._produce(number % self._partitions, [])

    def poll(self) -> None:
        """Serve the reports that have come."""
        self._client.poll(0)

    def close(self) -> None:
        """Close it at once: everything was delivered."""
        self._client.purge()
        self._client.close()

    def _produce(self, partition: int, outcome: list[Any]) -> None:
        def report(error: Any, _: object) -> None:
            self.acknowledged += error is None
            outcome.append(error)

        self._client.produce(self._topic, b"x", KEY, partition, on_delivery=report)


class BareProcess:
    """Bare clients in a process of their own, so that what they hold is told apart.

    Attributes:
        held: what they hold; None before it has told, and on a system without /proc.
        acknowledged: how many of their messages were reported as delivered; None
            before it has told.
        ended: whether the process has ended, so that it tells nothing more.
    """

    def __init__(self, target: Target, count: int) -> None:
        self.held: Resources | None = None
        self.acknowledged: int | None = None
        self.ended: bool = False
        # A session of its own keeps the terminal's Ctrl-C away from it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._tell([dict(target.cluster), target.topic, target.partitions, count])
        threading.Thread(target=self._listen, daemon=True).start()

    def deliver(self, client: int, partition: int) -> None:
        """Have a client send a message, and wait for its report. Does not block."""
        self._tell(["deliver", client, partition])

    def send(self, client: int, count: int) -> None:
        """Have a client send messages to the partitions in turn. Does not block."""
        self._tell(["send", client, count])

    def close(self) -> None:
        """End the process. Blocks for at most 2 s."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, what: list[Any]) -> None:
        assert self._process.stdin is not None
        # One that has ended is not compared with any more: the demo goes on.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the process was killed as it told
                held, self.acknowledged = json.loads(line)
                self.held = None if held is None else Resources(*held)
        self.held = None
        self.ended = True


def first_delivery_ms(target: Target) -> float:
    """Milliseconds from the constructor of a new client to its first report."""
    started = time.perf_counter()
    client = BareClient(target)
    try:
        client.deliver(0)
        return (time.perf_counter() - started) * 1000
    finally:
        client.close()
