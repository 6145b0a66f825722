"""What the shop answers."""

import json
from functools import partial

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from shop.kafka import producer
from shop.models import Order


@csrf_exempt
def create_order(request: HttpRequest) -> JsonResponse:
    """Store an order, and announce it after the commit."""
    item = json.loads(request.body)["item"]
    with transaction.atomic():
        order = Order.objects.create(item=item)
        # Not before the commit: an order that is rolled back must not be announced.
        transaction.on_commit(partial(announce, order))
    return JsonResponse({"id": order.pk}, status=201)


def announce(order: Order) -> None:
    """Send the order. Delivery goes on, and the exit waits for it."""
    body = json.dumps({"id": order.pk, "item": order.item})
    producer().produce_async("orders", body, key=str(order.pk))


def health(request: HttpRequest) -> JsonResponse:
    """Answer a readiness probe: 200, or 503 while Kafka fails. Opens no client."""
    status, body = producer().health().http()
    return JsonResponse(body, status=status)
