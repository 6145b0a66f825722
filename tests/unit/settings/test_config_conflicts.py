"""Config: brokers, and properties that contradict each other or lack something."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py import Config, Producer
from waterdrop_py._settings import librdkafka, reading
from waterdrop_py._settings.librdkafka_check import verdict
from waterdrop_py.errors import ConfigurationInvalidError, TuningWarning
from waterdrop_py.testing import BufferedClient, FakeClient

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = {"bootstrap.servers": "h:9092"}
ID = {**SERVERS, "transactional.id": "t"}
IDEMPOTENT = {**SERVERS, "enable.idempotence": True}


def errors_of(kafka: dict[str, Any], **options: Any) -> dict[str, str]:
    """The errors when a producer is made of these properties."""
    try:
        Producer(kafka=kafka, **options)
    except ConfigurationInvalidError as error:
        return error.errors
    return {}


@pytest.mark.parametrize(
    "servers",
    [
        "h",
        "h:1",
        "h:65535",
        "h1:9092,h2:9092",
        "h1:9092, h2:9092",
        "b-1.some_host.internal:9092",
        "kafka_1:9092",
        "10.0.0.1:9092",
        "[::1]",
        "[2001:db8::1]:9093,h",
        "[fe80::1%eth0]:1",
        "PLAINTEXT://h:9092",
        "plaintext://h1:9092,PLAINTEXT://h2:9092",
    ],
)
def test_legal_brokers(servers: str) -> None:
    """Hosts and ports, IPv6 in brackets, and the right protocol in front are legal."""
    assert errors_of({"bootstrap.servers": servers}) == {}
    assert errors_of({"metadata.broker.list": servers}) == {}


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (None, "must name the brokers"),
        ("", "must name the brokers"),
        (" \t", "must name the brokers"),
        (",", "at least one broker"),
        ("h1,,h2", "number 2: '' is not host:port: it is empty"),
        ("h,", "number 2"),
        ("h1;h2", "commas separate brokers"),
        ("h1:1;h2:1", "commas separate brokers"),
        ("h1|h2", "commas separate brokers"),
        ("h1 h2", "commas separate brokers"),
        ("h1%2Ch2", "commas separate brokers"),
        ("h:1 ", "blanks around it"),
        ("h:1,\th", "blanks around it"),
        ("h:0", "the port of 'h:0' is not from 1 to 65535"),
        ("h:65536", "is not from 1 to 65535"),
        ("h:99999", "is not from 1 to 65535"),
        ("h:-1", "is not host:port"),
        ("h:x", "is not host:port"),
        ("h:", "the port is missing"),
        (":9092", "is not host:port"),
        ("9092", "the host is missing"),
        ("h:9092/", "it must not have a path"),
        ("h/topic", "it must not have a path"),
        ("::1", "in brackets: [::1]:9092"),
        ("::1:9092", "in brackets: [::1]:9092"),
        ("${BROKERS}", "a placeholder"),
        ("h:${PORT}", "a placeholder"),
        ("{{ brokers }}", "commas separate brokers"),
        ('"h:9092"', "quotes or brackets"),
        ("['h:9092']", "quotes or brackets"),
        ("https://h:9093", "'https' is not a protocol of Kafka"),
        ("tcp://h:9093", "did you mean 'h:9093'?"),
        ("SASL_SSL://h:9093", "did you mean Producer('kafka+sasl_ssl://h:9093')?"),
        ("ssl://h:9093", "did you mean Producer('kafka+ssl://h:9093')?"),
        ("kafka://h:9093", "did you mean Producer('kafka://h:9093')?"),
        ("kafka+ssl://h:9093", "did you mean Producer('kafka+ssl://h:9093')?"),
        ("h,SASL_SSL://i", "number 2: 'SASL_SSL' is not the security.protocol"),
        (9092, "at least one broker"),
        (True, "at least one broker"),
        (["h:9092"], "one str with commas"),
    ],
)
def test_illegal_brokers(servers: Any, expected: str) -> None:
    """librdkafka accepts all of these and never connects, so each is an error here."""
    for name in ("bootstrap.servers", "metadata.broker.list"):
        errors = errors_of({name: servers, "client.id": "x"})
        assert list(errors) == [f"kafka.{name}"]
        assert expected in errors[f"kafka.{name}"]


def test_a_protocol_may_be_written_where_it_is_the_security_protocol() -> None:
    """An entry may begin with the security.protocol, which librdkafka compares."""
    kafka = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}
    assert errors_of({**kafka, "bootstrap.servers": "sasl_ssl://h:9093"}) == {}
    assert errors_of({**kafka, "bootstrap.servers": "ssl://h:9093"})


def test_the_last_name_counts() -> None:
    """Of a property and its alias the last one counts, as in librdkafka."""
    assert errors_of({**SERVERS, "metadata.broker.list": ""})
    assert errors_of({"metadata.broker.list": "", **SERVERS}) == {}


def test_missing_brokers() -> None:
    """If no broker is named, the error says how to write them."""
    errors = errors_of({"client.id": "x"})
    assert list(errors) == ["kafka.bootstrap.servers"]
    assert "host:9092" in errors["kafka.bootstrap.servers"]


@pytest.mark.parametrize(
    "options",
    [
        {"client_factory": FakeClient},
        {"client_factory": BufferedClient},
        {"client_factory": BufferedClient()},
        {"deliver": False},
    ],
)
def test_doubles_need_no_brokers(options: Any) -> None:
    """A producer that never connects needs no brokers; given ones are checked."""
    for kafka in ({"client.id": "x"}, {"bootstrap.servers": "", "client.id": "x"}):
        assert errors_of(kafka, **options) == {}
    assert errors_of({"bootstrap.servers": "h;i"}, **options)


@pytest.mark.parametrize(
    ("kafka", "paths"),
    [
        ({**ID, "acks": 1}, {"kafka.acks"}),
        ({**ID, "request.required.acks": "0"}, {"kafka.request.required.acks"}),
        ({**ID, "topic.acks": 1}, {"kafka.topic.acks"}),
        (
            {**ID, "default.topic.config": {"acks": 1}},
            {"kafka.default.topic.config.acks"},
        ),
        ({**IDEMPOTENT, "acks": 1}, {"kafka.acks"}),
        ({**SERVERS, "enable.idempotence": "T", "acks": 1}, {"kafka.acks"}),
        ({**SERVERS, "enable.idempotence": 1, "acks": 1}, {"kafka.acks"}),
        ({**IDEMPOTENT, "max.in.flight": 6}, {"kafka.max.in.flight"}),
        ({**IDEMPOTENT, "retries": 0}, {"kafka.retries"}),
        (
            {**IDEMPOTENT, "message.send.max.retries": "0"},
            {"kafka.message.send.max.retries"},
        ),
        ({**IDEMPOTENT, "queuing.strategy": "lifo"}, {"kafka.queuing.strategy"}),
        ({**ID, "enable.idempotence": False}, {"kafka.enable.idempotence"}),
        (
            {**ID, "message.timeout.ms": 9_000, "transaction.timeout.ms": 8_000},
            {"kafka.message.timeout.ms"},
        ),
        (
            {**ID, "delivery.timeout.ms": "9000", "transaction.timeout.ms": "8000"},
            {"kafka.delivery.timeout.ms"},
        ),
        ({**ID, "socket.timeout.ms": 200_000}, {"kafka.socket.timeout.ms"}),
        ({**SERVERS, "linger.ms": 9, "message.timeout.ms": 9}, {"kafka.linger.ms"}),
        (
            {**SERVERS, "queue.buffering.max.ms": 150_000},
            {"kafka.queue.buffering.max.ms"},
        ),
        (
            {**SERVERS, "reconnect.backoff.ms": 9, "reconnect.backoff.max.ms": 8},
            {"kafka.reconnect.backoff.max.ms"},
        ),
        (
            {**SERVERS, "enable.gapless.guarantee": True},
            {"kafka.enable.gapless.guarantee"},
        ),
        ({**SERVERS, "sasl.mechanism": "plain"}, {"kafka.sasl.mechanism"}),
        (
            {**ID, "acks": 1, "retries": 0, "max.in.flight": 9, "linger.ms": "5s"},
            {"kafka.acks", "kafka.retries", "kafka.max.in.flight", "kafka.linger.ms"},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
def test_conflicts(kafka: dict[str, Any], paths: set[str]) -> None:
    """Each contradiction is an error under its path, and all come at once."""
    assert set(errors_of(kafka)) == paths


@pytest.mark.parametrize(
    "kafka",
    [
        ID,
        {**ID, "acks": "all"},
        {**ID, "acks": -1, "enable.idempotence": "1", "max.in.flight": 5, "retries": 1},
        {**ID, "transaction.timeout.ms": 1_000},
        {**ID, "message.timeout.ms": 170_000},
        {**SERVERS, "enable.idempotence": "f", "acks": 1},
        {**SERVERS, "transactional.id": "", "acks": 1},
        {**SERVERS, "linger.ms": 8, "message.timeout.ms": 9},
        {**SERVERS, "message.timeout.ms": 1},
    ],
)
@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
def test_properties_without_conflicts(kafka: dict[str, Any]) -> None:
    """Properties that librdkafka accepts are not errors here."""
    assert errors_of(kafka) == {}


def test_librdkafka_has_the_last_word() -> None:
    """A conflict without a rule of the library is reported in librdkafka's words."""
    errors = verdict({**IDEMPOTENT, "acks": 1})
    sentence = "`acks` must be set to `all` when `enable.idempotence` is true"
    assert errors == {"kafka.acks": sentence}
    assert verdict(SERVERS) == {}


