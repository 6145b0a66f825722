"""Forks while a library thread is in the middle of an import."""

from __future__ import annotations

import os
import sys
import threading
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

from tests.scenarios.kit import TOPIC, make_producer, say, wait_for_child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

INSIDE = "confluent_kafka.admin._acl"
"""What `confluent_kafka.admin` imports in its own middle."""
ENTERED, GO_ON = threading.Event(), threading.Event()


class Parking(MetaPathFinder):
    """Parks the thread that imports INSIDE, until GO_ON."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave the module to the other finders."""
        if name == INSIDE:
            ENTERED.set()
            GO_ON.wait(10)
        return None


def main() -> None:
    """The child asks for metadata, too."""
    sys.meta_path.insert(0, Parking())
    producer = make_producer()
    asking = threading.Thread(target=producer.partition_count, args=(TOPIC,))
    asking.start()
    say(entered=ENTERED.wait(10))
    # Longer than the bound of a fork: the wait for the import is not a part of it.
    threading.Timer(0.4, GO_ON.set).start()
    pid = os.fork()
    if not pid:
        say(child=producer.partition_count(TOPIC))
        sys.exit(0)
    say(child_code=wait_for_child(pid))
    asking.join(10)
    say(parent=producer.partition_count(TOPIC))
    producer.close(5)


main()
