"""Config: legal and illegal values of each option, and immutability."""

from __future__ import annotations

import copy
import pickle
import threading
from collections import deque
from datetime import timedelta
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterdrop_py._settings.durations import LONGEST_MS
from waterdrop_py.config import Config
from waterdrop_py.errors import ConfigurationInvalidError
from waterdrop_py.testing.limits import allow_short_idle_timeouts

KAFKA = {"bootstrap.servers": "broker:9092", "message.timeout.ms": 1}
PLAIN_DURATIONS = [
    "close_before_fork",
    "max_wait_timeout",
    "wait_backoff_on_queue_full",
    "wait_timeout_on_queue_full",
    "close_timeout",
    "wait_backoff_on_transaction_command",
    "wait_backoff_on_transaction_fatal_error",
    "wait_timeout_on_transaction_abort",
    "wait_backoff_on_idempotent_fatal_error",
]
CONNECTION_DURATIONS = ["idle_disconnect_timeout", "max_connection_age"]
FLAGS = [
    "wait_on_queue_full",
    "instrument_on_wait_queue_full",
    "reload_on_transaction_fatal_error",
    "reload_on_idempotent_fatal_error",
    "deliver",
]
COUNTS = [
    "max_attempts_on_transaction_command",
    "max_attempts_on_transaction_fatal_error",
    "max_attempts_on_idempotent_fatal_error",
]


class Wait(IntEnum):
    """A duration in an IntEnum."""

    SHORT = 60_000


def build(**options: Any) -> Config:
    """A Config of these options and a legal `kafka`."""
    return Config(**{"kafka": KAFKA, **options})


