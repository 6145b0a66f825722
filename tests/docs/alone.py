"""Runs one page, or one module's docstrings, in a process of its own.

`python -m tests.docs.alone PATH SERVERS FOLDER` writes what became of it to
`FOLDER/outcome.json`. What a page subscribes to, logs or leaves open ends with it, and
its exit is an exit as a user's program has it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sybil.document import PythonDocStringDocument

import waterdrop_py
from tests.docs.blocks import read_page
from tests.docs.running import ADDRESS, ROOT, Outcome, Runner, run_doctest
from waterdrop_py import Config, Producer, ProducerPool, testing
from waterdrop_py.listeners import LoggingListener
from waterdrop_py.testing import EmbeddedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_docstrings(path: Path) -> Outcome:
    """Run the examples of a module's docstrings, each in a namespace of its own."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    source = path.read_text()
    outcome = Outcome()
    with EmbeddedCluster() as cluster:
        servers = cluster.bootstrap_servers
        for start, _, text in PythonDocStringDocument.extract_docstrings(source):
            if ">>> " not in text:
                continue
            outcome.ran += 1
            with _names(cluster) as names:
                failure = run_doctest(
                    text.replace(ADDRESS, servers),
                    str(path),
                    source.count("\n", 0, start) + 1,
                    {"__name__": module, **names},
                    lambda printed: printed.replace(servers, ADDRESS),
                )
            outcome.failures += [failure] if failure else []
    return outcome


@contextmanager
def _names(cluster: EmbeddedCluster) -> Iterator[dict[str, Any]]:
    """What an example in a docstring need not import or make."""
    config = Config(kafka={"bootstrap.servers": cluster.bootstrap_servers})
    with Producer(config) as producer, ProducerPool(config) as pool:
        yield {
            **{name: getattr(waterdrop_py, name) for name in waterdrop_py.__all__},
            **{name: getattr(testing, name) for name in testing.__all__},
            "LoggingListener": LoggingListener,
            "dataclasses": dataclasses,
            "cluster": cluster,
            "config": config,
            "producer": producer,
            "pool": pool,
        }


def main() -> None:
    """Run what the arguments name."""
    path, servers, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    # A page that shows a setting which warns says so itself.
    warnings.simplefilter("default")
    if path.suffix == ".py":
        outcome = run_docstrings(path)
    else:
        outcome = Runner(servers, folder, read_page(path)).run()
    (folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main()
