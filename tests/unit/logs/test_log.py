"""What the library logs by itself: of which errors, how often, and that it is safe."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py._engine.client.callbacks import LogBridge
from waterdrop_py._engine.concurrency import background
from waterdrop_py._engine.concurrency.call_marks import poller
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.logs import log as log_module
from waterdrop_py._engine.logs.log import LIBRDKAFKA, LOG, LOGGER
from waterdrop_py.listeners import LoggingListener
from waterdrop_py.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ERROR = "error.occurred"


class Owner:
    """Stands for a producer."""


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        """The moment."""
        return self.at


class Bed:
    """An emitter of one producer, and the lines that come of it."""

    def __init__(self, now: Now) -> None:
        self.now = now
        self.owner = Owner()
        self.own, self.shared = Monitor(), Monitor()
        self.emitter = Emitter(self.owner, "p1", {}, self.own, self.shared)
        self.woken = 0
        self.jobs: list[Callable[[], None]] = []

    def wake(self) -> None:
        """Count that a library thread is asked to speak."""
        self.woken += 1


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """The library's log with a clock of the test's, and no threads."""
    now = Now()
    bed = Bed(now)
    monkeypatch.setattr(LOG, "_now", now)
    monkeypatch.setattr(LOG, "_wake", bed.wake)
    monkeypatch.setattr(background, "_submit", bed.jobs.append)
    LOG.reset()
    yield bed
    LOG.reset()


def receive(_sender: object, *, event: object) -> None:
    """Be called as a receiver of a signal is."""


class Metrics:
    """A listener that counts."""

    only_counts = True

    def __init__(self) -> None:
        self.heard = 0

    def on_error_occurred(self, _: object) -> None:
        """Count."""
        self.heard += 1


def test_an_error_that_nothing_hears_is_logged(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """With the producer, the type and the topic; the payload is not in it."""
    bed.emitter.error(
        "librdkafka.dispatch_error", ValueError("gone\nsecond"), topic="orders"
    )
    [line] = caplog.records
    assert (line.name, line.levelno) == ("waterdrop_py", logging.ERROR)
    assert line.getMessage() == (
        "producer 'p1': librdkafka.dispatch_error: ValueError: gone; of topic 'orders'"
    )
    assert line.exc_info is None
    assert line.producer_id == "p1"  # type: ignore[attr-defined]


def test_a_topic_is_named_once(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """Most errors name their message themselves."""
    error = ValueError("'orders' (key 'k'): gone")
    bed.emitter.error("librdkafka.dispatch_error", error, topic="orders")
    [line] = caplog.records
    assert line.getMessage().endswith("ValueError: 'orders' (key 'k'): gone")


@pytest.mark.parametrize(
    "subscribe",
    [
        lambda bed: bed.own.subscribe(ERROR, lambda _: None),
        lambda bed: bed.shared.subscribe(ERROR, lambda _: None),
        lambda bed: bed.own.subscribe("error.*", lambda _: None),
        lambda bed: bed.shared.subscribe("*", lambda _: None),
        lambda bed: bed.own.signal(ERROR).connect(receive, weak=False),
        lambda bed: bed.own.subscribe(LoggingListener("test.elsewhere")),
    ],
    ids=["own", "shared", "pattern", "star", "signal", "listener"],
)
def test_an_error_that_is_heard_is_not_logged(
    bed: Bed, caplog: pytest.LogCaptureFixture, subscribe: Callable[[Bed], object]
) -> None:
    """By a function of the user's, however subscribed, or by a listener that logs."""
    subscribe(bed)
    bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    assert [each for each in caplog.records if each.name == "waterdrop_py"] == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_metrics_listener_does_not_hear(
    bed: Bed, caplog: pytest.LogCaptureFixture, *, whole: bool
) -> None:
    """Errors are logged beside one that only counts, object or bound method."""
    metrics = Metrics()
    if whole:
        bed.own.subscribe(metrics)
    else:
        bed.own.subscribe(ERROR, metrics.on_error_occurred)
    bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    assert metrics.heard == 1
    assert len(caplog.records) == 1


