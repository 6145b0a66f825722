"""The dropping proxy, used with bare confluent_kafka clients and bare sockets."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from tests.embedded.support import BOUND
from waterdrop_py.testing._proxy_server import Responses
from waterdrop_py.testing.cluster import EmbeddedCluster
from waterdrop_py.testing.proxy import DroppingProxy
from waterdrop_py.testing.reading import read_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPIC = "through"


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    """One cluster for this file."""
    with EmbeddedCluster() as running:
        running.create_topic(TOPIC, 3)
        yield running


@pytest.fixture
def proxy(cluster: EmbeddedCluster) -> Iterator[DroppingProxy]:
    """A fresh proxy for each test."""
    with DroppingProxy(cluster) as running:
        yield running


def client(proxy: DroppingProxy) -> Producer:
    """A bare producer that knows the proxy only."""
    return Producer(
        {"bootstrap.servers": proxy.bootstrap_servers, "linger.ms": 0, "log_level": 0}
    )


def delivered(producer: Producer, seconds: float = BOUND) -> int:
    """Send to each of the three partitions: how many reports came in time."""
    reports: list[Any] = []
    for partition in range(3):
        producer.produce(
            TOPIC, b"x", partition=partition, callback=lambda e, _: reports.append(e)
        )
    producer.flush(seconds)
    assert not any(reports)
    return len(reports)


def connect(proxy: DroppingProxy, stack: ExitStack, broker: int = 0) -> socket.socket:
    """A bare connection through the proxy."""
    sock = stack.enter_context(socket.socket())
    sock.settimeout(BOUND)
    sock.connect(proxy.brokers[broker][1:])
    return sock


def api_versions(sock: socket.socket, correlation: int) -> None:
    """Send the shortest request of the protocol: ApiVersions, version 0."""
    body = struct.pack(">hhih", 18, 0, correlation, -1)
    sock.sendall(struct.pack(">i", len(body)) + body)


def answered(sock: socket.socket, correlation: int) -> bool:
    """Whether the next response is the one to this request."""
    with sock.makefile("rb", buffering=0) as stream:
        (length,) = struct.unpack(">i", stream.read(4) or b"")
        return (stream.read(length) or b"")[:4] == struct.pack(">i", correlation)


def test_clients_stay_behind_the_proxy(
    proxy: DroppingProxy, cluster: EmbeddedCluster
) -> None:
    """The metadata names the proxy's ports only, and every partition delivers."""
    producer = client(proxy)
    assert delivered(producer) == 3
    seen = producer.list_topics(timeout=BOUND).brokers.values()
    producer.close()
    assert sorted((each.id, each.host, each.port) for each in seen) == proxy.brokers
    assert not {each.port for each in proxy.brokers} & {
        each.port for each in cluster.brokers
    }


def test_connections_are_counted(proxy: DroppingProxy) -> None:
    """`open` falls to zero when the client is closed, `accepted` does not."""
    assert (proxy.accepted, proxy.open) == (0, 0)
    producer = client(proxy)
    assert delivered(producer) == 3
    assert proxy.accepted >= proxy.open >= 3
    accepted = proxy.accepted
    producer.close()
    assert proxy.open == 0
    assert proxy.accepted == accepted


def test_counts_are_exact_at_once(proxy: DroppingProxy) -> None:
    """No waiting: what connected is counted, what was closed is not, every time."""
    for round_ in range(1, 201):
        with ExitStack() as stack:
            socks = [connect(proxy, stack, broker) for broker in range(3)]
            assert (proxy.open, proxy.accepted) == (3, 3 * round_)
            socks[0].close()
            assert proxy.open == 2
        assert proxy.open == 0
    for _ in range(200):
        with ExitStack() as stack:
            connect(proxy, stack)
        assert proxy.open == 0
    assert proxy.accepted == 800


def test_a_black_hole_is_silent_and_new_flows_work(proxy: DroppingProxy) -> None:
    """The old client hears nothing, not even an end; a fresh one delivers at once."""
    old = client(proxy)
    assert delivered(old) == 3
    held = proxy.open
    assert proxy.black_hole() == held
    assert delivered(old, seconds=1.0) == 0
    started = time.monotonic()
    fresh = client(proxy)
    assert delivered(fresh) == 3
    assert time.monotonic() - started < 3
    fresh.close()
    assert delivered(old, seconds=0) == 0
    assert proxy.open == held
    old.purge()
    old.poll(0)
    old.close()
    assert proxy.open == 0


