"""Pages of the documentation that need a real broker, run on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import read_page
from tests.docs.pages import PAGES, run_alone
from tests.docs.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka.harness import KafkaCluster

TOPICS = ("orders", "payments", "orders-of-the-loop")
TRANSACTIONS = ROOT / "docs" / "how-to" / "transactions.md"
"""Runs on the mock cluster too, which neither fences nor stores positions."""
PAGES_HERE = [path for path in PAGES if read_page(path).needs_broker]


@pytest.mark.parametrize(
    "path", [*PAGES_HERE, TRANSACTIONS], ids=lambda path: path.stem
)
def test_page(path: Path, kafka: KafkaCluster, tmp_path: Path) -> None:
    """The blocks run in order, in one namespace, and print what the page says."""
    for name in TOPICS:
        if name not in _TOPICS_MADE:
            kafka.create_topic(name)
            _TOPICS_MADE.add(name)
    outcome = run_alone(path, kafka.bootstrap("PLAINTEXT"), tmp_path)
    assert not outcome.failures, "\n\n".join(outcome.failures)


_TOPICS_MADE: set[str] = set()
