"""A foreign client that forgets a report: the task that waits for it hears of that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.concurrency.aio.support import made, opened
from tests.looping import eventually, run
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench


@pytest.mark.parametrize("verb", ["produce", "send"])
def test_a_report_that_never_comes(bench: Bench, make: Make, verb: str) -> None:
    """`report_lost`, soon, and not after `max_wait_timeout`."""
    producer = made(make)

    async def main() -> None:
        await opened(producer)
        bench.auto = False

        async def wait() -> object:
            sent = await getattr(producer, verb)("t", b"lost")
            return await sent if verb == "send" else sent

        task = asyncio.ensure_future(wait())
        await eventually(lambda: len(bench.client) == 1)
        bench.client.lost()
        with pytest.raises(ProduceError) as raised:
            await asyncio.wait_for(task, 5)
        assert raised.value.code == "report_lost"

    run(main())
