"""The engine, driven step by step in any order, on a still clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.concurrency.still import StillProducer
from tests.concurrency.support import IDLE
from tests.doubles import Bench, kafka_failure
from waterdrop_py._engine.client import waiting
from waterdrop_py._engine.connection.connection import NO_LIFE
from waterdrop_py._engine.connection.states import STATUS_MOVES, SlotState
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
        self.slot, self.engine = self.producer.slot, self.producer.engine
        self.recording = record(self.producer.monitor)
        self.events = self.recording.__enter__()
        self.handles: list[DeliveryHandle] = []
        self.outcomes: list[DeliveryHandle] = []
        self.status: Status = self.slot.status

    # -- what happens ------------------------------------------------------

    @rule()
    def send(self) -> None:
        """A message; it is taken unless the queue is full or the producer closed."""
        handle = fill(Message("t", b"x"), None)
        try:
            self.producer.dispatch.send_or_defer(handle, "message.produce_async")
        except ProducerClosedError:
            assert self.slot.state in {SlotState.CLOSING, SlotState.CLOSED}
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
        lives, self.engine.armed[:] = list(self.engine.armed), []
        for life in lives:
            waiting.hear(life)

    @rule(seconds=st.sampled_from([0.0, 1.0, IDLE / 2, IDLE, IDLE * 5]))
    def time_passes(self, seconds: float) -> None:
        """And nobody does anything."""
        self.time.advance(seconds)

    @rule()
    def reap(self) -> None:
        """The reaper looks at the clock."""
        now = self.time.now()
        for slot in self.engine.schedule.sweep(now):
            assert slot is self.slot
            life, due = self.slot.life, self.slot.due_at()
            assert due is not None
            assert due <= now
            active = life.last_activity
            self.slot.reap(self.engine.batch([self.slot]))
            let_go = self.slot.life is NO_LIFE
            old = now - life.opened_at >= IDLE * 5
            assert not let_go or old or life.last_activity == active
            assert (
                let_go
                or life.in_flight()
                or self.slot.retiring
                or (life.last_activity != active)
            )

    @rule()
    def disconnect(self) -> None:
        """disconnect(), whose close is still to come."""
        life = self.slot.life
        retirement = self.slot.retire("requested")
        safe = life is not NO_LIFE and retirement.ending is not None
        assert safe == (self.slot.life is NO_LIFE and life is not NO_LIFE)
        if safe:
            assert life.in_flight() == 0

    @rule()
    def closers_work(self) -> None:
        """Clients that were let go of are destroyed."""
        self.engine.run_jobs()

    @precondition(lambda self: len(self.handles) > 5)
    @rule(force=st.booleans())
    def close(self, *, force: bool) -> None:
        """close(), in a moment at which no close of a client is under way."""
        self.close_at_once(force=force)

    def close_at_once(self, *, force: bool) -> None:
        """With closers that lose no time."""
        self.engine.run_jobs()
        self.engine.prompt = True
        close.close(self.slot, 0.0, force=force)

    # -- what always holds -------------------------------------------------

    @invariant()
    def clients(self) -> None:
        """At most one is open and one is closing; none was misused."""
        assert not self.bench.violations
        assert len(self.bench.open_clients) <= 2
        held = [self.slot.life.client] if self.slot.life is not NO_LIFE else []
        if self.slot.retiring is not None:
            held.append(self.slot.retiring.life.client)
        if self.slot.state is not SlotState.CLOSING:
            assert all(client in held for client in self.bench.open_clients)
        assert (self.slot.life is not NO_LIFE) == (self.slot.state is SlotState.OPEN)
        assert not self.slot.life.inuse

    @invariant()
    def outcomes_are_single(self) -> None:
        """Every accepted message has one outcome, or is on its way."""
        assert len(self.outcomes) == len({id(handle) for handle in self.outcomes})
        done = [handle for handle in self.handles if handle.done()]
        assert len(done) == len(self.outcomes)
        life = self.slot.life
        open_ended = len(self.handles) - len(done)
        if life is not NO_LIFE:
            assert life.in_flight() == open_ended
            assert life.quiet or life in self.engine.armed
        elif self.slot.state is not SlotState.CLOSING:
            assert open_ended == 0

    @invariant()
    def scheduled(self) -> None:
        """An open client with nothing against it is on the reaper's list."""
        life = self.slot.life
        if life is not NO_LIFE and not self.slot.obstacles(life):
            assert len(self.engine.schedule) == 1

    @invariant()
    def figures(self) -> None:
        """The ledger agrees with the clients."""
        totals, life = self.slot.ledger.book
        taken = totals.produced + (life.taken() if life is not None else 0)
        assert taken == len(self.bench.sent)
        assert self.slot.ledger.opens == len(self.bench.clients)

    def teardown(self) -> None:
        """In the end everything is closed, and every message has its outcome."""
        self.close_at_once(force=True)
        assert not self.bench.open_clients
        assert not self.bench.violations
        assert all(handle.done() for handle in self.handles)
        names = [event.name for event in self.events]
        gone = names.count("producer.disconnected")
        assert names.count("producer.connected") == gone == len(self.bench.clients)
        assert str(self.slot.status) == "closed"
        assert STATUS_MOVES[self.slot.status] == frozenset()
        self.recording.__exit__(None, None, None)
        self.time.__exit__()


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=400, stateful_step_count=40, deadline=None, print_blob=False
)
