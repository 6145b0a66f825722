"""`on_worker`: a task waits for a call that blocks, on a thread of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.loops import Waiter
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py._engine.process.workers import STUCK

T = TypeVar("T")


async def on_worker(
    call: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """The result of `call`, which may block. It runs on a thread of the library.

    Cancelling ends the wait at once. The call goes on, and its result or error is
    dropped. `undo` is called with that result then, on a thread of the library. Where
    no thread can start, as at interpreter exit, the call runs here.
    """
    job = Future(call)
    workers = RUNTIME.workers
    try:
        workers.run(job)
        while not job.done:
            waiter = Waiter()
            job.on_done(waiter)
            # While jobs wait for a thread, those that are busy may be held up.
            waiting = not job.begun
            await waiter.wait(clock.system_now() + STUCK if waiting else None)
            workers.start_if_needed()
        return job.result()
    except BaseException:
        if undo is not None and not _failed(job):
            _undo_later(job, undo)
        raise


def _failed(job: Future[T]) -> bool:
    """Whether the call itself raised."""
    if not job.done:
        return False
    try:
        job.result()
    except BaseException:  # noqa: BLE001 - the caller raises it
        return True
    return False


def _undo_later(job: Future[T], undo: Callable[[T], object]) -> None:
    def take_back() -> None:
        if not _failed(job):
            RUNTIME.workers.submit(lambda: _drop(undo(job.result())))

    job.on_done(take_back)


def _drop(_: object) -> None:
    """The job of a worker returns nothing."""
