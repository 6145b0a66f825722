"""`Queued`: the message or the batch of one call, while it waits in the send queue."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Final

from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaException

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.delivery import DeliveryHandle

_OWNER: Final = 0


class Queued:
    """The message, or the batch, of one call. Thread-safe, no lock.

    1. The thread that hands it over claims it, for the hand-over alone.
    2. A caller that withdraws it sets `withdrawn`, and then claims it.
    3. The thread that gives the claim back looks at `withdrawn` afterwards.
    So it is either never sent, or being sent at that moment
    (test_a_withdrawal_meets_the_hand_over).

    Attributes:
        count: how many of `handles` were handed over.
        over: all were, or `error` says why not.
        error: why the message at `count` was not.
        full: the refusal of a full queue, while it waits for room.
        left_alone: its caller hears no more of it.
        since: when the message at `count` began to wait, on the system's clock.
        refused: what the client at hand refused that message with.
        wanted: whether it may still be sent; a transaction may have ended.
        context: that of the caller. A tracer's client looks for its span there.
    """

    __slots__ = (
        "_claims",
        "context",
        "count",
        "deadline",
        "error",
        "full",
        "handles",
        "left_alone",
        "on_over",
        "over",
        "refused",
        "since",
        "verb",
        "wanted",
        "withdrawn",
    )

    def __init__(
        self,
        handles: list[DeliveryHandle],
        verb: str,
        deadline: float | None,
        on_over: Callable[[], object],
        wanted: Callable[[], bool] | None = None,
    ) -> None:
        """`deadline` bounds the open of a client and a look-up, in seconds on the
        system's clock. `on_over` is called on any thread."""
        self.handles = handles
        self.verb = verb
        self.deadline = deadline
        self.on_over = on_over
        self.wanted = wanted
        self.count = 0
        self.over = self.withdrawn = self.left_alone = False
        self.error: BaseException | None = None
        self.full: BufferError | None = None
        self.refused: tuple[Client, KafkaException] | None = None
        self.context = contextvars.copy_context()
        self.since = clock.system_now()
        self._claims: dict[int, object] = {}

    def claim(self) -> bool:
        """Keep it from being withdrawn; False if it was, or is not wanted any more."""
        if self.withdrawn or (self.wanted is not None and not self.wanted()):
            return False
        me = object()
        return self._claims.setdefault(_OWNER, me) is me

    def unclaim(self) -> None:
        """It may be withdrawn again."""
        self._claims.pop(_OWNER, None)

    def withdraw(self) -> bool:
        """Let nothing more of it be sent; False while it is being handed over."""
        self.withdrawn = True
        me = object()
        return self.over or self._claims.setdefault(_OWNER, me) is me

    def leave_alone(self, on_over: Callable[[], object]) -> None:
        """Go on without the caller; `on_over` is called at its end, on any thread."""
        self.left_alone = True
        self.on_over = on_over
        self.deadline = None
        if self.over:
            on_over()

    def end(self, error: BaseException | None = None) -> None:
        """All of it was handed over, or `error` says why not."""
        self.error = error
        self.full = None
        self.over = True
        self.on_over()
