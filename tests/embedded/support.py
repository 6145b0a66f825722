"""What the tests of the public surface share: bounded waits, and servers gone wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from waterdrop_py.events import EVENTS, listener_method

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from waterdrop_py import Event, Monitor, Producer

BOUND = 30.0
"""Seconds after which a wait has failed."""


class MakeProducer(Protocol):
    """The `make_producer` fixture."""

    def __call__(
        self, servers: str | None = None, /, *, kafka: Any = None, **options: Any
    ) -> Producer:
        """A producer of the embedded cluster, or of `servers`."""


def eventually(condition: Callable[[], bool], within: float = BOUND) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class EventLog:
    """Every event of a monitor, each with the moment at which it came; without those of
    some producers, by id."""

    def __init__(self, monitor: Monitor, without: Collection[str] = ()) -> None:
        self.events: list[Event] = []
        self._without = without
        self._times: list[float] = []
        methods = {listener_method(name): self._take for name in EVENTS}
        # With statistics nobody asked for, a client is busier than it would be.
        del methods["on_statistics_emitted"]
        self.stop = monitor.subscribe(SimpleNamespace(**methods))

    def _take(self, event: Event) -> None:
        if event["producer_id"] in self._without:
            return
        self._times.append(time.monotonic())
        self.events.append(event)

    def names(self, prefix: str = "") -> list[str]:
        """The names of what came, in order."""
        return [e.name for e in tuple(self.events) if e.name.startswith(prefix)]

    def all(self, name: str) -> list[Event]:
        """The events of that name."""
        return [event for event in tuple(self.events) if event.name == name]

    def errors(self, kind: str) -> list[Event]:
        """`error.occurred` of that type."""
        return [e for e in self.all("error.occurred") if e["type"] == kind]

    def times(self, name: str) -> list[float]:
        """When they came."""
        return [
            at
            for at, event in zip(self._times, tuple(self.events), strict=False)
            if event.name == name
        ]

    def wait(self, name: str, count: int = 1, within: float = BOUND) -> Event:
        """The `count`th event of that name; fails when it does not come in time."""
        came = eventually(lambda: len(self.all(name)) >= count, within)
        assert came, f"{name} came {len(self.all(name))} times: {self}"
        return self.all(name)[count - 1]

    def __str__(self) -> str:
        return str(Counter(e.get("type", e.name) for e in tuple(self.events)))

    def wait_error(self, kind: str, within: float = BOUND) -> Event:
        """The first `error.occurred` of that type."""
        assert eventually(lambda: bool(self.errors(kind)), within), str(self)
        return self.errors(kind)[0]


@contextmanager
def refusing() -> Iterator[str]:
    """A port of this machine where connections are refused, and nobody else's."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never says anything."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(50)
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def hanging_up() -> Iterator[str]:
    """A server that takes connections and ends them at once."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(50)
        sock.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    sock.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(BOUND)


def in_threads(count: int, job: Callable[[int], object]) -> list[BaseException]:
    """Run `job(index)` in threads at the same time; what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def run(index: int) -> None:
        try:
            start.wait(BOUND)
            job(index)
        except BaseException as error:  # noqa: BLE001 - the test judges it
            raised.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    return raised
