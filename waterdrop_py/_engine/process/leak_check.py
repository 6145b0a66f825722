"""Whether closed clients left threads or sockets behind."""

from __future__ import annotations

import gc
import importlib
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import confluent_kafka

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.wakeup import Wakeup
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.emitter import Emitter
    from waterdrop_py._engine.process.closes import Closes

PATIENCE: Final = 1.0
"""Seconds that the kernel and librdkafka have to release everything."""
SPARED: Final = 600.0
"""Seconds without another check once a client from outside the library was seen. A
check walks all objects of the process: 35 ms with the GIL held, and 120 ms more for a
million."""
_REMEMBERED: Final = 1_024
"""Closed clients of the library that may still be among those objects."""
_CLIENTS: Final = tuple(
    getattr(confluent_kafka.cimpl, name)
    for name in ("Producer", "Consumer", "ShareConsumer", "_AdminClientImpl")
    if hasattr(confluent_kafka.cimpl, name)
)


def _secondary() -> bool:
    """Whether this is a sub-interpreter. It sees the threads of the other interpreters,
    and not their objects."""
    try:
        interpreters: Any = importlib.import_module("_xxsubinterpreters")  # to 3.12
    except ImportError:
        return False
    return bool(interpreters.get_current() != interpreters.get_main())


SECONDARY: Final = _secondary()


class IncompleteDisconnectError(WaterdropError):
    """Every client is closed, and threads or sockets of one are still there."""


class LeakCheck:
    """Checks, a second after the last client was closed, what stayed behind.

    librdkafka's threads do not say to which client they belong. So nothing is reported
    while the process has a confluent-kafka client from outside the library.
    """

    def __init__(
        self,
        closes: Closes,
        any_open: Callable[[], bool],
        submit: Callable[[Callable[[], None]], None],
    ) -> None:
        """`any_open`: whether a client of the library is open; `submit` runs a job on a
        library thread."""
        self._closes = closes
        self._any_open = any_open
        self._submit = submit
        self._ours: deque[int] = deque(maxlen=_REMEMBERED)
        self._checking: list[None] = []
        self._spared_until = -math.inf
        self._over = Wakeup()

    def end(self) -> None:
        """The process ends: do not check any more."""
        self._over()

    def closed(self, emitter: Emitter, identities: tuple[int, ...]) -> None:
        """A client, by its `id` and that of each producer that it wraps, was closed:
        check in a second, if it was the last, and report by `emitter`."""
        self._ours.extend(identities)
        # `_any_open` walks every producer, so it comes last: for each of a thousand
        # closes it would cost more than all the rest.
        if (
            self._checking
            or self._closes.any
            or not emitter.listens("error.occurred")
            or SECONDARY
            or clock.system_now() < self._spared_until
            or self._any_open()
        ):
            return
        self._checking.append(None)
        self._submit(lambda: self._check(emitter))

    def _check(self, emitter: Emitter) -> None:
        try:
            moves = self._closes.moves()
            if self._over.wait(PATIENCE):
                return  # the process ends
            census = count_resources()
            if census is None or not census.threads or self._closes.moves() != moves:
                return
            if self._others():
                self._spared_until = clock.system_now() + SPARED
                return
            # A client from outside that was there as this counted may be gone by now.
            census = count_resources()
            if census is None or not census.threads or self._closes.moves() != moves:
                return
        finally:
            self._checking.pop()
        emitter.error(
            "producer.disconnect.incomplete",
            IncompleteDisconnectError(
                f"{census.threads} librdkafka threads and {census.sockets} sockets "
                f"are there {PATIENCE} s after the last client was closed"
            ),
            threads=census.threads,
            sockets=census.sockets,
        )

    def _others(self) -> bool:
        """Whether the process has a client from outside the library."""
        ours = set(self._ours)
        # `isinstance` would ask the object itself, and a dead weak proxy raises then.
        return any(
            issubclass(type(each), _CLIENTS) and id(each) not in ours
            for each in gc.get_objects()
        )
