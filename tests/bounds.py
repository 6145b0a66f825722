"""Fails what hangs."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from _thread import allocate_lock, start_new_thread
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import default_sigint

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Fail the block, which the main thread runs, once it has taken that long.

    Ctrl-C's handler interrupts it: one of our own is what the library would look at.
    The thread that waits is not one of `threading`'s, whose number tests count.
    """
    over = allocate_lock()
    over.acquire()
    stacks: list[str] = []

    def watch() -> None:
        if not over.acquire(timeout=seconds):
            stacks.extend(_stacks())
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    start_new_thread(watch, ())
    try:
        with default_sigint():
            yield
    except KeyboardInterrupt:
        if not stacks:
            raise
    finally:
        over.release()
    if stacks:
        pytest.fail(f"not over after {seconds} s\n{''.join(stacks)}", pytrace=False)


def _stacks() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - documented
        yield f"--- {names.get(ident, ident)}\n"
        yield from traceback.format_stack(frame)
