"""Where rooms below `process` hand in jobs for the library's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from waterdrop_py._engine.concurrency import cooperative, threads
from waterdrop_py._engine.concurrency.future import Future

if TYPE_CHECKING:
    from collections.abc import Callable

    Job: TypeAlias = Callable[[], None]

_T = TypeVar("_T")


def _here(job: Job) -> None:
    job()


_submit: Callable[[Job], None] = _here


def submit(job: Job) -> None:
    """Run `job` on a library thread, or here where none can start. Does not wait."""
    _submit(job)


def run_by(submit: Callable[[Job], None]) -> None:
    """Have `submit` run the jobs from now on. The runtime hands its workers in."""
    global _submit  # noqa: PLW0603
    _submit = submit


def call(step: Callable[[], _T]) -> _T:
    """The result of `step`, which makes a native call that may take long.

    It runs here. For a greenlet it runs on a library thread, and the greenlet yields
    meanwhile. What interrupts that wait is raised when `step` has ended: the caller
    releases what it uses (test_a_transaction_that_is_killed).
    """
    if cooperative.hub_of_thread() is None or not threads.can_start():
        return step()
    made = Future(step)
    submit(made.__call__)
    try:
        while not made.wait(None):
            pass
    except BaseException:
        while not made.wait(None):
            pass
        raise
    return made.result()
