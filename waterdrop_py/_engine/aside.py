"""What hangs on a handle beside its outcome: callbacks and waiting threads.

Few handles have any, so they are kept aside instead of in every handle.

No lock, so that a signal handler or a finalizer may watch the very handle whose
resolution it interrupted. `notify` runs after the outcome is there; `watch` adds
and then looks at the outcome. Between the two nothing is lost and nothing runs
twice, because each callback is claimed by an atomic `list.pop`: notifier N takes
the entry away, watcher W appends to that same entry afterwards, sees the outcome
and drains the entry itself (test_callback_added_while_the_report_arrives).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py.delivery import DeliveryHandle

    Entry = tuple[DeliveryHandle, list[Callable[[DeliveryHandle], object]]]

WATCHED: Final[dict[int, Entry]] = {}
"""Handles with callbacks, by id; the entry keeps the handle, so the id is its own."""


def watch(handle: DeliveryHandle, fn: Callable[[DeliveryHandle], object]) -> None:
    """Call `fn(handle)` when the outcome is known, at once if it is."""
    entry = WATCHED.setdefault(id(handle), (handle, []))
    entry[1].append(fn)
    if handle.done():
        WATCHED.pop(id(handle), None)
        _drain(entry)


def unwatch(handle: DeliveryHandle, fn: Callable[[DeliveryHandle], object]) -> None:
    """Forget `fn` if it has not been called."""
    entry = WATCHED.get(id(handle))
    if entry is not None and fn in entry[1]:
        try:
            entry[1].remove(fn)
        except ValueError:
            return  # it is being called


def notify(handle: DeliveryHandle) -> None:
    """Call what watches `handle`; its outcome is known."""
    entry = WATCHED.pop(id(handle), None)
    if entry is not None:
        _drain(entry)


def handles_of(life: object) -> list[DeliveryHandle]:
    """The watched handles that belong to one client's life."""
    entries = list(WATCHED.values())
    return [handle for handle, _ in entries if handle._life is life]


def open_handles(life: object) -> list[DeliveryHandle]:
    """Every handle of one client's life that has no outcome, watched or not.

    Nobody keeps a list of them: the garbage collector knows them. Some milliseconds
    for each hundred thousand objects of the process, so for when something was torn.
    """
    from waterdrop_py.delivery import DeliveryHandle  # it needs this module itself

    return [
        each
        for each in gc.get_objects()
        if type(each) is DeliveryHandle and each._life is life and not each.done()
    ]


def _drain(entry: Entry) -> None:
    handle, callbacks = entry
    while callbacks:
        try:
            fn = callbacks.pop(0)
        except IndexError:
            return  # another thread took the last one
        try:
            fn(handle)
        except Exception as error:  # noqa: BLE001 - contained, and told of
            handle._life.reports.callback_raised("done_callback", error)
