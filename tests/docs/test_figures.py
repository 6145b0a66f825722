"""The defaults that the page about timeouts prints are those of the code."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import pytest

from tests.docs.running import ROOT
from waterdrop_py import Config, Producer, ProducerPool
from waterdrop_py._settings.defaults import missing_defaults
from waterdrop_py._settings.durations import as_text

PAGE: Final = ROOT / "docs" / "how-to" / "choose-timeouts.md"
ROWS: Final = {
    found[1]: found[2]
    for found in re.finditer(
        r"^\| `([^`]+)`[^|]*\| ([^|]+?) \|", PAGE.read_text(), re.M
    )
}
OPTIONS: Final = [name for name in ROWS if name in Config.OPTIONS]
ARGUMENTS: Final[dict[str, tuple[Any, str]]] = {
    "connect(timeout=)": (Producer.connect, "timeout"),
    "health(deep=True, timeout=)": (Producer.health, "timeout"),
    "flush(timeout=)": (Producer.flush, "timeout"),
}


def milliseconds(text: str) -> int:
    """A default of the page: `180 s`, `100 ms`, `0, never`."""
    number, _, unit = text.replace(", never", "").replace(", fixed", "").partition(" ")
    return int(number) * {"": 1, "ms": 1, "s": 1000, "min": 60_000}[unit]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option(name: str) -> None:
    """The page has the option's default."""
    assert milliseconds(ROWS[name]) == getattr(Config, name), as_text(
        getattr(Config, name)
    )


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument(name: str) -> None:
    """The page has the argument's default, in seconds."""
    function, argument = ARGUMENTS[name]
    default = inspect.signature(function).parameters[argument].default
    expected = None if ROWS[name] == "no limit" else milliseconds(ROWS[name]) / 1000
    assert default == expected


def test_a_pools_timeout() -> None:
    """The page has the default of a pool."""
    pool = ProducerPool({"kafka": {"bootstrap.servers": "unused:9092"}})
    assert milliseconds(ROWS["ProducerPool(timeout=)"]) == pool.timeout * 1000
    pool.close()


@pytest.mark.parametrize(
    "name", ["message.timeout.ms", "transaction.timeout.ms"], ids=str
)
def test_a_property_that_the_library_sets(name: str) -> None:
    """The page has our default where it says that it is ours."""
    ours = missing_defaults({"transactional.id": "id"}, statistics=False)
    shown = ROWS[name].partition(", ours")[0].replace(" ", "")
    assert int(shown) == ours[name]


def test_the_tables_are_found() -> None:
    """The pattern finds the options, the arguments and the properties."""
    assert len(OPTIONS) >= 9
    assert set(ARGUMENTS) <= set(ROWS)
