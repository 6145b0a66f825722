"""Arguments of a producer's methods that are True or False."""

from __future__ import annotations

from typing import Any

import pytest

from waterdrop_py import Producer, Status
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.testing import FakeClient


@pytest.mark.parametrize("flag", [1, "no", None])
def test_a_flag_that_is_not_a_bool(flag: Any) -> None:
    """It is named, and nothing is done: "no" would be true."""
    producer = Producer(
        kafka={"bootstrap.servers": "fake:9092"}, client_factory=FakeClient
    )
    with pytest.raises(InvalidArgumentError, match="force: must be a bool, got"):
        producer.close(force=flag)
    with pytest.raises(InvalidArgumentError, match="deep: must be a bool, got"):
        producer.health(deep=flag)
    assert producer.status is Status.CONFIGURED
