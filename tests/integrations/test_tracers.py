"""OpenTelemetry and ddtrace, with their real packages, each in its own process.

A tracer patches `confluent_kafka` for the whole process. The tests count messages in
the cluster, spans, and messages that carry the context of their span.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scenarios.harness import Outcome

from waterdrop_py.testing import EmbeddedCluster

PROGRAMS = Path(__file__).parent / "programs"
RUNS = [
    ("otel", "before"),
    ("otel", "after"),
    ("otel-proxied", "before"),
    ("listener", "before"),
    ("listener-beside", "before"),
    ("listener-beside", "after"),
    ("ddtrace", "before"),
    ("ddtrace", "after"),
    ("ddtrace-streams", "before"),
    ("ddtrace-streams", "after"),
    ("ddtrace-serializing", "before"),
    ("ddtrace-serializing", "after"),
]
SENT = {
    "sync": 4,
    "async": 40,
    "await": 3,
    "many_sync": 3,
    "many_async": 3,
    "tombstone": 1,
    "buffer": 4,
    "variant": 1,
    "transaction": 5,
    "idle": 3,
    "full": 40,
}
OWN = {"sync": 3, "async": 20, "many_sync": 1, "many_async": 1, "buffer": 1}
OWN |= {"transaction": 1}


@pytest.fixture
def servers() -> Iterator[str]:
    """The brokers of a cluster for one test: its topics are named after the verbs."""
    with EmbeddedCluster() as cluster:
        yield cluster.bootstrap_servers


def run(program: str, *arguments: object) -> Outcome:
    """Run a program of the folder `programs`."""
    return run_scenario(PROGRAMS / program, *arguments, timeout=60).assert_clean()


@pytest.mark.parametrize(("tracer", "when"), RUNS)
def test_each_message_has_one_span_and_carries_its_context(
    servers: str, tracer: str, when: str
) -> None:
    """Each message has one span and its context, however early the tracer is installed.

    That holds for every verb, a full queue and idle disconnects. The caller's headers
    arrive too, and no socket stays open.
    """
    outcome = run("traced.py", servers, tracer, when)
    counted = {fact["verb"]: fact for fact in outcome.facts if "verb" in fact}
    assert counted.keys() == SENT.keys()
    for verb, sent in SENT.items():
        assert counted[verb] == {
            "verb": verb,
            "messages": sent,
            "spans": sent,
            "failed": 0,
            "contexts": sent,
            "linked": True,
            "doubled": 0,
            "theirs": OWN.get(verb, 0),
        }
    assert outcome.one("topics") == len(SENT)
    assert outcome.one("undelivered") == 0
    assert outcome.one("sockets") == 0
