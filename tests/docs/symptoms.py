"""What provokes each message of the troubleshooting page.

A function has the name of its message, with underscores, and returns what was said. It
is called with `cluster`, `tls` (the address of a listener with an unknown certificate)
and `caplog`.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.docs.provoking import (
    connecting,
    hang_up,
    listening,
    nothing_there,
    producer,
    program,
    without_place,
)
from tests.docs.said import raised_by
from waterdrop_py import Config, Producer, ProducerPool, errors

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from waterdrop_py.testing import EmbeddedCluster

PROVOKED: Final[dict[str, Callable[..., str]]] = {}


def says(function: Callable[..., str]) -> Callable[..., str]:
    """Register what provokes the message of the function's name."""
    PROVOKED[function.__name__] = function
    return function


@says
def refused(**_: Any) -> str:
    """Nothing listens."""
    with nothing_there() as servers:
        return connecting(servers)


@says
def refused_log(caplog: pytest.LogCaptureFixture, **_: Any) -> str:
    """The log of a send to where nothing listens."""
    with nothing_there() as servers, producer(servers) as sending:
        sending.produce_async("orders", b"...")
        deadline = time.monotonic() + 10
        while "reached no" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
    return "\n".join(caplog.messages)


@says
def resolve(**_: Any) -> str:
    """A name that no DNS knows (RFC 2606)."""
    return connecting("kafka.invalid:9092")


@says
def dropped(**_: Any) -> str:
    """A listener that ends every connection, as one with TLS does."""
    with listening(hang_up) as servers:
        return connecting(servers)


@says
def tls_to_plaintext(**_: Any) -> str:
    """A TLS client at a listener that takes its handshake for a wrong request."""
    with listening(hang_up) as servers:
        return connecting(servers, security_protocol="ssl")


@says
def certificate(tls: str, **_: Any) -> str:
    """A certificate that its own key has signed."""
    return connecting(tls, security_protocol="ssl")


@says
def ca_file(**_: Any) -> str:
    """A file that is not there."""
    tls = {"security_protocol": "ssl", "ssl_ca_location": "/no/such/ca.pem"}
    return raised_by(lambda: producer("unused:9092", **tls))


@says
def unused_sasl(**_: Any) -> str:
    """A login without a protocol that uses it."""
    login = {"sasl.username": "me", "sasl.password": "secret"}
    with pytest.warns(errors.TuningWarning) as caught:
        Config(kafka={"bootstrap.servers": "unused:9092", **login})
    return f"TuningWarning: {caught[0].message}"


@says
def silent(**_: Any) -> str:
    """A listener that never answers, and lets every connection open."""
    kept: list[socket.socket] = []
    with listening(kept.append) as servers:
        text = connecting(servers)
    for connection in kept:
        connection.close()
    return text


@says
def too_many_clients(**_: Any) -> str:
    """What confluent-kafka raises when the keys have run out."""

    def factory(_: object) -> Any:
        raise RuntimeError("Failed to initialize thread local storage: ...")

    full = producer("unused:9092", {"client_factory": factory})
    return raised_by(lambda: full.produce_async("orders", b"..."))


@says
def msg_timed_out(**_: Any) -> str:
    """A message to where nothing listens."""
    with nothing_there() as servers, producer(servers, message_timeout_ms=1000) as one:
        return raised_by(lambda: one.produce_sync("orders", b"..."))


@says
def missing_topic(cluster: EmbeddedCluster, **_: Any) -> str:
    """A topic that is not created."""
    strict: dict[str, Any] = {"allow_auto_create_topics": False}
    strict |= {"topic_metadata_propagation_max_ms": 1000}
    with producer(cluster.bootstrap_servers, **strict) as sending:
        return raised_by(lambda: sending.produce_sync("ordes", b"..."))


@says
def acl(cluster: EmbeddedCluster, **_: Any) -> str:
    """A broker that answers as one does without the ACL."""
    with producer(cluster.bootstrap_servers) as sending:
        cluster.push_errors("Produce", "topic_authorization_failed")
        return raised_by(lambda: sending.produce_sync("orders", b"..."))


@says
def queue_full(cluster: EmbeddedCluster, **_: Any) -> str:
    """A queue of one message, and a broker that takes its time."""
    options = {"wait_timeout_on_queue_full": "500ms"}
    with producer(
        cluster.bootstrap_servers, options, queue_buffering_max_messages=1
    ) as sending:
        cluster.set_rtt(5000)

        def fill() -> None:
            for _ in range(3):
                sending.produce_async("orders", b"...")

        return raised_by(fill)


@says
def delivery_timeout(cluster: EmbeddedCluster, **_: Any) -> str:
    """A wait that is shorter than the broker's answer."""
    with producer(cluster.bootstrap_servers) as sending:
        cluster.set_rtt(2000)
        return raised_by(lambda: sending.produce_sync("orders", b"...", timeout=0.5))


@says
def payload_size(**_: Any) -> str:
    """The library's own limit."""
    limited = producer("unused:9092", {"max_payload_size": 1000})
    return raised_by(lambda: limited.produce_sync("orders", b"." * 2000))


@says
def too_large(cluster: EmbeddedCluster, **_: Any) -> str:
    """librdkafka's limit."""
    with producer(cluster.bootstrap_servers) as sending:
        return raised_by(lambda: sending.produce_sync("orders", b"." * 2_000_000))


