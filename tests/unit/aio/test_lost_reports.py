"""A foreign client that forgets a report: the task that waits for it hears of that."""

from __future__ import annotations

import asyncio
from unittest.mock import MagicMock

import pytest

from tests.looping import run
from waterdrop_py import AsyncProducer
from waterdrop_py.errors import ProduceError


@pytest.mark.parametrize("verb", ["produce", "send"])
def test_a_report_that_never_comes(verb: str) -> None:
    """`report_lost`, soon, and not after `max_wait_timeout`."""
    producer = AsyncProducer(
        kafka={"bootstrap.servers": "unused:1"}, client_factory=lambda _: MagicMock()
    )

    async def main() -> None:
        async with producer:
            with pytest.raises(ProduceError, match="on_delivery") as raised:
                await asyncio.wait_for(wait(), 5)
            assert raised.value.code == "report_lost"

    async def wait() -> object:
        sent = await getattr(producer, verb)("t", b"lost")
        return await sent if verb == "send" else sent

    run(main())
