"""What a user hears without any set-up, and what not."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.harness import run_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scenarios.harness import Outcome

PAGE = 60
"""Lines."""


@contextmanager
def dropping() -> Iterator[str]:
    """An address that drops what comes: the kernel answers no SYN for a full queue."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


def lines_of(outcome: Outcome) -> list[str]:
    """What is on standard error."""
    return outcome.err.splitlines()


def accounted(outcome: Outcome, kind: str) -> int:
    """How many errors of a type are said or counted."""
    said = [line for line in lines_of(outcome) if f": {kind}:" in line]
    more = [int(n) for line in said for n in re.findall(r"; and (\d+) more$", line)]
    return len(said) + sum(more)


def test_a_healthy_run_says_nothing(python: str, servers: str, topic: str) -> None:
    """Sends, batches, buffers, idle disconnects and an exit: not one line."""
    outcome = run_scenario("silence.py", servers, topic, "healthy", python=python)
    outcome.assert_clean()
    assert outcome.err == ""


def test_a_dead_broker_is_said_within_seconds(python: str, dead: str) -> None:
    """One line with the servers and what to look at first, and what was lost."""
    outcome = run_scenario("silence.py", dead, "t", "dead", 5, python=python)
    outcome.assert_clean()
    first, last = lines_of(outcome)
    assert first.startswith(f"producer 'lonely' reached no broker of {dead!r}")
    assert "messages waiting: 1" in first
    assert "Connection refused" in first
    assert "is the broker running, and is this its port?" in first
    assert "producer 'lonely' gave up 1 message as the process ended" in last
    assert "topic 'orders'" in last


@pytest.mark.long
def test_a_server_that_never_answers_is_said_within_half_a_minute(python: str) -> None:
    """As behind a firewall that drops packets: librdkafka itself says nothing."""
    with dropping() as address:
        outcome = run_scenario(
            "silence.py", address, "t", "dead", 26, python=python, timeout=60
        )
    outcome.assert_clean()
    first, _ = lines_of(outcome)
    assert re.search(
        r"reached no broker of .* for 2\d s \(messages waiting: 1\)", first
    )


def test_connecting_in_vain_is_said_too(python: str, dead: str) -> None:
    """Nothing was sent, and the error that `connect` raises is the caller's."""
    outcome = run_scenario("silence.py", dead, "t", "connecting", python=python)
    outcome.assert_clean()
    assert outcome.one("raised") == "BrokerUnreachableError"
    [line] = lines_of(outcome)
    assert line.startswith(f"producer 'lonely' reached no broker of {dead!r}")


@pytest.mark.parametrize(
    ("way", "kind", "times"),
    [
        ("done_callback", "callbacks.done_callback.error", 50),
        ("native_callback", "callbacks.on_delivery.error", 1),
        ("subscriber", "subscriber.error", 1),
    ],
)
def test_user_code_that_raises_is_said(
    way: str, kind: str, times: int, python: str, servers: str, topic: str
) -> None:
    """With its traceback, once; and how often in all, although nothing follows."""
    outcome = run_scenario("silence.py", servers, topic, way, python=python)
    assert outcome.code == 0, str(outcome)
    assert outcome.err.count("Traceback") == 1, str(outcome)
    assert "LookupError: the user's own" in outcome.err
    assert "producer 'odd'" in outcome.err
    assert accounted(outcome, kind) == times, str(outcome)


def test_a_count_is_said_without_any_client(python: str) -> None:
    """And without an exit: a library thread says it when the second is over."""
    outcome = run_scenario("silence.py", "h:1", "t", "no_client", python=python)
    assert outcome.code == 0, str(outcome)
    assert outcome.err.count("Traceback") == 1, str(outcome)
    assert accounted(outcome, "subscriber.error") == 20, str(outcome)


def test_a_child_says_nothing_of_its_parents(
    python: str, servers: str, topic: str
) -> None:
    """What the parent held back is the parent's to say."""
    outcome = run_scenario("silence.py", servers, topic, "forked", python=python)
    assert (outcome.code, outcome.one("child")) == (0, 0), str(outcome)
    assert accounted(outcome, "callbacks.done_callback.error") == 50, str(outcome)


def test_what_middleware_raises_is_the_callers(
    python: str, servers: str, topic: str
) -> None:
    """The caller has it, and the log nothing."""
    outcome = run_scenario("silence.py", servers, topic, "middleware", python=python)
    outcome.assert_clean()
    assert outcome.one("raised")
    assert outcome.err == ""


