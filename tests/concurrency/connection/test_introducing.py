"""A new client is made known to the library's threads, and not before its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE, named, reap
from tests.doubles import Run, eventually
from waterdrop_py import Message
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.connection.disconnecting import disconnect
from waterdrop_py._engine.connection.opening import introduce, open_client
from waterdrop_py._engine.connection.states import Refusal
from waterdrop_py._engine.produce import verbs
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py._engine.produce.verbs import Verbs
from waterdrop_py.middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.concurrency.support import Make
    from tests.doubles import Bench
    from waterdrop_py.testing import FakeClock

MESSAGE = Message("t", b"x")


class Waking:
    """A producer whose first message is sent; `steps` is what happened, in order."""

    def __init__(self, bench: Bench, time_: FakeClock) -> None:
        self._time = time_
        still = StillProducer(bench, idle_disconnect_timeout=int(IDLE * 1000))
        self.runtime, self.connection, self._dispatch = (
            still.runtime,
            still.connection,
            still.dispatch,
        )
        self.steps: list[str] = []
        self.hook: Callable[[], object] | None = None
        for name in ("open", "produce", "poll"):
            bench.parks[name] = self._noting(name)
        self._owner = still
        self.runtime.reschedule = self._reschedule

    def _noting(self, name: str) -> Callable[[], None]:
        return lambda: self.steps.append(name)

    def _reschedule(self, connection: Any) -> None:
        self.steps.append("noted")
        self.runtime.schedule.add(connection)
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()

    def send(self, verb: str) -> None:
        """A message, in one of the two ways."""
        if verb == "produce_async":
            self._dispatch.send(fill(MESSAGE, None), "message.produce_async")
            return
        Verbs(
            self._dispatch,
            self.connection.emitter,
            Middleware(()),
            None,
            max_payload_size=None,
            max_wait_timeout=5.0,
        ).produce_sync(MESSAGE, None)

    def falls_due(self) -> None:
        """The reaper knows the client, and closes it in time."""
        waiting.serve_arrived(self.connection.client)
        self._time.advance(IDLE)
        assert self.runtime.schedule.sweep(self._time.now()) == [self.connection]
        reap(self.connection)
        self.runtime.run_jobs()
        assert self.connection.client.native is None


@pytest.fixture
def waking(bench: Bench, time_: FakeClock) -> Waking:
    """A producer without threads, and without a client yet."""
    return Waking(bench, time_)


@pytest.mark.parametrize(
    ("verb", "steps"),
    [
        ("produce_async", ["open", "produce", "noted"]),
        ("produce_sync", ["open", "produce", "poll", "noted"]),
    ],
)
def test_no_thread_starts_before_the_message(
    waking: Waking, verb: str, steps: list[str]
) -> None:
    """What may start a thread comes behind the message; behind its report where the
    caller serves that itself. Once for each client."""
    waking.send(verb)
    assert waking.steps == steps
    assert waking.connection.client in waking.runtime.armed  # the poller knows it too
    waking.send(verb)
    assert waking.steps.count("noted") == 1
    waking.falls_due()


@pytest.mark.parametrize(
    ("verb", "interrupted"),
    [
        ("produce_async", "produce"),
        ("produce_sync", "produce"),
        ("produce_sync", "poll"),
    ],
)
def test_a_handler_that_raises_before_the_client_is_known(
    bench: Bench, waking: Waking, verb: str, interrupted: str
) -> None:
    """Its deadline is noted all the same: there may never be another send."""
    bench.fail(interrupted, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        waking.send(verb)
    waking.falls_due()


def test_a_handler_that_raises_as_the_poller_is_asked(
    waking: Waking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poller is asked again to have the deadline noted."""

    def interrupt(_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(waking.runtime, "do", interrupt)
    with pytest.raises(KeyboardInterrupt):
        waking.send("produce_async")
    waking.falls_due()


def test_a_disconnect_that_is_refused_as_the_client_is_made_known(
    waking: Waking,
) -> None:
    """A disconnect takes the client out of the connection, and puts it back.

    A sender that makes it known just then sees no client there, and neither does the
    reaper, which forgets the connection. The deadline is noted all the same.
    """
    connection = waking.connection
    open_client(connection, None)

    class Holding:
        """Stands against the close, and makes the client known meanwhile."""

        def refusal(self) -> Refusal:
            """A reason."""
            introduce(connection)
            return Refusal("buffer")

        def reset(self) -> None:
            """Nothing."""

    connection.hooks.add(Holding())
    assert disconnect(connection, "requested").refusals
    assert waking.steps == ["open", "noted", "noted"]
    connection.hooks.parts = ()
    waking.falls_due()


def test_another_schedule_as_a_client_is_opened(waking: Waking) -> None:
    """Who has the reaper look at a slot whose client was closed just now, and goes on
    when there is another, has not made that one known."""
    waking.hook = lambda: open_client(waking.connection, None)
    waking.connection.reschedule()
    assert waking.connection.unnoted
    introduce(waking.connection)
    waking.falls_due()


def test_a_report_that_does_not_come_soon(
    time_: FakeClock, bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the report makes the client known meanwhile: its idle timeout is
    over, and that it may not be closed is told of."""
    monkeypatch.setattr(verbs, "SLICE", 0.01)
    producer = make(idle=True)
    bench.auto = False
    waiter = Run(lambda: producer.produce_sync("t", b"x"))
    eventually(lambda: bench.sent)
    time_.advance(IDLE)
    eventually(lambda: named(make.events, "producer.disconnect_refused"))
    bench.client.ack()
    assert waiter.result().offset == 0
