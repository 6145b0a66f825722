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

import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from waterdrop_py._engine.concurrency.contained import from_signal_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.delivery import DeliveryHandle

    Watcher: TypeAlias = Callable[[DeliveryHandle], object]
    # What is to be called for one handle: by the library, and by its user. A plain
    # tuple, because each handle with a callback has one.
    Entry: TypeAlias = tuple[list[Watcher], list[Watcher]]

WATCHED: Final[dict[DeliveryHandle, Entry]] = {}
"""Handles with callbacks or waiting threads; looked at by every report."""


def watch(handle: DeliveryHandle, fn: Watcher) -> None:
    """Call the user's `fn(handle)` when the outcome is known, at once if it is."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[1].append(fn)
    if handle.done():
        _late(handle, entry)


def wake(handle: DeliveryHandle, fn: Watcher) -> None:
    """The same for a wake-up, which may come several times."""
    entry = WATCHED.setdefault(handle, ([], []))
    entry[0].append(fn)
    if handle.done():
        _late(handle, entry)


def unwake(handle: DeliveryHandle, fn: Watcher) -> None:
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


def notify(handle: DeliveryHandle) -> None:
    """Call what watches `handle`, whose outcome is known; again after an interrupt."""
    entry = WATCHED.get(handle)
    if entry is not None:
        _finish(handle, entry)


def _late(handle: DeliveryHandle, entry: Entry) -> None:
    try:
        _finish(handle, entry)
    except BaseException:
        handle._client.remind(handle)
        raise


def _finish(handle: DeliveryHandle, entry: Entry) -> None:
    wakes, callbacks = entry
    if wakes:
        for wake_up in tuple(wakes):
            try:
                wake_up(handle)
            except BaseException as error:
                if from_signal_handler(error):
                    raise
                handle._client.reports.callback_raised("done_callback", error)
    while callbacks:
        try:
            fn = callbacks[0]
            del callbacks[0]
            fn(handle)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            handle._client.reports.callback_raised("done_callback", error)
    WATCHED.pop(handle, None)


def handles_of(client: object) -> list[DeliveryHandle]:
    """The watched handles that belong to one client's life."""
    return [handle for handle in tuple(WATCHED) if handle._client is client]


def open_handles(client: object) -> list[DeliveryHandle]:
    """Every handle of one client's life that has no outcome, watched or not.

    Nobody keeps a list of them: the garbage collector knows them. Some milliseconds
    for each hundred thousand objects of the process, so for a close whose reports are
    held up by a callback.
    """
    from waterdrop_py.delivery import DeliveryHandle  # it needs this module itself

    return [
        each
        for each in gc.get_objects()
        if type(each) is DeliveryHandle and each._client is client and not each.done()
    ]