def sentences(**options: Any) -> dict[str, str]:
    """The errors of these options; the exception's context does not hold the input."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        build(**options)
    assert invalid.value.__context__ is None
    return invalid.value.errors


def sentence(name: str, value: object) -> str:
    """The error of this option, which is the only one."""
    errors = sentences(**{name: value})
    assert list(errors) == [name]
    return errors[name]


def test_defaults() -> None:
    """With `kafka` alone every option has its documented default."""
    config = build()
    assert {name: getattr(config, name) for name in Config.OPTIONS} == {
        "kafka": KAFKA,
        "id": None,
        "idle_disconnect_timeout": 0,
        "max_connection_age": 0,
        "max_payload_size": None,
        "close_before_fork": 1_000,
        "max_wait_timeout": 180_000,
        "wait_on_queue_full": True,
        "wait_backoff_on_queue_full": 100,
        "wait_timeout_on_queue_full": 10_000,
        "instrument_on_wait_queue_full": True,
        "close_timeout": 30_000,
        "wait_backoff_on_transaction_command": 500,
        "max_attempts_on_transaction_command": 5,
        "reload_on_transaction_fatal_error": True,
        "wait_backoff_on_transaction_fatal_error": 1_000,
        "max_attempts_on_transaction_fatal_error": 10,
        "wait_timeout_on_transaction_abort": 0,
        "reload_on_idempotent_fatal_error": False,
        "wait_backoff_on_idempotent_fatal_error": 5_000,
        "max_attempts_on_idempotent_fatal_error": 5,
        "non_reloadable_errors": ("fenced",),
        "deliver": True,
        "middleware": (),
        "oauth_token_provider": None,
        "tags": {},
        "client_factory": None,
    }


@pytest.mark.parametrize("name", PLAIN_DURATIONS + CONNECTION_DURATIONS)
@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0),
        (60_000, 60_000),
        (LONGEST_MS, LONGEST_MS),
        (Wait.SHORT, 60_000),
        ("60000ms", 60_000),
        ("60s", 60_000),
        ("60.5s", 60_500),
        ("5m", 300_000),
        ("5min", 300_000),
        ("1.5h", 5_400_000),
        ("1d", 86_400_000),
        ("0ms", 0),
        (timedelta(0), 0),
        (timedelta(minutes=5), 300_000),
        (timedelta(seconds=60, milliseconds=1), 60_001),
    ],
)
@pytest.mark.filterwarnings("ignore::waterdrop_py.errors.TuningWarning")
def test_durations_come_back_as_int_ms(name: str, value: Any, ms: int) -> None:
    """An int, a timedelta and text with a unit are returned as int milliseconds."""
    kept = getattr(build(**{name: value}), name)
    assert (type(kept), kept) == (int, ms)


@pytest.mark.parametrize("name", PLAIN_DURATIONS + CONNECTION_DURATIONS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1, "must be 0 or more, got -1 ms; the nearest legal value is 0"),
        ("-5s", "must be 0 or more, got -5 000 ms; the nearest legal value is 0"),
        (timedelta(seconds=-1), "must be 0 or more, got -1 000 ms"),
        (LONGEST_MS + 1, "2 147 483 648 ms is above the maximum of 2 147 483 647 ms"),
        ("25d", "the nearest legal value is 2_147_483_647 (24.9 days)"),
        pytest.param(10**5000, "more than 10**18 ms is above", id="huge"),
        ("300", "must have a unit, got '300'; did you mean '300ms' or '300s'?"),
        ("0", "did you mean '0ms' or '0s'?"),
        (5.0, ", got 5.0"),
        (float("nan"), ", got nan"),
        (True, ", got True"),
        (False, ", got False"),
        (b"5m", "got a bytes"),
        ([], "got a list"),
        ("", ", got ''"),
        ("5M", ", got '5M'"),
        ("5 m", "got '5 m'"),
        ("5m ", "got '5m '"),
        ("1e3s", ", got '1e3s'"),
        ("\u0665m", "must be a duration"),
        ("m", ", got 'm'"),
        ("5w", "a number and one of the units ms, s, m, h, d"),
        ("60000.5ms", "; the nearest legal value is"),
        (timedelta(seconds=60, microseconds=600), "nearest legal value is 60001 ms"),
    ],
)
def test_bad_durations(name: str, value: Any, expected: str) -> None:
    """The error of an illegal duration has the value and what is legal."""
    assert expected in sentence(name, value)


@pytest.mark.parametrize("name", CONNECTION_DURATIONS)
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (
            300,
            "300 ms is below the minimum of 30 000 ms; "
            "did you mean 300_000 (5 minutes)?",
        ),
        (30, "did you mean 30_000 (30 seconds)?"),
        (1, "did you mean 30_000 (30 seconds)?"),
        (3_600, "did you mean 3_600_000 (1 hour)?"),
        (5_000, "5 000 ms is below the minimum of 30 000 ms; did you mean 30_000"),
        (29_999, "did you mean 30_000 (30 seconds)?"),
        ("10s", "10 000 ms is below the minimum of 30 000 ms; did you mean 30_000"),
        ("300ms", "300 ms is below the minimum of 30 000 ms; did you mean 30_000"),
    ],
)
def test_connection_floor(name: str, value: Any, meant: str) -> None:
    """The error of a time below 30 s guesses seconds, or names the minimum."""
    assert meant in sentence(name, value)
    assert getattr(build(**{name: 30_000}), name) == 30_000


@given(st.integers(0, LONGEST_MS))
def test_spellings_of_a_duration_agree(ms: int) -> None:
    """A whole number of ms is equal as int, timedelta, and text in ms or s."""
    options: Any = [
        ms,
        timedelta(milliseconds=ms),
        f"{ms}ms",
        f"{ms // 1000}.{ms % 1000:03}s",
    ]
    assert {build(close_timeout=value).close_timeout for value in options} == {ms}


@given(st.text(max_size=12))
def test_no_text_escapes_the_duration_rule(text: str) -> None:
    """Text is a number with a unit, or an error."""
    values, errors = Config.checked({"kafka": KAFKA, "close_timeout": text})
    assert list(errors) in ([], ["close_timeout"])
    if not errors:
        ms = values.get("close_timeout", 30_000)
        assert text[0] in "-0123456789"
        assert text[-1] in "smhdn"
        assert 0 <= ms <= LONGEST_MS


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name: str) -> None:
    """A flag is a bool, not a value that merely counts as one."""
    assert getattr(build(**{name: False}), name) is False
    assert getattr(build(**{name: True}), name) is True
    for value, seen in [(1, "1"), (0, "0"), ("true", "'true'"), (None, "None")]:
        assert sentence(name, value) == f"must be True or False, got {seen}"


def test_close_before_fork_may_be_none() -> None:
    """None is legal only for the duration where it means never."""
    assert build(close_before_fork=None).close_before_fork is None
    for name in PLAIN_DURATIONS[1:] + CONNECTION_DURATIONS:
        assert ", got None" in sentence(name, None)


def test_max_payload_size() -> None:
    """The size is an int of at least 1, or None."""
    assert build(max_payload_size=1).max_payload_size == 1
    assert build(max_payload_size=None).max_payload_size is None
    for value in (0, -1):
        text = sentence("max_payload_size", value)
        assert text == (
            f"must be an int of bytes, at least 1, or None, got {value}; "
            "the nearest legal value is 1"
        )
    for other in (True, 1.0, "1", "1MB", b"1"):
        assert "must be an int of bytes" in sentence("max_payload_size", other)


def test_id() -> None:
    """The id is a non-empty str, or None."""
    assert build(id="orders").id == "orders"
    for value in ("", 5, b"orders", ["orders"]):
        assert "must be a non-empty str, or None" in sentence("id", value)


def test_tags_are_copied_and_read_only() -> None:
    """Tags map str to str, are copied, and cannot be changed."""
    mine = {"team": "payments"}
    config = build(tags=mine)
    mine["team"] = "other"
    assert config.tags == {"team": "payments"}
    with pytest.raises(TypeError):
        config.tags["team"] = "x"  # type: ignore[index]
    for value in (5, [("a", "b")], {"a": 1}, {1: "a"}, {"": "a"}, None, {"a": None}):
        assert "must " in sentence("tags", value)


def test_callables() -> None:
    """A token provider and a client factory must be callable, or None."""

    def provider(_config: object) -> Any:
        return "token", 1.0

    assert build(oauth_token_provider=provider).oauth_token_provider is provider
    assert vars(build(client_factory=provider))["client_factory"] is provider
    assert build(oauth_token_provider=None).oauth_token_provider is None
    assert build(client_factory=None).client_factory is None
    assert "must be callable" in sentence("oauth_token_provider", "token")
    assert "must be callable" in sentence("client_factory", 1)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    """Attempts are an int of at least 1; the error names the nearest legal value."""
    assert getattr(build(**{name: 1}), name) == 1
    assert getattr(build(**{name: 10**6}), name) == 10**6
    for value in (0, -1):
        assert sentence(name, value) == (
            f"must be an int of attempts, at least 1, got {value}; "
            "the nearest legal value is 1"
        )
    for other in (True, 1.0, "1", b"1", None, [1], float("nan")):
        assert "must be an int of attempts" in sentence(name, other)


def test_non_reloadable_errors() -> None:
    """A tuple or list of lower-case names, which may be empty, is kept as a tuple."""
    mine = ["fenced", "invalid_txn_state"]
    config = build(non_reloadable_errors=mine)
    mine.clear()
    assert config.non_reloadable_errors == ("fenced", "invalid_txn_state")
    assert build(non_reloadable_errors=()).non_reloadable_errors == ()
    for value in ("fenced", {"fenced"}, None, 5, b"x"):
        text = sentence("non_reloadable_errors", value)
        assert "must be a tuple or list of error names" in text
    for wrong in ("FENCED", "", 144, "_fenced", "fenced ", None):
        text = sentence("non_reloadable_errors", ["fenced", wrong])
        assert "must be lower-case error names" in text


def test_middleware() -> None:
    """A sequence of callables is copied to a tuple."""
    steps = [abs, str]
    config = build(middleware=steps)
    steps.clear()
    assert vars(config)["middleware"] == (abs, str)
    assert build(middleware=[]).middleware == ()
    assert build(middleware=deque([abs])).middleware == (abs,)
    for value in (abs, None, "abs", {abs}, 5):
        assert "must be a sequence of callables" in sentence("middleware", value)
    for wrong in ("abs", None, 5):
        assert "must be callable" in sentence("middleware", [abs, wrong])


def test_unknown_options() -> None:
    """The error of an unknown option names the one with the most similar spelling."""
    assert "did you mean 'middleware'?" in sentence("middlewares", ())
    assert "did you mean 'close_timeout'?" in sentence("close_timout", 1)
    assert "mean 'idle_disconnect_timeout'?" in sentence("idle_timeout", 1)
    assert "did you mean 'close_timeout'?" in sentence("close.timeout", 1)
    assert "the options are client_factory, close_before_fork" in sentence("xyzzy", 1)


def test_an_unknown_option_may_be_called_self() -> None:
    """An option may have the name of a parameter of the constructor."""
    assert "unknown option 'self'" in sentence("self", 1)


def test_kafka_is_required() -> None:
    """A missing `kafka` is an error that says what it is."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        Config()
    assert "is required" in invalid.value.errors["kafka"]


