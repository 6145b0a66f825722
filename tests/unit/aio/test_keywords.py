"""Calls of the coroutines whose arguments do not fit: the `TypeError` names ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import AsyncProducer
from waterdrop_py.testing import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS = ("send", "produce")
"""Those whose code collects what does not fit."""


@pytest.fixture
def producer() -> Iterator[AsyncProducer]:
    """One with a client that takes everything."""
    made = AsyncProducer(
        kafka={"bootstrap.servers": "h:1"}, client_factory=BufferedClient
    )
    yield made
    made.sync_producer.close(force=True)


def _refused(
    producer: AsyncProducer, verb: str, /, *given: object, **named: object
) -> str:
    """The text of the `TypeError` of a call; nothing was sent."""

    async def call() -> Any:
        return await getattr(producer, verb)(*given, **named)

    with pytest.raises(TypeError) as caught:
        asyncio.run(call())
    assert producer.stats().produced == 0
    return str(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_the_argument_that_is_missing_is_named(
    producer: AsyncProducer, verb: str
) -> None:
    """Also where the other one was given by keyword, or one was given twice."""
    for named in ({}, {"payload": b"x"}, {"payload": b"x", "key": b"k"}):
        assert _refused(producer, verb, **named) == f"{verb}() needs 'topic'"
    hint = f"{verb}() needs 'payload' (None, for a null payload)"
    assert _refused(producer, verb, "t") == hint
    assert _refused(producer, verb, topic="t", label=1) == hint
    for name in ("topic", "payload", "self"):
        text = _refused(producer, verb, "t", b"x", **{name: b"y"})
        assert text.endswith(f"multiple values for argument '{name}'")
    text = _refused(producer, verb, "t", b"x", b"key")
    assert text.startswith(f"{verb}() takes topic, payload by position")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["function", "given", "extra", "wrong", "_", "verb"])
def test_a_foreign_name_may_be_one_of_our_own_code(
    producer: AsyncProducer, verb: str, name: str
) -> None:
    """A name that the code uses for itself is answered as any other foreign name."""
    for given in ((), ("t",), ("t", b"x"), ("t", b"x", b"key")):
        text = _refused(producer, verb, *given, **{name: 1})
        start = f"{verb}() has no argument {name!r}; it has topic, payload, key"
        assert text.startswith(start)
