"""The embedded cluster, used with bare confluent_kafka clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from tests.embedded.support import BOUND
from waterdrop_py.testing.cluster import EmbeddedCluster
from waterdrop_py.testing.reading import read_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedCluster]:
    """One cluster for this file."""
    with EmbeddedCluster() as running:
        yield running


@pytest.fixture
def cluster(shared: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """The cluster, healthy again after each test."""
    yield shared
    shared.heal()


def client(bootstrap_servers: str, **properties: Any) -> Producer:
    """A bare producer, with more properties if need be (`_` for `.`)."""
    return Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 0,
            "log_level": 0,
            **{name.replace("_", "."): value for name, value in properties.items()},
        }
    )


def deliver(producer: Producer, topic: str, payload: bytes, partition: int = 0) -> Any:
    """Send one message and wait for its report: the error (or None)."""
    outcome: list[Any] = []
    producer.produce(
        topic, payload, partition=partition, callback=lambda e, _: outcome.append(e)
    )
    assert producer.flush(BOUND) == 0
    return outcome[0]


def eventually(condition: Callable[[], bool], within: float = BOUND) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_delivered_can_be_read_back(cluster: EmbeddedCluster) -> None:
    """Every message comes back, once, in the order of partition and offset."""
    cluster.create_topic("read-back", 2)
    producer = client(cluster.bootstrap_servers)
    for number in range(200):
        producer.produce("read-back", str(number).encode(), partition=number % 2)
    assert producer.flush(BOUND) == 0
    producer.close()
    messages = cluster.read("read-back")
    assert [message.value() for message in messages] == [
        str(number).encode() for half in (0, 1) for number in range(half, 200, 2)
    ]


def test_the_cluster_outlives_its_clients(cluster: EmbeddedCluster) -> None:
    """Offsets go on counting when each message has a client of its own."""
    cluster.create_topic("outlives")
    for number in range(3):
        producer = client(cluster.bootstrap_servers)
        assert deliver(producer, "outlives", b"%d" % number) is None
        producer.close()
    assert [each.offset() for each in cluster.read("outlives")] == [0, 1, 2]


def test_brokers_are_those_of_the_metadata(cluster: EmbeddedCluster) -> None:
    """Ids, hosts and ports are the ones that the cluster advertises."""
    producer = client(cluster.bootstrap_servers)
    seen = producer.list_topics(timeout=BOUND).brokers.values()
    producer.close()
    advertised = sorted((each.id, each.host, each.port) for each in seen)
    assert advertised == sorted(cluster.brokers)


def test_topics_have_the_partitions_asked_for(cluster: EmbeddedCluster) -> None:
    """`create_topic` decides on the number, and refuses a name that is taken."""
    cluster.create_topic("seven", 7)
    producer = client(cluster.bootstrap_servers)
    metadata = producer.list_topics("seven", timeout=BOUND).topics["seven"]
    producer.close()
    assert len(metadata.partitions) == 7
    with pytest.raises(ValueError, match="'seven' already"):
        cluster.create_topic("seven")


def test_rtt_delays_responses_until_it_is_taken_back(cluster: EmbeddedCluster) -> None:
    """A warm client's delivery takes at least the round trip that was set."""
    cluster.create_topic("rtt")
    producer = client(cluster.bootstrap_servers)
    assert deliver(producer, "rtt", b"warm") is None

    def seconds() -> float:
        started = time.monotonic()
        assert deliver(producer, "rtt", b"x") is None
        return time.monotonic() - started

    cluster.set_rtt(1_000)
    slow = seconds()
    cluster.set_rtt(0)
    fast = seconds()
    producer.close()
    assert slow >= 1
    assert fast < 1


