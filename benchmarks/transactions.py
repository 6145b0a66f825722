"""Measures a transaction, compared to bare begin, produce and commit."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from benchmarks import clients
from benchmarks.measure import interleave, timed_ms
from benchmarks.rows import BARE, OURS, Row, at_most, compared

if TYPE_CHECKING:
    from benchmarks.setting import Setting

TRANSACTION = 100
TRANSACTION_BOUND = 1.15
_PAYLOAD = bytes(100)


def transaction(setting: Setting) -> list[Row]:
    """Time of a transaction of 100 messages."""
    topic = clients.new_topic()
    rounds = setting.pick(600, 200)
    name = uuid.uuid4().hex[:8]
    properties: dict[str, Any] = {"linger_ms": 0, "transaction_timeout_ms": 165_000}
    client = clients.bare(setting.broker, transactional_id=f"bare-{name}", **properties)
    client.init_transactions(clients.BOUND_SECONDS)
    with clients.ours(
        setting.broker, transactional_id=f"ours-{name}", **properties
    ) as producer:

        def ours() -> float:
            def run() -> None:
                with producer.transaction():
                    for _ in range(TRANSACTION):
                        producer.produce_async(topic, _PAYLOAD)

            return timed_ms(run)

        def bare() -> float:
            def run() -> None:
                client.begin_transaction()
                for _ in range(TRANSACTION):
                    client.produce(topic, _PAYLOAD, on_delivery=_ignore)
                client.commit_transaction(clients.BOUND_SECONDS)

            return timed_ms(run)

        contenders = {OURS: ours, BARE: bare}
        interleave(3, contenders)
        measured = interleave(rounds, contenders)
    clients.close_bare(client)
    return [
        compared(
            "transaction of 100 messages, p50",
            measured,
            unit="ms",
            n=rounds,
            must=at_most(TRANSACTION_BOUND),
        )
    ]


def _ignore(_error: Any, _message: Any) -> None:
    """The delivery callback of bare."""
