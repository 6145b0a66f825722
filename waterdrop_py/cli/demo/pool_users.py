"""The users of pools in `waterdrop demo --pool`: a service, libraries and tenants."""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py import pools
from waterdrop_py._engine.connection.states import Status
from waterdrop_py.config import Config
from waterdrop_py.testing import allow_short_idle_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waterdrop_py.cli.demo.cluster import Target
    from waterdrop_py.pools import ProducerPool

SIZE: Final = 8
"""Producers of the service's pool."""
IDLE_MS: Final = 1_500
"""Milliseconds. A Config allows 30 s and more, which is too long to watch."""
CLOSE_MS: Final = 2_000
BATCH: Final = 5
"""Messages of each transaction."""
LIBRARIES: Final = ("metrics", "audit")
TENANTS: Final = 12
JOIN_SECONDS: Final = 15.0
"""Seconds to wait for a thread: a call of its own takes 10 s at most."""


class User:
    """What the users have in common: they send, and know what they have sent.

    Attributes:
        sent: the payload of each acknowledged message; no two are equal.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.sent: list[bytes] = []
        self._name = name
        self._target = target
        self._numbers = itertools.count()

    @property
    def pools(self) -> list[ProducerPool]:
        """The pools that it uses; each keeps its statistics."""
        raise NotImplementedError

    @property
    def is_open(self) -> list[bool]:
        """What is shown of it: whether each has an open client."""
        raise NotImplementedError

    def _config(self, **kafka: Any) -> Config:
        with allow_short_idle_timeouts():
            return Config(
                kafka={**self._target.kafka(), **kafka},
                idle_disconnect_timeout=IDLE_MS,
                max_wait_timeout=10_000,
                close_timeout=CLOSE_MS,
            )

    def _payload(self) -> bytes:
        return f"{self._name} {next(self._numbers)}".encode()

    def _send(self, pool: ProducerPool) -> None:
        """Lease a producer, and send a message with it. Raises `WaterdropError`."""
        payload = self._payload()
        with pool.acquire() as producer:
            producer.produce_sync(self._target.topic, payload)
        self.sent.append(payload)


class Service(User):
    """A service whose threads have a transaction each, in one pool."""

    def __init__(self, target: Target) -> None:
        super().__init__("service", target)
        config = self._config(**{"transactional.id": target.topic})
        self.pool: ProducerPool = pools.ProducerPool(config, size=SIZE, name="service")

    @property
    def pools(self) -> list[ProducerPool]:
        """The pool."""
        return [self.pool]

    def transact(self) -> None:
        """Send some messages in a transaction. Raises `WaterdropError`."""
        payloads = [self._payload() for _ in range(BATCH)]
        with self.pool.transaction() as producer:
            for payload in payloads:
                producer.produce_async(self._target.topic, payload)
        self.sent.extend(payloads)

    @property
    def is_open(self) -> list[bool]:
        """Whether each slot has an open client, by index."""
        return [slot.status in _HELD for slot in self.pool.slots()]


class Libraries(User):
    """Two libraries in one process, which do not know of each other."""

    def __init__(self, target: Target) -> None:
        super().__init__("library", target)
        # As each would write it.
        configs = [self._config(**{"linger.ms": linger}) for linger in (0, "0")]
        found = [pools.producers[config] for config in configs]
        self._found = set(found)
        self.sends: list[partial[None]] = [partial(self._send, pool) for pool in found]

    @property
    def pools(self) -> list[ProducerPool]:
        """Those that both found."""
        return list(self._found)

    @property
    def is_open(self) -> list[bool]:
        """Whether each pool has an open client."""
        return [_has_client(pool) for pool in self._found]

    @property
    def opens(self) -> int:
        """How many clients were opened for them."""
        return sum(pool.stats().opens for pool in self.pools)


class Tenants(User):
    """Tenants, each with a configuration of its own."""

    def __init__(self, target: Target) -> None:
        super().__init__("tenant", target)
        configs = [
            self._config(**{"client.id": f"tenant-{number}"})
            for number in range(TENANTS)
        ]
        self._found: dict[Config, ProducerPool | None] = dict.fromkeys(configs)
        self.sends: list[partial[None]] = [
            partial(self._look_up, config) for config in configs
        ]

    @property
    def pools(self) -> list[ProducerPool]:
        """The pools that were looked up."""
        return list({pool for pool in self._found.values() if pool is not None})

    @property
    def is_open(self) -> list[bool]:
        """Whether each tenant's pool has an open client."""
        return [_has_client(pool) for pool in self._found.values()]

    def _look_up(self, config: Config) -> None:
        pool = self._found[config] = pools.producers[config]
        self._send(pool)


def _has_client(pool: ProducerPool | None) -> bool:
    return pool is not None and any(slot.status in _HELD for slot in pool.slots())


class Threads:
    """Threads that repeat a step each, until the block ends.

    What a step raises ends its thread, and comes out of `check` or of the block.
    """

    def __init__(self, steps: Iterable[Callable[[], None]], pause: float) -> None:
        """`pause` is the time between two steps, in seconds."""
        self._pause = pause
        self._ended = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), daemon=True)
            for step in steps
        ]

    def __enter__(self) -> Threads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what a step has raised."""
        if self._errors:
            raise self._errors[0]

    def _repeat(self, step: Callable[[], None]) -> None:
        try:
            while not self._ended.wait(self._pause):
                step()
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self._errors.append(error)


_HELD: Final = frozenset({Status.CONNECTING, Status.CONNECTED, Status.DISCONNECTING})
"""The status of a producer that has a client, or one that is being closed."""