def test_a_broker_that_is_down_comes_back(cluster: EmbeddedCluster) -> None:
    """Down, nothing reaches its partition; up again, the same client delivers."""
    cluster.create_topic("flaky")
    producer = client(
        cluster.bootstrap_servers, message_timeout_ms=700, reconnect_backoff_max_ms=100
    )
    assert deliver(producer, "flaky", b"before") is None
    for broker in cluster.brokers:
        cluster.broker_down(broker.id)
    error = deliver(producer, "flaky", b"lost")
    assert error.code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001 - its public name
    for broker in cluster.brokers:
        cluster.broker_up(broker.id)
        cluster.broker_up(broker.id)  # twice does no harm
    assert eventually(lambda: deliver(producer, "flaky", b"after") is None)
    producer.close()
    values = [each.value() for each in cluster.read("flaky")]
    assert values == [b"before", b"after"]


@pytest.mark.parametrize("error", ["msg_size_too_large", KafkaError.MSG_SIZE_TOO_LARGE])
def test_a_pushed_error_is_what_the_client_gets(
    cluster: EmbeddedCluster, error: int | str
) -> None:
    """By name or by code, in the order pushed, once each; then all is well."""
    cluster.create_topic(f"refused-{error}")
    producer = client(cluster.bootstrap_servers)
    cluster.push_errors("Produce", "no_error", error)
    outcomes = [deliver(producer, f"refused-{error}", b"x") for _ in range(3)]
    producer.close()
    codes = [None if each is None else each.code() for each in outcomes]
    assert codes == [None, KafkaError.MSG_SIZE_TOO_LARGE, None]


def test_heal_takes_everything_back(cluster: EmbeddedCluster) -> None:
    """Brokers, delays and errors that were still waiting."""
    cluster.create_topic("healed")
    cluster.broker_down(1)
    cluster.set_rtt(5_000, broker=2)
    cluster.push_errors("Produce", "topic_authorization_failed")
    cluster.heal()
    producer = client(cluster.bootstrap_servers)
    started = time.monotonic()
    assert deliver(producer, "healed", b"x") is None
    assert time.monotonic() - started < 4
    producer.close()


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda c: c.push_errors("Prduce", 7), "Produce.*InitProducerId.*EndTxn"),
        (lambda c: c.push_errors("Produce", "nope"), "not_leader_for_partition"),
        (lambda c: c.push_errors("Produce", True), "-32768 to 32767"),
        (lambda c: c.push_errors("Produce", 40_000), "-32768 to 32767"),
        (lambda c: c.push_errors("Produce"), "no error given"),
        (lambda c: c.set_rtt(-1), "0 to 60000"),
        (lambda c: c.set_rtt(1.5), "0 to 60000"),
        (lambda c: c.set_rtt(1, broker=4), "1 to 3"),
        (lambda c: c.broker_down(0), "1 to 3"),
        (lambda c: c.broker_up("1"), "1 to 3"),
        (lambda c: c.create_topic("tópic"), "A-Z"),
        (lambda c: c.create_topic("t", 0), "1 to 1000"),
        (lambda _: EmbeddedCluster(brokers=0), "1 to 64"),
        (lambda _: EmbeddedCluster(brokers=True), "1 to 64"),
    ],
)
def test_bad_arguments_name_the_legal_ones(
    cluster: EmbeddedCluster, call: Callable[[EmbeddedCluster], None], hint: str
) -> None:
    """A `ValueError` before anything is asked of the cluster."""
    with pytest.raises(ValueError, match=hint):
        call(cluster)


def test_partitions_are_led_by_the_brokers_in_turn(cluster: EmbeddedCluster) -> None:
    """So a test knows which broker to take down, and reaches each of them."""
    cluster.create_topic("turns", 5)
    producer = client(cluster.bootstrap_servers)
    metadata = producer.list_topics("turns", timeout=BOUND).topics["turns"]
    producer.close()
    leaders = [metadata.partitions[each].leader for each in range(5)]
    assert leaders == [1, 2, 3, 1, 2]


