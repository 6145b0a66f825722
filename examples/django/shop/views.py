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
    """Send the order. The message is delivered later, at the latest at the exit."""
    body = json.dumps({"id": order.pk, "item": order.item})
    producer().produce_async("orders", body, key=str(order.pk))


def health(request: HttpRequest) -> JsonResponse:
    """What a probe asks. It opens no client, and an idle producer is healthy."""
    found = producer().health()
    return JsonResponse({"healthy": found.healthy, "status": str(found.status)})
