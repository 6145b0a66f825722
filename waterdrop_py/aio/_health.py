"""`ShallowHealth`: what `AsyncProducerPool.health` knows at once."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from waterdrop_py._engine.introspection.health import Health

if TYPE_CHECKING:
    from collections.abc import Generator


class ShallowHealth(Health):
    """A `Health`. Awaiting it gives it, without a suspension."""

    __slots__ = ()

    @classmethod
    def of(cls, health: Health) -> ShallowHealth:
        """The same."""
        return cls(*(getattr(health, each.name) for each in fields(health)))

    def __await__(self) -> Generator[object, None, Health]:
        yield from ()
        return self
