"""What to look at first when nothing gets through."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from waterdrop_py._engine.diagnosis import Diagnosis

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
    """After it, silence is all that there is to explain."""
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
