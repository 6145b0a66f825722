"""What the library logs by itself, without any set-up of `logging`.

All lines of the engine go through here. What logging raises is contained, and repeated
lines are counted. No line is written while this thread polls a client: a handler of the
application may hold its lock and wait for that client
(test_a_handler_that_waits_for_the_client).
"""

from __future__ import annotations

import logging
import re
import traceback
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from waterdrop_py._engine.concurrency import clock, users_code
from waterdrop_py._engine.concurrency.call_marks import polls_here
from waterdrop_py._engine.concurrency.emptying import until_empty
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.logs.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

LOGGER: Final = logging.getLogger("waterdrop_py")
LIBRDKAFKA: Final = logging.getLogger("waterdrop_py.librdkafka")
BROKEN: Final = "callbacks.logger.error"
"""The type of `error.occurred` for what logging raised."""
SOON: Final = 3.0
"""Seconds for which a library thread stays alive for a line that is held back. A count
that is due later is written with the next line of its kind, or at the exit."""
_NEWS: Final = 16
_TRACED: Final = ("subscriber.", "callbacks.", "poller.")
"""Types of errors that user code raised: they are logged with the traceback."""
_FIGURES: Final = re.compile(r"\d+ms|\d+ identical")
"""What may differ between two lines of librdkafka that count as the same."""


class Speaker(Protocol):
    """The emitter of the producer, or of the pool, that a line is about."""

    @property
    def subject(self) -> str:
        """What it is: "producer" or "pool"."""

    @property
    def producer_id(self) -> str:
        """Whose line it is."""

    def error(self, kind: str, error: BaseException, /) -> None:
        """Send `error.occurred`, when logging raised."""


class Line(NamedTuple):
    """One line for `logging`, and perhaps a traceback below it.

    `emitter` reports it if logging raises. The traceback is that of `error`, or the
    text `trace`.
    """

    logger: logging.Logger
    level: int
    text: str
    producer_id: str
    kind: str = ""
    emitter: Speaker | None = None
    error: BaseException | None = None
    trace: str = ""


class Log:
    """Writes the library's lines. Thread-safe, also in signal handlers; no lock."""

    def __init__(self, now: Callable[[], float] = clock.system_now) -> None:
        self._now = now
        self._wake: Callable[[], None] = _nothing
        self.reset()

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a line is held back. It must have a library thread
        call `write_due` within a second, and every second while `has_due()`."""
        self._wake = wake

    def reset(self) -> None:
        """Forget all: at import, and in a forked child."""
        self._errors: Repeats[Line] = Repeats(first=1.0, longest=600.0)
        self._lines: Repeats[Line] = Repeats(first=10.0, longest=600.0)
        self._known: dict[str, set[object]] = {}
        self._waiting: deque[Line] = deque()

    # -- what is logged ----------------------------------------------------

    def error(
        self,
        emitter: Speaker,
        kind: str,
        error: BaseException,
        about: Mapping[str, Any],
    ) -> None:
        """Log an `error.occurred` that no subscriber heard.

        Each type at most once a second, and less and less often while it repeats. The
        first of a producer or of a sort waits for a second at most.
        """
        news = self._is_news(emitter, kind, error)
        make = partial(_held_line, emitter, kind, error, about, traced=news)
        more = self._offer(self._errors, kind, make, news=news)
        if more is None:
            return
        text = _sentence(emitter, kind, error, about)
        traced = error if kind.startswith(_TRACED) else None
        line = Line(LOGGER, logging.ERROR, text, emitter.producer_id, kind, emitter)
        self.write(_counted(line, more)._replace(error=traced))

    def librdkafka(
        self, emitter: Speaker, level: int, text: str, *arguments: object
    ) -> None:
        """Log a line of librdkafka, or count it if the same was logged just now."""
        try:
            if not LIBRDKAFKA.isEnabledFor(level):
                return
        except BaseException as error:
            if from_signal_handler(error):
                raise
            self._broken(emitter, "", error)
            return
        if arguments:
            with suppress(TypeError, ValueError):
                text %= arguments
        producer_id = emitter.producer_id
        line = Line(LIBRDKAFKA, level, text, producer_id, emitter=emitter)
        key = producer_id, level, _FIGURES.sub("", text)
        more = self._offer(self._lines, key, lambda: line._replace(emitter=None))
        if more is not None:
            self.write(_counted(line, more))

    def log(self, emitter: Speaker, level: int, text: str) -> None:
        """Log a sentence of the library's own."""
        self.write(Line(LOGGER, level, text, emitter.producer_id, emitter=emitter))

    # -- what was held back ------------------------------------------------

    def has_due(self) -> bool:
        """Whether `write_due` will have something to write soon."""
        now = self._now()
        return self._errors.due_within(now, SOON) or self._lines.due_within(now, SOON)

    def write_due(self) -> None:
        """Write what was held back and is due; once a second, on a library thread."""
        now = self._now()
        held = [*self._errors.due(now), *self._lines.due(now)]
        lines = [_counted(line, more) for line, more in held]
        if lines:
            self._waiting.extend(lines)
            users_code.run(self.write_waiting)

    def flush(self) -> None:
        """Write all that was held back, on this thread: the process ends."""
        now = self._now()
        self.write_waiting()
        for repeats in (self._errors, self._lines):
            for line, more in repeats.due(now, everything=True):
                self.write(_counted(line, more))

    # -- writing -----------------------------------------------------------

    def write(self, line: Line) -> None:
        """Write a line, on another thread if this one polls a client."""
        if polls_here():
            self._waiting.append(line)
            users_code.run(self.write_waiting)
        else:
            self.write_waiting()
            self._write(line)

    def write_waiting(self) -> None:
        """Write the lines that waited for a thread that does not poll a client."""
        for line in until_empty(self._waiting.popleft):
            self._write(line)

    def _write(self, line: Line) -> None:
        extra = {"producer_id": line.producer_id}
        if line.kind:
            extra["error_type"] = line.kind
        text = f"{line.text}\n{line.trace}" if line.trace else line.text
        raised: BaseException | None = None
        try:
            line.logger.log(line.level, "%s", text, exc_info=line.error, extra=extra)
        except BaseException as error:
            if from_signal_handler(error):
                raise
            raised = error
        if raised is not None:
            self._broken(line.emitter, line.kind, raised)

    def _broken(self, emitter: Speaker | None, kind: str, error: BaseException) -> None:
        """Report what logging raised, as an error like any other.

        If logging that error raises as well, it goes where `logging` sends what its
        handlers raise.
        """
        if emitter is not None and kind != BROKEN:
            emitter.error(BROKEN, error)
        elif logging.raiseExceptions and logging.lastResort is not None:
            text = f"waterdrop_py cannot log: {_described(error)}"
            arguments = (LOGGER.name, logging.ERROR, __file__, 0, text, None, None)
            with suppress(Exception):
                logging.lastResort.handle(logging.LogRecord(*arguments))

    def _offer(
        self,
        repeats: Repeats[Line],
        key: Hashable,
        make: Callable[[], Line],
        *,
        news: bool = False,
    ) -> int | None:
        """Whether to write it now: how many were held back before it, or None.

        The first that is held back wakes a thread for it.
        """
        first: list[None] = []

        def keep() -> Line:
            first.append(None)
            return make()

        more = repeats.offer(key, self._now(), keep, news=news)
        if first:
            self._wake()
        return more

    def _is_news(self, emitter: Speaker, kind: str, error: BaseException) -> bool:
        known = self._known.setdefault(kind, set())
        sort = emitter.producer_id, type(error), getattr(error, "code", None)
        try:
            if sort in known or len(known) >= _NEWS:
                return False
            known.add(sort)
        except TypeError:  # a user's `code` that cannot be hashed
            return False
        return True


