"""Arguments that are numbers of seconds or numbers of times."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from waterdrop_py._settings.arguments import count, required_seconds, seconds
from waterdrop_py.errors import InvalidArgumentError


class Mute:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0.0),
        (1.5, 1.5),
        (timedelta(minutes=1), 60.0),
        (timedelta(0), 0.0),
        (10**400, math.inf),
    ],
)
def test_durations(given: Any, expected: float) -> None:
    """A number is seconds; a timedelta is converted to seconds."""
    assert seconds("timeout", given) == expected
    assert required_seconds("timeout", given) == expected


@pytest.mark.parametrize(
    "given",
    [
        -0.001,
        -1,
        pytest.param(-(10**5_000), id="huge"),
        timedelta(-1),
        float("nan"),
        "5",
        True,
        b"1",
        [],
        Mute(),
    ],
)
def test_illegal_durations(given: Any) -> None:
    """The error of a negative number, another type or a bool names the argument."""
    with pytest.raises(InvalidArgumentError, match=r"^timeout: "):
        seconds("timeout", given)


def test_none() -> None:
    """None is no bound if that is legal, and an error if it is not."""
    assert seconds("timeout", None) is None
    with pytest.raises(InvalidArgumentError, match=r"^timeout: must .* got None"):
        required_seconds("timeout", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 0, 7])
def test_counts(given: int | None) -> None:
    """A number of times, or None, is legal."""
    assert count("max_retries", given) == given


@pytest.mark.parametrize("given", [-1, 1.0, True, "1"])
def test_illegal_counts(given: Any) -> None:
    """Anything else is refused; the error names the argument."""
    with pytest.raises(InvalidArgumentError, match=r"^max_retries: "):
        count("max_retries", given)
