"""A client that a test scripts, parks, and that notices every misuse.

`Bench` is the factory and the broker at once: it builds `FakeClient`s, decides what
becomes of their messages, and collects what no engine may ever do to a client:
call it after its close, close it with work left, or with somebody inside.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND: Final = 15.0
"""Seconds after which a wait of a test fails it."""


class FakeReport:
    """What librdkafka passes with a delivery report."""

    def __init__(self, partition: int, offset: int) -> None:
        self._partition, self._offset = partition, offset

    def partition(self) -> int:
        """Where it went."""
        return self._partition

    def offset(self) -> int:
        """Its place there."""
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        """Kind and milliseconds."""
        return 1, 1234

    def latency(self) -> float:
        """Seconds."""
        return 0.001


class Park:
    """Holds the threads that come by, until `go`."""

    def __init__(self, client: FakeClient | None = None) -> None:
        self._client = client
        self._entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        """Wait here, at most BOUND."""
        self._entered.release()
        if not self._open.wait(BOUND):
            raise AssertionError("a parked thread was forgotten")

    def entered(self) -> None:
        """Wait until somebody is parked."""
        assert self._entered.acquire(timeout=BOUND), "nobody came by"

    def go(self) -> None:
        """Let everybody go, from now on too."""
        self._open.set()

    @property
    def is_open(self) -> bool:
        """Whether they may go."""
        return self._open.is_set()


class Bench:
    """Builds clients and plays the broker. Thread-safe.

    Attributes:
        auto: a message is acknowledged by the next poll; else by `ack`.
        limit: messages that a client's queue takes.
        parks: by method, what the caller runs inside it (`park` puts a Park there).
        failures: by method, exceptions that the next calls raise.
        missing, refused: topics that the cluster does not have, or does not show.
        asked, times: the topics of the requests for metadata, and their time-outs.
        violations: what should never happen, in words.
    """

    def __init__(self) -> None:
        self.auto = True
        self.limit = 100_000
        self.topics: dict[str, int] = {}
        self.missing: set[str] = set()
        self.refused: set[str] = set()
        self.asked: list[str | None] = []
        self.times: list[float] = []
        self.parks: dict[str, Callable[[], None]] = {}
        self.failures: dict[str, deque[BaseException]] = {}
        self.clients: list[FakeClient] = []
        self.violations: list[str] = []
        self.calls: Counter[str] = Counter()
        self.guard = threading.Lock()
        self._parked: list[Park] = []

    def factory(self, conf: dict[str, Any]) -> FakeClient:
        """The `client_factory`."""
        self.pass_by("open")
        client = FakeClient(self, conf)
        with self.guard:
            self.clients.append(client)
        return client

    def options(self, **options: Any) -> dict[str, Any]:
        """Options of a `Producer` on this bench."""
        kafka = {"bootstrap.servers": "fake:9092", **options.pop("kafka", {})}
        return {"kafka": kafka, "client_factory": self.factory, **options}

    def pass_by(self, method: str) -> None:
        """Count the call, park in it, and raise what it was told to."""
        with self.guard:
            self.calls[method] += 1
            failures = self.failures.get(method)
            failure = failures.popleft() if failures else None
        park = self.parks.get(method)
        if park is not None:
            park()
        if failure is not None:
            raise failure

    @contextmanager
    def park(self, method: str) -> Iterator[Park]:
        """Park whoever calls `method`, until the block ends or `go`."""
        park = self.parks[method] = Park()
        self._parked.append(park)
        try:
            yield park
        finally:
            self.parks.pop(method, None)
            park.go()

    def fail(self, method: str, *errors: BaseException) -> None:
        """Let the next calls of `method` raise."""
        self.failures.setdefault(method, deque()).extend(errors)

    @property
    def open_clients(self) -> list[FakeClient]:
        """Those whose close has not ended."""
        return [client for client in self.clients if not client.closed]

    @property
    def client(self) -> FakeClient:
        """The newest."""
        return self.clients[-1]

    @property
    def sent(self) -> list[tuple[str, Any]]:
        """Topic and payload of all that any client took, in order of the clients."""
        return [message for client in self.clients for message in client.taken]

    def error(self, name: str, text: str) -> KafkaError:
        """An error of librdkafka's, by its name."""
        return KafkaError(getattr(KafkaError, name), text)

    def blame(self, what: str) -> None:
        """Note what should never happen."""
        self.violations.append(what)


