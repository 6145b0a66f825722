"""What the rooms above hand in to a connection, such as objections to a disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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


class Family(Protocol):
    """The connections of one producer; see `family.py`."""

    def stats(self) -> object:
        """The producer's figures."""

    def begins_with(self, close: object) -> bool:
        """Whether `close` is the first one."""

    def ends_with(self, close: object) -> bool:
        """Whether `close` is the last one."""

    def reset(self) -> None:
        """Start afresh."""


class QueuedMessages(Protocol):
    """Messages of asyncio's tasks that wait for a client, or for room."""

    @property
    def waiting(self) -> int:
        """How many calls wait, except for the thread that hands them over."""

    def flush(self, deadline: float) -> None:
        """Hand them over until `deadline`; for a close."""

    def give_up(self) -> None:
        """Refuse the rest: the producer closes."""


class Hooks:
    """Functions of the rooms above, which a connection calls.

    Attributes:
        holds: what stands against a close of the client, beyond the client itself.
        resets: called in a forked child, and when a closed producer opens again.
        prepare: makes a new client ready for its first use.
        inside: whether the calling thread is inside a transaction.
        is_final: whether a client stays lost to a fatal error.
        before_close: sends what waits in the process.
        family: the connections that close with this one; None without a producer.
        queues: the queue of what tasks of asyncio send, as the only entry, if any does.
        reopen: opens a producer again that the exit handler has closed; whether it did.
    """

    __slots__ = (
        "before_close",
        "family",
        "holds",
        "inside",
        "is_final",
        "prepare",
        "queues",
        "reopen",
        "resets",
    )

    def __init__(self) -> None:
        self.holds: list[Callable[[], Refusal | None]] = []
        self.resets: list[Callable[[], None]] = []
        self.prepare: Callable[[Client, float | None], None] | None = None
        self.inside: Callable[[], bool] = _never
        self.is_final: Callable[[Client, str], bool] = _always
        self.before_close: BeforeClose | None = None
        self.reopen: Callable[[], bool] | None = None
        self.family: Family | None = None
        self.queues: list[Any] = []

    def queueing(self, make: Callable[[], _Queue]) -> _Queue:
        """The queue of what tasks of asyncio send. Two threads may make it."""
        if not self.queues:
            self.queues.append(make())
        queue: _Queue = self.queues[0]
        return queue

    @property
    def calls_waiting(self) -> int:
        """How many calls of tasks wait for the client."""
        return self.queues[0].waiting if self.queues else 0

    @property
    def queue(self) -> QueuedMessages | None:
        """That queue, once there was a task."""
        return self.queues[0] if self.queues else None

    def refusals(self) -> list[Refusal]:
        """What stands against a close of the client now."""
        return [found for hold in self.holds if (found := hold()) is not None]

    def reset(self) -> None:
        """Have all start afresh."""
        for reset in self.resets:
            reset()

    def keep_client_while(self, hold: Callable[[], Refusal | None]) -> None:
        """Refuse to disconnect while `hold()` gives a reason."""
        self.holds.append(hold)

    def on_reset(self, reset: Callable[[], None]) -> None:
        """Call `reset` in a forked child, and when a closed producer opens again."""
        self.resets.append(reset)

    def prepare_with(self, prepare: Callable[[Client, float | None], None]) -> None:
        """Call `prepare(client, deadline)` with each new client before its use."""
        self.prepare = prepare

    def inside_while(self, inside: Callable[[], bool]) -> None:
        """A close on a thread for which `inside()` holds does not wait."""
        self.inside = inside

    def decide_final_by(self, is_final: Callable[[Client, str], bool]) -> None:
        """Refuse every verb after a fatal error if `is_final(client, code)`."""
        self.is_final = is_final

    def send_before_close(self, before_close: BeforeClose) -> None:
        """Call `before_close` when the producer closes, before messages are refused."""
        self.before_close = before_close

    def close_with(self, family: Family) -> None:
        """Be one of `family`."""
        self.family = family
        self.on_reset(family.reset)

    def reopen_with(self, reopen: Callable[[], bool] | None) -> None:
        """Call `reopen` for a verb on the closed producer; None: it stays closed."""
        self.reopen = reopen


def _never() -> bool:
    return False


def _always(_client: Client, _code: str) -> bool:
    """Without a policy of reloads a fatal error stays."""
    return True