def test_messages_that_the_mock_threw_away_are_not_passed_over(
    cluster: EmbeddedCluster,
) -> None:
    """Reading says that the oldest are gone, instead of looking like a loss."""
    cluster.create_topic("too-much")
    producer = client(cluster.bootstrap_servers)
    for _ in range(80):
        producer.produce("too-much", b"." * 100_000, partition=0)
    assert producer.flush(BOUND) == 0
    producer.close()
    with pytest.raises(RuntimeError, match=r"discarded the first \d+ messages"):
        cluster.read("too-much")


def test_reading_a_topic_that_is_not_there_says_so(cluster: EmbeddedCluster) -> None:
    """`KafkaException` with the broker's code, and no topic appears."""
    with pytest.raises(KafkaException) as raised:
        cluster.read("absent")
    assert raised.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_reading_from_nowhere_is_bounded() -> None:
    """Without a broker, `TimeoutError` comes at the timeout."""
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        read_topic("127.0.0.1:1", "any", timeout=0.5)
    assert time.monotonic() - started < 3


def test_start_and_close_are_idempotent() -> None:
    """One process however often it is started, none after close, and a fresh start."""
    cluster = EmbeddedCluster(brokers=1)
    with pytest.raises(RuntimeError, match="not running"):
        _ = cluster.bootstrap_servers
    host = cluster.start().pid
    assert cluster.start().pid == host
    cluster.close()
    cluster.close()
    assert not is_alive(host)
    with pytest.raises(RuntimeError, match="not running"):
        cluster.set_rtt(1)
    with cluster:
        assert cluster.pid != host


def test_a_host_that_was_killed_is_reported() -> None:
    """The next command says how it ended, and close is clean."""
    with EmbeddedCluster(brokers=1) as cluster:
        os.kill(cluster.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="exit code -9"):
            cluster.set_rtt(1)


PARENT = """
import os, sys, time
from waterdrop_py.testing import DroppingProxy, EmbeddedCluster
cluster = EmbeddedCluster(brokers=1).start()
proxy = DroppingProxy(cluster).start()
if "fork" in sys.argv:
    child = os.fork()
    if not child:  # keeps the parent's end of every pipe open
        try:
            cluster.set_rtt(1)
        except RuntimeError:
            cluster.close()
            time.sleep(30)
        os._exit(1)
    print(child)
print(cluster.pid)
print(proxy.pid, flush=True)
cluster.set_rtt(0)
time.sleep(30)
"""


@pytest.mark.parametrize("mode", ["plain", "fork"])
def test_a_server_dies_with_its_parent(mode: str) -> None:
    """After SIGKILL of the parent too, and with its pipes alive in a forked child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, mode], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2 + (mode == "fork"))]
        try:
            assert all(is_alive(pid) for pid in pids)
            parent.kill()
            parent.wait(BOUND)
            assert eventually(lambda: not any(map(is_alive, pids[-2:])), within=2)
            assert all(is_alive(pid) for pid in pids[:-2])
        finally:
            parent.kill()
            for pid in pids[:-2]:
                os.kill(pid, signal.SIGKILL)


def test_nothing_reaches_the_users_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """librdkafka's log lines about the mock stay in its own process."""
    with EmbeddedCluster(brokers=1) as cluster:
        cluster.broker_down(1)
        cluster.broker_up(1)
    assert capfd.readouterr() == ("", "")


PLUGGED = """
import pytest

PIDS = set()

@pytest.mark.parametrize("topic", ["one", "two"])
def test_cluster(waterdrop_cluster, topic):
    waterdrop_cluster.create_topic(topic)
    PIDS.add(waterdrop_cluster.pid)
    assert len(PIDS) == 1

def test_events(waterdrop_events):
    assert waterdrop_events == []
"""


def test_the_pytest_plugin_offers_its_fixtures(tmp_path: Any) -> None:
    """One cluster for the run, and a list of events for each test."""
    path = tmp_path / "test_plugged.py"
    path.write_text(PLUGGED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert "3 passed" in run.stdout, run.stdout + run.stderr
