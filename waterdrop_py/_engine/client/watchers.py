"""What hangs on a handle beside its outcome: callbacks and waiting threads.

Few handles have any, so they are kept aside instead of in every handle.

No lock, so that a signal handler or a finalizer may watch the very handle whose
resolution it interrupted. `notify` runs after the outcome is there; `watch` adds and
then looks at the outcome, and finishes the very entry that it added to: notifier N
takes the entry away, watcher W appends to it afterwards, sees the outcome and calls
what is in it (test_callback_added_while_the_report_arrives).

A signal handler may raise anywhere on the main thread. The library's own wake-ups do no
harm twice, so they stay in the entry and are repeated until all were done. A callback
of the user's runs at most once: it is taken off before it is called, with no call
between the two, so that neither a handler nor another thread gets in there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from waterdrop_py._engine.concurrency.signals import from_signal_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    Watcher: TypeAlias = Callable[[Any], object]
    # What is to be called for one handle: by the library, and by its user. A plain
    # tuple, because each handle with a callback has one.
    Entry: TypeAlias = tuple[list[Watcher], list[Watcher]]


class Pending(Protocol):
    """A handle: its message may not have its outcome yet."""

    def done(self) -> bool:
        """Whether it has."""


class Owner(Protocol):
    """The client that a handle belongs to."""

    def remind(self, handle: Any) -> None:
        """Have what watches `handle` called again."""

    def done_callback_raised(self, error: BaseException) -> None:
        """A callback of the user's raised."""


WATCHED: Final[dict[Pending, Entry]] = {}
"""Handles with callbacks or waiting threads; looked at by every report."""


def watch(client: Owner, handle: Pending, fn: Watcher) -> None:
    """Call the user's `fn(handle)` when the outcome is known, at once if it is."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[1].append(fn)
    if handle.done():
        _late(client, handle, entry)


def wake(client: Owner, handle: Pending, fn: Watcher) -> None:
    """The same for a wake-up, which may come several times."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[0].append(fn)
    if handle.done():
        _late(client, handle, entry)


def unwake(handle: Pending, fn: Watcher) -> None:
    """Forget a wake-up; with the last one, the entry of a handle that is done.

    Else who was woken would find it, as `_finish` takes it away afterwards.
    (test_cancelling_one_waiter_leaves_the_others)
    """
    entry = WATCHED.get(handle)
    if entry is not None:
        with suppress(ValueError):
            entry[0].remove(fn)
        if entry == ([], []) and handle.done():
            WATCHED.pop(handle, None)


def notify(client: Owner, handle: Pending) -> None:
    """Call what watches `handle`, whose outcome is known; again after an interrupt."""
    entry = WATCHED.get(handle)
    if entry is not None:
        _finish(client, handle, entry)


def _late(client: Owner, handle: Pending, entry: Entry) -> None:
    try:
        _finish(client, handle, entry)
    except BaseException:
        client.remind(handle)
        raise


def _finish(client: Owner, handle: Pending, entry: Entry) -> None:
    wakes, callbacks = entry
    if wakes:
        for wake_up in tuple(wakes):
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
