"""Little on the terminal, and user callbacks that cannot break anything."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embedded.support import BOUND, eventually
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.embedded.support import EventLog, MakeProducer
    from waterdrop_py.testing import EmbeddedCluster

QUIET = """
import sys, time, warnings
from waterdrop_py import Producer
producer = Producer(kafka={"bootstrap.servers": sys.argv[1], "log_level": 7})
handle = producer.produce_async("any", b"x")
time.sleep(2)
producer.close(timeout=0.1)
assert handle.done()
"""


def test_none_of_librdkafkas_lines_reaches_the_terminal(dead: str) -> None:
    """A dead broker for 2 s, logging not configured: one warning that says so, and
    one error for the message that was given up."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET, dead],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    unreachable, given_up = ended.stderr.splitlines()
    assert f"reached no broker of {dead!r}" in unreachable
    assert "librdkafka.dispatch_error" in given_up


def test_librdkafkas_lines_go_to_logging(
    make_producer: MakeProducer, dead: str, caplog: pytest.LogCaptureFixture
) -> None:
    """To `waterdrop_py.librdkafka`, with the producer's name."""
    with caplog.at_level(logging.DEBUG, logger="waterdrop_py.librdkafka"):
        producer = make_producer(dead)
        producer.produce_async("any", b"x")

        def lines() -> list[logging.LogRecord]:
            name = "waterdrop_py.librdkafka"
            return [record for record in caplog.records if record.name == name]

        assert eventually(lambda: bool(lines()))
        assert "refused" in lines()[0].getMessage()
        assert lines()[0].producer_id == producer.id  # type: ignore[attr-defined]


@pytest.mark.long
def test_brokers_that_go_and_come_back(
    cluster: EmbeddedCluster,
    make_producer: MakeProducer,
    topic: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is said while nothing is sent. A message that gets nowhere is said
    within seconds, once, and all is well when it is delivered."""

    def lines() -> list[str]:
        ours = [each for each in caplog.records if each.name == "waterdrop_py"]
        said = [each.getMessage() for each in ours]
        # Producers of other tests may still be counted, and are not meant here. On a
        # busy machine one broker may be away, or back, for a while before the others
        # are: that is a connection error beside a client that reaches brokers.
        return [
            each for each in said if "'back'" in each and "librdkafka.error" not in each
        ]

    producer = make_producer(id="back")
    producer.produce_sync(topic, b"x")
    for broker in (1, 2, 3):
        cluster.broker_down(broker)
    time.sleep(2)
    assert lines() == []
    handle = producer.produce_async(topic, b"y")
    assert eventually(lambda: bool(lines()))
    for broker in (1, 2, 3):
        cluster.broker_up(broker)
    assert handle.result(BOUND).error is None
    time.sleep(1.5)
    [line] = lines()
    assert line.startswith("producer 'back' reached no broker of")


def broken(*_: object) -> None:
    """A callback of the user's that raises."""
    raise ValueError("mine")


class BrokenLogger:
    """A logger of the user's that raises."""

    def __init__(self) -> None:
        self.called = 0

    def log(self, *_: object) -> None:
        """Take a line."""
        self.called += 1
        raise ValueError("mine")


def test_the_users_callbacks_run_beside_ours(
    make_producer: MakeProducer, topic: str, dead: str, log: EventLog
) -> None:
    """Each is called with what confluent-kafka gives it; the dict is left alone."""
    errors: list[Any] = []
    statistics: list[Any] = []
    reports: list[Any] = []
    lines: list[str] = []

    class Logger:
        def log(self, _level: int, text: str, *arguments: object) -> None:
            lines.append(text % arguments)

    kafka = {
        "error_cb": errors.append,
        "stats_cb": statistics.append,
        "on_delivery": lambda error, message: reports.append((error, message)),
        "logger": Logger(),
        "statistics.interval.ms": 50,
        "message.timeout.ms": 1_000,
    }
    given = dict(kafka)
    handle = make_producer(kafka=kafka).produce_async(topic, b"x")
    assert handle.result(BOUND).error is None
    assert [(error, message.value()) for error, message in reports] == [(None, b"x")]
    assert eventually(lambda: bool(statistics))
    assert statistics[0].startswith("{")
    with pytest.raises(ProduceError):
        make_producer(dead, kafka=kafka).produce_sync("any", b"x")
    assert reports[1][0].name() == "_MSG_TIMED_OUT"
    assert {error.name() for error in errors} >= {"_TRANSPORT"}
    assert any("refused" in line for line in lines)
    assert log.errors("librdkafka.error")
    assert kafka == given


def test_raising_callbacks_break_nothing(
    make_producer: MakeProducer, topic: str, dead: str, log: EventLog
) -> None:
    """Reports, statistics and closes go on; each is told of by its name."""
    logger = BrokenLogger()
    kafka = {
        "error_cb": broken,
        "stats_cb": broken,
        "on_delivery": broken,
        "logger": logger,
        "statistics.interval.ms": 20,
        "message.timeout.ms": 1_000,
    }
    producer = make_producer(kafka=kafka)
    for number in range(20):
        producer.produce_async(topic, b"%d" % number)
    assert producer.flush(BOUND) == 0
    assert producer.stats().acknowledged == 20
    assert len(log.errors("callbacks.on_delivery.error")) == 20
    log.wait_error("callbacks.stats_cb.error")
    failing = make_producer(dead, kafka=kafka)
    handles = [failing.produce_async("any", b"x") for _ in range(5)]
    codes = {getattr(handle.exception(BOUND), "code", None) for handle in handles}
    assert codes == {"msg_timed_out"}
    assert str(log.wait_error("callbacks.error_cb.error")["error"]) == "mine"
    assert logger.called
    assert str(log.wait_error("callbacks.logger.error")["error"]) == "mine"
    assert not log.errors("poller.error")
    assert failing.close().complete
    assert producer.close().complete


def test_only_failed_reports_can_be_asked_for_without_loss(
    make_producer: MakeProducer, topic: str
) -> None:
    """delivery.report.only.error is not passed on: every handle resolves."""
    producer = make_producer(kafka={"delivery.report.only.error": True})
    assert producer.produce_sync(topic, b"x", timeout=BOUND).error is None


def test_the_configuration_is_copied(make_producer: MakeProducer) -> None:
    """What becomes of the caller's dict afterwards is no matter."""
    kafka = {"client.id": "mine"}
    producer = make_producer(kafka=kafka)
    kafka["bootstrap.servers"] = "nowhere.invalid:1"
    kafka["client.id"] = "other"
    assert producer.config.kafka["client.id"] == "mine"
    assert producer.connect().is_connected
    with pytest.raises(TypeError):
        producer.config.kafka["client.id"] = "x"  # type: ignore[index]