def test_a_receiver_of_another_producer_does_not_hear(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """blinker filters by sender: what is filtered out was not heard."""
    other = Owner()
    bed.own.signal(ERROR).connect(receive, sender=other, weak=False)
    bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    assert len(caplog.records) == 1


def test_what_user_code_raised_comes_with_its_traceback(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """A subscriber that raises is named, with what it heard."""

    def broken(_: object) -> None:
        raise KeyError("mine")

    bed.own.subscribe("producer.closed", broken)
    bed.emitter.emit("producer.closed")
    [line] = caplog.records
    assert "subscriber.error: KeyError: 'mine'; raised by" in line.getMessage()
    assert "broken, which heard producer.closed" in line.getMessage()
    assert line.exc_info is not None
    assert line.exc_info[2] is not None


def test_one_type_at_most_once_a_second(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are counted in the next line, and each type is apart."""
    for _ in range(42):
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    bed.emitter.error("poller.slow", ValueError("y"))
    bed.now.at += 1
    bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    texts = [each.getMessage() for each in caplog.records]
    assert len(texts) == 3
    assert texts[2].endswith("ValueError: x; and 41 more")


def test_a_count_is_said_when_nothing_follows(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """A library thread is woken once, and says it when the second is over."""
    for _ in range(10):
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    assert (bed.woken, LOG.has_due()) == (1, True)
    LOG.write_due()
    assert bed.jobs == []
    bed.now.at += 1
    LOG.write_due()
    [job] = bed.jobs
    job()
    assert caplog.records[1].getMessage().endswith("ValueError: x; and 8 more")
    assert not LOG.has_due()


def test_a_count_is_said_at_the_exit(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """`flush` says what is held back, whenever it would be due."""
    for _ in range(10):
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
    LOG.flush()
    LOG.flush()
    assert [each.getMessage()[-10:] for each in caplog.records][1:] == ["and 8 more"]


def test_another_sort_of_error_is_told_within_a_second(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of one sort does not hide the first of another, nor its traceback."""

    def broken(_: object) -> None:
        raise LookupError("new")

    for _ in range(200):
        bed.emitter.error("subscriber.error", ValueError("old"))
        bed.now.at += 1
    caplog.clear()
    bed.now.at += 1
    bed.own.subscribe("producer.closed", broken)
    bed.emitter.emit("producer.closed")
    assert "LookupError: new" in caplog.records[0].getMessage()


def test_a_held_line_keeps_nothing_alive(bed: Bed) -> None:
    """What is held back is text: no traceback holds the user's objects."""
    owner = Owner()
    gone = weakref.ref(owner)

    def fail(own: Owner) -> BaseException:
        try:
            own.missing  # type: ignore[attr-defined]  # noqa: B018
        except AttributeError as error:
            return error
        raise AssertionError

    bed.emitter.error("subscriber.error", ValueError("first"))
    bed.emitter.error("subscriber.error", fail(owner))
    del owner
    gc.collect()
    assert LOG.has_due()
    assert gone() is None


class Broken(logging.Filter):
    """A filter of the application's that raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.calls = 0

    def filter(self, _: logging.LogRecord) -> bool:
        """Raise."""
        self.calls += 1
        raise self.error


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[Broken]:
    """Logging that raises whatever the library logs."""
    filter_ = Broken(getattr(request, "param", KeyError("request_id")))
    LOGGER.addFilter(filter_)
    LIBRDKAFKA.addFilter(filter_)
    LIBRDKAFKA.setLevel(logging.DEBUG)
    yield filter_
    LOGGER.removeFilter(filter_)
    LIBRDKAFKA.removeFilter(filter_)
    LIBRDKAFKA.setLevel(logging.NOTSET)


def test_what_logging_raises_is_told_and_never_raised(
    bed: Bed, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    """As `callbacks.logger.error`, to those who hear of errors."""
    events: list[Any] = []
    bed.own.subscribe(ERROR, events.append)
    LogBridge(bed.emitter, None).log(logging.ERROR, "%s|%s", "a", "b")
    assert [each["type"] for each in events] == ["callbacks.logger.error"]
    assert events[0]["error"] is broken.error


def test_logging_that_raises_always_comes_to_an_end(
    bed: Bed, broken: Broken, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log of the error raises too: stderr has it, as logging's own errors."""
    for _ in range(20):
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
        LOG.log(bed.emitter, logging.WARNING, "sentence")
    err = capsys.readouterr().err
    assert err.count("waterdrop_py cannot log: KeyError: 'request_id'") == 1
    assert broken.calls < 30


@pytest.mark.parametrize(
    "broken", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], indirect=True
)
def test_on_a_library_thread_everything_is_contained(bed: Bed, broken: Broken) -> None:
    """No signal handler runs there, so whatever is raised is logging's own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            LOG.log(bed.emitter, logging.WARNING, "sentence")
            LogBridge(bed.emitter, None).log(logging.ERROR, "line")
        except BaseException as error:  # noqa: BLE001 - the test judges it
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert (raised, broken.calls > 0) == ([], True)


def test_an_interrupt_inside_a_log_call_comes_out(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C that strikes while the main thread logs is not swallowed."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LOGGER, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LOG.log(bed.emitter, logging.WARNING, "sentence")


def test_nothing_is_logged_while_this_thread_polls(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler of the application's may hold its lock and wait for that client."""

    @poller
    def poll() -> None:
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
        assert caplog.records == []

    poll()
    [job] = bed.jobs
    job()
    assert len(caplog.records) == 1


def test_librdkafkas_repeated_lines_are_counted(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """The same text is one line with a count, whatever its milliseconds."""
    caplog.set_level(logging.DEBUG, logger="waterdrop_py.librdkafka")
    bridge = LogBridge(bed.emitter, None)
    for n in range(30):
        bridge.log(logging.ERROR, "%s refused (after %dms in state CONNECT)", "h:1", n)
        bridge.log(logging.ERROR, "%s", "another")
    bed.now.at += 60
    bridge.log(logging.ERROR, "%s refused (after %dms in state CONNECT)", "h:1", 7)
    texts = [each.getMessage() for each in caplog.records]
    assert texts == [
        "h:1 refused (after 0ms in state CONNECT)",
        "another",
        "h:1 refused (after 7ms in state CONNECT); and 29 more",
    ]
    assert caplog.records[0].producer_id == "p1"  # type: ignore[attr-defined]


def test_a_line_with_a_percent_sign_is_logged_as_it_is(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """Arguments that do not fit the text break nothing."""
    caplog.set_level(logging.DEBUG, logger="waterdrop_py.librdkafka")
    LogBridge(bed.emitter, None).log(logging.ERROR, "100 %", 1)
    assert caplog.records[0].getMessage() == "100 %"


def test_a_logger_of_the_users_gets_every_line(bed: Bed) -> None:
    """Beside ours, uncounted; what it raises is told."""
    lines: list[str] = []

    class Theirs:
        def log(self, _level: int, text: str, *arguments: object) -> None:
            lines.append(text % arguments)
            raise OSError("theirs")

    events: list[Any] = []
    bed.own.subscribe(ERROR, events.append)
    bridge = LogBridge(bed.emitter, Theirs())
    for _ in range(3):
        bridge.log(logging.ERROR, "%s", "same")
    assert lines == ["same"] * 3
    assert [str(each["error"]) for each in events] == ["theirs"] * 3


def test_an_exception_without_a_text(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose `str` raises is named by its type."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    bed.emitter.error("librdkafka.dispatch_error", Mute())
    assert caplog.records[0].getMessage().endswith("dispatch_error: Mute")


def test_logging_that_is_disabled_is_left_alone(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """`logging.disable` is the user's word."""
    logging.disable()
    try:
        bed.emitter.error("librdkafka.dispatch_error", ValueError("x"))
        LOG.log(bed.emitter, logging.WARNING, "sentence")
    finally:
        logging.disable(logging.NOTSET)
    assert caplog.records == []


def test_only_librdkafkas_logger_has_a_handler() -> None:
    """The library configures nothing: no handler of its own, no level."""
    assert not [each for each in LOGGER.handlers if type(each).__module__ == "logging"]
    assert LOGGER.level == LIBRDKAFKA.level == logging.NOTSET
    assert any(isinstance(each, logging.NullHandler) for each in LIBRDKAFKA.handlers)
    assert log_module.LOG is LOG
