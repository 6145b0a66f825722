"""What the shallow health check makes of errors and of acknowledgements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from tests.concurrency.support import connection_of
from tests.doubles import eventually
from waterdrop_py.errors import BrokerUnreachableError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py.testing import FakeClock

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001 - librdkafka's name


def test_the_newest_thing_heard_counts(
    bench: Bench, make: Make, time_: FakeClock
) -> None:
    """An error after the last acknowledgement speaks against it while messages wait,
    an acknowledgement after the error does not, nor does an error with none waiting."""
    bench.auto = False
    producer = make.quiet()
    handles = [producer.produce_async("t", b"x") for _ in range(2)]
    connection = connection_of(producer)
    assert producer.health().healthy
    time_.advance(1)
    connection.reports.client_error(DOWN, connection.client)
    health = producer.health()
    assert not health.healthy
    assert isinstance(health.error, BrokerUnreachableError)
    assert "acknowledgement: 2" in str(health.error)
    time_.advance(1)
    bench.client.ack(1)
    handles[0].result(5)
    assert producer.health().healthy
    time_.advance(1)
    connection.reports.client_error(DOWN, connection.client)
    assert not producer.health().healthy
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001
    eventually(handles[1].done)
    assert producer.health().healthy  # nothing waits


def test_a_failed_report_is_not_heard_from_a_broker(
    bench: Bench, make: Make, time_: FakeClock
) -> None:
    """librdkafka gives up a message by itself, and another one still waits."""
    bench.auto = False
    producer = make.quiet()
    first = producer.produce_async("t", b"x")
    connection = connection_of(producer)
    time_.advance(1)
    connection.reports.client_error(DOWN, connection.client)
    time_.advance(1)
    bench.client.fail(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001
    eventually(first.done)
    producer.produce_async("t", b"y")
    assert not producer.health().healthy
