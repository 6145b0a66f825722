"""The pages that need a real broker: their examples run on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import read_page
from tests.docs.pages import PAGES, run_alone
from tests.docs.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka.harness import KafkaCluster


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if read_page(path).needs_broker],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_page(path: Path, kafka: KafkaCluster, tmp_path: Path) -> None:
    """The blocks run in order, in one namespace, and print what the page says."""
    outcome = run_alone(path, kafka.bootstrap(), tmp_path)
    assert not outcome.failures, "\n\n".join(outcome.failures)
