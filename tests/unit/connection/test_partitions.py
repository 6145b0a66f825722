"""How many partitions a topic has, and what asking for it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import confluent_kafka
import confluent_kafka.admin

from tests.concurrency.still import StillProducer
from tests.doubles import Bench
from waterdrop_py._engine.connection.opening import open_noted
from waterdrop_py._engine.connection.partition_lookup import partition_count

if TYPE_CHECKING:
    import pytest


def test_the_call_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """confluent-kafka imports its admin module inside the call, where a Ctrl-C becomes
    an ImportError: it is there before."""
    monkeypatch.setattr(confluent_kafka, "admin", confluent_kafka.admin)
    monkeypatch.delitem(sys.modules, "confluent_kafka.admin")
    bench = Bench()
    bench.topics["t"] = 3
    producer = StillProducer(bench)
    producer.runtime.prompt = True
    open_noted(producer.connection, None)
    native, imported = bench.client.list_topics, []

    def list_topics(*arguments: Any, **named: Any) -> Any:
        imported.append("confluent_kafka.admin" in sys.modules)
        return native(*arguments, **named)

    monkeypatch.setattr(bench.client, "list_topics", list_topics)
    assert partition_count(producer.connection, "t") == 3
    assert imported == [True]
