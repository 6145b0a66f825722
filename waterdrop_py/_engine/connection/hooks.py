"""What the rooms above hand in to a connection, such as objections to a disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.states import Refusal
    from waterdrop_py._engine.reports.accounting import DrainReport, Placed
    from waterdrop_py.delivery import DeliveryHandle


_Queue = TypeVar("_Queue", bound="QueuedMessages")


class BeforeClose(Protocol):
    """What is to happen before a producer closes."""

    def __call__(self, deadline: float, *, force: bool) -> list[Placed]:
        """Send what still is to be sent; what could not be is returned."""


class Closing(Protocol):
    """The close of a producer, in progress or done."""

    def must_not_wait(self) -> bool:
        """Whether the calling thread would wait for the call that it interrupted."""

    def wait(self, deadline: float) -> DrainReport:
        """Wait until it has ended, and not long beyond `deadline`."""

    def forked(self) -> None:
        """This is a child, where no thread continues it."""


class DeferredMessages(Protocol):
    """Messages that are sent once the call that they interrupted has ended."""

    def add(self, handle: DeliveryHandle, verb: str) -> None:
        """Have `handle` sent."""

    def begin(self) -> None:
        """Have them sent, if they are not being sent. Does not wait."""

    def inside(self) -> bool:
        """Whether the calling thread is inside a call that one may wait for."""

    def flush(self, deadline: float) -> None:
        """Send them until `deadline`; for a close."""

    def give_up(self) -> None:
        """Give up the rest: the producer closes, and its senders are refused."""

    def forget(self, error: BaseException) -> None:
        """Give them `error`: this is a forked child."""


class Part(Protocol):
    """A part of the rooms above that keeps something beside the client."""

    def refusal(self) -> Refusal | None:
        """Why the client may not be closed now, if there is a reason."""

    def reset(self) -> None:
        """Start afresh: in a forked child, and when a closed producer opens again."""


class Buffered(Part, Protocol):
    """What keeps messages in the process."""

    @property
    def before_close(self) -> BeforeClose:
        """Sends what waits there."""


class Family(Protocol):
    """The connections of one producer; see `family.py`."""

    def stats(self) -> object:
        """The producer's figures."""

    def begins_with(self, close: object) -> bool:
        """Whether `close` is the first one."""

    def ends_with(self, close: object) -> bool:
        """Whether `close` is the last one."""


class QueuedMessages(Protocol):
    """Messages of asyncio's tasks that wait for a client, or for room."""

    @property
    def waiting(self) -> int:
        """How many calls wait, except for the thread that hands them over."""

    @property
    def left_alone(self) -> int:
        """How many messages wait that go on without their callers."""

    def wait_handed_over(self, deadline: float) -> None:
        """Wait until the client has these, or until `deadline`."""

    def flush(self, deadline: float) -> None:
        """Hand them over until `deadline`; for a close."""

    def give_up(self) -> None:
        """Refuse the rest: the producer closes."""

    def forget(self) -> None:
        """Start afresh."""


_QUEUE: Final = "queue"
_DEFERRED: Final = "deferred"


class Hooks:
    """Functions of the rooms above, which a connection calls.

    Attributes:
        parts: what may stand against a close of the client, and starts afresh in a
            forked child. A tuple: lists and bound methods would take 0.4 KB.
        prepare: makes a new client ready for its first use.
        inside: whether the calling thread is inside a transaction.
        is_final: whether a client stays lost to a fatal error.
        buffered: what keeps messages in the process.
        family: the connections that close with this one; None without a producer.
        waiting: the deferred messages and the queue of asyncio's tasks, once there are
            any.
        reopen: opens a producer again that the exit handler has closed; whether it did.
    """

    __slots__ = (
        "buffered",
        "family",
        "inside",
        "is_final",
        "parts",
        "prepare",
        "reopen",
        "waiting",
    )

    def __init__(self) -> None:
        self.parts: tuple[Part, ...] = ()
        self.prepare: Callable[[Client, float | None], None] | None = None
        self.inside: Callable[[], bool] = _never
        self.is_final: Callable[[Client, str], bool] = _always
        self.buffered: Buffered | None = None
        self.reopen: Callable[[], bool] | None = None
        self.family: Family | None = None
        self.waiting: dict[str, Any] = {}

    def queueing(self, make: Callable[[], _Queue]) -> _Queue:
        """The queue of what tasks of asyncio send. Two threads may make it; the first
        one counts."""
        queue: _Queue | None = self.waiting.get(_QUEUE)
        return self.waiting.setdefault(_QUEUE, make()) if queue is None else queue

    @property
    def queue(self) -> QueuedMessages | None:
        """That queue, once there was a task."""
        return self.waiting.get(_QUEUE)

    @property
    def calls_waiting(self) -> int:
        """How many calls of tasks wait for the client."""
        queue = self.queue
        return 0 if queue is None else queue.waiting

    def deferring(self, make: Callable[[], DeferredMessages]) -> DeferredMessages:
        """The deferred messages, likewise. Few producers have any."""
        known = self.deferred
        return self.waiting.setdefault(_DEFERRED, make()) if known is None else known

    @property
    def deferred(self) -> DeferredMessages | None:
        """The deferred messages, once there was one."""
        return self.waiting.get(_DEFERRED)

    def forget_deferred(self) -> None:
        """There are none: in a forked child, whose locks are new."""
        self.waiting.pop(_DEFERRED, None)

    def refusals(self) -> list[Refusal]:
        """What stands against a close of the client now."""
        return [found for part in self.parts if (found := part.refusal()) is not None]

    def reset(self) -> None:
        """Have all start afresh. The queue of tasks stays, and is empty."""
        for part in self.parts:
            part.reset()
        queue = self.queue
        if queue is not None:
            queue.forget()

    def add(self, part: Part) -> None:
        """Ask `part` before the client is closed, and have it start afresh."""
        self.parts += (part,)

    def prepare_with(self, prepare: Callable[[Client, float | None], None]) -> None:
        """Call `prepare(client, deadline)` with each new client before its use."""
        self.prepare = prepare

    def inside_while(self, inside: Callable[[], bool]) -> None:
        """A close on a thread for which `inside()` holds does not wait."""
        self.inside = inside

    def decide_final_by(self, is_final: Callable[[Client, str], bool]) -> None:
        """Refuse every verb after a fatal error if `is_final(client, code)`."""
        self.is_final = is_final

    def add_buffered(self, part: Buffered) -> None:
        """`add`, and have it send what it keeps before messages are refused."""
        self.add(part)
        self.buffered = part

    def close_with(self, family: Family) -> None:
        """Be one of `family`."""
        self.family = family

    def reopen_with(self, reopen: Callable[[], bool] | None) -> None:
        """Call `reopen` for a verb on the closed producer; None: it stays closed."""
        self.reopen = reopen


def _never() -> bool:
    return False


def _always(_client: Client, _code: str) -> bool:
    """Without a policy of reloads a fatal error stays."""
    return True