def test_all_violations_at_once() -> None:
    """One error names every option and property at fault."""
    bad: dict[str, Any] = {
        **dict.fromkeys(PLAIN_DURATIONS, -1),
        **dict.fromkeys(CONNECTION_DURATIONS, 300),
        **dict.fromkeys(FLAGS, 1),
        **dict.fromkeys(COUNTS, 0),
        "non_reloadable_errors": "fenced",
        "middleware": abs,
        "max_payload_size": 0,
        "id": "",
        "tags": 1,
        "oauth_token_provider": 1,
        "client_factory": 1,
        "xyzzy": 1,
    }
    errors = sentences(**bad, kafka={"linger.ms": [], "acks": b"1"})
    assert set(errors) == {*bad, "kafka.linger.ms", "kafka.acks"}
    assert set(Config.OPTIONS) - {"kafka"} <= set(errors)


def test_the_message_lists_each_sentence() -> None:
    """The text of the error has every path with its sentence."""
    with pytest.raises(ConfigurationInvalidError) as invalid:
        build(id="", idle_disconnect_timeout=300)
    for path, text in invalid.value.errors.items():
        assert f"{path}: {text}" in str(invalid.value)


def test_immutable() -> None:
    """Attributes cannot be set, deleted or added."""
    config = build()
    with pytest.raises(AttributeError, match="immutable"):
        config.id = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        config.other = 1
    with pytest.raises(AttributeError, match="immutable"):
        del config.kafka


