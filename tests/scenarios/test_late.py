"""What is sent after the library's exit handler has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from tests.scenarios.conftest import Arrived

WAYS = (
    "memory",
    "listener",
    "handler",
    "linger",
    "sync",
    "many",
    "buffer",
    "transactional",
    "never-used",
    "finalizer",
    "closed-late",
)


@pytest.mark.parametrize("way", WAYS)
def test_what_later_handlers_send_is_delivered(
    way: str, python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """Handlers that are older than the library's import run behind its own. What they
    send, on whichever thread, is delivered, once; nothing is written to stderr."""
    outcome = run_scenario("exit_late.py", servers, topic, way, python=python)

    outcome.assert_clean()
    assert outcome.err == ""
    assert arrived("late-") == {f"late-{number}": 1 for number in range(5)}
    if way == "closed-late":
        assert outcome.one("complete") is True
        assert outcome.one("status") == "closed"
        assert outcome.one("refused") is True


def test_what_the_user_has_closed_stays_closed(
    python: str, servers: str, topic: str, arrived: Arrived
) -> None:
    """A producer is opened again at exit only when the exit itself has closed it."""
    outcome = run_scenario("exit_late.py", servers, topic, "closed", python=python)

    outcome.assert_clean()
    assert outcome.one("refused") is True
    assert not arrived("late-")


@pytest.mark.timed
def test_late_messages_for_a_broker_that_is_down(python: str, dead: str) -> None:
    """All of them together wait for one `close_timeout` (1.5 s here), and each one that
    is given up is said to be."""
    flags = ("-W", "always")
    outcome = run_scenario(
        "exit_late.py", dead, "topic", "dead", python=python, flags=flags
    )

    outcome.assert_clean()
    assert 1.4 < outcome.one("late_s") < 3
    assert outcome.err.count("ResourceWarning") == 5
    said = [line for line in outcome.err.splitlines() if line.startswith("producer ")]
    assert len(said) == 5, str(outcome)
    assert all("could not deliver 1 message sent" in line for line in said)


def test_a_handler_that_sends_what_could_not_be_sent(dead: str) -> None:
    """A handler of logging sends each record by a producer whose broker is away, the
    lines about its own failures too: the process ends, within its bounds."""
    outcome = run_scenario(
        f"""
import logging, warnings
import waterdrop_py
warnings.simplefilter("ignore")
producer = waterdrop_py.Producer(
    kafka={{"bootstrap.servers": {dead!r}}}, close_timeout=500
)
class ToKafka(logging.Handler):
    def emit(self, record):
        producer.produce_async("logs", record.getMessage())
logging.getLogger().addHandler(ToKafka())
logging.getLogger("app").warning("hello")
""",
        timeout=20,
    )
    assert outcome.code == 0, str(outcome)
