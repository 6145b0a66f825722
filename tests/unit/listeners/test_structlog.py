"""StructlogListener: levels, fields, and what is never logged."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from waterdrop_py._engine.emitter import Emitter
from waterdrop_py.events import EVENTS
from waterdrop_py.listeners import StructlogListener
from waterdrop_py.monitor import Event, Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

SECRET = b"private payload"


class Owner:
    """Stands for a producer."""


@pytest.fixture(autouse=True)
def _default_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def logged(
    listener: StructlogListener, name: str, *, time: float | None = None, **payload: Any
) -> list[MutableMapping[str, Any]]:
    """The lines that the listener logs for one event of a producer with tags."""
    monitor, owner = Monitor(), Owner()
    monitor.subscribe(listener)
    with capture_logs() as lines:
        emitter = Emitter(owner, "p1", {"team": "a"}, monitor, Monitor())
        emitter.emit(name, payload, duration_ms=time)
    return lines


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_one_line(name: str) -> None:
    """Each event is one line with its name and its level."""
    [line] = logged(StructlogListener(messages=True), name)
    chatty = name.startswith(("message.", "messages.", "statistics."))
    level = {
        "error.occurred": "error",
        "producer.disconnect_refused": "warning",
    }.get(name, "debug" if chatty else "info")
    assert line == {
        "event": name,
        "log_level": level,
        "producer_id": "p1",
        "tags": {"team": "a"},
    }


def test_payload_becomes_fields() -> None:
    """The payload and the duration are key-value pairs of the line."""
    released = {"sockets": 3, "threads": 5, "fds": 12}
    [line] = logged(
        StructlogListener(),
        "producer.disconnected",
        time=1.23456,
        reason="idle",
        released=released,
    )
    assert line["reason"] == "idle"
    assert line["released"] == released
    assert line["duration_ms"] == 1.235


def test_error_is_text_and_foreign_code_is_traced() -> None:
    """An error is logged as text; only one of user code has its traceback."""
    error = ValueError("broken")
    [line] = logged(
        StructlogListener(), "error.occurred", type="librdkafka.error", error=error
    )
    assert line["error"] == "ValueError: broken"
    assert line["type"] == "librdkafka.error"
    assert "exc_info" not in line
    [line] = logged(
        StructlogListener(),
        "error.occurred",
        type="subscriber.error",
        error=error,
        event="producer.closed",
    )
    assert line["event"] == "error.occurred"
    assert line["during"] == "producer.closed"
    assert line["exc_info"] is error


def test_messages_are_silent_unless_asked_for_and_private_always() -> None:
    """Payloads are never logged; without `messages`, no event per message is either."""
    payload: dict[str, Any] = {
        "message": SECRET,
        "delivery_report": SECRET,
        "topic": "t",
    }
    assert logged(StructlogListener(), "message.acknowledged", **payload) == []
    listener = StructlogListener(messages=True)
    [line] = logged(listener, "message.acknowledged", **payload)
    assert line["topic"] == "t"
    assert "private" not in repr(line)
    [line] = logged(listener, "messages.produced_sync", messages=[SECRET, SECRET])
    assert line["messages"] == 2


def test_statistics_are_not_dumped() -> None:
    """The event of statistics is logged, but not their many kilobytes."""
    [line] = logged(
        StructlogListener(), "statistics.emitted", statistics={"brokers": {}}
    )
    assert "statistics" not in line


def test_configuration_made_later_counts() -> None:
    """A configuration of structlog that is made after the listener applies."""
    listener, seen = StructlogListener(), list[str]()

    def keep(_: object, level: str, line: MutableMapping[str, Any]) -> str:
        seen.append(f"{level} {line['event']}")
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    listener.log(Event("producer.closed", {"producer_id": "p1"}, {}))
    assert seen == ["info producer.closed"]


def test_own_logger_is_used() -> None:
    """The listener writes to the logger that the user gives."""
    with capture_logs() as lines:
        StructlogListener(structlog.get_logger(service="s")).log(
            Event("producer.closed", {"producer_id": "p1"}, {})
        )
    assert lines[0]["service"] == "s"


def test_structlog_is_imported_only_when_asked_for() -> None:
    """Importing the listeners does not import structlog."""
    code = (
        "import sys, waterdrop_py, waterdrop_py.monitor, waterdrop_py.listeners as all;"
        "all.LoggingListener; assert 'structlog' not in sys.modules;"
        "all.StructlogListener; assert 'structlog' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_listeners_has_no_other_names() -> None:
    """An unknown listener is an AttributeError, as in any module."""
    import waterdrop_py.listeners

    with pytest.raises(AttributeError, match="NoSuchListener"):
        _ = waterdrop_py.listeners.NoSuchListener
