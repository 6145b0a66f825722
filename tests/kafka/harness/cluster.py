"""A real Kafka cluster in KRaft mode, started, broken and stopped by the tests."""

from __future__ import annotations

import atexit
import base64
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from waterdrop_py.testing.reading import read_topic

from .broker import KafkaBroker, java_command
from .certificates import Certificates
from .client import HarnessClient
from .coordinator import transactional_ids
from .errors import HarnessError
from .guard import Guard
from .jars import java, kafka_jars, openssl
from .listeners import LISTENERS, client_properties, server_properties
from .ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import confluent_kafka

    from .coordinator import TransactionalId
    from .listeners import ClientListener, Listener

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]

START_SECONDS = 90.0
_STOP_SECONDS = 10.0
# The last two of three wait in vain for a quorum that is gone; their data goes anyway.
_CLOSE_SECONDS = 3.0
_WARNINGS_ONLY = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class KafkaCluster:
    """`nodes` brokers, each a controller too; a context manager. Not thread-safe.

    Each broker listens on six loopback ports: see `listeners`. Topics are not
    created by use. `properties` are added to every broker's configuration and win.
    """

    def __init__(
        self, nodes: int = 1, *, properties: Mapping[str, str] | None = None
    ) -> None:
        """Starts nothing. Figures for replication suit 1 or 3 nodes."""
        self._size = nodes
        self._extra = dict(properties or {})
        self._brokers: dict[int, KafkaBroker] = {}
        self._guard: Guard | None = None
        self._certificates: Certificates | None = None
        self._folder: Path | None = None

    # -- life ------------------------------------------------------------------

    def start(self) -> KafkaCluster:
        """Start all brokers and wait until each answers and sees all the others.

        Fetches Kafka's jars when they are not there. Raises `HarnessError`, with the
        end of the broker's log, after at most 90 s; nothing is left behind then.
        """
        java_path, _, jars = java(), openssl(), kafka_jars()
        folder = self._folder = Path(tempfile.mkdtemp(prefix="kafka-test-"))
        self._guard = Guard(folder)
        atexit.register(self.close)
        try:
            self._certificates = Certificates(folder / "tls")
            log4j2 = folder / "log4j2.properties"
            log4j2.write_text(_WARNINGS_ONLY)
            command = java_command(java_path, jars, log4j2)
            for node in range(1, self._size + 1):
                ports = {name: free_port() for name in LISTENERS}
                broker = KafkaBroker(node, folder, ports, command, self._guard)
                self._brokers[node] = broker
            self._format(folder)
            for broker in self._brokers.values():
                broker.start()
            self.wait_until_ready(START_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop every broker, by force after 3 s, and remove the folder. Idempotent."""
        if self._guard is None:
            return
        deadline = time.monotonic() + _CLOSE_SECONDS
        for broker in self._brokers.values():
            broker.terminate()
        for broker in self._brokers.values():
            if broker.wait(max(0.0, deadline - time.monotonic())) is None:
                broker.kill()
        self._guard.finish()
        self._guard = None
        self._brokers.clear()
        atexit.unregister(self.close)

    def __enter__(self) -> KafkaCluster:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _format(self, folder: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Side by side: each is a JVM that takes more than a second.
        for broker in self._brokers.values():
            broker.format(cluster_id, self._server_properties(broker, folder))
        for broker in self._brokers.values():
            broker.wait_until_formatted()

    def _server_properties(self, broker: KafkaBroker, folder: Path) -> dict[str, str]:
        voters = (
            f"{node}@{HOST}:{each.ports['CONTROLLER']}"
            for node, each in self._brokers.items()
        )
        replicas = str(min(3, self._size))
        in_sync = str(min(2, self._size))
        return {
            "process.roles": "broker,controller",
            "node.id": str(broker.node),
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(folder / f"data-{broker.node}"),
            **server_properties(broker.ports, self.certificates),
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "3",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is led around, and let in again, only when its session
            # has ended: 6 s instead of 9, and still far from a slow machine's pauses.
            "broker.session.timeout.ms": "6000",
            "broker.heartbeat.interval.ms": "500",
            **self._extra,
        }

    # -- brokers ------------------------------------------------------------------

    @property
    def brokers(self) -> tuple[KafkaBroker, ...]:
        """All brokers, running or not, in the order of their node ids (1, 2, 3)."""
        return tuple(self._brokers.values())

    def kill(self, node: int) -> None:
        """SIGKILL one broker and wait until it is gone."""
        self._brokers[node].kill()

    def stop(self, node: int) -> None:
        """Stop one broker in good order (SIGTERM), by force after 10 s."""
        broker = self._brokers[node]
        broker.terminate()
        if broker.wait(_STOP_SECONDS) is None:
            broker.kill()

    def pause(self, node: int) -> None:
        """SIGSTOP one broker."""
        self._brokers[node].pause()

    def resume(self, node: int) -> None:
        """SIGCONT one broker; does not wait until it answers."""
        self._brokers[node].resume()

    def restart(
        self, *nodes: int, wait: bool = True, timeout: float = START_SECONDS
    ) -> None:
        """Start brokers that were killed or stopped, on their old ports and data.

        With `wait` (the default) until every running broker answers.
        """
        for node in nodes:
            self._brokers[node].start()
        if wait:
            self.wait_until_ready(timeout)

    def move(self, node: int) -> None:
        """Stop one broker in good order, and start it where clients do not know it.

        Its old client addresses refuse connections, as those of a broker that was
        replaced do. Returns when every running broker answers.
        """
        broker = self._brokers[node]
        if self._folder is None:
            raise HarnessError("the cluster is not started")
        self.stop(node)
        taken = {name: broker.ports[name] for name in ("CONTROLLER", "INTERNAL")}
        free = {name: free_port() for name in LISTENERS if name not in taken}
        broker.ports.update(free)
        broker.configure(self._server_properties(broker, self._folder))
        self.restart(node)

    def wait_until_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until each running broker listens, and sees all running ones.

        Without a majority of the nodes nothing answers: `HarnessError` after
        `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        running = {each.node: each for each in self.brokers if each.is_running}
        for broker in running.values():
            broker.wait_until_listening(deadline)
        for broker in running.values():
            with self._client(broker) as client:
                while not running.keys() <= client.nodes():
                    if not broker.is_running:
                        raise broker.failure("ended while starting")
                    if time.monotonic() > deadline:
                        raise broker.failure(f"sees not all of {sorted(running)}")
                    time.sleep(0.05)

    # -- clients ------------------------------------------------------------------

    @property
    def certificates(self) -> Certificates:
        """The authority that signed the brokers' certificates, and a strange one."""
        if self._certificates is None:
            raise HarnessError("the cluster is not started")
        return self._certificates

    def bootstrap(self, kind: Listener = "PLAINTEXT") -> str:
        """`bootstrap.servers` for a listener: every broker, running or not."""
        if not self._brokers:
            raise HarnessError("no brokers: the cluster is not started")
        return ",".join(f"{HOST}:{each.ports[kind]}" for each in self.brokers)

    def client_properties(self, kind: Listener = "PLAINTEXT") -> dict[str, str]:
        """The librdkafka properties for a listener, credentials included."""
        return client_properties(kind, self.bootstrap(kind), self.certificates.ca)

    def connections(self, kind: ClientListener | None = None) -> list[int]:
        """The peers' ports of the client connections of all running brokers."""
        running = (each for each in self.brokers if each.is_running)
        return [peer for each in running for peer in each.connections(kind)]

    def wait_for_connections(
        self,
        count: int,
        kind: ClientListener | None = None,
        *,
        timeout: float = 5.0,
    ) -> None:
        """Wait until the brokers hold exactly `count` client connections."""
        deadline = time.monotonic() + timeout
        while len(peers := self.connections(kind)) != count:
            if time.monotonic() > deadline:
                listener = kind or "client listeners"
                raise HarnessError(
                    f"the brokers hold {len(peers)} connections on {listener}, "
                    f"not {count}, after {timeout} s: peers {peers}"
                )
            time.sleep(0.01)

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Create a topic, wait until every running broker knows it, return its name.

        With as many replicas as there are nodes (at most 3).
        """
        with HarnessClient(self.bootstrap("INTERNAL")) as client:
            client.create_topic(name, partitions, min(3, self._size), config or {})
        for broker in self.brokers:
            if broker.is_running:
                with self._client(broker) as client:
                    client.wait_for_topic(name, partitions)
        return name

    def read_topic(
        self,
        name: str,
        *,
        isolation: Isolation = "read_committed",
        timeout: float = 30.0,
    ) -> list[confluent_kafka.Message]:
        """Every message of a topic, from its beginning to its end as of now."""
        return read_topic(
            self.bootstrap("INTERNAL"),
            name,
            timeout=timeout,
            properties={"isolation.level": isolation},
        )

    def leaders(self, topic: str) -> dict[int, int]:
        """The node that leads each partition of a topic."""
        with HarnessClient(self.bootstrap("INTERNAL")) as client:
            return client.leaders(topic)

    def wait_until_leaders_agree(self, topic: str) -> None:
        """Wait until every running broker names the same leaders of a topic.

        A broker that was paused takes itself for a leader until it hears of the next
        one, and a reader that asks it sees no newer message. `HarnessError` after 90 s.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            named: list[dict[int, int]] = []
            for broker in self.brokers:
                if broker.is_running:
                    with self._client(broker) as client:
                        named.append(client.leaders(topic))
            if all(each == named[0] for each in named):
                return
            if time.monotonic() > deadline:
                raise HarnessError(f"the brokers name different leaders: {named}")
            time.sleep(0.05)

    def elect_preferred_leaders(self, topic: str) -> None:
        """Have each partition led by its first replica; `HarnessError` after 30 s."""
        with HarnessClient(self.bootstrap("INTERNAL")) as client:
            client.elect_preferred_leaders(topic)

    def scram_properties(self, user: str, password: str) -> dict[str, str]:
        """The librdkafka properties for `SASL_SSL`, as another user."""
        mine = {"sasl.username": user, "sasl.password": password}
        return {**self.client_properties("SASL_SSL"), **mine}

    def set_scram_password(self, user: str, password: str) -> None:
        """Make a user, or change its password; wait until the brokers accept it.

        Connections that stand remain. `HarnessError` after 30 s.
        """
        with HarnessClient(self.bootstrap("INTERNAL")) as client:
            client.set_scram_password(user, password)
        properties = self.scram_properties(user, password)
        with HarnessClient(self.bootstrap("SASL_SSL"), properties) as client:
            client.wait_for_login()

    def transactional_ids(self, prefix: str) -> dict[str, TransactionalId]:
        """What the coordinators know of the ids that begin with `prefix`."""
        found: dict[str, TransactionalId] = {}
        for broker in self.brokers:
            if broker.is_running:
                port = broker.ports["INTERNAL"]
                found |= transactional_ids(HOST, port, prefix)
        return found

    @staticmethod
    def _client(broker: KafkaBroker) -> HarnessClient:
        return HarnessClient(f"{HOST}:{broker.ports['INTERNAL']}")
