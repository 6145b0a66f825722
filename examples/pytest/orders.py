"""The code under test: a service that announces its orders."""

import json

from waterdrop_py import Producer
from waterdrop_py.errors import ProduceError


class Orders:
    """Announces orders in a topic."""

    def __init__(self, producer: Producer, topic: str = "orders") -> None:
        self._producer = producer
        self._topic = topic

    def announce(self, number: int, item: str) -> bool:
        """Send an order; False if it was not delivered within 5 s."""
        body = json.dumps({"id": number, "item": item})
        try:
            self._producer.produce_sync(self._topic, body, key=str(number), timeout=5)
        except ProduceError:
            return False
        return True
