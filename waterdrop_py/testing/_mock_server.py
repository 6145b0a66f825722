"""The process that hosts librdkafka's mock cluster; run as a script, never imported.

Usage: `python -I -S _mock_server.py <parent pid> <library> <brokers>`. It needs nothing
but the standard library and the shared object that carries librdkafka's symbols, so
that it is up in a few hundredths of a second and shares no code with its clients.

Commands come as JSON lines on stdin, answers leave as JSON lines on stdout:
`{"id": 7, "do": "set_rtt", "args": [1, 250]}` is answered with `{"id": 7, "code": 0}`,
where `code` is librdkafka's, or with `{"id": 7, "error": "<text>"}`.

It ends when stdin does. Forked children of the parent may hold the other end of that
pipe open, so it also ends as soon as its parent is another process than at the start.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PARENT_CHECK_SECONDS = 0.25
# The mock's thread can miss a command that follows at once, and then takes it up a
# second later (measured: one in ten).
PAUSE_SECONDS = 0.0005
# The mock accepts any topic name, and creates the topic when it is asked about. This
# name is refused, as Kafka refuses it; `connect()` asks for it.
REFUSED_TOPIC, INVALID_TOPIC = b"waterdrop py?", 17
PRODUCER = 0  # rd_kafka_type_t: RD_KAFKA_PRODUCER
LOG_ERRORS = b"3"  # syslog level; the parent keeps stderr for the post-mortem only

POINTER, STRING, INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (POINTER, []),
    "rd_kafka_conf_set": (INT, [POINTER, STRING, STRING, STRING, ctypes.c_size_t]),
    "rd_kafka_new": (POINTER, [INT, POINTER, STRING, ctypes.c_size_t]),
    "rd_kafka_mock_cluster_new": (POINTER, [POINTER, INT]),
    "rd_kafka_mock_cluster_bootstraps": (STRING, [POINTER]),
    "rd_kafka_mock_topic_create": (INT, [POINTER, STRING, INT, INT]),
    "rd_kafka_mock_topic_set_error": (None, [POINTER, STRING, INT]),
    "rd_kafka_mock_partition_set_leader": (
        INT,
        [POINTER, STRING, ctypes.c_int32, ctypes.c_int32],
    ),
    "rd_kafka_mock_broker_set_rtt": (INT, [POINTER, ctypes.c_int32, INT]),
    "rd_kafka_mock_broker_set_down": (INT, [POINTER, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (INT, [POINTER, ctypes.c_int32]),
    "rd_kafka_mock_clear_request_errors": (None, [POINTER, ctypes.c_int16]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [POINTER, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(INT)],
    ),
}


def load(library: str) -> Any:
    """The shared object, with the signature of every function used here."""
    functions = ctypes.CDLL(library)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    return functions


class MockCluster:
    """The cluster, made through librdkafka's C API alone.

    No confluent-kafka object is involved, so nothing depends on how CPython or that
    package lay out their objects.
    """

    def __init__(self, functions: Any, brokers: int) -> None:
        self._functions = functions
        self._brokers = brokers
        why = ctypes.create_string_buffer(512)
        conf = functions.rd_kafka_conf_new()
        functions.rd_kafka_conf_set(conf, b"log_level", LOG_ERRORS, why, len(why))
        client = functions.rd_kafka_new(PRODUCER, conf, why, len(why))
        if not client:
            raise RuntimeError(f"rd_kafka_new: {why.value.decode()}")
        self._cluster = functions.rd_kafka_mock_cluster_new(client, brokers)
        if not self._cluster:
            raise RuntimeError("rd_kafka_mock_cluster_new failed")
        refuse = functions.rd_kafka_mock_topic_set_error
        refuse(self._cluster, REFUSED_TOPIC, INVALID_TOPIC)

    def bootstrap_servers(self) -> str:
        """`host:port` of each broker, in the order of their ids, which start at 1."""
        servers = self._functions.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return str(servers.decode())

    def create_topic(self, name: str, partitions: int, replicas: int) -> int:
        """Answer librdkafka's error code, 0 for none, as the methods below do.

        Leaders are assigned in rotation; librdkafka would choose them at random.
        """
        topic = name.encode()
        create = self._functions.rd_kafka_mock_topic_create
        code = int(create(self._cluster, topic, partitions, replicas))
        set_leader = self._functions.rd_kafka_mock_partition_set_leader
        for partition in range(0 if code else partitions):
            leader = partition % self._brokers + 1
            time.sleep(PAUSE_SECONDS)
            code = code or int(set_leader(self._cluster, topic, partition, leader))
        return code

    def set_rtt(self, broker: int, rtt_ms: int) -> int:
        """Delay each response of the broker."""
        set_rtt = self._functions.rd_kafka_mock_broker_set_rtt
        return int(set_rtt(self._cluster, broker, rtt_ms))

    def broker_down(self, broker: int) -> int:
        """Close the broker's listener and connections."""
        return int(self._functions.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def broker_up(self, broker: int) -> int:
        """Listen again, on the same port."""
        return int(self._functions.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def push_errors(self, api_key: int, codes: list[int]) -> int:
        """Queue an answer for each of the next requests of this kind."""
        array = (INT * len(codes))(*codes)
        push = self._functions.rd_kafka_mock_push_request_errors_array
        push(self._cluster, api_key, len(codes), array)
        return 0

    def clear_errors(self, api_keys: list[int]) -> int:
        """Forget what was pushed for these kinds of request."""
        for api_key in api_keys:
            self._functions.rd_kafka_mock_clear_request_errors(self._cluster, api_key)
        return 0


def end_with(parent: int) -> None:
    """End this process once its parent has ended, even while stdin is open."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(0)


def answer(cluster: MockCluster, line: bytes) -> dict[str, Any]:
    """Execute one command."""
    command = json.loads(line)
    try:
        act: Callable[..., int] = getattr(cluster, command["do"])
        return {"id": command["id"], "code": act(*command["args"])}
    except Exception as problem:  # noqa: BLE001 - contained and reported
        return {"id": command["id"], "error": repr(problem)}


def main(parent: int, library: str, brokers: int) -> None:
    """Host the cluster until stdin or the parent ends."""
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    # Output of the C library must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)
    cluster = MockCluster(load(library), brokers)
    ready = {"id": 0, "code": 0, "bootstrap_servers": cluster.bootstrap_servers()}
    answers.write(json.dumps(ready) + "\n")
    for line in iter(sys.stdin.buffer.readline, b""):
        answers.write(json.dumps(answer(cluster, line)) + "\n")
        time.sleep(PAUSE_SECONDS)
    # Destroying the cluster only takes time: the kernel frees everything.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
