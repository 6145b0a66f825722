"""Tests of the shop without a broker: python manage.py test."""

import json
from unittest import mock

from django.test import TestCase

from waterdrop_py import Producer
from waterdrop_py.testing import BufferedClient


class OrderTests(TestCase):
    """What the shop sends."""

    def setUp(self) -> None:
        """Have the views send to a double."""
        self.kafka = BufferedClient()
        fake = Producer(kafka={"client.id": "test"}, client_factory=self.kafka)
        self.addCleanup(fake.close)
        patch = mock.patch("shop.views.producer", return_value=fake)
        patch.start()
        self.addCleanup(patch.stop)

    def order(self, item: str) -> int:
        """Order something, and return the order's number."""
        answer = self.client.post("/orders", {"item": item}, "application/json")
        self.assertEqual(answer.status_code, 201)
        return int(answer.json()["id"])

    def test_an_order_is_announced_after_the_commit(self) -> None:
        """With its number as the key."""
        with self.captureOnCommitCallbacks(execute=True):
            number = self.order("tea")
        [message] = self.kafka.messages_for("orders")
        self.assertEqual(message.key(), str(number).encode())
        body = json.dumps({"id": number, "item": "tea"})
        self.assertEqual(message.value(), body.encode())

    def test_an_order_is_not_announced_before_the_commit(self) -> None:
        """A test case never commits by itself."""
        self.order("tea")
        self.assertEqual(self.kafka.messages, [])
