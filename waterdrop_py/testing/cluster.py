"""A Kafka cluster without Kafka: librdkafka's mock, in a process of its own."""

from __future__ import annotations

from datetime import timedelta

from confluent_kafka import KafkaError, Message, cimpl

from waterdrop_py.testing._mock_protocol import (
    API_KEYS,
    MAX_BROKERS,
    MAX_PARTITIONS,
    MAX_RTT_MS,
    api_key,
    codes_of,
    topic_name,
    whole_number,
)
from waterdrop_py.testing._server import Server
from waterdrop_py.testing._server_process import ServerProcess
from waterdrop_py.testing.reading import read_topic

MAX_REPLICAS = 3
SCRIPT = "_mock_server.py"


class EmbeddedCluster(Server):
    """A mock cluster that outlives the clients connected to it.

    It runs in a subprocess and starts in well under a second. It ends with `close()`,
    or with the process that started it, however that ends. Topics appear when they are
    first used, with four partitions, and keep about the last 5 MB of each. librdkafka's
    mock lacks fencing, `read_committed`, offsets of transactions, TLS and SASL. Every
    report has the same timestamp.

    All methods are thread-safe. Each command blocks for at most 10 s, usually for less
    than one millisecond. They raise `ValueError` for arguments out of range,
    `RuntimeError` when the cluster is not running, and `TimeoutError`. A forked child
    can connect to the cluster, but neither command nor close it.

    Args:
        brokers: how many.

    Example:
        >>> with EmbeddedCluster(brokers=1) as cluster:
        ...     kafka = {"bootstrap.servers": cluster.bootstrap_servers}
        ...     with Producer(kafka=kafka) as producer:
        ...         report = producer.produce_sync("orders", b"first")
        ...     [message.value() for message in cluster.read("orders")]
        [b'first']
    """

    _what = "mock cluster"

    def __init__(self, brokers: int = 3) -> None:
        super().__init__()
        self._size = whole_number(brokers, "brokers", 1, MAX_BROKERS)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic; `ValueError` if the name is taken.

        Partition 0 is led by broker 1, partition 1 by broker 2, and so on in rotation.

        Args:
            name: of the topic.
            partitions: how many.

        Example:
            >>> cluster.create_topic("wide", partitions=12)
        """
        topic_name(name)
        whole_number(partitions, "partitions", 1, MAX_PARTITIONS)
        replicas = min(self._size, MAX_REPLICAS)
        code = self._running().ask("create_topic", name, partitions, replicas)
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            raise ValueError(f"there is a topic {name!r} already")
        _check(code, f"create_topic({name!r})")

    def set_rtt(self, rtt_ms: int, broker: int | None = None) -> None:
        """Delay every response of a broker, or of all of them, by milliseconds.

        Args:
            rtt_ms: milliseconds.
            broker: its id, from 1; None is all of them.

        Example:
            >>> cluster.set_rtt(50)
        """
        whole_number(rtt_ms, "rtt_ms", 0, MAX_RTT_MS)
        process = self._running()
        for each in self._ids(broker):
            _check(process.ask("set_rtt", each, rtt_ms), f"set_rtt of broker {each}")

    def broker_down(self, broker: int) -> None:
        """Have a broker refuse connections, and close those it has.

        Args:
            broker: its id, from 1.

        Example:
            >>> cluster.broker_down(1)
            >>> cluster.broker_up(1)
        """
        process = self._running()
        for each in self._ids(broker):
            _check(process.ask("broker_down", each), f"broker_down({each})")

    def broker_up(self, broker: int) -> None:
        """Have a broker listen again, on the same port; `broker` is its id, from 1."""
        process = self._running()
        for each in self._ids(broker):
            _check(process.ask("broker_up", each), f"broker_up({each})")

    def push_errors(self, api_name: str, *codes: int | str) -> None:
        """Answer the next requests of this kind with these errors, one each, in order.

        `api_name` is the protocol's name, such as `"Produce"` or `"EndTxn"`. An error
        is its code or its lower-case name, such as `"not_leader_for_partition"`;
        `"transport"` closes the connection instead of answering, `"no_error"` lets one
        request pass. The `ValueError` for an unknown name lists the known ones.

        Args:
            api_name: of the protocol.
            codes: the errors.

        Example:
            >>> cluster.push_errors("Produce", "not_leader_for_partition")
            >>> producer.produce_sync("orders", b"retried").error is None
            True
        """
        key, numbers = api_key(api_name), codes_of(codes)
        self._running().ask("push_errors", key, numbers)

    def heal(self) -> None:
        """Undo every fault: brokers up, no delay, no pushed errors."""
        process = self._running()
        process.ask("clear_errors", sorted(API_KEYS.values()))
        self.set_rtt(0)
        for broker in self._ids(None):
            self.broker_up(broker)

    def read(self, topic: str, timeout: float | timedelta = 10.0) -> list[Message]:
        """Every message of a topic; see `read_topic`. `timeout` is in seconds.

        `RuntimeError` if the mock has discarded the oldest: it keeps about 5 MB of each
        partition.
        """
        messages = read_topic(self.bootstrap_servers, topic, timeout=timeout)
        for before, message in zip([None, *messages], messages, strict=False):
            first = before is None or before.partition() != message.partition()
            if first and message.offset():
                raise RuntimeError(
                    f"the mock cluster has discarded the first {message.offset()} "
                    f"messages of {topic} [{message.partition()}]: it keeps about 5 MB "
                    "of a partition; send less, or to more partitions"
                )
        return messages

    def _launch(self) -> ServerProcess:
        # The extension module resolves librdkafka's symbols on every platform, however
        # librdkafka is linked.
        return ServerProcess(self._what, SCRIPT, cimpl.__file__, self._size)

    def _ids(self, broker: int | None) -> list[int]:
        if broker is None:
            return list(range(1, self._size + 1))
        return [whole_number(broker, "the broker's id", 1, self._size)]


def _check(code: int, what: str) -> None:
    if code:
        raise RuntimeError(f"{what} failed: {KafkaError(code).str()}")