def test_equality_is_by_value() -> None:
    """Configurations with equal options are equal, however the options were written."""
    one, two = (
        build(close_timeout="5s", tags={"a": "b"}),
        build(close_timeout=5_000, tags={"a": "b"}, id=None),
    )
    assert one == two
    assert hash(one) == hash(two)
    assert one != build(close_timeout=5_001, tags={"a": "b"})
    assert one != build(close_timeout="5s")
    assert one != dict(vars(one))


def test_copies_are_the_same_object_and_pickling_is_refused() -> None:
    """A copy is the same object; pickling would write secrets, so it raises."""
    config = build()
    assert copy.copy(config) is config
    assert copy.deepcopy(config) is config
    for value in (config, config.kafka):
        with pytest.raises(TypeError, match="not picklable"):
            pickle.dumps(value)


def test_short_timeouts_nest_and_end() -> None:
    """The minimum is 1 ms inside blocks, also nested ones, and 30 000 ms afterwards."""
    lift = allow_short_idle_timeouts()
    with lift:
        with lift, allow_short_idle_timeouts():
            assert build(idle_disconnect_timeout=1).idle_disconnect_timeout == 1
        assert build(max_connection_age="50ms").max_connection_age == 50
        assert "must be 0 or more" in sentence("idle_disconnect_timeout", -1)
    assert "minimum of 30 000 ms" in sentence("idle_disconnect_timeout", 1)


def test_short_timeouts_end_with_an_exception_and_decorate() -> None:
    """An exception ends the block; it also works as a decorator, repeatedly."""

    @allow_short_idle_timeouts()
    def short() -> int:
        return build(max_connection_age=1).max_connection_age

    assert [short(), short()] == [1, 1]
    with pytest.raises(KeyError), allow_short_idle_timeouts():
        raise KeyError
    assert "minimum" in sentence("max_connection_age", 1)


def test_short_timeouts_of_one_thread_outlast_those_of_another() -> None:
    """With two threads inside, the minimum returns when the last one has left."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with allow_short_idle_timeouts():
            entered.set()
            assert leave.wait(10)

    thread = threading.Thread(target=other, daemon=True)
    with allow_short_idle_timeouts():
        thread.start()
        assert entered.wait(10)
    assert build(idle_disconnect_timeout=1).idle_disconnect_timeout == 1
    leave.set()
    thread.join(10)
    assert not thread.is_alive()
    assert "minimum" in sentence("idle_disconnect_timeout", 1)
