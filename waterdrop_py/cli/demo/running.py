"""Runs one of the demo's scenarios on a cluster, and says how it ended."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py.cli.demo.cluster import open_target
from waterdrop_py.cli.demo.metrics import STATISTICS_MS, serving
from waterdrop_py.cli.demo.output import open_output
from waterdrop_py.errors import WaterdropError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from waterdrop_py.cli.demo.cluster import Target
    from waterdrop_py.cli.demo.output import Output
    from waterdrop_py.cli.demo.summary import Delivered


def run(
    cluster: Mapping[str, Any] | None,
    play: Callable[[Target, Output, ExitStack], Delivered],
    metrics: int | None,
) -> int:
    """Run a scenario. 1 if there was a problem, or if it could not be run, else 0.

    `cluster` has librdkafka's properties; None: the embedded cluster. `metrics` is the
    port at which metrics are served meanwhile. Ctrl-C closes everything, and raises
    `KeyboardInterrupt`.

    Raises:
        NotServedError: as `serving`.
    """
    output = open_output()
    # What a client's warnings say is on the screen, or in the error that ends the demo.
    logging.getLogger("waterdrop_py").setLevel(logging.ERROR)
    try:
        with ExitStack() as stack:
            url = None if metrics is None else stack.enter_context(serving(metrics))
            target = stack.enter_context(open_target(cluster, _note))
            output.say(f"on {target.what}\ntopic {target.topic}")
            if url is not None:
                output.say(f"metrics at {url}")
                target = replace(target, statistics_ms=STATISTICS_MS)
            outcome = play(target, output, stack)
    except (WaterdropError, KafkaException, TimeoutError, RuntimeError) as error:
        print(f"waterdrop: {error}", file=sys.stderr)
        return 1
    except (TypeError, SystemError) as error:
        raise_interruption(error)  # Ctrl-C inside a bare client
        raise
    output.say("\n".join(["", *outcome.report()]))
    failed = bool(outcome.problems())
    output.say(outcome.conclusion(), "bold red" if failed else "bold green")
    return 1 if failed else 0


def _note(sentence: str) -> None:
    print(f"waterdrop: {sentence}", file=sys.stderr, flush=True)
