"""The table of events, and that the library sends only events of the table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import waterdrop_py.errors
from waterdrop_py.errors import EventNotRegisteredError
from waterdrop_py.events import ERROR_TYPES, EVENTS, listener_method, require_event

PACKAGE = Path(waterdrop_py.errors.__file__).parent


def _literals_passed_to(method: str) -> set[str]:
    """The string literals that the library passes first to `x.<method>()`."""
    return {
        node.args[0].value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def test_every_event_that_is_sent_is_registered() -> None:
    """Every event that is sent or asked for is in the table."""
    assert _literals_passed_to("emit") | _literals_passed_to("listens") <= set(EVENTS)


def test_every_row_is_documented() -> None:
    """Each event and each type of error has a summary."""
    summaries = [*(spec.summary for spec in EVENTS.values()), *ERROR_TYPES.values()]
    assert all(summary.endswith(".") for summary in summaries)


def test_method_names_are_unambiguous() -> None:
    """The names of listener methods are different for all events."""
    assert len({listener_method(name) for name in EVENTS}) == len(EVENTS)
    assert listener_method("producer.disconnect_refused") == (
        "on_producer_disconnect_refused"
    )


def test_registry_cannot_be_changed() -> None:
    """Users cannot add events."""
    with pytest.raises(TypeError):
        EVENTS["my.event"] = EVENTS["producer.closed"]  # type: ignore[index]


def test_unknown_name_gets_a_suggestion() -> None:
    """The error of a misspelt name suggests the right one."""
    with pytest.raises(
        EventNotRegisteredError, match=r"did you mean 'producer.closed'"
    ):
        require_event("producer.close")
    with pytest.raises(EventNotRegisteredError, match=r"no event is named 'zzz'$"):
        require_event("zzz")
