"""The pools of this process: they start afresh in a child, and hear of subscribers."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from waterdrop_py._engine.concurrency import unhooked_forks
from waterdrop_py._engine.process.runtime import RUNTIME
from waterdrop_py.monitor import on_shared_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    class Pool(Protocol):
        """What is told to each pool."""

        def _refresh(self) -> None:
            """The subscriptions have changed."""

        def _start_afresh(self) -> None:
            """This is a forked child."""

        @property
        def _in_use(self) -> bool:
            """Whether there is anything that may be left undone."""

        def _sweep(self) -> None:
            """Do what signal handlers may have left undone."""


class _Reference(weakref.ref["Pool"]):
    __slots__ = ("key",)
    key: int


_POOLS: Final[dict[int, _Reference]] = {}


def register(pool: Pool) -> None:
    """Add a pool, which is held weakly."""
    reference = _Reference(pool, _forget)
    reference.key = id(pool)
    _POOLS[reference.key] = reference


def _forget(reference: _Reference) -> None:
    if _POOLS.get(reference.key) is reference:
        del _POOLS[reference.key]


def _alive() -> Iterator[Pool]:
    for reference in list(_POOLS.values()):
        pool = reference()
        if pool is not None:
            yield pool


def _refresh() -> None:
    for pool in _alive():
        pool._refresh()


def _start_afresh() -> None:
    for pool in _alive():
        pool._start_afresh()


class _Sweep:
    """Has each pool look once a second for what was left undone."""

    def reset(self) -> None:
        """The pools start afresh on their own, after the producers."""

    def due_jobs(self, _now: float) -> list[Callable[[], None]]:
        """A job for each pool that is in use, on a library thread."""
        return [pool._sweep for pool in _alive() if pool._in_use]


# After the producers, whose hooks were registered when their module was imported.
on_shared_change(_refresh)
RUNTIME.add_part(_Sweep())
unhooked_forks.on_fork(_start_afresh)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
