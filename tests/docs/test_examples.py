"""Every example of the README, the pages and the docstrings runs as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.docs.blocks import read_page
from tests.docs.pages import DOCSTRINGS, PAGES, run_alone
from tests.docs.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from waterdrop_py.testing import EmbeddedCluster


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# tests/kafka/test_docs.py runs the others.
_WITHOUT_BROKER: Final = [path for path in PAGES if not read_page(path).needs_broker]


@pytest.mark.parametrize("path", _WITHOUT_BROKER, ids=_name)
def test_page(path: Path, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    """The blocks run in order, in one namespace, and print what the page says."""
    outcome = run_alone(path, cluster.bootstrap_servers, tmp_path)
    cluster.heal()
    assert not outcome.failures, "\n\n".join(outcome.failures)


@pytest.mark.parametrize("path", DOCSTRINGS, ids=_name)
def test_docstrings(path: Path, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    """The examples of a module's docstrings run, each in a namespace of its own."""
    outcome = run_alone(path, cluster.bootstrap_servers, tmp_path)
    assert not outcome.failures, "\n\n".join(outcome.failures)
