"""Builds the producers of tasks; each is closed after the test."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import AsyncProducer

if TYPE_CHECKING:
    from tests.embedded.aio.support import MakeAsync
    from tests.embedded.support import MakeProducer


@pytest.fixture
def make_async(make_producer: MakeProducer) -> MakeAsync:
    """What `make_producer` takes; `transactional=True` gives it an id of its own."""

    def make(
        servers: str | None = None, /, *, transactional: bool = False, **options: Any
    ) -> AsyncProducer:
        if transactional:
            kafka = {"transactional.id": uuid.uuid4().hex}
            options["kafka"] = {**kafka, **options.get("kafka", {})}
        return AsyncProducer(make_producer(servers, **options))

    return make