def _nothing() -> None:
    """No library thread runs yet."""


def _counted(line: Line, more: int) -> Line:
    return line._replace(text=f"{line.text}; and {more} more") if more else line


def _held_line(
    emitter: Speaker,
    kind: str,
    error: BaseException,
    about: Mapping[str, Any],
    *,
    traced: bool,
) -> Line:
    """A line to be written later, which keeps no object of the user alive."""
    text = _sentence(emitter, kind, error, about)
    line = Line(LOGGER, logging.ERROR, text, emitter.producer_id, kind)
    if traced and kind.startswith(_TRACED):
        with suppress(Exception):
            trace = "".join(traceback.format_exception(error)).rstrip()
            line = line._replace(trace=trace)
    return line


def _sentence(
    emitter: Speaker, kind: str, error: BaseException, about: Mapping[str, Any]
) -> str:
    """The producer, the error, and its topic or subscriber; never a payload."""
    text = f"{emitter.subject} {emitter.producer_id!r}: {kind}: {_described(error)}"
    if "subscriber" in about:
        text += f"; raised by {about['subscriber']}, which heard {_heard(about)}"
    topic = about.get("topic", getattr(about.get("message"), "topic", None))
    if topic is not None and repr(str(topic)) not in text:
        text += f"; of topic {str(topic)!r}"
    if "messages" in about and hasattr(about["messages"], "__len__"):
        text += f"; of {len(about['messages'])} messages"
    if about.get("retry"):
        text += f"; attempt {about.get('attempt')}, it is tried again"
    return text


def _heard(about: Mapping[str, Any]) -> str:
    """The event at which a subscriber raised, and the error that the event told of."""
    event = about["heard"]
    if "error" not in event.payload:
        return str(event.name)
    told = event.payload
    return f"{event.name}: {told.get('type')}: {_described(told['error'])}"


def _described(error: BaseException) -> str:
    try:
        first, *_ = str(error).splitlines() or [""]  # a checklist follows
        return f"{type(error).__name__}: {first}"
    except Exception:  # noqa: BLE001 - a user's exception may have no text
        return type(error).__name__


LOG: Final = Log()
