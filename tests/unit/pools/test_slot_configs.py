"""What the producers of a pool are made with."""

from __future__ import annotations

from waterdrop_py import Config, ProducerPool
from waterdrop_py.testing import FakeClient, allow_short_idle_timeouts


def pool_of(**options: int) -> ProducerPool:
    """A pool that was made where short timeouts are allowed."""
    with allow_short_idle_timeouts():
        kafka = {"client.id": "short"}
        config = Config(kafka=kafka, client_factory=FakeClient, **options)  # type: ignore[arg-type]
        return ProducerPool(config, size=2)


def test_a_short_timeout_stays_legal_beyond_its_block() -> None:
    """A slot's producer is made later, when short timeouts may not be allowed."""
    with (
        pool_of(idle_disconnect_timeout=50, max_connection_age=70) as pool,
        pool.acquire() as first,
        pool.acquire() as second,
    ):
        for each in (first, second):
            assert each.config.idle_disconnect_timeout == 50
            assert each.config.max_connection_age == 70


def test_all_have_the_same_properties() -> None:
    """A hundred slots keep one mapping of them, and not a hundred."""
    with pool_of() as pool, pool.acquire() as first, pool.acquire() as second:
        assert first.id != second.id
        assert first.config.kafka is second.config.kafka
