"""Acting at the moments of a call."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from tests.moments import Moments, each_moment
from waterdrop_py.config import Config

ROOM = "config.py"


def some_calls() -> None:
    """Calls of functions of that room."""
    repr(Config(kafka={"bootstrap.servers": "fake:9092"}))


def test_each_moment_is_acted_at_once() -> None:
    """The last block has no further one."""
    acts: list[int] = []
    blocks: list[Moments] = []
    for moments in each_moment(ROOM, lambda: acts.append(len(blocks))):
        with moments:
            some_calls()
        blocks.append(moments)
    assert len(blocks) > 1
    assert acts == list(range(len(blocks) - 1))


def test_what_is_called_at_each_event_stays() -> None:
    """Until the block ends, also when it acts in a finalizer that runs while CPython
    prepares the event of another moment. The process would crash."""
    alive: list[bool] = []
    called: list[Any] = []
    moments = Moments(ROOM, 1, lambda: alive.append(called[0]() is not None))
    with moments:
        called.append(weakref.ref(sys.getprofile()))
        some_calls()
    assert alive == [True]
    assert called[0]() is None
