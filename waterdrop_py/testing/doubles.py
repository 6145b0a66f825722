"""Clients that need no Kafka, for `client_factory`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from waterdrop_py._engine.client.fake import FakeClient, FakeMessage

__all__ = ["BufferedClient", "FakeClient", "FakeMessage"]


class BufferedClient(FakeClient):
    """A `FakeClient` that keeps what was sent, for assertions.

    Inside a transaction messages become visible with its commit, and are forgotten
    with its abort.

    Example:
        >>> client = BufferedClient()
        >>> with Producer(kafka={"acks": "all"}, client_factory=client) as producer:
        ...     report = producer.produce_sync("orders", b"first")
        >>> [message.value() for message in client.messages_for("orders")]
        [b'first']
    """

    def __init__(self, conf: dict[str, Any] | None = None) -> None:
        self._kept: list[FakeMessage] = []
        super().__init__(conf)

    def _start(self, conf: dict[str, Any]) -> None:
        super()._start(conf)
        self._pending: list[FakeMessage] = []

    @property
    def messages(self) -> list[FakeMessage]:
        """Everything that was sent, in order."""
        return list(self._kept)

    def messages_for(self, topic: str) -> list[FakeMessage]:
        """What was sent to `topic`, in order."""
        return [message for message in self._kept if message.topic() == topic]

    def _figures(self) -> str:
        return f"{super()._figures()} messages={len(self._kept)}"

    def reset(self) -> None:
        """Forget everything that was sent."""
        self._kept.clear()
        self._pending.clear()

    def _accept(self, message: FakeMessage) -> None:
        (self._pending if self._in_transaction else self._kept).append(message)

    def _drop(self, message: FakeMessage) -> None:
        for messages in (self._kept, self._pending):
            with suppress(ValueError):
                messages.remove(message)

    def commit_transaction(self, timeout: float = -1) -> None:
        """Commit the open one: its messages are visible."""
        super().commit_transaction(timeout)
        self._kept += self._pending
        self._pending.clear()

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort the open one: its messages never were."""
        super().abort_transaction(timeout)
        self._pending.clear()
