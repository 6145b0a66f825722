"""Runs one of the demo's scenarios on a cluster, and says how it ended."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py.cli.demo.cluster import open_target
from waterdrop_py.cli.demo.metrics import STATISTICS_MS, serving
from waterdrop_py.cli.demo.screen import open_console, say
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from waterdrop_py.cli.demo.cluster import Target


class Verdict(NamedTuple):
    """How a scenario ended: what went wrong, its figures, and all that in one line."""

    problems: list[str]
    report: list[str]
    conclusion: str


def run(
    cluster: Mapping[str, Any] | None,
    play: Callable[[Target, Console, ExitStack], Verdict],
    metrics: int | None,
) -> int:
    """Run a scenario. 1 if there was a problem, or if it could not be run, else 0.

    `cluster` has librdkafka's properties; None: the embedded cluster. `metrics` is the
    port at which metrics are served meanwhile. Ctrl-C closes everything, and raises
    `KeyboardInterrupt`.

    Raises:
        NotServedError: as `serving`.
    """
    console = open_console()
    try:
        with ExitStack() as stack:
            url = None if metrics is None else stack.enter_context(serving(metrics))
            target = stack.enter_context(open_target(cluster, _note))
            say(console, f"on {target.what}\ntopic {target.topic}")
            if url is not None:
                say(console, f"metrics at {url}")
                target = replace(target, statistics_ms=STATISTICS_MS)
            verdict = play(target, console, stack)
    except (WaterdropError, KafkaException, TimeoutError, RuntimeError) as error:
        print(f"waterdrop: {error}", file=sys.stderr)
        return 1
    except (TypeError, SystemError) as error:
        raise_interruption(error)  # Ctrl-C inside a bare client
        raise
    say(console, "\n".join(["", *verdict.report]))
    style = "bold red" if verdict.problems else "bold green"
    say(console, verdict.conclusion, style)
    return 1 if verdict.problems else 0


def _note(sentence: str) -> None:
    print(f"waterdrop: {sentence}", file=sys.stderr, flush=True)
