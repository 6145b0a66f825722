"""Tests of the service without a broker: pytest test_app.py."""

from collections.abc import Iterator

import app
import pytest

from waterdrop_py import Producer
from waterdrop_py.testing import BufferedClient


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[BufferedClient]:
    """Keeps what the service sends."""
    client = BufferedClient()
    with Producer(kafka={"client.id": "test"}, client_factory=client) as fake:
        monkeypatch.setattr(app, "producer", fake)
        yield client


def test_an_order_is_sent_with_its_key(kafka: BufferedClient) -> None:
    """The key keeps all messages of an order in one partition."""
    order = {"id": "42", "item": "tea"}
    assert app.app.test_client().post("/orders", json=order).status_code == 201
    [message] = kafka.messages_for("orders")
    assert message.key() == b"42"
    assert message.value() == b'{"id": "42", "item": "tea"}'


def test_idle_is_healthy(kafka: BufferedClient) -> None:
    """A probe does not open a client."""
    answer = app.app.test_client().get("/health")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "healthy")
