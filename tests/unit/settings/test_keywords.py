"""`produce_async` takes the same keyword-only arguments as the other verbs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from waterdrop_py import Producer


def test_its_signature_is_the_one_for_callers() -> None:
    """It shows the parameters of `buffer`, and returns a handle."""
    shown = inspect.signature(Producer.produce_async)
    assert shown.parameters == inspect.signature(Producer.buffer).parameters
    assert shown.return_annotation == "DeliveryHandle"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((b"key",), {}),
        ((None,), {}),
        ((None, b"key"), {}),
        ((), {"_": None}),
        ((), {"_": 1, "key": b"key"}),
        ((), {"kye": b"key"}),
    ],
)
def test_positional_keyword_arguments_are_refused(
    given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """They raise a TypeError as from Python, and nothing is sent."""
    with Producer({"kafka": {"bootstrap.servers": "h:1"}}) as producer:
        with pytest.raises(TypeError, match=r"produce_async\(\)"):
            producer.produce_async("t", b"x", *given, **named)
        assert (producer.stats().opens, producer.stats().produced) == (0, 0)
