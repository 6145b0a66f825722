"""Which line a lease is said to be taken at: that of the caller, however it calls."""

from __future__ import annotations

import _thread
import inspect
from collections import deque
from contextlib import ExitStack
from itertools import starmap
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import eventually
from tests.unit.pools.support import Cluster, transactional

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import Producer


@pytest.fixture(params=["acquire", "transaction"])
def take(request: Any, cluster: Cluster, make_pool: MakePool) -> Any:
    """A method of a pool that takes a lease."""
    return getattr(make_pool(transactional(cluster)), request.param)


def where(take: Any) -> str:
    """Where the only lease of that pool was taken."""
    ((holder,),) = [each.holders for each in take.__self__.slots() if each.holders]
    return str(holder.where)


def line() -> int:
    """The line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_block(take: Any) -> None:
    """The line of the `with`."""
    with take():
        assert where(take) == f"{__file__}:{line() - 1}"


def test_an_exit_stack(take: Any) -> None:
    """The line that calls the method, not one of `contextlib`."""
    with ExitStack() as stack:
        stack.enter_context(take())
        assert where(take) == f"{__file__}:{line() - 1}"


def test_a_function_of_the_users_own(take: Any) -> None:
    """The line in that function."""

    def own() -> AbstractContextManager[Producer]:
        lines.append(line() + 1)
        return take()  # type: ignore[no-any-return]

    lines: list[int] = []
    with own():
        assert where(take) == f"{__file__}:{lines[0]}"


def test_a_thread_that_calls_nothing_else(take: Any) -> None:
    """There is no line outside the library. It gets its lease all the same."""
    taken: deque[AbstractContextManager[Producer]] = deque()
    _thread.start_new_thread(taken.extend, (starmap(take, [()]),))
    eventually(lambda: bool(taken))
    with taken.pop():
        assert "_taking.py:" in where(take)
