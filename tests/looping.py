"""What the tests of `AsyncProducer` share: a loop on which nothing may stay, a task
that is cancelled at one of its suspensions, and a probe of the loop's lag."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
    )

    from waterdrop_py import AsyncProducer

T = TypeVar("T")
BOUND: Final = 20.0
"""Seconds after which what a loop runs has failed."""
SWITCH_SECONDS: Final = 0.005
"""The interpreter's switch interval, for which a call may hold the loop."""


def run(
    main: Coroutine[Any, Any, T],
    *,
    within: float = BOUND,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> T:
    """The result of `main` on a loop of its own, as `asyncio.run` has it.

    Fails if it takes longer, if the loop's exception handler is called, or if `main`
    leaves a task, a descriptor or a timer of 2 s or more on the loop.
    """
    told: list[dict[str, Any]] = []

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        before = registered(loop)
        result = await asyncio.wait_for(main, within)
        assert not others(), f"left on the loop: {others()}"
        assert registered(loop) == before
        assert await no_timer(loop), "a timer was left on the loop"
        return result

    loop = loop_factory()
    try:
        result = loop.run_until_complete(guarded())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    gc.collect()  # what was "never retrieved" is told by finalizers
    assert not told, told
    return result


def others() -> set[asyncio.Task[Any]]:
    """The tasks of the running loop, but for the one that calls."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


def registered(loop: Any) -> set[int]:
    """The descriptors that the loop watches, its own included; none for uvloop."""
    selector = getattr(loop, "_selector", None)
    return set() if selector is None else set(selector.get_map())


def timers(loop: Any) -> int:
    """How many timers the loop has that were not cancelled."""
    return sum(not each.cancelled() for each in getattr(loop, "_scheduled", ()))


async def no_timer(loop: asyncio.AbstractEventLoop, within: float = 2.0) -> bool:
    """Whether every timer of the loop ends in time: one of the library takes 0.5 s."""
    deadline = time.monotonic() + within
    while timers(loop):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0)
    return True


async def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Wait on the loop until `condition()` holds, at most half of BOUND."""
    deadline = time.monotonic() + BOUND / 2
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what or condition}"
        await asyncio.sleep(0.002)


async def disconnected(producer: AsyncProducer) -> None:
    """Disconnect as soon as that is safe."""
    deadline = time.monotonic() + BOUND / 2
    while not await producer.disconnect():
        assert time.monotonic() < deadline, producer.explain_idle()
        await asyncio.sleep(0.002)


async def turns(count: int = 5) -> None:
    """Let every task that is ready go on, `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcomes(tasks: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Results and exceptions, in order."""
    return await asyncio.gather(*tasks, return_exceptions=True)


def library_threads() -> list[str]:
    """The names of the library's threads."""
    return [
        each.name
        for each in threading.enumerate()
        if each.name.startswith("waterdrop-")
    ]


def left_behind(tasks: list[asyncio.Task[Any]]) -> None:
    """Drop the tasks of a loop that was closed; asyncio would tell of each."""
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
    tasks.clear()


# -- suspensions -------------------------------------------------------------


class Stepped:
    """Awaits a coroutine and looks at its suspensions, which are counted from 1 on.

    At suspension number `cancel_at` the task that awaits is cancelled: at once, or,
    if `late`, in the same turn of the loop in which what it waits for has come. Or, if
    `drop`, the coroutine is closed, as that of a task is whose loop has ended.

    Attributes:
        count: how many suspensions there were.
        after: how many there were after the cancelling.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        cancel_at: int = 0,
        *,
        late: bool = False,
        drop: bool = False,
    ) -> None:
        self._work, self._at, self._late, self._drop = work, cancel_at, late, drop
        self.count = self.after = 0

    @property
    def reached(self) -> bool:
        """Whether the coroutine got as far as `cancel_at`."""
        return 0 < self._at <= self.count

    def __await__(self) -> Generator[Any, Any, Any]:
        """Its result."""
        steps = self._work.__await__()
        act: Callable[[], Any] = lambda: next(steps)  # noqa: E731 - changes below
        while True:
            try:
                waited = act()
            except StopIteration as end:
                return end.value
            self.count += 1
            self.after += self.reached and self.count > self._at
            if self.count == self._at:
                if self._drop:
                    self._work.close()
                    return None
                self._cancel(waited)
            try:
                answer = yield waited
            except BaseException as error:  # noqa: BLE001 - the coroutine's
                act = _thrown(steps, error)
            else:
                act = _sent(steps, answer)

    def _cancel(self, waited: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and waited is not None:
            # Before asyncio adds the callback that goes on with the task.
            waited.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


def _sent(steps: Any, answer: Any) -> Callable[[], Any]:
    return lambda: steps.send(answer)


def _thrown(steps: Any, error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


async def suspensions(work: Coroutine[Any, Any, T]) -> tuple[int, T]:
    """How often `work` lets the loop run, and its result."""
    stepped = Stepped(work)
    result: T = await stepped
    return stepped.count, result


@dataclass
class Cancelled:
    """What became of a coroutine that was cancelled at a suspension.

    Attributes:
        reached: False if it was over before, with `result`.
        raised: what came out of it.
        after: suspensions after the cancelling.
    """

    reached: bool
    raised: BaseException | None = None
    result: Any = None
    after: int = 0


async def cancelled(
    work: Coroutine[Any, Any, Any],
    at: int,
    *,
    late: bool = False,
    drop: bool = False,
) -> Cancelled:
    """Run `work` in a task of its own, and cancel or drop it at suspension `at`."""
    stepped = Stepped(work, at, late=late, drop=drop)

    async def awaited() -> Any:
        return await stepped

    task = asyncio.ensure_future(awaited())
    await asyncio.wait({task}, timeout=BOUND / 2)
    assert task.done(), f"it goes on after suspension {stepped.count}: {task}"
    found = Cancelled(stepped.reached, after=stepped.after)
    if task.cancelled():
        found.raised = asyncio.CancelledError()
    elif (error := task.exception()) is not None:
        found.raised = error
    else:
        found.result = task.result()
    return found


# -- the lag -----------------------------------------------------------------


@dataclass
class Lags:
    """By how many seconds each sleep of a probe was too long, and how much of that the
    loop's thread has computed: the rest it has waited, also for other processes."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile in milliseconds."""
        return _p99(self.seconds) * 1000

    @property
    def cpu_p99_ms(self) -> float:
        """The same of the processor time."""
        return _p99(self.cpu) * 1000

    @property
    def most_ms(self) -> float:
        """The longest in milliseconds."""
        return max(self.seconds, default=0.0) * 1000

    def __str__(self) -> str:
        return (
            f"lag p99 {self.p99_ms:.1f} ms, max {self.most_ms:.1f} ms, "
            f"processor p99 {self.cpu_p99_ms:.1f} ms, n {len(self.seconds)}"
        )


def _p99(samples: list[float]) -> float:
    ordered = sorted(samples)
    return ordered[int(len(ordered) * 0.99)] if ordered else 0.0


@asynccontextmanager
async def probed() -> AsyncIterator[Lags]:
    """Have a task beside the block sleep 1 ms at a time, and measure its lag."""
    lags = Lags()
    probe = asyncio.ensure_future(_probe(lags))
    await asyncio.sleep(0)
    try:
        yield lags
    finally:
        probe.cancel()
        await asyncio.wait({probe})


async def _probe(lags: Lags) -> None:
    while True:
        started, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        lags.seconds.append(time.perf_counter() - started - 0.001)
        lags.cpu.append(time.thread_time() - cpu)
