"""The registry of events, and that the library sends nothing outside of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import waterdrop_py.errors
from waterdrop_py.errors import EventNotRegisteredError
from waterdrop_py.events import ERROR_TYPES, EVENTS, listener_method, require_event

PACKAGE = Path(waterdrop_py.errors.__file__).parent


def _literals_passed_to(method: str) -> set[str]:
    """Every string literal that the library passes first to `x.<method>(...)`."""
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
    """No event is sent, or asked for, under a name that nobody can subscribe to."""
    assert _literals_passed_to("emit") | _literals_passed_to("listens") <= set(EVENTS)


def test_every_row_is_documented() -> None:
    """Each event and each type of error says what it means."""
    summaries = [*(spec.summary for spec in EVENTS.values()), *ERROR_TYPES.values()]
    assert all(summary.endswith(".") for summary in summaries)


def test_method_names_are_unambiguous() -> None:
    """No two events share the name of a listener's method."""
    assert len({listener_method(name) for name in EVENTS}) == len(EVENTS)
    assert listener_method("producer.disconnect_refused") == (
        "on_producer_disconnect_refused"
    )


def test_registry_cannot_be_changed() -> None:
    """The events are the library's, not something a user adds to."""
    with pytest.raises(TypeError):
        EVENTS["my.event"] = EVENTS["producer.closed"]  # type: ignore[index]


def test_unknown_name_gets_a_suggestion() -> None:
    """A typo in a name is answered with the name that was meant."""
    with pytest.raises(
        EventNotRegisteredError, match=r"did you mean 'producer.closed'"
    ):
        require_event("producer.close")
    with pytest.raises(EventNotRegisteredError, match=r"no event is named 'zzz'$"):
        require_event("zzz")
