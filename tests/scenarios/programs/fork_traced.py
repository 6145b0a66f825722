"""Forks with open spans of messages in flight and in the buffer."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tests.scenarios.kit import TOPIC, make_producer, say, wait_for_child
from waterdrop_py import Message, monitor
from waterdrop_py.errors import WaterdropError
from waterdrop_py.listeners import OpenTelemetryListener


class Telling(SpanProcessor):
    """Tells of each span that starts or ends, in whichever process."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Tell its id."""
        say(started=span.context.span_id)

    def on_end(self, span: ReadableSpan) -> None:
        """Tell its id, its outcome, and whether this is the parent."""
        outcome = (span.attributes or {}).get("error.type")
        say(ended=[span.context.span_id, outcome, os.getpid() == PARENT])


def refusing(message: Message) -> Message:
    """A step that refuses a message of the buffer."""
    if message.payload == b"refused":
        raise LookupError
    return message


def main() -> None:
    """The child drops all that it inherited, and sends a message of its own."""
    provider = TracerProvider()
    provider.add_span_processor(Telling())
    trace.set_tracer_provider(provider)
    monitor.subscribe(OpenTelemetryListener())
    producer = make_producer(close_timeout=500)
    producer.middleware.append(refusing)
    handles = [producer.produce_async(TOPIC, b"in flight") for _ in range(3)]
    producer.produce_async(TOPIC, b"not kept")
    producer.buffer_many([Message(TOPIC, b"kept"), Message(TOPIC, b"refused")])
    with suppress(LookupError):
        producer.flush_buffer_async()
    pid = os.fork()
    if not pid:
        say(lost=all(each.exception(0) for each in handles))
        handles.clear()
        gc.collect()
        producer.produce_async(TOPIC, b"the child's")
        with suppress(WaterdropError):
            producer.close(0.1)
        gc.collect()
        sys.exit(0)
    say(child_code=wait_for_child(pid))
    producer.close(0.1)


PARENT = os.getpid()
main()
