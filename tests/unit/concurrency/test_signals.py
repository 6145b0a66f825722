"""Whose exception it is: user code's own, or a signal handler's on top of it."""

from __future__ import annotations

import dis
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import Run
from waterdrop_py._engine.client.arrival import Arrival, ArrivingLines
from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.interruption import raise_interruption
from waterdrop_py._engine.client.pending import PendingMessage, resolve
from waterdrop_py._engine.concurrency.locks import OwnedLock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._engine.connection import teardown
from waterdrop_py._engine.connection.connection import Connection
from waterdrop_py._engine.transactions.manager import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMBER = signal.SIGUSR2
LOST = "expected header key to be unicode string"


class Limit(Exception):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def reinstalled() -> Iterator[None]:
    """What was installed is installed again. In the background of a shell Python finds
    SIGINT ignored, and installs no handler of its own."""
    before = signal.getsignal(NUMBER)
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(NUMBER, before)
    signal.signal(signal.SIGINT, interrupted)


def plain(number: int, frame: object) -> None:
    """A function."""
    raise Limit


def deeper(*_: object) -> None:
    """One that has another one raise."""
    plain(0, None)


class Handlers:
    """Objects."""

    def method(self, number: int, frame: object) -> None:
        """A method."""
        raise Limit

    def __call__(self, number: int, frame: object) -> None:
        """A callable object."""
        raise Limit


def replaced(number: int, frame: object) -> None:
    """One that puts another in its place before it raises."""
    signal.signal(NUMBER, signal.SIG_DFL)
    raise Limit


def replaced_too(*given: Any) -> None:
    """The same, with other arguments."""
    signal.signal(NUMBER, signal.SIG_DFL)
    raise Limit


KINDS: dict[str, Any] = {
    "function": plain,
    "deeper": deeper,
    "partial": partial(partial(plain)),
    "method": Handlers().method,
    "partial of a method": partial(Handlers().method),
    "object": Handlers(),
    "replaced": replaced,
    "replaced too": replaced_too,
}


def raised_by(call: Callable[[], object]) -> BaseException:
    """What it raises, inside user code."""

    def user_code() -> None:
        call()

    try:
        user_code()
    except BaseException as error:  # noqa: BLE001 - it is looked at
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize("kind", KINDS)
def test_a_handlers_exception_is_known(kind: str) -> None:
    """However the handler is made, and also when it is installed no more."""
    signal.signal(NUMBER, KINDS[kind])
    error = raised_by(lambda: signal.raise_signal(NUMBER))
    assert isinstance(error, Limit)
    assert from_signal_handler(error)


def test_user_codes_own_exception_is_known() -> None:
    """Of the same type, and of those that are no `Exception`."""
    signal.signal(NUMBER, plain)

    def limit() -> None:
        raise Limit

    def leave() -> None:
        raise SystemExit

    assert not from_signal_handler(raised_by(limit))
    assert not from_signal_handler(raised_by(leave))


def test_ctrl_c_on_the_main_thread_is_always_a_handlers() -> None:
    """Also without a frame of Python; on another thread it is user code's own."""
    error = KeyboardInterrupt()
    assert from_signal_handler(error)
    assert not Run(lambda: from_signal_handler(error)).result()


def interruption(error: BaseException) -> BaseException:
    """What is raised in the place of `error`, while that is handled."""

    def call() -> None:
        try:
            raise error  # noqa: TRY301 - as where it is used
        except BaseException as caught:
            raise_interruption(caught)
            raise

    return raised_by(call)


def test_what_a_system_error_hides_comes_out() -> None:
    """confluent-kafka may put one in front of what a handler raised."""
    signal.signal(NUMBER, plain)
    hidden = raised_by(lambda: signal.raise_signal(NUMBER))
    outer = SystemError("returned a result with an exception set")
    outer.__cause__ = outer.__context__ = hidden
    assert interruption(outer) is hidden
    assert hidden.__context__ is None
    assert hidden.__cause__ is None


def test_a_system_error_of_its_own_stays() -> None:
    """Nothing else is behind it."""
    error = SystemError("null argument to internal routine")
    assert interruption(error) is error


@pytest.mark.parametrize(
    "instead",
    [
        TypeError(LOST),
        SystemError("<built-in ...> returned NULL without setting an exception"),
        SystemError("error return without exception set"),
    ],
)
def test_a_lost_exception_is_raised_again(instead: Exception) -> None:
    """A TypeError of a header's name, or a SystemError, stands for what a handler
    raised, and is gone."""
    signal.signal(NUMBER, plain)
    error = interruption(instead)
    assert isinstance(error, Limit)
    assert error.__context__ is None


def test_a_lost_ctrl_c_is_raised_again() -> None:
    """Where nothing but Python's own handler is installed, it was that one."""
    assert isinstance(interruption(TypeError(LOST)), KeyboardInterrupt)


@pytest.mark.parametrize("handler", [lambda *_: None, None])
def test_what_cannot_be_raised_again_is_said(handler: Any) -> None:
    """The handler does not raise any more, or there are two that may have."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        signal.signal(NUMBER, handler or plain)
        if handler is None:
            signal.signal(signal.SIGUSR1, deeper_raise)
        error = interruption(TypeError(LOST))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert isinstance(error, InterruptedError)
    assert "lost its exception" in str(error)


def deeper_raise(*_: object) -> None:
    """Another handler that raises."""
    raise Limit


def test_other_type_errors_stay() -> None:
    """Whatever is installed."""
    signal.signal(NUMBER, plain)
    error = TypeError("a bytes-like object is required")
    assert interruption(error) is error
    again = TypeError(LOST)
    assert Run(lambda: interruption(again)).result() is again


ENTRIES = [
    OwnedLock.release,
    Connection.release,
    Transactions._release_lock,  # noqa: SLF001 - the eight functions
    teardown._drop,  # noqa: SLF001
    Client.stop_polling,
    PendingMessage.__call__,
    Arrival.__call__,
    ArrivingLines.log,
]


@pytest.mark.parametrize("function", ENTRIES)
def test_no_handler_runs_at_the_entry(function: Callable[..., object]) -> None:
    """CPython runs no signal handler at a RESUME with the operand of `yield from`, and
    up to 3.10 none before a `try`."""
    starts = ("RESUME", "SETUP_FINALLY")
    first = next(
        each for each in dis.get_instructions(function) if each.opname in starts
    )
    assert first.opname == "SETUP_FINALLY" or first.arg == 2


@pytest.mark.parametrize("function", [*ENTRIES[-3:], ENTRIES[0], resolve])
def test_no_handler_runs_between_these_steps(function: Callable[..., object]) -> None:
    """Signal handlers run after a call. So these call nothing; CPython looks for none
    after an instruction that calls a function of its own."""
    names = [each.opname for each in dis.get_instructions(function)]
    calls = [name for name in names if name.startswith(("CALL", "PRECALL"))]
    assert not [name for name in calls if not name.startswith("CALL_INTRINSIC")]
