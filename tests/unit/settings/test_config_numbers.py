"""Config: numbers that librdkafka would misread."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest

from waterdrop_py import Config, Producer
from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.librdkafka_check import check_properties
from waterdrop_py.errors import ConfigurationInvalidError

pytestmark = pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
SERVERS = {"bootstrap.servers": "h:9092"}
# Properties whose values are numbers.
NUMBERS = sorted(
    name
    for name in librdkafka.PROPERTIES
    if name.endswith((".ms", ".bytes", ".kbytes", ".seconds", "retries", "size"))
)


NASTY: list[Any] = [
    *("30s", "5x", "30_000", "1e5", "30 s", "0x10", " 30", "3\n", "010", "", "x", "$N"),
    *(30.5, float("inf"), True, None, 2**32 + 30, "4294967326", "9" * 30, b"5", [5]),
]


class Index:
    """An integer like numpy's: not an `int`, but with an `__index__`."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


class Wait(IntEnum):
    """A number in an IntEnum."""

    LONG = 30_000


class Text(str, Enum):
    """The same number in a str-Enum."""

    LONG = "30000"


def refused(name: str, value: object) -> str | None:
    """The error of this value, or None."""
    try:
        config = Config(kafka={**SERVERS, name: value})
    except ConfigurationInvalidError as error:
        return error.errors[f"kafka.{name}"]
    return check_properties(config.kafka).get(f"kafka.{name}")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("30s", 30_000),
        ("30_000", 30_000),
        ("30,000", 30_000),
        ("30 000", 30_000),
        ("30'000", 30_000),
        ("1e5", 100_000),
        ("30 s", 30_000),
        ("30sec", 30_000),
        ("0.5m", 30_000),
        ("0.5 min", 30_000),
        ("30000ms", 30_000),
        ("30000.0", 30_000),
        (" 30000", 30_000),
        ("30000\n", 30_000),
        ('"30000"', 30_000),
        ("+30000", 30_000),
        ("030000", 30_000),
        ("0x7530", 30_000),
        ("٣٠٠٠٠", 30_000),
        (30_000.4, 30_000),
        (Decimal(30_000), 30_000),
    ],
)
@pytest.mark.parametrize("name", ["message.timeout.ms", "delivery.timeout.ms"])
def test_the_number_that_was_meant_is_named(name: str, value: Any, meant: int) -> None:
    """The error names the number that was meant, which librdkafka would misread."""
    sentence = refused(name, value)
    assert sentence is not None
    assert f"did you mean {meant}?" in sentence
    assert "must be" in sentence


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", NASTY)
def test_no_number_is_misread(name: str, value: Any) -> None:
    """A number that librdkafka would misread is refused, in every property."""
    if value == 30.5 and name in librdkafka.names_of("linger.ms"):
        return  # may have a fraction
    assert refused(name, value)


@pytest.mark.parametrize(
    "value", [30_000, "30000", 30_000.0, Index(30_000), Wait.LONG, Text.LONG]
)
def test_whole_numbers_of_every_type_are_legal(value: Any) -> None:
    """An int, its text, a whole float, and ints of numpy and enums are legal."""
    assert refused("message.timeout.ms", value) is None
    kept = Config(kafka={**SERVERS, "message.timeout.ms": value}).kafka
    assert kept["message.timeout.ms"] in (30_000, "30000")
    assert type(kept["message.timeout.ms"]) in (int, str, float)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("linger.ms", "5,5", "must be a number of milliseconds, got '5,5'"),
        ("linger.ms", "5s", "did you mean 5000?"),
        ("message.timeout.ms", "1e400", "must be a whole number of milliseconds"),
        ("linger.ms", "nan", "must be a number of milliseconds, got 'nan'"),
        ("queue.buffering.max.ms", "0x10", "did you mean 16?"),
        ("message.max.bytes", "10MB", "did you mean 10485760?"),
        ("batch.size", "1 MiB", "did you mean 1048576?"),
        ("queue.buffering.max.kbytes", "1GB", "did you mean 1048576?"),
        ("retries", "5x", "must be a whole number, got '5x'"),
        ("acks", "1x", "legal values are all, or -1 to 1000"),
        ("acks", "all,1", "legal values are all, or -1 to 1000"),
        ("message.timeout.ms", 2**32, "the nearest legal value is 2147483647"),
        ("message.max.bytes", 2**32 + 7_000, "the nearest legal value is 1000000000"),
        ("topic.request.timeout.ms", "30s", "did you mean 30000?"),
        ("sasl.oauthbearer.assertion.claim.exp.seconds", "5m", "did you mean 300?"),
    ],
)
def test_each_kind_of_number(name: str, value: Any, expected: str) -> None:
    """Errors respect fractions, units and librdkafka's ranges."""
    sentence = refused(name, value)
    assert sentence is not None
    assert expected in sentence


