"""What the tests of tasks on the embedded cluster share."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import confluent_kafka

from tests.looping import eventually

if TYPE_CHECKING:
    from waterdrop_py import AsyncProducer
    from waterdrop_py.testing import EmbeddedCluster

AT_REST: Final = {"not_due", "disabled", "not_connected", "closed", "buffered"}
"""What `explain_idle` may answer when nothing goes on."""


class MakeAsync(Protocol):
    """The `make_async` fixture."""

    def __call__(
        self,
        servers: str | None = None,
        /,
        *,
        transactional: bool = False,
        **options: Any,
    ) -> AsyncProducer:
        """A producer of the embedded cluster, or of `servers`."""


async def at_rest(producer: AsyncProducer) -> None:
    """Wait until nothing keeps the client from a disconnect."""

    def busy() -> set[str]:
        return {reason.code for reason in producer.explain_idle().reasons} - AT_REST

    await eventually(lambda: not busy(), "at rest")
    stats = producer.stats()
    assert stats.in_flight == 0
    assert stats.produced == stats.acknowledged + stats.failed, stats


def arrived(
    cluster: EmbeddedCluster, topic: str, prefix: bytes = b""
) -> Counter[bytes]:
    """How often each payload that begins so is in the topic."""
    values = [message.value() or b"" for message in cluster.read(topic)]
    return Counter(each for each in values if each.startswith(prefix))


class Watched(confluent_kafka.Producer):
    """A client that notes which threads its blocking calls ran on."""

    calls: list[tuple[str, int]] = []  # noqa: RUF012 - of all clients of a test

    def __init__(self, conf: Any) -> None:
        self._note("open")
        super().__init__(conf)

    def _note(self, name: str) -> None:
        self.calls.append((name, threading.get_ident()))

    def close(self, *arguments: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("close")
        return super().close(*arguments)

    def flush(self, *arguments: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("flush")
        return super().flush(*arguments)

    def purge(self, *arguments: Any, **options: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("purge")
        return super().purge(*arguments, **options)

    def poll(self, timeout: float = -1) -> Any:
        """See `confluent_kafka.Producer`; it blocks with a timeout only."""
        if timeout:
            self._note("poll")
        return super().poll(timeout)

    def list_topics(self, *arguments: Any, **options: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("list_topics")
        return super().list_topics(*arguments, **options)

    def init_transactions(self, *arguments: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("init_transactions")
        return super().init_transactions(*arguments)

    def begin_transaction(self) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("begin_transaction")
        return super().begin_transaction()

    def commit_transaction(self, *arguments: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("commit_transaction")
        return super().commit_transaction(*arguments)

    def abort_transaction(self, *arguments: Any) -> Any:
        """See `confluent_kafka.Producer`."""
        self._note("abort_transaction")
        return super().abort_transaction(*arguments)

    @classmethod
    def on(cls, thread: int) -> set[str]:
        """The blocking calls that ran on that thread."""
        return {name for name, ident in cls.calls if ident == thread}

    @classmethod
    def names(cls) -> set[str]:
        """The blocking calls that there were."""
        return {name for name, _ in cls.calls}
