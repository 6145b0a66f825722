"""A client that a fatal error has ended goes, and no thread gets another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.concurrency.support import connection_of
from tests.doubles import Run, eventually
from waterdrop_py.errors import ProduceError

if TYPE_CHECKING:
    from tests.concurrency.support import Make
    from tests.doubles import Bench

FENCED = KafkaError(KafkaError._FENCED)  # noqa: SLF001 - librdkafka's name


def test_nothing_is_opened_while_the_lost_client_closes(
    bench: Bench, make: Make
) -> None:
    """The slot is lost from the moment at which it lets go of the client: a send that
    comes before the end of the close opens none."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    connection = connection_of(producer)
    connection.client.note_fatal(FENCED)
    with bench.park("close") as parked:
        closing = Run(producer.disconnect)
        parked.entered()
        with pytest.raises(ProduceError) as caught:
            producer.produce_sync("t", b"y")
        assert (caught.value.code, caught.value.fatal) == ("fenced", True)
    closing.result()
    assert len(bench.clients) == 1


def test_a_client_whose_error_is_known_is_not_handed_out(
    bench: Bench, make: Make
) -> None:
    """It is open, and librdkafka would still answer some calls: no verb gets it."""
    producer = make.quiet()
    bench.topics["t"] = 3
    producer.produce_sync("t", b"x")
    connection_of(producer).client.note_fatal(FENCED)
    with pytest.raises(ProduceError, match="fenced"), producer.native():
        pass
    with pytest.raises(ProduceError, match="fenced"):
        producer.partition_count("t")
    assert bench.calls["list_topics"] == 0


def test_an_error_that_only_the_close_tells(bench: Bench, make: Make) -> None:
    """No poll met it: what comes out of the native close ends the producer too."""
    producer = make.quiet()
    producer.produce_sync("t", b"x")
    bench.fail("close", fatal_failure())
    assert producer.disconnect()
    eventually(lambda: not producer.health().healthy)
    with pytest.raises(ProduceError, match="fenced"):
        producer.produce_sync("t", b"y")
    for client in bench.clients:
        client.closed = True  # it has raised, and is destroyed


def fatal_failure() -> Exception:
    """What `close()` of a client in a fatal state raises."""
    fatal = KafkaError(KafkaError._FENCED, "fenced", True)  # noqa: SLF001
    return KafkaException(fatal)
