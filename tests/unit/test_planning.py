"""`Buckets`: counts and exact sums by size."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, asdict
from math import inf, nan
from typing import Any

import pytest

from waterdrop_py import planning
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.planning import GAP_EDGES, REOPEN_EDGES, Buckets


def test_the_edges_are_those_of_the_board() -> None:
    """Dashboards and plans count on them."""
    edges = "2 5 10 15 20 30 45 60 90 120 180 220 240 300 450 600 900 1800 3600 7200"
    assert [*GAP_EDGES] == [*map(int, edges.split()), 21_600, 86_400]
    edges = "1 2 5 10 20 50 100 200 500 1000 2000 5000 10000"
    assert [*REOPEN_EDGES] == [*map(int, edges.split())]
    assert planning.Buckets is Buckets


def test_a_value_belongs_to_the_first_edge_that_is_as_large() -> None:
    """An edge belongs to its own bucket; what is beyond the last, to the last one."""
    buckets = Buckets.of((1, 2, 5), [0, 1, 1.5, 2, 5, 5.1, 100])
    assert [*buckets.counts] == [2, 2, 1, 2]
    assert [*buckets.sums] == [1, 3.5, 5, 105.1]
    assert (buckets.count, buckets.sum) == (7, 114.6)


def test_they_are_frozen_tuples() -> None:
    """Lists become tuples; nothing can be assigned; equal ones are equal."""
    buckets = Buckets([1, 2], [0, 1, 2], [0.0, 1.5, 9.0])  # type: ignore[arg-type]
    assert buckets == Buckets((1, 2), (0, 1, 2), (0.0, 1.5, 9.0))
    assert isinstance(buckets.edges, tuple)
    assert isinstance(buckets.counts, tuple)
    assert isinstance(buckets.sums, tuple)
    with pytest.raises(FrozenInstanceError):
        buckets.counts = (1, 1, 1)  # type: ignore[misc]
    assert hash(buckets) == hash(pickle.loads(pickle.dumps(buckets)))
    assert Buckets(**asdict(buckets)) == buckets
    assert repr(buckets) == "<Buckets count=3 sum=10.5>"


@pytest.mark.parametrize(
    ("values", "q", "edge"),
    [
        ([1, 1, 1, 1], 0.5, 1),
        ([1, 2, 5, 5], 0.5, 2),
        ([1, 2, 5, 5], 0.51, 5),
        ([1] * 99 + [5], 0.99, 1),
        ([1] * 98 + [5] * 2, 0.99, 5),
        ([3], 0, 5),
        ([1, 3], 0, 1),
        ([3], 1, 5),
        ([7], 0.5, inf),
        ([], 0.5, None),
    ],
)
def test_a_quantile_is_an_edge(values: list[float], q: float, edge: float) -> None:
    """The edge that so many values do not exceed; `inf` beyond, None without any."""
    assert Buckets.of((1, 2, 5), values).quantile(q) == edge


@pytest.mark.parametrize("q", [-0.1, 1.1, nan, 50, "0.5", None, True])
def test_a_quantile_that_is_no_share_is_refused(q: Any) -> None:
    """50 for 50 % is an error, which names the legal range; without values too."""
    for values in ([1], []):
        with pytest.raises(InvalidArgumentError, match=r"q: must be .*between 0 and 1"):
            Buckets.of((1, 2), values).quantile(q)


def test_they_add_up() -> None:
    """Counts and sums, bucket by bucket."""
    one, other = Buckets.of((1, 2), [1, 3]), Buckets.of((1, 2), [2, 4, 0.5])
    assert one + other == Buckets.of((1, 2), [1, 3, 2, 4, 0.5])
    whole = Buckets((1, 2), (1, 0, 0), (1, 0, 0))
    assert (whole + whole).sums == (2, 0, 0)


def test_different_edges_do_not_add_up() -> None:
    """The error shows both; what is not `Buckets` is a `TypeError`."""
    with pytest.raises(InvalidArgumentError, match=r"edges .*\(1, 2\) and \(1, 3\)"):
        Buckets.of((1, 2)) + Buckets.of((1, 3))
    with pytest.raises(TypeError):
        Buckets.of((1, 2)) + 5  # type: ignore[operator]


@pytest.mark.parametrize(
    ("edges", "counts", "sums", "field"),
    [
        ((), (1,), (1.0,), "edges"),
        ((2, 1), (0, 0, 0), (0, 0, 0), "edges"),
        ((1, 1), (0, 0, 0), (0, 0, 0), "edges"),
        ((1, nan), (0, 0, 0), (0, 0, 0), "edges"),
        ((1, 2), (0, 0), (0, 0, 0), "counts"),
        ((1, 2), (0, 0, 0), (0, 0, 0, 0), "sums"),
    ],
)
def test_what_does_not_fit_is_refused(
    edges: Any, counts: Any, sums: Any, field: str
) -> None:
    """The error names the field, what it got, and what would be legal."""
    with pytest.raises(InvalidArgumentError, match=f"^{field}: must be .*, got "):
        Buckets(edges, counts, sums)
