"""The harness's own client: what it asks of a cluster, on the internal listener."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from confluent_kafka.cimpl import NewTopic

from .errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_ASK_SECONDS = 2.0
_TOPIC_SECONDS = 30.0
_LOGIN_SECONDS = 30.0

# librdkafka prints to stderr when it has no logger; this one is asked for nothing.
_SILENT = logging.getLogger("tests.kafka.harness.librdkafka")


class HarnessClient:
    """An admin client; a context manager."""

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str] | None = None
    ) -> None:
        self._admin: AdminClient | None = AdminClient(
            {"bootstrap.servers": bootstrap_servers, **(properties or {})},
            logger=_SILENT,
        )

    def __enter__(self) -> HarnessClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It has no close(): dropping the last reference destroys it.
        self._admin = None

    @property
    def _asked(self) -> AdminClient:
        if self._admin is None:
            raise HarnessError("the client is closed")
        return self._admin

    def nodes(self) -> set[int]:
        """The ids of the brokers that are alive; empty when nobody answers."""
        try:
            return set(self._asked.list_topics(timeout=_ASK_SECONDS).brokers)
        except KafkaException:
            return set()

    def create_topic(
        self, name: str, partitions: int, replicas: int, config: Mapping[str, str]
    ) -> None:
        """Create a topic; `KafkaException` when that fails within 30 s."""
        topic = NewTopic(name, partitions, replicas, config=dict(config))
        futures = self._asked.create_topics([topic], operation_timeout=_TOPIC_SECONDS)
        futures[name].result(_TOPIC_SECONDS)

    def wait_for_topic(self, name: str, partitions: int) -> None:
        """Wait until this broker knows a leader for each partition."""
        deadline = time.monotonic() + _TOPIC_SECONDS
        while self._led_partitions(name) < partitions:
            if time.monotonic() > deadline:
                raise HarnessError(f"topic {name} has no leaders for its partitions")
            time.sleep(0.02)

    def leaders(self, topic: str) -> dict[int, int]:
        """The node that leads each partition; -1 where there is none."""
        topics = self._asked.list_topics(timeout=_ASK_SECONDS).topics
        return {each.id: each.leader for each in topics[topic].partitions.values()}

    def elect_preferred_leaders(self, topic: str) -> None:
        """Ask for it until each partition is led by its first replica again.

        `HarnessError` after 30 s; one that has just come back is not in sync yet.
        """
        deadline = time.monotonic() + _TOPIC_SECONDS
        while moved := self._led_by_others(topic):
            if time.monotonic() > deadline:
                raise HarnessError(f"partitions {moved} keep the wrong leader")
            asked = [TopicPartition(topic, each) for each in moved]
            # What it says of each partition (not in sync, no need) metadata says too.
            future = self._asked.elect_leaders(ElectionType.PREFERRED, asked)
            future.result(_TOPIC_SECONDS)
            time.sleep(0.1)

    def set_scram_password(self, user: str, password: str) -> None:
        """Make the user, or change its password; brokers hear of it a little later."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(user, info, password.encode())
        for future in self._asked.alter_user_scram_credentials([change]).values():
            future.result(_TOPIC_SECONDS)

    def wait_for_login(self) -> None:
        """Wait until the brokers let this client in; `HarnessError` after 30 s."""
        deadline = time.monotonic() + _LOGIN_SECONDS
        while not self.nodes():
            if time.monotonic() > deadline:
                raise HarnessError("the brokers do not accept the login")

    def _led_by_others(self, topic: str) -> list[int]:
        topics = self._asked.list_topics(timeout=_ASK_SECONDS).topics
        partitions = topics[topic].partitions.values()
        return [each.id for each in partitions if each.leader != each.replicas[0]]

    def _led_partitions(self, name: str) -> int:
        # All topics: asking for one by name would put it into the client's cache.
        topics = self._asked.list_topics(timeout=_ASK_SECONDS).topics
        if name not in topics:
            return 0
        return sum(each.leader > 0 for each in topics[name].partitions.values())
