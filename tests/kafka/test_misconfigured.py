"""Wrong credentials, a wrong CA, TLS against plaintext: said in time, and no secret."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kafka.harness import unsecured_token
from waterdrop_py import Producer
from waterdrop_py.errors import BrokerUnreachableError, ProduceError
from waterdrop_py.testing import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kafka.harness import KafkaCluster
    from waterdrop_py import Event

CONNECT_SECONDS = 2.0
MESSAGE_MS = 2_000
# librdkafka looks for messages that have timed out once a second.
MESSAGE_SECONDS = MESSAGE_MS / 1000 + 1.0
SECRET = "a-secret-that-nobody-must-see"


class Case(NamedTuple):
    """What is wrong, what the first advice must say, and a pattern of the report."""

    kafka: Callable[[KafkaCluster], dict[str, str]]
    advice: str
    report: str


def wrong_password(cluster: KafkaCluster) -> dict[str, str]:
    """SCRAM with another password."""
    return {**cluster.client_properties("SASL_SSL"), "sasl.password": SECRET}


def wrong_mechanism(cluster: KafkaCluster) -> dict[str, str]:
    """PLAIN at a listener that has SCRAM only."""
    return {**wrong_password(cluster), "sasl.mechanism": "PLAIN"}


def wrong_ca(cluster: KafkaCluster) -> dict[str, str]:
    """TLS that trusts somebody else."""
    stranger = str(cluster.certificates.stranger)
    return {**cluster.client_properties("SSL"), "ssl.ca.location": stranger}


def wrong_ca_and_sasl(cluster: KafkaCluster) -> dict[str, str]:
    """The same where credentials would follow, which are not to blame."""
    stranger = str(cluster.certificates.stranger)
    return {**wrong_password(cluster), "ssl.ca.location": stranger}


def tls_to_plaintext(cluster: KafkaCluster) -> dict[str, str]:
    """A TLS client at the plaintext port."""
    servers = cluster.bootstrap("PLAINTEXT")
    return {**cluster.client_properties("SSL"), "bootstrap.servers": servers}


def plaintext_to_tls(cluster: KafkaCluster) -> dict[str, str]:
    """A plaintext client at the TLS port."""
    return {"bootstrap.servers": cluster.bootstrap("SSL")}


def plaintext_to_sasl(cluster: KafkaCluster) -> dict[str, str]:
    """A client without SASL at a port that wants it."""
    return {"bootstrap.servers": cluster.bootstrap("OAUTHBEARER")}


def sasl_to_tls_only(cluster: KafkaCluster) -> dict[str, str]:
    """A client with SASL at a TLS port that has none."""
    servers = cluster.bootstrap("SSL")
    return {**wrong_password(cluster), "bootstrap.servers": servers}


# Of a connection that the broker ends at once nothing is reported but that it is down;
# or what the client met that was still writing (seen once).
ENDED = "brokers are down|Broken pipe|reset by peer"

CASES = [
    Case(wrong_password, "refused the credentials", "invalid credentials"),
    Case(wrong_mechanism, "does not offer this sasl.mechanism", "SCRAM-SHA-512"),
    Case(wrong_ca, "ssl.ca.location must name the CA", "certificate verify failed"),
    Case(wrong_ca_and_sasl, "ssl.ca.location must name", "certificate verify failed"),
    Case(tls_to_plaintext, "is this port a plaintext listener", "SSL"),
    Case(plaintext_to_tls, "a TLS listener does so to a plaintext client", ENDED),
    Case(plaintext_to_sasl, "a SASL listener to one without SASL", ENDED),
    Case(sasl_to_tls_only, "does not offer this sasl.mechanism", "handshake failed"),
]


def said(error: BaseException | None) -> str:
    """All that an error, and those it is chained to, say."""
    text = ""
    while error is not None:
        text += f"{error} {error!r} {vars(error)}\n"
        error = error.__cause__ or error.__context__
    return text


def told(events: list[Event]) -> str:
    """All that events say, their errors included."""
    errors = (event.payload.get("error") for event in events)
    return f"{[(event, event.payload) for event in events]}" + "".join(
        said(error) for error in errors if isinstance(error, BaseException)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kafka.__name__)
def test_what_is_wrong_is_said_within_the_timeout(
    kafka: KafkaCluster, topic: str, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """`connect` and `produce_sync` give the likely cause, first of all; and neither
    their errors, nor an event, nor a log line, nor a repr holds the password."""
    caplog.set_level(logging.DEBUG)
    producer = Producer(
        kafka={
            **case.kafka(kafka),
            "linger.ms": 0,
            "message.timeout.ms": MESSAGE_MS,
        }
    )
    with producer, record(producer.monitor) as events:
        started = time.monotonic()
        with pytest.raises(BrokerUnreachableError) as unreachable:
            producer.connect(timeout=CONNECT_SECONDS)
        assert time.monotonic() - started < CONNECT_SECONDS + 0.5
        started = time.monotonic()
        with pytest.raises(ProduceError) as failed:
            producer.produce_sync(topic, b"payload")
        assert time.monotonic() - started < MESSAGE_SECONDS + 0.5
        assert failed.value.code == "msg_timed_out"
        for error in (unreachable.value, failed.value):
            assert re.search(case.report, error.checklist[0])
            assert case.advice in error.checklist[1]
            assert case.advice in str(error)
        every = said(unreachable.value) + said(failed.value) + told(events)
        every += caplog.text + repr(producer) + repr(producer.config)
    assert "librdkafka.error" in every
    assert SECRET not in every
    assert kafka.read_topic(topic) == []


def test_a_token_that_is_refused_is_shown_nowhere(
    kafka: KafkaCluster, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker's refusal is said; the token, and a good one later, are not."""
    caplog.set_level(logging.DEBUG)
    good = unsecured_token()
    tokens = [(SECRET, good[1]), good]
    properties = {
        "bootstrap.servers": kafka.bootstrap("OAUTHBEARER"),
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "OAUTHBEARER",
        "linger.ms": 0,
    }
    with (
        Producer(
            kafka=properties, oauth_token_provider=lambda _: tokens.pop(0)
        ) as producer,
        record(producer.monitor) as events,
    ):
        with pytest.raises(BrokerUnreachableError, match="invalid_token") as refused:
            producer.connect(timeout=3)
        assert "refused the credentials" in refused.value.checklist[1]
        producer.produce_sync(topic, b"payload")
        every = said(refused.value) + told(events) + caplog.text + repr(producer)
    assert "producer.connected" in every
    assert SECRET not in every
    assert good[0] not in every
