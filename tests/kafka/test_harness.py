"""The broker that the other tests trust, looked at with a bare client."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import confluent_kafka
import pytest

from tests.kafka.harness import (
    CLIENT_LISTENERS,
    ClientListener,
    HarnessError,
    KafkaCluster,
    jars,
    unsecured_token,
)

STARTS_AND_WAITS = """
import sys, time
from tests.kafka.harness import KafkaCluster
with KafkaCluster() as cluster:
    print(cluster.brokers[0].pid, flush=True)
    time.sleep(60)
"""


def bare_producer(
    cluster: KafkaCluster, kind: ClientListener
) -> confluent_kafka.Producer:
    """A client without our library, whose log goes nowhere."""
    return confluent_kafka.Producer(
        {
            **cluster.client_properties(kind),
            "linger.ms": 0,
            "logger": logging.getLogger("bare"),
        }
    )


def values(messages: list[confluent_kafka.Message]) -> list[bytes | None]:
    """The payloads, in the order of partition and offset."""
    return [message.value() for message in messages]


@pytest.mark.parametrize("kind", CLIENT_LISTENERS)
def test_a_bare_client_is_served_and_seen(
    kafka: KafkaCluster, topic: str, kind: ClientListener
) -> None:
    """Each listener delivers; its client is one connection there, and none later."""
    producer = bare_producer(kafka, kind)
    try:
        producer.produce(topic, b"payload")
        assert producer.flush(20) == 0
        assert len(kafka.connections(kind)) == 1
        assert kafka.connections() == kafka.connections(kind)
    finally:
        producer.close()
    kafka.wait_for_connections(0)
    assert values(kafka.read_topic(topic)) == [b"payload"]


def test_each_client_counts(kafka: KafkaCluster, topic: str) -> None:
    """N live clients are N connections, and each that closes is one less."""
    producers = [bare_producer(kafka, "PLAINTEXT") for _ in range(4)]
    try:
        for producer in producers:
            producer.produce(topic, b"payload")
            assert producer.flush(20) == 0
        assert len(kafka.connections()) == 4
        while producers:
            producers.pop().close()
            kafka.wait_for_connections(len(producers))
    finally:
        for producer in producers:
            producer.close()


def test_a_token_of_ours_is_accepted(kafka: KafkaCluster, topic: str) -> None:
    """`unsecured_token` is what an `oauth_cb` may return for this broker."""
    properties = kafka.client_properties("OAUTHBEARER")
    del properties["enable.sasl.oauthbearer.unsecure.jwt"]
    del properties["sasl.oauthbearer.config"]
    producer = confluent_kafka.Producer(
        {**properties, "oauth_cb": lambda _: unsecured_token()}
    )
    try:
        producer.produce(topic, b"payload")
        assert producer.flush(20) == 0
        assert len(kafka.connections("OAUTHBEARER")) == 1
    finally:
        producer.close()


def test_waiting_for_connections_is_bounded(kafka: KafkaCluster) -> None:
    """A count that is never reached is an error that says what there is."""
    with pytest.raises(HarnessError, match="hold 0 connections on SSL, not 1"):
        kafka.wait_for_connections(1, "SSL", timeout=0.1)


def test_three_nodes_survive_what_tests_do_to_them(kafka_cluster: KafkaCluster) -> None:
    """Killed, paused, stopped: each node comes back, and nothing stored is lost."""
    topic = kafka_cluster.create_topic(f"topic-{uuid.uuid4().hex[:12]}", 3)
    producer = bare_producer(kafka_cluster, "PLAINTEXT")
    failures: list[confluent_kafka.KafkaError] = []

    def count(error: confluent_kafka.KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    def send(payload: bytes) -> None:
        for partition in range(3):
            producer.produce(topic, payload, partition=partition, on_delivery=count)
        assert producer.flush(60) == 0

    try:
        send(b"all up")
        assert len(kafka_cluster.connections()) == 3
        kafka_cluster.kill(1)
        assert not kafka_cluster.brokers[0].is_running
        send(b"one killed")
        kafka_cluster.restart(1)
        kafka_cluster.pause(2)
        kafka_cluster.resume(2)
        kafka_cluster.wait_until_ready()
        kafka_cluster.stop(3)
        kafka_cluster.restart(3)
        send(b"all back")
    finally:
        producer.close()
    assert failures == []
    stored = values(kafka_cluster.read_topic(topic))
    assert stored == [b"all up", b"one killed", b"all back"] * 3


def test_nothing_survives_tests_that_are_killed() -> None:
    """The broker and its folder go with the process that started them."""
    tests = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS],
        stdout=subprocess.PIPE,
        text=True,
        cwd=jars.PROJECT,
    )
    with tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        folder = Path(command[-2]).parent
        assert folder.is_dir()
        tests.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10.0
    while folder.exists() or is_alive(pid):
        assert time.monotonic() < deadline, "the broker or its folder is still there"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that was killed and not reaped is none."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_machine_without_java_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No Java is an error that names the packages."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HarnessError, match=r"apt-get install openjdk-17.*brew install"):
        KafkaCluster().start()


def test_an_old_java_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Java 11 is an error that says which one is needed."""
    fake = tmp_path / "bin" / "java"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(HarnessError, match=r"is Java 11\. Kafka needs Java 17"):
        KafkaCluster().start()


def test_a_machine_without_maven_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No Maven, and no jars yet, is an error that names the packages."""
    monkeypatch.setenv(jars.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HarnessError, match=r"apt-get install maven.*brew install"):
        jars.kafka_jars()


def test_an_interrupted_fetch_does_not_look_complete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Maven that dies half way leaves no folder that a later run would trust."""
    fake = tmp_path / "mvn"
    fake.write_text(
        "#!/bin/sh\n"
        'for each; do case "$each" in -DoutputDirectory=*)'
        ' : > "${each#-DoutputDirectory=}/half.jar";; esac; done\n'
        "echo 'the network is gone'; exit 1\n"
    )
    fake.chmod(0o755)
    cache = tmp_path / "cache"
    monkeypatch.setenv(jars.CACHE_VARIABLE, str(cache))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(HarnessError, match="the network is gone"):
        jars.kafka_jars()
    assert list(cache.iterdir()) == []


def test_a_broker_that_cannot_start_shows_its_log() -> None:
    """A wrong server property fails the start with the broker's own words."""
    wrong = KafkaCluster(properties={"log.retention.bytes": "plenty"})
    with pytest.raises(HarnessError, match=r"log\.retention\.bytes"):
        wrong.start()
    with pytest.raises(HarnessError, match="no brokers"):
        wrong.bootstrap()
