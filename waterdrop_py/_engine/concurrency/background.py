"""Where rooms below `process` hand in jobs for the library's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Job: TypeAlias = Callable[[], None]


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
