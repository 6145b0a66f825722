"""`Buckets`: how long things took, summed up so that totals stay exact at each edge."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from operator import add
from typing import Final

from waterdrop_py.errors import InvalidArgumentError

GAP_EDGES: Final = (
    2.0,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    45.0,
    60.0,
    90.0,
    120.0,
    180.0,
    220.0,
    240.0,
    300.0,
    450.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    86400.0,
)
"""Seconds: the edges of `idle_gaps_s`."""
REOPEN_EDGES: Final = (
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    2000.0,
    5000.0,
    10000.0,
)
"""Milliseconds: the edges of `reopen_times_ms`."""


@dataclass(frozen=True, slots=True, repr=False)
class Buckets:
    """Values by size: how many, and their sum, between one edge and the next.

    A value belongs to the first edge that is at least as large; beyond the last edge it
    belongs to the last bucket. Immutable, so thread-safe. Two with the same edges can
    be added.

    Raises:
        InvalidArgumentError: the edges do not rise, or `counts` or `sums` is not one
            longer than `edges`.

    Attributes:
        edges: the upper limits, rising.
        counts: how many values each bucket has; one more than there are edges.
        sums: what these values add up to, in the same order.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    sums: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("edges", "counts", "sums"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.edges or any(
            not low < high
            for low, high in zip(self.edges, self.edges[1:], strict=False)
        ):
            raise InvalidArgumentError(
                f"edges: must be numbers that rise, got {self.edges!r}"
            )
        for name in ("counts", "sums"):
            found = len(getattr(self, name))
            if found != len(self.edges) + 1:
                raise InvalidArgumentError(
                    f"{name}: must be one longer than edges ({len(self.edges) + 1}), "
                    f"got {found}"
                )

    @classmethod
    def of(cls, edges: Iterable[float], values: Iterable[float] = ()) -> Buckets:
        """Buckets with these edges, and with `values` in them."""
        edges = tuple(edges)
        counts, sums = [0] * (len(edges) + 1), [0.0] * (len(edges) + 1)
        for value in values:
            index = bisect_left(edges, value)
            counts[index] += 1
            sums[index] += value
        return cls(edges, tuple(counts), tuple(sums))

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    @property
    def sum(self) -> float:
        """What all values add up to."""
        return sum(self.sums)

    def quantile(self, q: float) -> float | None:
        """The edge that at least the share `q` of the values does not exceed.

        `inf` where these lie beyond the last edge; None without values.

        Raises:
            InvalidArgumentError: `q` is not between 0 and 1.
        """
        number = isinstance(q, int | float) and not isinstance(q, bool)
        if not (number and 0 <= q <= 1):
            raise InvalidArgumentError(
                f"q: must be a number between 0 and 1, got {q!r}"
            )
        left = max(1, ceil(q * self.count))
        if not self.count:
            return None
        for edge, count in zip(self.edges, self.counts, strict=False):
            left -= count
            if left <= 0:
                return edge
        return inf

    def __repr__(self) -> str:
        return f"<Buckets count={self.count} sum={self.sum:g}>"

    def __add__(self, other: Buckets) -> Buckets:
        if not isinstance(other, Buckets):
            return NotImplemented
        if self.edges != other.edges:
            raise InvalidArgumentError(
                "buckets can be added if their edges are equal, got "
                f"{self.edges!r} and {other.edges!r}"
            )
        return Buckets(
            self.edges,
            tuple(map(add, self.counts, other.counts)),
            tuple(map(add, self.sums, other.sums)),
        )
