"""Whose exception it is: user code's own, or a signal handler's on top of it."""

from __future__ import annotations

from threading import current_thread, main_thread


def from_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler raised `error`, as far as its type and thread say.

    A handler runs on the main thread, on top of whatever runs there. What it raises
    comes out of the interrupted call as itself.
    """
    return not isinstance(error, Exception) and current_thread() is main_thread()