@pytest.mark.long
def test_ten_thousand_failing_messages_are_a_page(python: str, dead: str) -> None:
    """Few lines, and every message is said or counted."""
    outcome = run_scenario("silence.py", dead, "t", "flood", python=python, timeout=60)
    outcome.assert_clean()
    assert len(lines_of(outcome)) <= PAGE, str(outcome)
    assert accounted(outcome, "librdkafka.dispatch_error") == 10_000, str(outcome)


@pytest.mark.parametrize("bound", [1_400, 2_500])
def test_an_exit_that_waits_and_gives_up(bound: int, python: str, dead: str) -> None:
    """A warning as the wait gets long, an error with the count; the status is its
    own, and no message is told of twice."""
    outcome = run_scenario(
        "silence.py", dead, "t", "undeliverable", bound, python=python
    )
    outcome.assert_clean(code=5)
    unreachable = [line for line in lines_of(outcome) if "reached no broker" in line]
    waits, gave_up = [each for each in lines_of(outcome) if each not in unreachable]
    assert f"at most {bound / 1000} s (close_timeout) until 31 messages" in waits
    assert "31 of producer 'lonely'" in waits
    assert "topic 'invoices', topic 'orders'" in waits
    assert "producer 'lonely' gave up 31 messages as the process ended" in gave_up
    assert len(unreachable) <= 1


def test_a_short_exit_does_not_speak_of_a_wait(python: str, dead: str) -> None:
    """Only of what was given up."""
    outcome = run_scenario("silence.py", dead, "t", "undeliverable", 300, python=python)
    outcome.assert_clean(code=5)
    [line] = lines_of(outcome)
    assert "gave up 31 messages" in line


def test_errors_that_a_function_hears_are_left_to_it(python: str, dead: str) -> None:
    """The two warnings, and what was lost at the exit, come all the same."""
    outcome = run_scenario("silence.py", dead, "t", "listening", python=python)
    outcome.assert_clean()
    assert {"subscriber.error", "librdkafka.error"} <= set(outcome.all("heard"))
    texts = " | ".join(lines_of(outcome))
    assert re.search("reached no broker .* waits for at most .* gave up 1 mess", texts)
    assert len(lines_of(outcome)) == 3


@pytest.mark.parametrize("how", ["disabled", "level"])
def test_logging_that_is_turned_off_is_off(how: str, python: str, dead: str) -> None:
    """The library configures nothing, so what the application says counts."""
    outcome = run_scenario("silence.py", dead, "t", "configured", how, python=python)
    outcome.assert_clean()
    assert outcome.err == ""


def test_handlers_of_the_application_get_the_lines(python: str, dead: str) -> None:
    """Then nothing is on stderr. librdkafka's own lines are among them, counted."""
    outcome = run_scenario("silence.py", dead, "t", "configured", "file", python=python)
    outcome.assert_clean()
    assert outcome.err == ""
    assert outcome.out.count("WARNING waterdrop_py producer 'lonely' reached no") == 1
    assert (
        outcome.out.count("ERROR waterdrop_py producer 'lonely': librdkafka.dis") == 1
    )
    native = [n for n in outcome.out.splitlines() if "waterdrop_py.librdkafka" in n]
    assert 1 <= len(native) <= 3, str(outcome)


def test_a_logging_listener_hears_errors(python: str, dead: str) -> None:
    """So they are not said twice; the warning comes in any case."""
    outcome = run_scenario("silence.py", dead, "t", "listener", python=python)
    outcome.assert_clean()
    assert (
        "ERROR app error.occurred producer_id='lonely' type='librdkafka.dispatch"
        in (outcome.out)
    )
    assert "ERROR waterdrop_py " not in outcome.out
    assert outcome.out.count("WARNING waterdrop_py producer 'lonely' reached no") == 1
    assert outcome.err == ""


def test_a_handler_that_waits_for_the_client(python: str, dead: str) -> None:
    """A log handler that holds its lock and flushes the client whose error is logged
    holds nothing up: no line is written by a thread that polls."""
    outcome = run_scenario("silence.py", dead, "t", "handler", python=python)
    assert outcome.code == 0, str(outcome)
    assert outcome.one("left") == 0
