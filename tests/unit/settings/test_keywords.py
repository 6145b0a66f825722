"""`produce_async` takes by keyword what every other verb does, and says so."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from waterdrop_py import Producer


def test_it_shows_the_signature_that_it_has_for_callers() -> None:
    """The one of `buffer`, which is written as it is shown, and a handle for it."""
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
def test_what_is_not_given_by_keyword_is_refused(
    given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """As Python would refuse it; nothing is sent."""
    with Producer({"kafka": {"bootstrap.servers": "nobody:1"}}) as producer:
        with pytest.raises(TypeError, match=r"produce_async\(\)"):
            producer.produce_async("t", b"x", *given, **named)
        assert (producer.stats().opens, producer.stats().produced) == (0, 0)
