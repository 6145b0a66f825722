"""Steps that every message goes through before it is validated, and `Trace`, by which a
step learns what became of its message."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

from waterdrop_py._engine.concurrency import background, clock, users_code
from waterdrop_py._engine.concurrency.call_marks import polls_here
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._settings.callables import BEFORE, check_function
from waterdrop_py._settings.redact import kind
from waterdrop_py.errors import MessageInvalidError, ProduceError
from waterdrop_py.message import Message, TracedMessage, snapshot, traced

Step: TypeAlias = Callable[[Message], Message]
Hear: TypeAlias = Callable[[Any, BaseException | None, float], object]
"""Takes the outcome of a message: its `DeliveryReport` if it has one, its error, and
the seconds that it took."""

_LOG: Final = logging.getLogger("waterdrop_py")
_SELDOM: Final = 1.0
_quiet_until = [0.0]
"""When the next exception of a step is logged: at most once a second."""


class Trace:
    """Tells a step the outcome of its message, once. Thread-safe.

    The copy in a forked child tells nothing: the message is the parent's. A message may
    never have an outcome, because its caller or a later step drops it. Then the end is
    told as the trace is collected.
    """

    __slots__ = ("_began", "_hear", "_process")

    def __init__(self, hear: Hear) -> None:
        self._began = clock.system_now()
        self._process = os.getpid()
        # `next` takes the function out in one call of C, so that one thread gets it.
        self._hear: Iterator[Hear] = iter((hear,))

    def end(self, report: Any, error: BaseException | None) -> None:
        """Tell the step what became of its message, unless it was told."""
        if os.getpid() != self._process:
            return
        hear = next(self._hear, None)
        if hear is None:
            return
        self._hear = _TOLD  # the used-up iterator still holds the function
        try:
            hear(report, error, clock.system_now() - self._began)
        except BaseException as raised:
            if from_signal_handler(raised):
                self._hear = iter((hear,))  # it may not have heard all of it
                raise
            _log(raised)

    def __del__(self) -> None:
        if sys.is_finalizing() or getattr(self, "_hear", _TOLD) is _TOLD:
            return
        hear = next(self._hear, None)
        if hear is not None and os.getpid() == self._process:
            # On another thread: this one may hold a lock of the step's.
            took = clock.system_now() - self._began
            background.submit(partial(_tell_lost, hear, took))


_TOLD: Final[Iterator[Hear]] = iter(())


def _tell_lost(hear: Hear, took: float) -> None:
    text = "dropped before its outcome was known (report_lost)"
    try:
        hear(None, ProduceError(text, code="report_lost"), took)
    except BaseException as raised:
        if from_signal_handler(raised):
            raise
        _log(raised)


def _log(raised: BaseException) -> None:
    """Log what a step raised as it heard an outcome, which must not fail a send.

    On another thread if this one polls a client, as all lines of the engine: a handler
    of the application may hold its lock and wait for that client
    (test_what_a_step_raises_is_not_logged_by_a_thread_that_polls).
    """
    if clock.system_now() < _quiet_until[0]:
        return
    _quiet_until[0] = clock.system_now() + _SELDOM
    if polls_here():
        users_code.run(partial(_write, raised))
    else:
        _write(raised)


def _write(raised: BaseException) -> None:
    with suppress(Exception):  # of a handler of the user's
        _LOG.error(
            "a step of the middleware raised as it heard the outcome of a message",
            exc_info=raised,
        )


def traces_of(message: Message) -> tuple[Trace, ...]:
    """What tells the outcome of the message."""
    return message.traces if isinstance(message, TracedMessage) else ()


def end_traces(messages: Iterable[Message], error: BaseException) -> None:
    """Tell that these messages will not be sent."""
    for message in messages:
        for trace in traces_of(message):
            trace.end(None, error)


class Middleware:
    """The steps of one producer, in order. Thread-safe; each change is one operation
    of a list.

    A step gets a `Message` and returns one, its own or another. What it raises
    reaches the caller unchanged, and nothing is sent.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps: list[Step] = list(steps)

    def append(self, step: Step) -> None:
        """Run `step` after all others, from the next message on.

        Args:
            step: a function from a `Message` to a `Message`.

        Example:
            >>> def traced(message):
            ...     return dataclasses.replace(message, headers={"trace": "abc"})
            >>> producer.middleware.append(traced)
            >>> producer.produce_sync("orders", b"first").message.headers
            [('trace', b'abc')]
        """
        self.steps.append(_checked(step))

    def prepend(self, step: Step) -> None:
        """Run `step` before all others, from the next message on; as `append`."""
        self.steps.insert(0, _checked(step))

    def run(self, message: Message) -> Message:
        """The message that the steps make of `message`.

        A step that raises ends the traces of those before it.

        Raises:
            MessageInvalidError: a step returned no `Message`.
        """
        if not self.steps:
            return message
        message = snapshot(message)  # a step may change what it finds
        traces: tuple[Trace, ...] = ()
        try:
            for step in list(self.steps):
                if type(message) is TracedMessage:
                    traces += message.traces
                    message = message.plain()
                message = _message_from(step, message)
        except BaseException as error:
            for trace in traces:
                trace.end(None, error)
            raise
        if not traces:
            return message
        return traced(message, message.headers, *traces, *traces_of(message))

    def run_all(self, messages: Iterable[Message]) -> list[Message]:
        """What the steps make of each message. None is sent if a step raises."""
        ran: list[Message] = []
        try:
            for message in messages:
                ran.append(self.run(message))
        except BaseException as error:
            end_traces(ran, error)
            raise
        return ran


def _message_from(step: Step, message: Message) -> Message:
    returned: object = step(message)
    if isinstance(returned, Message):
        return returned
    text = f"{step!r} must return a Message, got {kind(returned)}"
    raise MessageInvalidError({"middleware": text})


def _checked(step: Step) -> Step:
    check_function("step", step, "step(message)", BEFORE)
    return step
