"""A connection and its runtime, driven step by step in any order, on a still clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE, reap
from tests.doubles import Bench, kafka_failure
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.connection.connection import NO_CLIENT
from waterdrop_py._engine.connection.disconnecting import blockers, disconnect
from waterdrop_py._engine.connection.states import STATUS_MOVES, ConnectionState
from waterdrop_py._engine.produce.deferred import send_or_defer
from waterdrop_py._engine.produce.validation import fill
from waterdrop_py._engine.shutdown import close
from waterdrop_py.errors import ProduceError, ProducerClosedError
from waterdrop_py.message import Message
from waterdrop_py.testing import FakeClock, record

if TYPE_CHECKING:
    from waterdrop_py._engine.connection.states import Status
    from waterdrop_py.delivery import DeliveryHandle

MSG_SIZE_TOO_LARGE, MSG_TIMED_OUT = 10, -192
QUEUE = 6


class EngineMachine(RuleBasedStateMachine):
    """Sends, reports, idleness, closes and polls, as chance has them."""

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeClock()
        self.time.__enter__()
        self.bench = Bench()
        self.bench.auto = False
        self.bench.limit = QUEUE
        options = {
            "idle_disconnect_timeout": int(IDLE * 1000),
            "max_connection_age": int(IDLE * 5000),
            "wait_on_queue_full": False,
        }
        self.producer = StillProducer(self.bench, **options)
        self.connection, self.runtime = self.producer.connection, self.producer.runtime
        self.recording = record(self.producer.monitor)
        self.events = self.recording.__enter__()
        self.handles: list[DeliveryHandle] = []
        self.outcomes: list[DeliveryHandle] = []
        self.status: Status = self.connection.status

    # -- what happens ------------------------------------------------------

    @rule()
    def send(self) -> None:
        """A message; it is taken unless the queue is full or the producer closed."""
        handle = fill(Message("t", b"x"), None)
        try:
            send_or_defer(self.producer.dispatch, handle, "message.produce_async")
        except ProducerClosedError:
            assert self.connection.state in {
                ConnectionState.CLOSING,
                ConnectionState.CLOSED,
            }
        except ProduceError:
            assert len(self.bench.client) == QUEUE
        else:
            handle.add_done_callback(self.outcomes.append)
            self.handles.append(handle)

    @rule()
    def send_refused(self) -> None:
        """A message that the client refuses."""
        self.bench.fail("produce", kafka_failure(MSG_SIZE_TOO_LARGE))
        before = len(self.bench.sent)
        self.send_expecting_refusal()
        self.bench.failures.clear()
        assert len(self.bench.sent) == before

    def send_expecting_refusal(self) -> None:
        """The send itself."""
        handle = fill(Message("t", b"x"), None)
        try:
            self.producer.dispatch.send(handle, "message.produce_async")
        except (ProduceError, ProducerClosedError):
            return
        raise AssertionError("it was taken")

    @precondition(lambda self: self.bench.open_clients)
    @rule(data=st.data(), fails=st.booleans())
    def broker_answers(self, data: st.DataObject, *, fails: bool) -> None:
        """Reports arrive at one of the open clients."""
        client = data.draw(st.sampled_from(self.bench.open_clients))
        if fails:
            client.fail(MSG_TIMED_OUT)
        elif not client.closing:
            client.ack()

    @rule()
    def poll(self) -> None:
        """The poller comes by."""
        clients, self.runtime.armed[:] = list(self.runtime.armed), []
        for client in clients:
            waiting.serve_arrived(client)

    @rule(seconds=st.sampled_from([0.0, 1.0, IDLE / 2, IDLE, IDLE * 5]))
    def time_passes(self, seconds: float) -> None:
        """And no thread does anything."""
        self.time.advance(seconds)

    @rule()
    def reap(self) -> None:
        """The reaper looks at the clock."""
        now = self.time.now()
        for connection in self.runtime.schedule.sweep(now):
            assert connection is self.connection
            client, due = self.connection.client, self.connection.due_at()
            assert due is not None
            assert due <= now
            active = client.last_activity
            reap(self.connection)
            let_go = self.connection.client is NO_CLIENT
            old = now - client.opened_at >= IDLE * 5
            assert not let_go or old or client.last_activity == active
            assert (
                let_go
                or client.in_flight()
                or self.connection.teardown
                or (client.last_activity != active)
            )

    @rule()
    def disconnect(self) -> None:
        """disconnect(), whose close is still to come."""
        client = self.connection.client
        retirement = disconnect(self.connection, "requested")
        safe = client is not NO_CLIENT and retirement.teardown is not None
        assert safe == (self.connection.client is NO_CLIENT and client is not NO_CLIENT)
        if safe:
            assert client.in_flight() == 0

    @rule()
    def closers_work(self) -> None:
        """Detached clients are destroyed."""
        self.runtime.run_jobs()

    @precondition(lambda self: len(self.handles) > 5)
    @rule(force=st.booleans())
    def close(self, *, force: bool) -> None:
        """close(), in a moment at which no close of a client is under way."""
        self.close_at_once(force=force)

    def close_at_once(self, *, force: bool) -> None:
        """With workers that lose no time."""
        self.runtime.run_jobs()
        self.runtime.prompt = True
        now = clock.system_now()
        close.start(self.connection, now, force=force).wait(now, force=force)

    # -- what always holds -------------------------------------------------

    @invariant()
    def clients(self) -> None:
        """At most one is open and one is closing; none was misused."""
        assert not self.bench.violations
        assert len(self.bench.open_clients) <= 2
        held = (
            [self.connection.client.native]
            if self.connection.client is not NO_CLIENT
            else []
        )
        if self.connection.teardown is not None:
            held.append(self.connection.teardown.client.native)
        if self.connection.state is not ConnectionState.CLOSING:
            assert all(client in held for client in self.bench.open_clients)
        assert (self.connection.client is not NO_CLIENT) == (
            self.connection.state is ConnectionState.OPEN
        )
        assert not self.connection.client.borrows

    @invariant()
    def outcomes_are_single(self) -> None:
        """Every accepted message has one outcome, or is on its way."""
        assert len(self.outcomes) == len({id(handle) for handle in self.outcomes})
        done = [handle for handle in self.handles if handle.done()]
        assert len(done) == len(self.outcomes)
        client = self.connection.client
        open_ended = len(self.handles) - len(done)
        if client is not NO_CLIENT:
            assert client.in_flight() == open_ended
            assert client.quiet or client in self.runtime.armed
        elif self.connection.state is not ConnectionState.CLOSING:
            assert open_ended == 0

    @invariant()
    def scheduled(self) -> None:
        """An open client with nothing against it is on the reaper's list."""
        client = self.connection.client
        if client is not NO_CLIENT and not blockers(self.connection, client):
            assert len(self.runtime.schedule) == 1

    @invariant()
    def figures(self) -> None:
        """The ledger agrees with the clients."""
        totals, client, _ = self.connection.ledger.book
        taken = totals.produced + (client.accepted() if client is not None else 0)
        assert taken == len(self.bench.sent)
        assert self.connection.ledger.opens == len(self.bench.clients)

    def teardown(self) -> None:
        """In the end everything is closed, and every message has its outcome."""
        self.close_at_once(force=True)
        assert not self.bench.open_clients
        assert not self.bench.violations
        assert all(handle.done() for handle in self.handles)
        names = [event.name for event in self.events]
        gone = names.count("producer.disconnected")
        assert names.count("producer.connected") == gone == len(self.bench.clients)
        assert str(self.connection.status) == "closed"
        assert STATUS_MOVES[self.connection.status] == frozenset()
        self.recording.__exit__(None, None, None)
        self.time.__exit__()


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, print_blob=False
)
