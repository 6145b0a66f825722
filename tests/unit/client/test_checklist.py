"""What to look at first when nothing gets through."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from waterdrop_py._engine.client.checklist import Diagnosis
from waterdrop_py._engine.client.client import Client

DOWN, TRANSPORT, RESOLVE, SSL, AUTH = -187, -195, -193, -181, -169


def noted(*errors: tuple[int, str]) -> tuple[str, ...]:
    """The checklist after these reports."""
    diagnosis = Diagnosis()
    for code, text in errors:
        diagnosis.note(KafkaError(code, text))
    return diagnosis.checklist("h:9092")


@pytest.mark.parametrize(
    ("code", "text", "word"),
    [
        (TRANSPORT, "h:9092: Connection refused", "advertised.listeners"),
        (TRANSPORT, "Connection timed out", "firewall"),
        (TRANSPORT, "Disconnected", "plaintext"),
        (TRANSPORT, "Send failed: Broken pipe", "a SASL listener to one without SASL"),
        (DOWN, "1/1 brokers are down", "broker up"),
        (RESOLVE, "Name not known", "DNS"),
        (SSL, "handshake failed", "ssl.ca.location"),
        (TRANSPORT, "SSL handshake failed", "ssl.ca.location"),
        (AUTH, "SASL authentication error", "sasl.password"),
    ],
)
def test_each_cause_has_its_points(code: int, text: str, word: str) -> None:
    """The report itself comes first, the servers last, the likely cause between."""
    points = noted((code, text))
    assert points[0] == f"librdkafka reported: {text}"
    assert any(word in point for point in points[1:-1])
    assert "'h:9092'" in points[-1]


def test_the_most_telling_report_is_kept() -> None:
    """ "All brokers down", which comes last, does not hide the cause before it."""
    points = noted((AUTH, "bad password"), (TRANSPORT, "gone"), (DOWN, "all down"))
    assert points[0] == "librdkafka reported: bad password"


def test_a_success_forgets_it() -> None:
    """After a success, only the silence is explained."""
    diagnosis = Diagnosis()
    diagnosis.note(KafkaError(AUTH, "bad password"))
    diagnosis.clear()
    assert diagnosis.code is None
    assert "firewall" in diagnosis.checklist("h:9092")[0]


def test_errors_of_messages_say_nothing_about_connections() -> None:
    """They are not noted."""
    diagnosis = Diagnosis()
    diagnosis.note(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    assert diagnosis.code is None


@pytest.mark.parametrize(
    ("code", "text", "final"),
    [
        (AUTH, "SASL authentication error: Invalid username or password", True),
        (AUTH, "SASL PLAIN mechanism handshake failed: supported mechanisms: X", True),
        (AUTH, "SASL authentication error: invalid_token", True),
        (AUTH, "SASL handshake failed: Local: Broker transport failure", False),
        (AUTH, "Failed to acquire SASL OAUTHBEARER token: provider is away", False),
        (SSL, "sasl_ssl://h: SSL handshake failed: certificate verify failed", True),
        (SSL, "SSL handshake failed: Disconnected: a PLAINTEXT listener?", False),
        (SSL, "SSL handshake failed: Connection reset by peer", False),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "not allowed", True),
        (TRANSPORT, "Connection refused", False),
        (RESOLVE, "Name not known", False),
        (DOWN, "1/1 brokers are down", False),
    ],
)
def test_what_no_retry_mends(code: int, text: str, final: bool) -> None:
    """Credentials, certificates and permissions are final. A handshake that a closed
    connection cut short is not, nor is a token provider that failed."""
    diagnosis = Diagnosis()
    diagnosis.note(KafkaError(code, text))
    diagnosis.note(KafkaError(DOWN, "all down"))
    assert diagnosis.final is final


def test_an_unobserved_report_is_a_success_too() -> None:
    """The counter of the client says so, and a new error is news again."""
    client = Client(None, lambda _: None)  # type: ignore[arg-type]
    diagnosis = Diagnosis()
    diagnosis.note(KafkaError(DOWN, "all down"), client)
    assert diagnosis.newest is not None
    assert diagnosis.down
    client.acknowledged += 1
    assert (diagnosis.newest, diagnosis.down, diagnosis.code) == (None, False, None)
    diagnosis.note(KafkaError(DOWN, "all down"), client)
    assert (diagnosis.reports, diagnosis.downs) == (2, 2)
    assert diagnosis.newest is not None
