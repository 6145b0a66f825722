"""What is done for each message of a batch, with turns of the loop in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from waterdrop_py._engine.produce.verbs import Filling
    from waterdrop_py.delivery import DeliveryHandle, DeliveryReport

STEP: Final = 500
"""Messages between two turns, where none is handed over."""


async def filled(filling: Filling) -> list[DeliveryHandle]:
    """The handles of a batch, which is validated in steps."""
    while True:
        try:
            next(filling)
        except StopIteration as end:
            handles: list[DeliveryHandle] = end.value
            return handles
        try:
            await asyncio.sleep(0)
        except BaseException as error:
            filling.throw(error)  # which raises it: nothing will be sent
            raise


async def reports_of(handles: list[DeliveryHandle]) -> list[DeliveryReport]:
    """The reports of messages that were all delivered."""
    reports = []
    for index, handle in enumerate(handles, 1):
        reports.append(handle.result(0))
        if index % STEP == 0:
            await asyncio.sleep(0)
    return reports
