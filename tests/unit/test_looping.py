"""The tools of the asyncio tests see what they are there for."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tests.looping import cancelled, eventually, probed, run, suspensions


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


async def three(after: list[str]) -> str:
    """Suspends three times: for a turn, for a future and for a turn."""
    loop = asyncio.get_running_loop()
    try:
        await asyncio.sleep(0)
        future: asyncio.Future[str] = loop.create_future()
        loop.call_soon(_settle, future, "came")
        found = await future
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        after.append("cancelled")
        raise
    return found


def test_suspensions_are_counted() -> None:
    """Each time that the loop runs in between."""
    assert run(suspensions(three([]))) == (3, "came")


@pytest.mark.parametrize("late", [False, True])
def test_each_suspension_is_cancelled(late: bool) -> None:
    """Until there is none: then the coroutine is over."""

    async def main() -> None:
        for at in (1, 2, 3):
            after: list[str] = []
            found = await cancelled(three(after), at, late=late)
            assert found.reached
            assert isinstance(found.raised, asyncio.CancelledError)
            assert found.after == 0
            assert after == ["cancelled"]
        found = await cancelled(three([]), 4, late=late)
        assert not found.reached
        assert (found.raised, found.result) == (None, "came")

    run(main())


def test_a_swallowed_and_a_delayed_cancelling_are_seen() -> None:
    """As a result, and as suspensions after it."""

    async def swallows() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return "swallowed"

    async def main() -> None:
        found = await cancelled(swallows(), 1, late=False)
        assert found.reached
        assert found.raised is None
        assert (found.result, found.after) == ("swallowed", 2)

    run(main())


def test_late_is_after_the_answer_has_come() -> None:
    """The future is done when the task is cancelled."""
    seen: list[Any] = []

    async def waits() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_soon(_settle, future, None)
        try:
            await future
        finally:
            seen.append(future.done() and not future.cancelled())

    async def main() -> None:
        await cancelled(waits(), 1, late=True)
        await cancelled(waits(), 1, late=False)

    run(main())
    assert seen == [True, False]


def _left_task() -> Any:
    async def main() -> None:
        asyncio.get_running_loop().create_task(asyncio.sleep(0.5))

    return main()


def _left_timer() -> Any:
    async def main() -> None:
        asyncio.get_running_loop().call_later(60, print)

    return main()


def _told() -> Any:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)

    return main()


def _never_retrieved() -> Any:
    async def main() -> None:
        asyncio.get_running_loop().create_future().set_exception(LookupError())
        await asyncio.sleep(0)

    return main()


@pytest.mark.parametrize("left", [_left_task, _left_timer, _told, _never_retrieved])
def test_what_is_left_on_a_loop_fails(left: Any) -> None:
    """A task, a timer, and what the exception handler is told."""
    with pytest.raises(AssertionError):
        run(left())


def test_the_lag_is_seen() -> None:
    """Of what holds the loop, and not of what another thread does."""

    async def main() -> None:
        async with probed() as lags:
            time.sleep(0.05)  # noqa: ASYNC251 - it holds the loop
            await asyncio.sleep(0.01)
        assert lags.most_ms >= 45
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        async with probed() as lags:
            thread.start()
            await eventually(lambda: not thread.is_alive())
        assert lags.seconds

    run(main())