class FakeClient:
    """A `typing.KafkaClient` without a network. Thread-safe, and strict."""

    def __init__(self, bench: Bench, conf: dict[str, Any]) -> None:
        self._bench = bench
        self.conf = conf
        self.closed = False
        self.closing = False
        self.taken: list[tuple[str, Any]] = []
        self.headers: list[Any] = []
        self._inside: list[str] = []
        self._work = threading.Condition()
        self._pending: deque[Callable[[Any, Any], None] | None] = deque()
        self._reports: deque[tuple[Callable[[Any, Any], None] | None, Any, Any]] = (
            deque()
        )

    # -- the protocol ------------------------------------------------------

    def produce(  # noqa: PLR0913 - confluent-kafka's
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        callback: Any = None,
        on_delivery: Any = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Take a message."""
        with self._call("produce"):
            with self._work:
                if len(self) >= self._bench.limit:
                    raise BufferError("Local: Queue full")
                self.taken.append((topic, value))
                self.headers.append((key, partition, timestamp, headers))
                report = on_delivery or callback
                if self._bench.auto:
                    self._reports.append((report, None, self._report()))
                else:
                    self._pending.append(report)
                self._work.notify_all()
            after = self._bench.parks.get("produced")
            if after is not None:
                after()

    def poll(self, timeout: float = -1) -> int:
        """Serve the reports that came, or wait for one."""
        with self._call("poll"):
            with self._work:
                if not self._reports and timeout > 0:
                    self._work.wait(min(timeout, BOUND))
            return self._serve()

    def flush(self, timeout: float = -1) -> int:
        """Serve what came."""
        with self._call("flush"):
            self._serve()
            return len(self)

    def purge(
        self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True
    ) -> None:
        """Fail what is not acknowledged."""
        with self._call("purge"):
            self.fail(KafkaError._PURGE_QUEUE)  # noqa: SLF001 - librdkafka's name

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """The bench's topics."""
        bench = self._bench
        bench.times.append(timeout)
        with self._call("list_topics"):
            bench.asked.append(topic)
            topics = {
                name: SimpleNamespace(partitions=dict.fromkeys(range(n)), error=None)
                for name, n in bench.topics.items()
                if topic in {None, name}
            }
            for names, code in (
                (bench.missing, KafkaError.UNKNOWN_TOPIC_OR_PART),
                (bench.refused, KafkaError.TOPIC_AUTHORIZATION_FAILED),
            ):
                if topic in names:
                    error = KafkaError(code)
                    topics[topic] = SimpleNamespace(partitions={}, error=error)
            return SimpleNamespace(topics=topics)

    def init_transactions(self, timeout: float = -1) -> None:
        """Not for these tests: they are of the client's life."""
        raise NotImplementedError

    commit_transaction = abort_transaction = init_transactions

    def begin_transaction(self) -> None:
        """Not for these tests."""
        raise NotImplementedError

    def send_offsets_to_transaction(
        self, positions: list[Any], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Not for these tests."""
        raise NotImplementedError

    def close(self) -> bool:
        """Destroy it; only when nothing is left, and nobody inside."""
        with self._bench.guard:
            if self.closing:
                self._bench.blame("closed twice")
            if self._inside:
                self._bench.blame(f"closed with {self._inside} inside")
            if self._pending or self._reports:
                self._bench.blame(f"closed with {len(self)} messages left")
            self.closing = True
        self._bench.pass_by("close")
        self.closed = True
        return True

    def __len__(self) -> int:
        if self.closing:
            self._bench.blame("len() of a closed client")
        return len(self._pending) + len(self._reports)

    # -- the script --------------------------------------------------------

    @property
    def inside(self) -> tuple[str, ...]:
        """The methods that threads are in."""
        return tuple(self._inside)

    @property
    def unserved(self) -> int:
        """How many reports came that no poll has served yet."""
        return len(self._reports)

    def ack(self, count: int | None = None) -> None:
        """The broker acknowledges the oldest messages, at most `count`; a poll serves
        the reports."""
        with self._work:
            most = len(self._pending)
            for _ in range(most if count is None else min(count, most)):
                self._reports.append((self._pending.popleft(), None, self._report()))
            self._work.notify_all()

    def event(self, callback: Callable[[Any, Any], None]) -> None:
        """Something that is no report waits, such as an error; a poll serves it."""
        with self._work:
            self._reports.append((callback, None, None))
            self._work.notify_all()

    def drop_events(self) -> None:
        """Nobody served them."""
        with self._work:
            self._reports.clear()

    def lost(self) -> list[FakeReport]:
        """The reports of what was pending, which the client has no more."""
        with self._work:
            reports = [FakeReport(-1, -1001) for _ in self._pending]
            self._pending.clear()
            return reports

    def fail(self, code: int) -> None:
        """Every pending message fails."""
        with self._work:
            while self._pending:
                report = FakeReport(-1, -1001)
                self._reports.append(
                    (self._pending.popleft(), KafkaError(code), report)
                )
            self._work.notify_all()

    def _report(self) -> FakeReport:
        return FakeReport(0, len(self.taken) - 1)

    def _serve(self) -> int:
        served = 0
        while True:
            with self._work:
                if not self._reports:
                    return served
                report, error, native = self._reports.popleft()
            served += 1
            if report is not None:
                report(error, native)

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        with self._bench.guard:
            if self.closing:
                self._bench.blame(f"{method} after close")
                raise RuntimeError(f"{method} after close")
            self._inside.append(method)
        try:
            self._bench.pass_by(method)
            yield
        finally:
            with self._bench.guard:
                self._inside.remove(method)


class Run(threading.Thread):
    """A thread whose result, or exception, the test takes."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        super().__init__(name="test-run", daemon=True)
        self._fn = fn
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Call it."""
        try:
            self._result = self._fn()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self._error = error

    def result(self) -> Any:
        """What it returned, within BOUND; raises what it raised."""
        self.join(BOUND)
        assert not self.is_alive(), "a thread of the test hangs"
        if self._error is not None:
            raise self._error
        return self._result


def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Wait until `condition()` holds, at most BOUND."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what or condition}"
        time.sleep(0.002)


def kafka_failure(code: int) -> KafkaException:
    """What confluent-kafka raises for an error code."""
    return KafkaException(KafkaError(code))
