"""LoggingListener: names, levels, fields, and what is never logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py._engine.emitter import Emitter
from waterdrop_py.errors import InvalidArgumentError
from waterdrop_py.events import EVENTS
from waterdrop_py.listeners import LoggingListener, StructlogListener
from waterdrop_py.monitor import Event, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"private payload"
PER_MESSAGE = [name for name in EVENTS if name.startswith(("message.", "messages."))]


class Owner:
    """Stands for a producer."""


def logged(
    listener: LoggingListener,
    name: str,
    caplog: pytest.LogCaptureFixture,
    **payload: Any,
) -> list[logging.LogRecord]:
    """The records that the listener logs for one event of a producer with tags."""
    monitor, owner = Monitor(), Owner()
    monitor.subscribe(listener)
    caplog.set_level(logging.DEBUG)
    Emitter(owner, "p1", {"team": "a"}, monitor, Monitor()).emit(name, payload)
    return caplog.records


@pytest.mark.parametrize("name", EVENTS)
def test_levels(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Lifecycle is INFO, a refusal WARNING, an error ERROR, a message DEBUG."""
    [line] = logged(LoggingListener(messages=True), name, caplog)
    level = logging.INFO
    if name in (*PER_MESSAGE, "statistics.emitted"):
        level = logging.DEBUG
    elif name == "producer.disconnect_refused":
        level = logging.WARNING
    elif name == "error.occurred":
        level = logging.ERROR
    assert (line.name, line.levelno) == ("waterdrop_py", level)
    assert line.getMessage() == f"{name} producer_id='p1' tags={{'team': 'a'}}"
    assert line.event_name == name  # type: ignore[attr-defined]
    assert line.producer_id == "p1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("make", [LoggingListener, StructlogListener])
def test_without_messages_no_event_per_message_is_subscribed(
    make: Callable[[], object],
) -> None:
    """Sends keep their speed without `messages`; statistics are not requested."""
    monitor = Monitor()
    monitor.subscribe(make())
    assert not [name for name in PER_MESSAGE if monitor.listens(name)]
    assert {name for name in EVENTS if monitor.listens(name)} == (
        EVENTS.keys() - set(PER_MESSAGE)
    )
    assert not monitor.asks_for("statistics.emitted")


@pytest.mark.parametrize("make", [LoggingListener, StructlogListener])
def test_with_messages_every_event_is_subscribed(make: Callable[..., object]) -> None:
    """With `messages` every event is logged; statistics are not requested."""
    monitor = Monitor()
    monitor.subscribe(make(messages=True))
    assert all(monitor.listens(name) for name in EVENTS)
    assert not monitor.asks_for("statistics.emitted")


def test_a_subclass_overrides_a_method(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The method of a subclass is called, with and without `messages`."""
    heard: list[str] = []

    class Mine(LoggingListener):
        def on_message_acknowledged(self, event: Event) -> None:
            heard.append(event.name)

        def on_producer_closed(self, event: Event) -> None:
            heard.append(event.name)

    for messages in (False, True):
        logged(Mine(messages=messages), "message.acknowledged", caplog)
        logged(Mine(messages=messages), "producer.closed", caplog)
    assert heard == ["message.acknowledged", "producer.closed"] * 2
    assert caplog.records == []


def test_no_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Messages and reports are not logged; of several messages only their number is."""
    listener = LoggingListener(messages=True)
    [line] = logged(
        listener, "message.acknowledged", caplog, message=SECRET, topic="orders"
    )
    assert line.getMessage().startswith("message.acknowledged producer_id='p1' topic=")
    caplog.clear()
    [line] = logged(listener, "messages.buffered", caplog, messages=[SECRET] * 3)
    assert "messages=3" in line.getMessage()
    caplog.clear()
    [line] = logged(listener, "producer.disconnected", caplog, messages=3)
    assert "messages=3" in line.getMessage()  # a number already
    assert "private" not in caplog.text


def test_an_error_of_user_code_has_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only an error that user code raised has its traceback."""
    error = ValueError("x")
    listener = LoggingListener()
    [first] = logged(
        listener, "error.occurred", caplog, type="callbacks.stats_cb.error", error=error
    )
    assert first.exc_info is not None
    caplog.clear()
    [second] = logged(
        listener, "error.occurred", caplog, type="librdkafka.error", error=error
    )
    assert second.exc_info is None
    assert "error='ValueError: x'" in second.getMessage()


@pytest.mark.parametrize(
    "logger",
    [
        "app.kafka",
        logging.getLogger("app.kafka"),
        logging.LoggerAdapter(logging.getLogger("app.kafka"), {}),
    ],
    ids=["name", "logger", "adapter"],
)
def test_the_logger_of_the_user(logger: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The listener takes the name of a logger, a logger, or an adapter."""
    [line] = logged(LoggingListener(logger), "producer.closed", caplog)
    assert line.name == "app.kafka"


@pytest.mark.parametrize("logger", [7, None, print, logging])
def test_illegal_loggers(logger: Any) -> None:
    """Anything else is refused when the listener is made."""
    with pytest.raises(InvalidArgumentError, match=r"logger: must be .* got "):
        LoggingListener(logger)
