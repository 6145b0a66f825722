"""`with pool.transaction() as producer:`."""

# ruff: noqa: PT012 - a transaction is a block, and what it raises is the promise

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.doubles import Run, eventually
from tests.unit.pools.support import Cluster, balanced, names, transactional
from waterdrop_py import AbortTransaction
from waterdrop_py.errors import (
    PoolClosedError,
    PoolError,
    PoolTimeoutError,
    ProducerNotTransactionalError,
    TransactionalCloseError,
)
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from tests.unit.pools.conftest import MakePool
    from waterdrop_py import ProducerPool

ENDS = ("transaction.started", "transaction.committed", "transaction.aborted")


@pytest.fixture
def pool(cluster: Cluster, make_pool: MakePool) -> ProducerPool:
    """A transactional pool of two."""
    return make_pool(transactional(cluster), size=2, timeout=0.05)


def test_a_lease_and_a_transaction(pool: ProducerPool) -> None:
    """Ended in reverse: the transaction is committed before the lease is released."""
    with record(pool.monitor) as events, pool.transaction() as producer:
        assert producer.in_transaction
        assert pool.stats().leased == 1
        producer.produce_async("t", b"x")
    assert not producer.in_transaction
    found = [each for each in names(events, "") if each in {*ENDS, "pool.released"}]
    assert found == ["transaction.started", "transaction.committed", "pool.released"]
    assert pool.stats().available == 2


@pytest.mark.parametrize("error", [LookupError(), KeyboardInterrupt()])
def test_an_exception_aborts(error: BaseException, pool: ProducerPool) -> None:
    """It comes out, the transaction is aborted, and the lease is back."""
    with (
        record(pool.monitor) as events,
        pytest.raises(type(error)),
        pool.transaction() as producer,
    ):
        producer.produce_async("t", b"x")
        raise error
    assert "transaction.aborted" in names(events, "transaction.")
    assert pool.stats().available == 2
    with pool.transaction():
        pass


def test_abort_without_an_error(pool: ProducerPool) -> None:
    """`AbortTransaction` ends the block, as with a producer."""
    with record(pool.monitor) as events, pool.transaction():
        raise AbortTransaction
    assert "transaction.aborted" in names(events, "transaction.")
    assert pool.stats().leased == 0


def test_without_a_transactional_id(make_pool: MakePool) -> None:
    """It says so, and takes no lease."""
    pool = make_pool()
    with pytest.raises(ProducerNotTransactionalError, match=r"transactional\.id"):
        pool.transaction()
    assert pool.stats().requests == 0


def test_the_call_takes_nothing(pool: ProducerPool) -> None:
    """The block does; a block that is never entered costs nothing."""
    block = pool.transaction()
    assert pool.stats().requests == 0
    with block:
        assert pool.stats().leased == 1
    assert pool.stats().requests == 1


def test_a_closed_pool_begins_none(pool: ProducerPool) -> None:
    """The call says so; and so does a block that was made before."""
    block = pool.transaction()
    pool.close()
    with pytest.raises(PoolClosedError):
        pool.transaction()
    with pytest.raises(PoolClosedError):
        block.__enter__()


def test_each_with_needs_its_own(pool: ProducerPool) -> None:
    """Entering one again says so, and ends nothing of the first."""
    block = pool.transaction()
    with block as producer:
        with pytest.raises(PoolError, match="of its own"):
            block.__enter__()
        assert producer.in_transaction
        assert pool.stats().leased == 1
    assert pool.stats().leased == 0


def test_nested_blocks(pool: ProducerPool) -> None:
    """Each has a producer of its own; the outer one outlives the inner one's abort."""
    with pool.transaction() as outer:
        outer.produce_async("t", b"outer")
        with contextlib.suppress(LookupError), pool.transaction() as inner:
            assert inner is not outer
            raise LookupError
        assert outer.in_transaction
    assert pool.stats().available == 2


def test_no_block_beyond_the_size(pool: ProducerPool) -> None:
    """It waits like `acquire`, and says that leases are nested."""
    with (
        pool.transaction(),
        pool.transaction(),
        pytest.raises(PoolTimeoutError, match="nested"),
        pool.transaction(),
    ):
        pass
    assert pool.stats().available == 2
    assert balanced(pool)


def test_it_says_where_the_block_is(pool: ProducerPool) -> None:
    """The holder's line is that of the `with`."""
    with pool.transaction():
        (holder,) = pool.slots()[0].holders
    assert "test_transactions.py:" in holder.where


def test_a_begin_that_fails(cluster: Cluster, pool: ProducerPool) -> None:
    """Its error comes out, and the lease is back."""

    def fail() -> None:
        raise LookupError

    cluster.parks["init_transactions"] = fail
    with pytest.raises(LookupError), pool.transaction():
        pass
    cluster.parks.clear()
    assert pool.stats().available == 2
    with pool.transaction():
        pass


def test_transactions_run_at_the_same_time(pool: ProducerPool) -> None:
    """As many as the pool has producers."""
    inside: list[str] = []

    def one() -> None:
        with pool.transaction() as producer:
            inside.append(producer.id)
            eventually(lambda: len(inside) == 2)

    runs = [Run(one) for _ in range(2)]
    for run in runs:
        run.result()
    assert len(set(inside)) == 2


def test_close_inside_a_transaction(pool: ProducerPool) -> None:
    """It is refused, whichever producer of the pool it is, and nothing has changed."""
    with pool.transaction() as producer:
        with pytest.raises(TransactionalCloseError):
            pool.close()
        assert not pool.closed
        producer.produce_async("t", b"x")
    pool.close()
    assert pool.closed
    with pytest.raises(PoolClosedError), pool.transaction():
        pass


def test_close_while_another_thread_is_inside(pool: ProducerPool) -> None:
    """It waits for that lease."""
    ended: list[str] = []

    def work() -> None:
        with pool.transaction() as producer:
            producer.produce_async("t", b"x")
            eventually(lambda: pool.closed)
            ended.append("block")

    run = Run(work)
    eventually(lambda: pool.stats().leased == 1)
    report = pool.close(5)
    assert ended == ["block"]
    run.result()
    assert report.complete
    assert pool.stats().acknowledged == 1
