"""Messages of the troubleshooting page that only a real broker provokes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.said import documented, is_said, raised_by
from tests.docs.test_troubleshooting import ON_KAFKA
from tests.kafka.test_misconfigured import wrong_mechanism, wrong_password
from waterdrop_py import Producer

if TYPE_CHECKING:
    from tests.kafka.harness import KafkaCluster

WRONG = {"authentication": wrong_password, "mechanism": wrong_mechanism}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_message_is_as_the_page_says(kafka: KafkaCluster, name: str) -> None:
    """What `connect()` raises has the lines of the page, in their order."""
    with Producer(kafka=WRONG[name](kafka), close_timeout=0) as producer:
        said = raised_by(lambda: producer.connect(timeout=2))
    assert is_said(documented()[name], said), said


def test_every_message_of_a_broker_is_provoked() -> None:
    """What the other tests leave to this file is tested here."""
    assert set(WRONG) == ON_KAFKA
