"""`close`, awaited. It goes on where its caller is cancelled, and is bounded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.future import Future
from waterdrop_py._engine.concurrency.loops import Waiter

if TYPE_CHECKING:
    from waterdrop_py._engine.assembly import Components
    from waterdrop_py._engine.reports.accounting import DrainReport


async def close(
    components: Components, bound: float | None, *, force: bool
) -> DrainReport:
    """Close all clients for good; what became of each message."""
    components.refuse_close_inside_transaction()
    deadline = clock.system_now() + components.close_bound(bound)
    closing = components.start_close(deadline, force=force)
    job = Future(partial(closing.wait, here=True))
    components.connection.runtime.workers.run(job)
    while not job.done and (left := closing.over_by) > clock.system_now():
        waiter = Waiter()
        job.on_done(waiter)
        await waiter.wait(left)
    if job.done:
        return job.result()
    return closing.progress()
