"""Producers that are dropped without `close()`."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.embedded.support import eventually
from waterdrop_py import Producer
from waterdrop_py._engine.process.resources import count_resources

if TYPE_CHECKING:
    from waterdrop_py.testing import EmbeddedCluster


def drop(producers: list[Producer]) -> None:
    """Let go of them, also where they are part of a cycle."""
    producers.clear()
    gc.collect()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.own_process
def test_a_producer_that_is_dropped_delivers_and_is_closed(
    cluster: EmbeddedCluster, topic: str, kept: bool
) -> None:
    """With a ResourceWarning, also while a handle of it is kept; nothing stays open."""
    assert eventually(lambda: count_resources().threads == 0)  # type: ignore[union-attr]
    before = count_resources()
    servers = cluster.bootstrap_servers
    producers = [Producer(kafka={"bootstrap.servers": servers, "linger.ms": 200})]
    handles = [producers[0].produce_async(topic, b"x") for _ in range(3)]
    if not kept:
        handles.clear()
    with pytest.warns(ResourceWarning, match=f"{producers[0].id}.* 3 messages"):
        drop(producers)
    assert eventually(lambda: count_resources() == before)
    assert all(handle.exception(0) is None for handle in handles)
    assert len(cluster.read(topic)) == 3


@pytest.mark.own_process
def test_an_idle_producer_that_is_dropped_is_closed(
    cluster: EmbeddedCluster, topic: str
) -> None:
    """Nothing keeps its client open; and there is nothing to warn of."""
    assert eventually(lambda: count_resources().threads == 0)  # type: ignore[union-attr]
    before = count_resources()
    producers = [Producer(kafka={"bootstrap.servers": cluster.bootstrap_servers})]
    producers[0].produce_sync(topic, b"x")
    drop(producers)
    assert eventually(lambda: count_resources() == before)
