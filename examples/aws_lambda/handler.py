"""An AWS Lambda function that forwards the records of an SQS queue to Kafka.

Its trigger has `ReportBatchItemFailures`, and its timeout is longer than 10 s.
"""

import os
from typing import Any

from waterdrop_py import Producer

# Made once for each execution environment. The client stays open between invocations.
# A client that is older than the idle timeout after a pause is replaced at the next
# send.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="3m",
    # Every message has its outcome after 10 s at the latest.
    kafka={"message.timeout.ms": 10_000},
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Forward a batch; SQS delivers again what failed."""
    handles = {
        record["messageId"]: producer.produce_async("orders", record["body"])
        for record in event["Records"]
    }
    # Wait for each: Lambda freezes the process as soon as the handler has returned.
    failed = [name for name, handle in handles.items() if handle.exception()]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
