"""A value that threads replace without a lock."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING

import pytest

from tests.doubles import Run
from waterdrop_py._engine.concurrency.versions import Versioned

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads switch as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_change_is_seen() -> None:
    """By the next look; a look before it keeps what it saw."""
    numbers = Versioned((1,))
    before = numbers.get()
    assert numbers.update(lambda old: (*old, 2)) == (1, 2)
    assert numbers.get() == (1, 2)
    assert before == (1,)


def test_a_change_that_changes_nothing() -> None:
    """It returns what it was given, and no version is made."""
    numbers = Versioned((1,))
    version = numbers._version  # noqa: SLF001
    assert numbers.update(lambda old: old) == (1,)
    assert numbers._version is version  # noqa: SLF001


def test_a_change_that_raises() -> None:
    """Its error comes out, and the value stays."""

    def failing(_: tuple[int, ...]) -> tuple[int, ...]:
        raise LookupError("x")

    numbers = Versioned((1,))
    with pytest.raises(LookupError):
        numbers.update(failing)
    assert numbers.get() == (1,)


def test_a_change_on_top_of_a_change() -> None:
    """As of a signal handler: neither is lost, and the outer one is computed again."""
    seen: list[tuple[int, ...]] = []

    def outer(old: tuple[int, ...]) -> tuple[int, ...]:
        seen.append(old)
        if len(seen) == 1:
            numbers.update(lambda inner: (*inner, 2))
        return (*old, 3)

    numbers = Versioned((1,))
    assert numbers.update(outer) == (1, 2, 3)
    assert seen == [(1,), (1, 2)]


@pytest.mark.usefixtures("eager_switches")
def test_no_change_of_many_threads_is_lost() -> None:
    """Each adds its own numbers."""
    numbers: Versioned[frozenset[int]] = Versioned(frozenset())

    def add(first: int) -> None:
        for number in range(first, first + 100):
            numbers.update(lambda old, new=number: old | {new})  # type: ignore[misc]

    for run in [Run(lambda first=100 * n: add(first)) for n in range(8)]:  # type: ignore[misc]
        run.result()
    assert numbers.get() == frozenset(range(800))


class Held:
    """A value of which the test sees whether it is in memory."""


def test_a_replaced_value_leaves_the_memory() -> None:
    """At once, and without another look."""
    held = Versioned[Held | None](Held())
    gone = weakref.ref(held.get())  # type: ignore[arg-type]
    held.update(lambda _: None)
    gc.collect()
    assert gone() is None


def test_a_version_that_is_stored_late() -> None:
    """A thread stores what it found, although it is the newest no more."""
    held = Versioned[Held | None](Held())
    first = held._version  # noqa: SLF001
    held.update(lambda _: None)
    held._version = first  # noqa: SLF001 - the late store
    assert held.get() is None
    gone = weakref.ref(first.value)  # type: ignore[arg-type]
    del first
    gc.collect()
    assert gone() is None
