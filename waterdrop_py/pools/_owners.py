"""Who takes a lease: a thread, or a task of asyncio that runs on it."""

from __future__ import annotations

import asyncio
import weakref
from threading import current_thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from threading import Thread  # noqa: TID251 - none is started

    Owner: TypeAlias = "Thread | TaskOwner"

running_loop: Final = asyncio._get_running_loop  # noqa: SLF001 - documented
"""The loop that runs on the calling thread, or None. It raises nothing."""


class TaskOwner:
    """A task. Equal for each lease that it takes; it does not keep the task alive.

    Attributes:
        name: the task's name when it took the lease.
        thread: the one that its loop runs on.
    """

    __slots__ = ("_task", "name", "thread")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        """Called on the thread that runs the task."""
        self._task = weakref.ref(task)
        self.name = task.get_name()
        self.thread = current_thread()

    def __eq__(self, other: object) -> bool:
        # A task has one plain weak reference, which all who ask get.
        return isinstance(other, TaskOwner) and other._task is self._task

    def __hash__(self) -> int:
        return hash(self.name)


def current_owner() -> Owner:
    """The task that runs on the calling thread, or else that thread."""
    loop = running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    return current_thread() if task is None else TaskOwner(task)


def thread_of(owner: Owner) -> Thread:
    """The thread itself, or the one that the task runs on."""
    return owner.thread if isinstance(owner, TaskOwner) else owner


def cannot_release(closer: object, owner: Owner) -> bool:
    """Whether `owner` cannot give a lease back while `closer` waits for that.

    A thread that waits holds up the tasks of its loop. A task that waits holds up
    itself, and not the other tasks.
    """
    if isinstance(closer, TaskOwner):
        return owner == closer or owner is closer.thread
    return thread_of(owner) is closer