@pytest.mark.parametrize("value", ["5", "5.5", "0", 5, 5.5, "90000"])
def test_a_linger_may_have_a_fraction(value: Any) -> None:
    """`linger.ms` may have a fraction."""
    assert refused("linger.ms", value) is None


@pytest.mark.parametrize("value", ["all", "ALL", "-1", "0", "1", -1, 1])
def test_acks(value: Any) -> None:
    """`acks` is a number or `all`."""
    assert refused("acks", value) is None


def test_topic_defaults_are_read_alike() -> None:
    """A number in `default.topic.config` is checked too."""
    config = Config(
        kafka={**SERVERS, "default.topic.config": {"message.timeout.ms": "30s"}}
    )
    [(path, sentence)] = check_properties(config.kafka).items()
    assert path == "kafka.default.topic.config.message.timeout.ms"
    assert "did you mean 30000?" in sentence


@pytest.mark.parametrize("blank", ["", " ", "  ", "\t"])
@pytest.mark.parametrize("name", sorted(set(librdkafka.VALUES) - {"partitioner"}))
def test_a_blank_choice_is_refused(name: str, blank: str) -> None:
    """A blank value is an error, although librdkafka silently uses its default."""
    assert refused(name, blank)


def test_a_url_and_the_environment_are_read_alike() -> None:
    """The error names the number that was meant, of a URL and a variable too."""
    url = "kafka://h?message.timeout.ms=30s"
    with pytest.raises(ConfigurationInvalidError, match=r"did you mean 30000\?"):
        Producer(url)
    names = {"W_URL": "kafka://h", "W_KAFKA_MESSAGE_TIMEOUT_MS": "30s"}
    with pytest.raises(
        ConfigurationInvalidError,
        match=r"did you mean 30000\? \(from W_KAFKA_MESSAGE_TIMEOUT_MS\)",
    ):
        Config.from_env("W_", names)


READ_BACK = """
import sys, confluent_kafka
from waterdrop_py import Config
from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.librdkafka_check import check_properties

class Lines(list):
    def log(self, level, text, *arguments):
        self.append(text % arguments)

VALUES = ["30s", "5", "05", " 5", "5 ", "1e2", "5.0", "0x5", "-1", "true", "t", "1",
          "F", "yes", " true", "all", "gzip", " gzip", "ssl", "", " ", 5, 5.0, 5.5,
          True, False, 2**31, 2**32 + 5, "4294967301", float("inf")]
wrong = []
accepted = 0
for name in sys.argv[1:]:
    for value in VALUES:
        if check_properties(Config(kafka={name: value}).kafka):
            continue
        lines = Lines()
        conf = {name: value, "debug": "conf", "log_level": 7}
        client = confluent_kafka.Producer(conf, logger=lines)
        while not any("initialized" in line for line in lines):
            client.poll(0.01)
        client.close()
        dump = [line.split("]:   ")[1] for line in lines if "]:   " in line]
        found = dict(each.split(" = ", 1) for each in dump if " = " in each)
        read = [found[key] for key in librdkafka.names_of(name) if key in found]
        accepted += 1
        text = str(value).strip().lower()
        if not read:
            wrong.append((name, value, "not set"))
            continue
        same = read[0].lower() == text
        same = same or {"true": "1", "false": "0"}.get(read[0]) == text
        same = same or {"true": "t", "false": "f"}.get(read[0]) == text
        same = same or (read[0], text) == ("-1", "all")
        try:
            same = same or float(read[0]) == float(text)
        except ValueError:
            pass
        if not same:
            wrong.append((name, value, read[0]))
print(accepted, wrong)
sys.exit(bool(wrong) or not accepted)
"""


def test_accepted_values_are_read_alike_by_librdkafka() -> None:
    """librdkafka's own dump of its configuration agrees with each accepted value."""
    names = ["linger.ms", "message.timeout.ms", "acks", "retries", "batch.size"]
    names += ["enable.idempotence", "socket.keepalive.enable", "compression.type"]
    names += ["security.protocol", "max.in.flight", "transaction.timeout.ms"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_BACK, *names],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
