"""Whether a process without clients is really without what they held."""

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
"""Seconds that the kernel and librdkafka have to let go of everything."""
SPARED: Final = 600.0
"""Seconds without another look once a client of somebody else's was seen. A look walks
all objects of the process: 35 ms with the GIL held, and 120 ms more for a million."""
_REMEMBERED: Final = 1_024
_CLIENTS: Final = tuple(
    getattr(confluent_kafka.cimpl, name)
    for name in ("Producer", "Consumer", "ShareConsumer", "_AdminClientImpl")
    if hasattr(confluent_kafka.cimpl, name)
)


def _secondary() -> bool:
    """Whether this is a sub-interpreter: others' objects are not seen from here, and
    their threads are."""
    try:
        interpreters: Any = importlib.import_module("_xxsubinterpreters")  # to 3.12
    except ImportError:
        return False
    return bool(interpreters.get_current() != interpreters.get_main())


SECONDARY: Final = _secondary()


class IncompleteDisconnectError(WaterdropError):
    """Every client is closed, and something that belonged to one is still there."""


class LeakCheck:
    """Looks, a while after the last client was closed, for what stayed behind.

    librdkafka's threads do not say whose they are. So nothing is said while the
    process has a confluent-kafka client of somebody else's.
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
        self._looking: list[None] = []
        self._spared_until = -math.inf
        self._over = Wakeup()

    def end(self) -> None:
        """Nobody looks any more: the process ends."""
        self._over()

    def closed(self, emitter: Emitter, identities: tuple[int, ...]) -> None:
        """A client, by its `id` and that of each producer that it wraps, was closed:
        look in a while, if it was the last, and have `emitter` tell."""
        self._ours.extend(identities)
        # The walk over every producer comes last: for each of a thousand closes it
        # would cost more than all else of them. The last close finds no other.
        if (
            self._looking
            or self._closes.any
            or not emitter.listens("error.occurred")
            or SECONDARY
            or clock.system_now() < self._spared_until
            or self._any_open()
        ):
            return
        self._looking.append(None)
        self._submit(lambda: self._look(emitter))

    def _look(self, emitter: Emitter) -> None:
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
        finally:
            self._looking.pop()
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
        """Whether anybody else has a client in this process."""
        ours = set(self._ours)
        # `isinstance` would ask the object itself, and a dead weak proxy raises.
        return any(
            issubclass(type(each), _CLIENTS) and id(each) not in ours
            for each in gc.get_objects()
        )
