"""`ACCOUNTS`: the figures of everything that this process ever made."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from waterdrop_py._engine.concurrency.locks import Hold, OwnedLock
from waterdrop_py._engine.introspection.sums import Sum
from waterdrop_py._engine.process.runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py._engine.connection.connection import Connection
    from waterdrop_py._engine.introspection.stats import ProducerStats


class Labels(NamedTuple):
    """What tells the figures of producers apart.

    Attributes:
        id: the producer's `id`, where the user gave one; None in a pool.
        pool: the name of its pool, where the user gave one.
        tags: its tags, as sorted pairs.
    """

    id: str | None = None
    pool: str | None = None
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str | None:
        """The name of its series: of the producer, or of its pool."""
        return self.id or self.pool


NO_LABELS: Final = Labels()


class Source(Protocol):
    """What has an account: a producer without its variants, or one variant."""

    @property
    def connection(self) -> Connection:
        """What counts."""

    def own_stats(self) -> ProducerStats:
        """Its figures, without those of its variants."""


class Account:
    """One connection, from its construction to its end.

    Attributes:
        is_variant: it belongs to a variant, whose producer has an account of its own.
        ended: in which generation of the sums it is first; `inf` while it is in none.
    """

    __slots__ = ("ended", "is_variant", "labels", "source")

    def __init__(self, source: Source, labels: Labels, *, is_variant: bool) -> None:
        self.source = source
        self.labels = labels
        self.is_variant = is_variant
        self.ended = inf


class Accounts:
    """Every account of this process, and the sums of those that have ended.

    Thread-safe and without a wait, also in finalizers and signal handlers. What has
    ended is summed up for each set of labels, and forgotten.

    A reader sees each account once:
    1. The reader copies `_open`, and then reads `_sums`, a pair of sums and their
       generation.
    2. A thread that ends an account writes the next generation into it, publishes the
       sums of that generation in one step, and only then takes it out of `_open`.
    3. The reader leaves out what is in the generation that it has read.
    (test_an_account_that_ends_meanwhile_counts_once)

    A thread adds to `_ending`, and then tries the lock. The thread that has the lock
    releases it, and then looks at `_ending`. One of the two sees the other.
    """

    def __init__(self) -> None:
        self._lock = OwnedLock()
        self._open: dict[int, Account] = {}
        self._ending: list[Account] = []
        self._sums: tuple[Mapping[Labels, Sum], float] = ({}, 0)
        RUNTIME.add_part(self)

    def reset(self) -> None:
        """Start at zero: this is a forked child. What was collected in the parent ends
        there alone."""
        self._lock = OwnedLock()
        self._ending = []
        self._open = {
            key: account
            for key, account in self._open.items()
            if not account.source.connection.emitter.is_orphan
        }
        self._sums = ({}, 0)

    def due_jobs(self, _: float) -> list[Callable[[], None]]:
        """Nothing is due."""
        return []

    def add(self, source: Source, labels: Labels, *, is_variant: bool = False) -> None:
        """Open an account for `source`, which it keeps until `end`."""
        self._open[id(source)] = Account(source, labels, is_variant=is_variant)

    def end(self, source: Source) -> None:
        """Keep only the figures of `source`, which has ended. Again does no harm."""
        account = self._open.get(id(source))
        if account is None:
            return
        self._ending.append(account)
        while self._ending:
            hold = Hold()
            try:
                if not self._lock.take(hold):
                    return
                self._close_accounts(list(self._ending))
            finally:
                self._lock.release(hold)

    def _close_accounts(self, ending: list[Account]) -> None:
        before, generation = self._sums
        sums = dict(before)
        for account in dict.fromkeys(ending):
            if account.ended <= generation:
                continue
            account.source.connection.ledger.stop()
            account.ended = generation + 1
            total = Sum()
            if account.labels in sums:
                total.add_sum(sums[account.labels])
            stats = account.source.own_stats()
            total.add(replace(stats, in_flight=0, buffered=0, idle_timeout_ms=None))
            if stats.opens:
                sums[account.labels] = total
        self._sums = (sums, generation + 1)
        for account in ending:
            self._open.pop(id(account.source), None)
            self._ending.remove(account)

    def read(self) -> tuple[list[Account], Mapping[Labels, Sum]]:
        """The accounts that have not ended, and the sums of the others by labels."""
        accounts = list(self._open.values())
        sums, generation = self._sums
        return [each for each in accounts if each.ended > generation], sums


ACCOUNTS: Final = Accounts()
