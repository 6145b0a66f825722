"""`OwnedLock`: one hold at a time, which its thread knows of."""

from __future__ import annotations

from tests.doubles import Run
from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock


def test_one_holder() -> None:
    """The first has it; the next one does not, and cannot release it."""
    lock, first, second = OwnedLock(), Hold(), Hold()
    assert lock.take(first)
    assert lock.locked
    assert lock.held_by(first)
    assert not lock.take(second)
    assert not lock.release(second)
    assert lock.release(first)
    assert not lock.locked


def test_taking_again_with_the_same_hold() -> None:
    """It still has it: an interrupted take may be repeated."""
    lock, hold = OwnedLock(), Hold()
    assert lock.take(hold)
    assert lock.take(hold)
    assert lock.release(hold)
    assert not lock.locked


def test_release_without_a_hold() -> None:
    """Does nothing, before a take and after a release."""
    lock, hold, another = OwnedLock(), Hold(), Hold()
    assert not lock.release(hold)
    lock.take(hold)
    lock.release(hold)
    lock.take(another)
    assert not lock.release(hold)
    assert lock.held_by(another)


def test_held_here() -> None:
    """Only the holder's thread finds itself; a free lock has no holder."""
    lock, hold = OwnedLock(), Hold()
    seen = [lock.held_here]
    lock.take(hold)
    seen += [lock.held_here, Run(lambda: lock.held_here).result()]
    lock.release(hold)
    assert [*seen, lock.held_here] == [False, True, False, False]


def test_another_thread_releases_it() -> None:
    """A transaction may be ended by another thread than the one that began it."""
    lock, hold = OwnedLock(), Hold()
    lock.take(hold)
    assert Run(lambda: lock.release(hold)).result()
    assert not lock.locked