@says
def larger_than_queue(cluster: EmbeddedCluster, **_: Any) -> str:
    """A message that no queue of this size can hold."""
    properties = {"message_max_bytes": 20_000_000, "queue_buffering_max_kbytes": 1000}
    with producer(cluster.bootstrap_servers, **properties) as sending:
        return raised_by(lambda: sending.produce_sync("orders", b"." * 2_000_000))


@says
def fenced(cluster: EmbeddedCluster, **_: Any) -> str:
    """A commit that is answered as one of a fenced producer."""
    with producer(cluster.bootstrap_servers, transactional_id="billing") as sending:

        def commit() -> None:
            with sending.transaction():
                sending.produce_async("orders", b"...")

        commit()
        cluster.push_errors("EndTxn", "invalid_producer_epoch")
        return raised_by(commit)


@says
def parents_id(cluster: EmbeddedCluster, **_: Any) -> str:
    """A child that uses its parent's id."""
    code = """
import os, sys
from waterdrop_py import Producer
producer = Producer(
    kafka={"bootstrap.servers": sys.argv[1], "transactional.id": "billing"}
)
with producer.transaction():
    producer.produce_async("orders", b"...")
if os.fork() == 0:
    with producer.transaction():
        producer.produce_async("orders", b"...")
    sys.exit()
os.wait()
"""
    return without_place(program(code, cluster.bootstrap_servers))


@says
def idle_300(**_: Any) -> str:
    """Seconds where milliseconds are meant."""
    return raised_by(lambda: producer("h:1", {"idle_disconnect_timeout": 300}))


ENDING = """
import sys
from waterdrop_py import Producer
producer = Producer(kafka={"bootstrap.servers": sys.argv[1]}, close_timeout="2s")
for _ in range(2):
    producer.produce_async("orders", b"...")
"""


@says
def exit_waits(**_: Any) -> str:
    """A process that ends while messages are on their way."""
    with nothing_there() as servers:
        return program(ENDING, servers)


@says
def gave_up(**_: Any) -> str:
    """What it says at last."""
    return exit_waits()


@says
def dropped_producer(cluster: EmbeddedCluster, **_: Any) -> str:
    """A producer whose last reference goes away."""
    sending = producer(cluster.bootstrap_servers, linger_ms=200)
    sending.produce_async("orders", b"...")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del sending
    return "\n".join(f"{each.category.__name__}: {each.message}" for each in caught)


@says
def subscriber(
    cluster: EmbeddedCluster, caplog: pytest.LogCaptureFixture, **_: Any
) -> str:
    """A subscriber that raises."""
    with producer(cluster.bootstrap_servers, {"close_timeout": "5s"}) as sending:
        sending.monitor.subscribe("message.acknowledged", lambda _: 1 / 0)
        sending.produce_sync("orders", b"...")
    return "\n".join(caplog.messages)


@says
def reentrant(cluster: EmbeddedCluster, **_: Any) -> str:
    """A callback that waits for reports, which waits for the callback."""
    said: list[str] = []
    with producer(cluster.bootstrap_servers, {"close_timeout": "5s"}) as sending:
        sending.monitor.subscribe(
            "message.acknowledged", lambda _: said.append(raised_by(sending.flush))
        )
        sending.produce_sync("orders", b"...")
    return said[0]


@says
def forked(cluster: EmbeddedCluster, **_: Any) -> str:
    """A child that asks for a message of its parent."""
    code = """
import os, sys
from waterdrop_py import Producer
producer = Producer(kafka={"bootstrap.servers": sys.argv[1], "linger.ms": 500})
handle = producer.produce_async("orders", b"...")
if os.fork() == 0:
    error = handle.exception(1)
    print(f"{type(error).__name__}: {error}")
    sys.exit()
os.wait()
"""
    return program(code, cluster.bootstrap_servers)


@says
def env(**_: Any) -> str:
    """A variable that is misspelled."""
    variables = {
        "WATERDROP_URL": "kafka://h:1",
        "WATERDROP_IDLE_TIMEOUT": "5m",
        # Kubernetes' own variables for a Service are no mistake.
        "WATERDROP_SERVICE_HOST": "10.0.0.1",
        "WATERDROP_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    }
    return raised_by(lambda: Config.from_env(environ=variables))


@says
def produce(**_: Any) -> str:
    """A verb of confluent-kafka."""
    return raised_by(lambda: getattr(producer("h:1"), "produce"))  # noqa: B009


@says
def bootstrap(**_: Any) -> str:
    """An option of kafka-python."""
    return raised_by(lambda: Producer(bootstrap_servers="localhost:9092"))


@says
def statistics(cluster: EmbeddedCluster, **_: Any) -> str:
    """A subscription that comes too late."""
    with producer(cluster.bootstrap_servers) as sending:
        sending.produce_sync("orders", b"...")
        return raised_by(lambda: sending.monitor.subscribe("statistics.emitted", print))


@says
def pool(**_: Any) -> str:
    """A pool of one that is leased."""
    kafka = {"bootstrap.servers": "unused:9092"}
    with (
        ProducerPool({"kafka": kafka}, size=1, timeout=0.2, name="orders") as leased,
        leased.acquire(),
    ):
        return raised_by(leased.acquire)
