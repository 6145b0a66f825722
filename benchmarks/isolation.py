"""Runs each benchmark in its own process, so that none disturbs the next."""

from __future__ import annotations

import multiprocessing
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

T = TypeVar("T")
END_SECONDS = 10.0


class FailedError(Exception):
    """The process ended without a result; the text has its traceback."""


def side_by_side(
    *runs: Callable[..., T], arguments: tuple[Any, ...], seconds: float
) -> list[T]:
    """Run each of `runs` in its own process, all at once; return results in order.

    Each is called with a barrier for all of them, followed by `arguments`.

    Raises:
        FailedError: one raised, died or took longer than `seconds`.
    """
    barrier = multiprocessing.get_context("spawn").Barrier(len(runs))
    with ThreadPoolExecutor(len(runs)) as threads:
        futures = [
            threads.submit(isolated, run, barrier, *arguments, seconds=seconds)
            for run in runs
        ]
        return [future.result() for future in futures]


def isolated(run: Callable[..., T], *arguments: Any, seconds: float) -> T:
    """Call `run(*arguments)` in a new interpreter, which is killed after `seconds`.

    Raises:
        FailedError: it raised, died or took longer than `seconds`.
    """
    context = multiprocessing.get_context("spawn")  # inherits nothing
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, run, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise FailedError(f"no result within {seconds:g} s")
        good, result = receiver.recv()
    except EOFError:
        raise FailedError(f"{run.__name__}: the process died") from None
    finally:
        process.join(END_SECONDS)
        process.kill()
        process.join()
    if not good:
        raise FailedError(result)
    outcome: T = result
    return outcome


def _child(
    sender: Connection, run: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    try:
        answer = (True, run(*arguments))
    except Exception:  # noqa: BLE001 - the parent raises it
        answer = (False, traceback.format_exc())
    sender.send(answer)
