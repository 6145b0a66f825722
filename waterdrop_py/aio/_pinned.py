"""`TaskPin`: the bare client, kept open for the block of a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from waterdrop_py._engine.connection.borrowing import Pinned
from waterdrop_py.aio.jobs import on_worker

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py.typing import NativeClient


class TaskPin:
    """`AsyncProducer.native()`. The client is opened on a thread of the library."""

    __slots__ = ("_connection", "_pinned")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pinned: Pinned | None = None

    async def __aenter__(self) -> NativeClient:
        if self._pinned is None:
            task = asyncio.current_task()
            owner = "asyncio" if task is None else task.get_name()
            self._pinned = Pinned(self._connection, owner)
        pinned = self._pinned
        client = await on_worker(pinned.__enter__, undo=lambda _: pinned.__exit__())
        return cast("NativeClient", client)

    async def __aexit__(self, *_: object) -> None:
        if self._pinned is not None:
            self._pinned.__exit__()
