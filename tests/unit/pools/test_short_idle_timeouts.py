"""A pool made inside of `allow_short_idle_timeouts()` works after the block."""

from __future__ import annotations

from typing import Any

import pytest

from waterdrop_py import ProducerPool
from waterdrop_py.errors import ConfigurationInvalidError
from waterdrop_py.pools._settings import PoolSettings
from waterdrop_py.testing import allow_short_idle_timeouts

KAFKA = {"bootstrap.servers": "127.0.0.1:9", "transactional.id": "payments"}
SHORT: dict[str, Any] = {
    "kafka": KAFKA,
    "idle_disconnect_timeout": 200,
    "max_connection_age": 700,
}


def settings_of(source: Any, **options: Any) -> PoolSettings:
    """Settings that were read inside of the block."""
    with allow_short_idle_timeouts():
        return PoolSettings.of(source, options)


def test_leases_have_the_short_timeouts() -> None:
    """A slot's producer is made after the block, and is closed as soon as it says."""
    with allow_short_idle_timeouts():
        pool = ProducerPool(SHORT, size=2)
    with pool, pool.acquire() as producer:
        assert producer.config.idle_disconnect_timeout == 200
        assert producer.config.max_connection_age == 700


def test_the_same_configuration_is_loaded_once_more() -> None:
    """`reload()` without a configuration does not read the mapping again: it may have
    changed, or be legal inside of the block only."""
    source = dict(SHORT)
    settings = settings_of(source, size=2)
    source["kafka"] = {"bootstrap.servers": "elsewhere:9"}
    again = settings.reloaded(None)
    assert again.config_of(1) == settings.config_of(1)
    assert again.proving_config().idle_disconnect_timeout == 200
    other = settings.reloaded({"kafka": KAFKA})
    assert other.reloaded(None).source is other.base


def test_a_slot_that_stays_open_has_no_timeout() -> None:
    """What the pool changes does change, to the value of the default too."""
    config = settings_of(SHORT, size=2, min_connected=1).config_of(0)
    assert config.idle_disconnect_timeout == 0
    assert config.max_connection_age == 700
    assert config.kafka["transactional.id"] == "payments-0"


def test_another_configuration_has_to_be_legal() -> None:
    """What `reload()` is given after the block is new, so the limits hold for it."""
    with pytest.raises(ConfigurationInvalidError, match="idle_disconnect_timeout"):
        settings_of({"kafka": KAFKA}).reloaded(SHORT)
