"""What is called when a handle has its outcome: callbacks, and waiting threads.

Few handles have any, so they are kept here instead of in every handle.

Without a lock, because a signal handler or a finalizer may watch the handle whose
resolution it interrupted. `notify` runs once the outcome is stored. `add_callback` adds
its callback, then looks at the outcome, and finishes the entry that it added to:
1. A notifier removes the entry.
2. A watcher appends to that entry, sees the outcome, and calls what is in it
   (test_callback_added_while_the_report_arrives).

A signal handler may raise anywhere on the main thread. The library's wake-ups may run
twice, so they stay in the entry and are repeated until all have run. A user's callback
runs at most once: it is removed before it is called, with no call in between, so
neither a signal handler nor another thread can interfere.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.concurrency.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    Watcher: TypeAlias = Callable[[Any], object]
    # What is called for one handle: the library's wake-ups, and the user's callbacks.
    # A plain tuple, because each handle with a callback has one.
    Entry: TypeAlias = tuple[list[Watcher], list[Watcher]]


class Pending(Protocol):
    """A handle whose outcome may not be known yet."""

    def done(self) -> bool:
        """Whether it is known."""


class Owner(Protocol):
    """The client that a handle belongs to."""

    def notify_later(self, handle: Any) -> None:
        """Have what watches `handle` called once more."""

    def done_callback_raised(self, error: BaseException) -> None:
        """Report what a user's callback raised."""


WATCHED: Final[dict[Pending, Entry]] = {}
"""Handles with callbacks or waiting threads. Every report looks here."""


def add_callback(client: Owner, handle: Pending, fn: Watcher) -> None:
    """Call the user's `fn(handle)` once the outcome is known, now if it is."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[1].append(fn)
    if handle.done():
        _late(client, handle, entry)


def add_wakeup(client: Owner, handle: Pending, fn: Watcher) -> None:
    """Call the library's `fn(handle)` likewise, perhaps several times."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[0].append(fn)
    if handle.done():
        _late(client, handle, entry)


def has_callbacks(handle: Pending) -> bool:
    """Whether the user's callbacks watch it."""
    entry = WATCHED.get(handle)
    return entry is not None and bool(entry[1])


def remove_wakeup(handle: Pending, fn: Watcher) -> None:
    """Remove a wake-up, and with the last one the entry of a handle that is done.

    `_finish` removes the entry later than it wakes, so a woken thread could still find
    it (test_cancelling_one_waiter_leaves_the_others).
    """
    entry = WATCHED.get(handle)
    if entry is not None:
        with suppress(ValueError):
            entry[0].remove(fn)
        if entry == ([], []) and handle.done():
            WATCHED.pop(handle, None)


def wait(client: Owner, handle: Pending, timeout: float) -> bool:
    """Wait at most `timeout` seconds for the outcome; whether this was woken for it."""
    wakeup = Wakeup()
    add_wakeup(client, handle, wakeup)
    try:
        return wakeup.wait(timeout)
    finally:
        remove_wakeup(handle, wakeup)


def notify(client: Owner, handle: Pending) -> None:
    """Call what watches `handle`, whose outcome is known; continues if interrupted."""
    entry = WATCHED.get(handle)
    if entry is not None:
        _finish(client, handle, entry)


def _late(client: Owner, handle: Pending, entry: Entry) -> None:
    try:
        _finish(client, handle, entry)
    except BaseException:
        client.notify_later(handle)
        raise


def _finish(client: Owner, handle: Pending, entry: Entry) -> None:
    wakes, callbacks = entry
    if wakes:
        for wake_up in list(wakes):
            try:
                wake_up(handle)
            except BaseException as error:
                if from_signal_handler(error):
                    raise
                client.done_callback_raised(error)
    while callbacks:
        try:
            fn = callbacks[0]
            del callbacks[0]
            fn(handle)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            client.done_callback_raised(error)
    WATCHED.pop(handle, None)
