"""From the reaper to the workers: clients that fell due are closed as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.connection.batch import batch_of
from waterdrop_py._engine.connection.disconnecting import disconnect_if_due

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.batch import TeardownBatch
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.process.runtime import Runtime


def close_due(runtime: Runtime, due: list[Connection]) -> None:
    """Have each of `due` closed on a worker, as one batch. On the reaper."""
    batch = batch_of(runtime, len(due))
    runtime.closes.watch(batch)
    for connection in due:
        runtime.workers.submit(_CloseDue(connection, batch))


class _CloseDue:
    """A worker's job for one connection."""

    __slots__ = ("_batch", "_connection")

    def __init__(self, connection: Connection, batch: TeardownBatch) -> None:
        self._connection = connection
        self._batch = batch

    def __call__(self) -> None:
        try:
            disconnect_if_due(self._connection, self._batch)
        except Exception as error:
            if from_signal_handler(error):
                raise
            self._connection.emitter.error("producer.disconnect.error", error)
