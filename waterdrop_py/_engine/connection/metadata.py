"""Asking the cluster for the metadata of one topic, opening a client if need be.

An answer is confluent-kafka's `ClusterMetadata`. How it is asked for is in
`metadata_request.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection.metadata_request import joined, wait_for
from waterdrop_py._engine.connection.opening import open_noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py._engine.connection.connection import Connection

PROBE: Final = "waterdrop py?"
"""A name that Kafka refuses: the question proves the connection, and creates no topic
(measured on Kafka 4 with `auto.create.topics.enable`)."""


def ask(
    connection: Connection,
    topic: str,
    deadline: float,
    *,
    lasting: float = 0.0,
    heard: Callable[[Client], None] | None = None,
    active: bool = False,
) -> Any:
    """The metadata of `topic`, with the open client; opens one if need be.

    Blocks until `deadline`, a time of `clock.system_now`. A request that this call
    begins lasts `lasting` seconds, even if the call ends before.
    `heard(client)` is called after each poll, and ends the wait if it raises. If
    `active`, an answer is activity of the client.

    Raises:
        KafkaException: librdkafka's answer is an error.
        TimeoutError: `deadline` is over.
        What `open_client` raises.
    """
    goes_on = clock.system_now() + lasting
    until = max(deadline, goes_on)
    while True:
        client = open_noted(connection, deadline)
        request = joined(connection, client, topic, until)
        if lasting:
            request.lasting = goes_on
        # A request that had less time may end as this caller joins it.
        answered = wait_for(request, deadline, heard, active=active)
        if answered and not (request.unanswered and clock.system_now() < deadline):
            return request.outcome()
        if clock.system_now() >= deadline:
            raise TimeoutError("no answer in time")