def test_a_black_hole_hides_the_death_of_the_broker() -> None:
    """The broker's FIN or RST does not come through; the descriptor stays open."""
    with (
        EmbeddedCluster(brokers=1) as mortal,
        DroppingProxy(mortal) as proxy,
        ExitStack() as stack,
    ):
        sock = connect(proxy, stack)
        assert proxy.black_hole() == 1
        mortal.broker_down(1)
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert proxy.open == 1
        sock.close()
        assert proxy.open == 0


def test_the_end_of_the_broker_comes_through_otherwise() -> None:
    """Without a black hole the client sees what the broker does."""
    with (
        EmbeddedCluster(brokers=1) as mortal,
        DroppingProxy(mortal) as proxy,
        ExitStack() as stack,
    ):
        sock = connect(proxy, stack)
        assert proxy.open == 1
        mortal.broker_down(1)
        assert sock.recv(1) == b""
        late = connect(proxy, stack)
        assert late.recv(1) == b""
        assert proxy.open == 0


def test_refusing_keeps_the_ports_and_the_open_flows(proxy: DroppingProxy) -> None:
    """New connections are refused until `accept`; on the same ports."""
    with ExitStack() as stack:
        sock = connect(proxy, stack)
        api_versions(sock, 1)
        assert answered(sock, 1)
        ports = proxy.brokers
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy, stack)
        assert proxy.open == 1
        proxy.accept()
        proxy.accept()
        assert proxy.brokers == ports
        again = connect(proxy, stack)
        api_versions(again, 2)
        assert answered(again, 2)


def test_reset_is_loud(proxy: DroppingProxy) -> None:
    """Every open flow ends with RST; the client reconnects and delivers."""
    producer = client(proxy)
    with ExitStack() as stack:
        sock = connect(proxy, stack)
        assert delivered(producer) == 3
        assert proxy.reset() >= 4
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert delivered(producer) == 3
    producer.close()


def test_addresses_split_over_reads_are_still_rewritten() -> None:
    """A response cut at any byte comes out whole and rewritten."""
    frames = [struct.pack(">i", 9) + b"..ADDR..x", struct.pack(">i", 4) + b"ADDR"]
    whole = b"".join(frames)
    for cut in range(len(whole) + 1):
        responses = Responses(lambda frame: frame.replace(b"ADDR", b"addr"))
        fed = responses.feed(whole[:cut]) + responses.feed(whole[cut:])
        assert fed == whole.replace(b"ADDR", b"addr")


def test_much_data_comes_through_whole(
    proxy: DroppingProxy, cluster: EmbeddedCluster
) -> None:
    """Ten times the buffer arrives complete, on the way in and on the way out."""
    cluster.create_topic("bulk", 10)
    sent = [b"%06d" % number + b"." * 100_000 for number in range(400)]
    producer = client(proxy)
    for number, payload in enumerate(sent):
        producer.produce("bulk", payload, partition=number // 40)
    assert producer.flush(BOUND) == 0
    producer.close()
    through = read_topic(proxy.bootstrap_servers, "bulk")
    assert [message.value() for message in through] == sent


def test_a_plain_address_works_too(cluster: EmbeddedCluster) -> None:
    """Given as text, for clusters that run elsewhere on this machine."""
    with DroppingProxy(cluster.bootstrap_servers) as proxy:
        producer = client(proxy)
        assert delivered(producer) == 3
        producer.close()


@pytest.mark.parametrize("servers", ["", "kafka.example:9092", "127.0.0.1", ":9092"])
def test_addresses_elsewhere_are_refused(servers: str) -> None:
    """Their names in responses could not be replaced: `ValueError`, not silence."""
    with pytest.raises(ValueError, match="host:port"):
        DroppingProxy(servers).start()


@pytest.mark.parametrize("cluster", [None, 9092, b"127.0.0.1:9092", [], ("h", 1)])
def test_what_is_no_cluster_is_refused(cluster: Any) -> None:
    """At once, and not when it is started."""
    with pytest.raises(ValueError, match="must be an EmbeddedCluster"):
        DroppingProxy(cluster)


@pytest.mark.own_process
def test_close_ends_the_thread_and_every_socket(cluster: EmbeddedCluster) -> None:
    """Idempotent; afterwards no thread, no listener and no descriptor is left."""
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())
    proxy = DroppingProxy(cluster)
    with pytest.raises(RuntimeError, match="not running"):
        _ = proxy.open
    proxy.start()
    with ExitStack() as stack:
        sock = connect(proxy, stack)
        assert proxy.open == 1
        address = proxy.brokers[0][1:]
        proxy.close()
        proxy.close()
        assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, BOUND)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert set(threading.enumerate()) <= threads
