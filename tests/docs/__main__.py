"""Runs `python -m tests.docs`: counts pages, and blocks that ran or did not."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.docs.blocks import read_page
from tests.docs.pages import ALL, DOCSTRINGS, PAGES, run_alone
from tests.docs.running import Outcome
from waterdrop_py.testing import EmbeddedCluster


def main() -> int:
    """Run everything that needs no real broker; 1 if something fails."""
    total = Outcome()
    waiting = []
    with EmbeddedCluster(brokers=3) as cluster:
        for path in [*PAGES, *DOCSTRINGS]:
            if path.suffix == ".md" and read_page(path).needs_broker:
                waiting.append(path.name)
                continue
            with TemporaryDirectory() as folder:
                outcome = run_alone(path, cluster.bootstrap_servers, Path(folder))
            cluster.heal()
            total.ran += outcome.ran
            total.shown += outcome.shown
            total.skipped += outcome.skipped
            total.failures += outcome.failures
    print(
        f"pages {len(ALL)}, of which {len(PAGES)} have examples; modules with examples "
        f"in docstrings {len(DOCSTRINGS)}"
    )
    print(f"ran {total.ran}, only shown {total.shown}, skipped {len(total.skipped)}")
    print(*(f"skipped: {reason}" for reason in total.skipped), sep="\n")
    print(f"need a real broker: {', '.join(waiting) or 'none'}")
    print(*total.failures, sep="\n")
    return bool(total.failures)


if __name__ == "__main__":
    sys.exit(main())
