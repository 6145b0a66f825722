"""Which exceptions of other people's code are contained, and which are passed on."""

from __future__ import annotations

from threading import current_thread, main_thread


def passes_through(error: BaseException) -> bool:
    """Whether `error`, raised by a subscriber or by logging, is not theirs.

    A signal handler runs on the main thread, on top of whatever runs there. What it
    raises comes out of the interrupted call as itself.
    """
    return not isinstance(error, Exception) and current_thread() is main_thread()
