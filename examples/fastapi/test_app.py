"""Tests of the service without a broker: pytest test_app.py."""

from collections.abc import Iterator

import pytest
from app import app, get_producer
from fastapi.testclient import TestClient

from waterdrop_py import AsyncProducer, Producer
from waterdrop_py.testing import BufferedClient


@pytest.fixture
def kafka() -> Iterator[BufferedClient]:
    """Keeps what the service sends."""
    client = BufferedClient()
    with Producer(kafka={"client.id": "test"}, client_factory=client) as fake:
        app.dependency_overrides[get_producer] = lambda: AsyncProducer(fake)
        yield client
    app.dependency_overrides.clear()


def test_an_order_is_sent_with_its_key(kafka: BufferedClient) -> None:
    """The key keeps all messages of an order in one partition."""
    answer = TestClient(app).post("/orders", json={"id": "42", "item": "tea"})
    assert answer.status_code == 201
    [message] = kafka.messages_for("orders")
    assert message.key() == b"42"
    assert message.value() == b'{"id":"42","item":"tea"}'


def test_an_order_without_an_item_sends_nothing(kafka: BufferedClient) -> None:
    """FastAPI refuses it first."""
    assert TestClient(app).post("/orders", json={"id": "42"}).status_code == 422
    assert kafka.messages == []


def test_idle_is_healthy(kafka: BufferedClient) -> None:
    """A probe does not open a client."""
    answer = TestClient(app).get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
