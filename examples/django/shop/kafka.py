"""The producer of this process."""

from functools import cache

from django.conf import settings

from waterdrop_py import Producer


@cache
def producer() -> Producer:
    """Made at the first use, so `manage.py migrate` has none."""
    return Producer(settings.KAFKA_URL, idle_disconnect_timeout="3m")
