"""Writes confluent-kafka.inv, because its documentation must be linked offline.

Run it as `python docs/_inventories/make.py` after adding a name. python.inv is the
objects.inv of the documentation of CPython 3.11, unchanged.
"""

from __future__ import annotations

import zlib
from pathlib import Path

# Each is an anchor on the one page of confluent-kafka's API documentation.
NAMES = {
    "class": [
        "Producer", "Consumer", "Message", "TopicPartition", "aio.AIOProducer",
    ],
    "exception": ["KafkaException", "KafkaError"],
    "method": [
        "Producer.produce", "Producer.poll", "Producer.flush", "Producer.purge",
        "Producer.list_topics", "Producer.set_sasl_credentials",
        "Producer.init_transactions", "Consumer.consumer_group_metadata",
    ],
}  # fmt: skip
HEADER = """\
# Sphinx inventory version 2
# Project: confluent-kafka
# Version: 2
# The remainder of this file is compressed using zlib.
"""


def main() -> None:
    """Write the inventory beside this file."""
    lines = [
        f"confluent_kafka.{name} py:{role} 1 index.html#$ -\n"
        for role, names in NAMES.items()
        for name in names
    ]
    body = zlib.compress("".join(lines).encode(), 9)
    path = Path(__file__).with_name("confluent-kafka.inv")
    path.write_bytes(HEADER.encode() + body)


if __name__ == "__main__":
    main()
