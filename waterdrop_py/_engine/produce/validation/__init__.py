"""Validation: what a message must be, and the form in which it is sent.

It sees every message that the fast path of `produce_async` does not recognise as
plainly legal.
"""

from waterdrop_py._engine.produce.validation.fields import KNOWN_TOPICS
from waterdrop_py._engine.produce.validation.messages import (
    FIELDS,
    Violations,
    as_message,
    as_messages,
    listed,
    snapshots,
)
from waterdrop_py._engine.produce.validation.plain import plain_headers
from waterdrop_py._engine.produce.validation.prepare import (
    checked_topic,
    fill,
    fill_others,
    fill_run,
    to_wait_for,
)

__all__ = [
    "FIELDS",
    "KNOWN_TOPICS",
    "Violations",
    "as_message",
    "as_messages",
    "checked_topic",
    "fill",
    "fill_others",
    "fill_run",
    "listed",
    "plain_headers",
    "snapshots",
    "to_wait_for",
]
