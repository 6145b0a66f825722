"""Options of a pool: defaults, bounds, names of other pools."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from waterdrop_py import Config
from waterdrop_py._settings.pool_options import POOL_OPTIONS, check_pool_options

MARK = "hunter2"
DEFAULTS = {
    "size": 10,
    "client_limit": 1,
    "min_connected": 0,
    "strategy": "pack",
    "timeout": 5.0,
    "max_waiting": None,
    "name": None,
}


def error_of(**given: Any) -> str:
    """The one error of these options, which is under the first of them."""
    values, errors = check_pool_options(given, Config.OPTIONS)
    name = next(iter(given))
    assert list(errors) == [name]
    assert name not in values
    return errors[name]


def test_defaults() -> None:
    """Without options each has its default."""
    assert check_pool_options({}) == (DEFAULTS, {})


def test_legal_values() -> None:
    """Legal values are kept, with the timeout in seconds."""
    given = {
        "size": 1_000,
        "client_limit": 100,
        "min_connected": 1_000,
        "strategy": "spread",
        "timeout": timedelta(minutes=1),
        "max_waiting": 1,
        "name": "orders",
    }
    assert check_pool_options(given) == ({**given, "timeout": 60.0}, {})
    for timeout in (0, 1.5, math.inf, 10**400):
        values, errors = check_pool_options({"timeout": timeout})
        assert (type(values["timeout"]), errors) == (float, {})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("size", 0, "int of producers, 1 to 1000, got 0; the nearest legal value is 1"),
        ("size", 1_001, "got 1001; the nearest legal value is 1000"),
        ("size", True, "must be an int of producers, 1 to 1000, got True"),
        ("size", "5", "got '5'"),
        ("size", 5.0, "got 5.0"),
        ("size", None, "got None"),
        ("client_limit", 0, "an int of leases of one producer, at least 1, got 0"),
        ("client_limit", True, "got True"),
        ("client_limit", None, "got None"),
        ("min_connected", -1, "at least 0, got -1; the nearest legal value is 0"),
        ("min_connected", False, "got False"),
        ("min_connected", 11, "must be at most size, which is 10, got 11"),
        ("strategy", "packed", "must be 'pack' or 'spread', got 'packed'; did you"),
        ("strategy", "PACK", "did you mean 'pack'?"),
        ("strategy", "lifo", "must be 'pack' or 'spread', got 'lifo'"),
        ("strategy", None, "must be 'pack' or 'spread', got None"),
        ("strategy", [], "got a list"),
        ("timeout", None, "must be a number of seconds or a timedelta, got None"),
        ("timeout", -0.1, "must be 0 or more seconds, got -0.1"),
        ("timeout", timedelta(-1), "must be 0 or more seconds"),
        ("timeout", math.nan, "must be 0 or more seconds, got nan"),
        ("timeout", True, "must be a number of seconds or a timedelta, got True"),
        ("timeout", "5s", "must be a number of seconds or a timedelta, got '5s'"),
        ("max_waiting", 0, "an int of waiting callers, at least 1, or None, got 0"),
        ("max_waiting", True, "got True"),
        ("name", "", "must be a non-empty str, or None, got ''"),
        ("name", 5, "must be a non-empty str, or None, got 5"),
        ("name", "\udc80", "must be a non-empty str, or None"),
    ],
)
def test_illegal_values(name: str, value: Any, sentence: str) -> None:
    """The error names the option, the value and what would be legal."""
    assert sentence in error_of(**{name: value})


def test_all_errors_at_once() -> None:
    """Every wrong option is reported, in the order of the table; unknown ones last."""
    values, errors = check_pool_options(
        {"xyzzy": 1, "name": "", "size": 0, "min_connected": 5}
    )
    assert list(errors) == ["size", "name", "xyzzy"]
    assert values == {
        "client_limit": 1,
        "min_connected": 5,
        "strategy": "pack",
        "timeout": 5.0,
        "max_waiting": None,
    }


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("max_connections", "size"),
        ("max_size", "size"),
        ("pool_size", "size"),
        ("producer_pool_size", "size"),
        ("limit", "size"),
        ("min_size", "min_connected"),
        ("preload", "min_connected"),
        ("max_leases", "client_limit"),
        ("max_idle", "idle_disconnect_timeout' of the Config"),
        ("max_idle_seconds", "idle_disconnect_timeout' of the Config"),
        ("max_lifetime", "max_connection_age' of the Config"),
        ("max_lifespan_seconds", "max_connection_age' of the Config"),
        ("sise", "size"),
        ("max_wait", "max_waiting"),
    ],
)
def test_names_of_other_pools(foreign: str, ours: str) -> None:
    """A name of another pool is answered with ours, and its value is not shown."""
    sentence = error_of(**{foreign: MARK})
    assert f"did you mean '{ours.rstrip()}" in sentence
    assert MARK not in sentence


def test_other_names() -> None:
    """An option of the Config is told to be one; any other name gets the list."""
    assert "is an option of the Config" in error_of(idle_disconnect_timeout=MARK)
    assert "is an option of the Config" in error_of(kafka=MARK)
    sentence = error_of(xyzzy=MARK)
    assert f"the options are {', '.join(POOL_OPTIONS)}" in sentence
    assert MARK not in sentence
