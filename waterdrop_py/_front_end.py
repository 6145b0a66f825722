"""What the front end in asyncio takes from a producer or a variant."""

from __future__ import annotations

from typing import Any

from waterdrop_py._engine.assembly import Components
from waterdrop_py.message import Message
from waterdrop_py.sender import Sender


def tombstone_of(
    sender: Sender, topic: Any, key: Any, partition: Any, headers: Any
) -> Message:
    """A message with a null payload, for the front end in asyncio."""
    return sender._tombstone(topic, key, partition, headers)


def components_of(sender: Sender) -> Components:
    """The parts of a producer or a variant, for its front end in asyncio."""
    return sender._components
