"""What a message must be, and the form in which it is sent.

Called for every message that the fast path of `Producer.produce_async` does not
recognise as plainly legal.
"""

from waterdrop_py._engine.produce.validation.fields import KNOWN_TOPICS
from waterdrop_py._engine.produce.validation.messages import (
    FIELDS,
    as_message,
    as_messages,
    listed,
    snapshot,
    snapshots,
)
from waterdrop_py._engine.produce.validation.plain import plain_headers
from waterdrop_py._engine.produce.validation.prepare import (
    checked_topic,
    fill,
    fill_all,
    fill_others,
)
from waterdrop_py._engine.transactions.offsets import checked_positions, listed_consumed

__all__ = [
    "FIELDS",
    "KNOWN_TOPICS",
    "as_message",
    "as_messages",
    "checked_positions",
    "checked_topic",
    "fill",
    "fill_all",
    "fill_others",
    "listed",
    "listed_consumed",
    "plain_headers",
    "snapshot",
    "snapshots",
]