PROBED = """
import os, sys
from waterdrop_py import Producer
def held():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
Producer(kafka={"bootstrap.servers": "h", "client.id": "0"})
before = held()
for number in range(200):
    Producer(kafka={"bootstrap.servers": "h", "client.id": f"x{number}"})
sys.exit(held() != before)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="counts in /proc")
def test_the_verdict_costs_no_thread_and_no_descriptor() -> None:
    """Checking starts no thread and opens no descriptor."""
    done = subprocess.run([sys.executable, "-c", PROBED], timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", librdkafka.FILES)
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """A missing certificate or key is an error with its path, before any use."""
    path = tmp_path / "missing.pem"
    kafka = {**SERVERS, "security.protocol": "ssl", name: path}
    kafka["ssl.keystore.password"] = "x"  # which librdkafka requires with the file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = errors_of(kafka)
        assert list(errors) == [f"kafka.{name}"]
        assert str(path) in errors[f"kafka.{name}"]
        assert "No such file" in errors[f"kafka.{name}"]
        assert errors_of(kafka, client_factory=FakeClient) == {}
        path.write_text("x")
        assert errors_of(kafka) == {}


def test_a_folder_is_not_a_key_file(tmp_path: Path) -> None:
    """The location of a CA may be a folder; that of a key may not."""
    for name, wrong in (("ssl.ca.location", False), ("ssl.key.location", True)):
        kafka = {**SERVERS, "security.protocol": "ssl", name: tmp_path}
        assert bool(errors_of(kafka)) is wrong


def _own_factory(conf: dict[str, Any]) -> FakeClient:
    return FakeClient()(conf)


def test_a_login_that_the_mechanism_needs() -> None:
    """PLAIN and SCRAM need both parts; a factory of the user may add them."""
    kafka = {**SERVERS, "security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN"}
    assert set(errors_of(kafka)) == {"kafka.sasl.username", "kafka.sasl.password"}
    assert errors_of(kafka, client_factory=_own_factory) == {}


@pytest.mark.parametrize(
    ("kafka", "expected"),
    [
        ({"sasl.username": "u"}, "did you mean 'sasl_plaintext' or 'sasl_ssl'?"),
        ({"sasl.mechanism": "PLAIN", "security.protocol": "ssl"}, "'sasl_ssl'?"),
        ({"ssl.cipher.suites": "x"}, "did you mean 'ssl'?"),
        (
            {"ssl.cipher.suites": "x", "security.protocol": " SASL_PLAINTEXT"},
            "did you mean 'sasl_ssl'?",
        ),
    ],
)
def test_properties_that_the_protocol_does_not_use_warn(
    kafka: dict[str, Any], expected: str
) -> None:
    """A login or certificate that is not used is a `TuningWarning` with the names."""
    with pytest.warns(TuningWarning, match="is set and not used") as caught:
        Config(kafka={**SERVERS, **kafka})
    assert expected in str(caught[0].message)


@pytest.mark.parametrize(
    "kafka",
    [
        {"security.protocol": "SASL_SSL", "sasl.username": "u", "ssl.ca.location": "x"},
        {"security.protocol": "ssl", "ssl.ca.location": "x"},
        {"sasl.username": None, "ssl.ca.location": ""},
    ],
)
def test_properties_that_the_protocol_uses_do_not_warn(kafka: dict[str, Any]) -> None:
    """A property that is used, or that is empty, causes no warning."""
    Config(kafka={**SERVERS, **kafka})


@pytest.mark.parametrize("value", [True, "true", "TRUE", "t", "T", "1", 1])
def test_one_reading_of_true(value: Any) -> None:
    """A value that librdkafka reads as true is true for the library."""
    assert Producer(kafka={**SERVERS, "enable.idempotence": value}).is_idempotent


@pytest.mark.parametrize("value", [False, "false", "f", "F", "0", 0])
def test_one_reading_of_false(value: Any) -> None:
    """A value that librdkafka reads as false is false for the library."""
    assert not Producer(kafka={**SERVERS, "enable.idempotence": value}).is_idempotent


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_transactional_id_is_none(value: Any) -> None:
    """An empty transactional.id is not set, as in librdkafka."""
    assert not Producer(kafka={**SERVERS, "transactional.id": value}).is_transactional


def test_every_alias_is_read() -> None:
    """A property is read under each alias, with `topic.`, and in the topic defaults."""
    for kafka in (
        {"acks": 1},
        {"request.required.acks": 1},
        {"topic.acks": 1},
        {"topic.request.required.acks": 1},
        {"default.topic.config": {"acks": 1}},
        {"acks": "all", "request.required.acks": 1},
        {"acks": "all", "default.topic.config": {"request.required.acks": 1}},
    ):
        assert reading.number_of(kafka, "acks") == 1
        assert reading.number_of(kafka, "request.required.acks") == 1
    assert reading.merged({"topic.acks": 1, "x": 1}, {"request.required.acks": 0}) == {
        "x": 1,
        "request.required.acks": 0,
    }
