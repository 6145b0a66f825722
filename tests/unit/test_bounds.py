"""The bound that each test of this project has."""

from __future__ import annotations

import threading

import pytest

from tests.bounds import bounded


def test_what_hangs_fails_with_the_stack_of_each_thread() -> None:
    """The main thread's wait is interrupted; others are shown where they are."""
    lock, ended = threading.Lock(), threading.Event()
    assert lock.acquire(timeout=10)
    other = threading.Thread(target=ended.wait, args=(10,), name="other")
    other.start()
    try:
        with pytest.raises(pytest.fail.Exception) as failed, bounded(0.05):
            lock.acquire(timeout=10)
    finally:
        ended.set()
        other.join(10)
    text = str(failed.value)
    assert text.startswith("not over after 0.05 s\n")
    assert "--- MainThread\n" in text
    assert "lock.acquire(timeout=10)" in text
    assert "--- other\n" in text


def test_what_ends_in_time_is_left_alone() -> None:
    """Its own failure comes out, and a Ctrl-C is one."""
    with bounded(10):
        pass
    for kind in (ValueError, KeyboardInterrupt):
        with pytest.raises(kind), bounded(10):
            raise kind
