"""Which clients are said to reach no broker, when, and how often."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from waterdrop_py._engine.client.client import Client
from waterdrop_py._engine.client.reachability import (
    AGAIN,
    AT_ONCE,
    DOUBT,
    SILENT,
    Reach,
)
from waterdrop_py._engine.emitter import Emitter
from waterdrop_py._engine.logs.log import LOG
from waterdrop_py._engine.reports.handler import ReportHandler
from waterdrop_py.errors import ProduceError
from waterdrop_py.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator


class Owner:
    """Stands for a producer."""


class Bed:
    """Clients without librdkafka, looked at once a second."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.reach = Reach()
        self.caplog = caplog
        self.now = 1_000.0
        self.clients: list[Client] = []
        self.owner = Owner()
        self.armed = 0

    def client(
        self, name: str = "p1", servers: str = "h:1", waiting: int = 3
    ) -> Client:
        """A new client with so many messages un-acknowledged."""
        emitter = Emitter(self.owner, name, {}, Monitor(), Monitor())
        client = Client(ReportHandler(emitter, servers, None), self.poll_soon)
        client.native = object()  # type: ignore[assignment]
        self.send(client, waiting)
        self.clients.append(client)
        return client

    def poll_soon(self, _: Client) -> None:
        """Count that the poller is told."""
        self.armed += 1

    def send(self, client: Client, count: int) -> None:
        """Have messages un-acknowledged."""
        for _ in range(count):
            next(client.sent)
        client.quiet = count == 0

    def blame(self, client: Client, code: str, *, unheard: bool = True) -> None:
        """librdkafka reports a connection error."""
        error = ProduceError(f"{code} at h:1", code=code)
        self.reach.note_error(client, code, error, unheard=unheard)

    def look(self, seconds: int = 1, client: Client | None = None) -> list[str]:
        """The lines of that many seconds; `client` acknowledges one in each."""
        self.caplog.clear()
        for _ in range(seconds):
            self.now += 1
            if client is not None:
                client.acknowledged += 1
            for job in self.reach.check(self.clients, self.now):
                job()
        return [record.getMessage() for record in self.caplog.records]


@pytest.fixture
def bed(caplog: pytest.LogCaptureFixture) -> Iterator[Bed]:
    """Nothing was said so far."""
    LOG.reset()
    yield Bed(caplog)
    LOG.reset()


def test_a_dead_broker_is_said_at_once_and_once_a_minute(bed: Bed) -> None:
    """The first time when librdkafka has given all up; then with counts."""
    client = bed.client()
    client.reports.diagnosis.note(_error("_TRANSPORT", "h:1: Connection refused"))
    bed.blame(client, "transport")
    bed.blame(client, "all_brokers_down")
    [first] = bed.look()
    assert bed.caplog.records[0].levelno == logging.WARNING
    assert first == (
        "producer 'p1' reached no broker of 'h:1' (messages waiting: 3): librdkafka "
        "reported: h:1: Connection refused; connection refused: is the broker running, "
        "and is this its port?"
    )
    bed.blame(client, "all_brokers_down")
    assert bed.look(int(AGAIN) - 1) == []
    client.failed += 2
    [again] = bed.look()
    assert "for 60 s (messages waiting: 1, failed: 2)" in again


def test_an_hour_of_it_is_a_page(bed: Bed) -> None:
    """An hour with a dead broker and messages that go on failing."""
    client = bed.client(waiting=100)
    lines = []
    for second in range(3600):
        bed.blame(client, "transport")
        bed.blame(client, "all_brokers_down")
        client.failed += second % 3
        lines += bed.look()
    assert 55 <= len(lines) <= 61


def test_it_ends_when_something_gets_through(bed: Bed) -> None:
    """Then nothing is said, and the next time is a first time again."""
    client = bed.client(waiting=1_000)
    bed.blame(client, "all_brokers_down")
    assert len(bed.look()) == 1
    assert bed.look(200, client) == []
    bed.blame(client, "all_brokers_down")
    assert bed.look(int(DOUBT) - 1) == []
    assert len(bed.look(2)) == 1


def test_a_broker_that_says_nothing_at_all(bed: Bed) -> None:
    """Packets are dropped: no error comes, and it is said within half a minute."""
    bed.client()
    lines = bed.look(30)
    assert len(lines) == 1
    assert (
        f"for {int(SILENT)} s (messages waiting: 3): no answer: is a firewall"
        in lines[0]
    )


def test_a_linger_is_no_silence(bed: Bed) -> None:
    """Messages that wait for company are not late."""
    client = bed.client()
    client.reports.linger = 60.0
    assert bed.look(int(SILENT) + 55) == []
    assert len(bed.look(10)) == 1


def test_what_users_of_the_bare_client_send_is_not_judged(bed: Bed) -> None:
    """Their messages are in no counter, so nothing says whether they come through."""
    client = bed.client(waiting=0)
    client.quiet = False
    assert bed.look(100) == []


def test_a_busy_client_is_never_silent(bed: Bed) -> None:
    """Something is always un-acknowledged, and something always comes through."""
    client = bed.client(waiting=10_000)
    assert bed.look(300, client) == []


def test_answers_that_are_no_reports_count(bed: Bed) -> None:
    """Metadata, or a refusal by the broker: it was reached."""
    client = bed.client()
    for _ in range(10):
        assert bed.look(int(SILENT) - 1) == []
        client.reports.diagnosis.note_answer()
    assert len(bed.look(int(SILENT) + 1)) == 1


def test_an_idle_connection_that_the_broker_ends(bed: Bed) -> None:
    """A client that is quiet and has reached a broker says nothing, not as an error
    either; the next message has its time to get through."""
    client = bed.client(waiting=0)
    client.acknowledged = 7
    bed.blame(client, "all_brokers_down")
    assert bed.look(100) == []
    bed.send(client, 1)
    assert bed.look(int(SILENT) - 1) == []


def test_answers_of_an_earlier_client_do_not_count(bed: Bed) -> None:
    """A re-opened client that reaches nothing is said at once."""
    client = bed.client()
    client.reports.diagnosis.answers = client.answers_before = 12
    bed.blame(client, "all_brokers_down")
    assert len(bed.look()) == 1


def test_one_broker_of_several_is_an_error(bed: Bed) -> None:
    """The client reaches others: what nothing heard is logged, as an error."""
    client = bed.client()
    bed.blame(client, "transport")
    bed.blame(client, "transport", unheard=False)
    [line] = bed.look(3, client)
    assert "librdkafka.error: ProduceError: transport at h:1" in line
    assert bed.caplog.records[0].levelno == logging.ERROR


def test_errors_of_a_client_that_reaches_none_are_in_the_warning(bed: Bed) -> None:
    """One line, and not each of librdkafka's."""
    client = bed.client()
    bed.blame(client, "transport")
    bed.blame(client, "resolve")
    assert len(bed.look(int(DOUBT) + 2)) == 1
    assert bed.look(5, client) == []


def test_many_clients_of_the_same_brokers_are_one_line(bed: Bed) -> None:
    """However many clients lose the same cluster, at once or one by one."""
    for n in range(200):
        bed.blame(bed.client(f"p{n}"), "all_brokers_down")
    [line] = bed.look()
    assert line.startswith(
        "producer 'p0' and 199 more reached no broker of 'h:1' (messages waiting: 600"
    )
    lines = []
    for n in range(200, 250):
        bed.blame(bed.client(f"p{n}"), "all_brokers_down")
        lines += bed.look()
    assert len(lines) == AT_ONCE - 1
    bed.blame(bed.client("other", servers="h:2"), "all_brokers_down")
    assert "'h:2'" in bed.look()[0]


def test_a_suspended_process_blames_no_broker(bed: Bed) -> None:
    """What was un-acknowledged as a laptop fell asleep has its time afterwards."""
    bed.client()
    assert bed.look(5) == []
    bed.now += 10_000
    assert bed.look(10) == []


def test_nothing_is_said_again_while_nothing_waits(bed: Bed) -> None:
    """All has failed, and nothing is sent: no line an hour long."""
    client = bed.client()
    bed.blame(client, "all_brokers_down")
    bed.look()
    client.failed += 3
    client.quiet = True
    assert len(bed.look(2 * int(AGAIN))) == 1
    assert bed.look(600) == []


def test_a_closed_client_is_forgotten(bed: Bed) -> None:
    """And nothing is kept of it."""
    client = bed.client()
    bed.blame(client, "all_brokers_down")
    bed.look()
    client.native = None
    bed.clients.clear()
    assert bed.look(200) == []
    assert not bed.reach._suspects  # noqa: SLF001
    assert not bed.reach._brokers  # noqa: SLF001


def test_the_poller_is_told_of_a_client_that_it_may_not_know(bed: Bed) -> None:
    """`connect()` sends nothing, so nothing else would have it looked at."""
    client = bed.client(waiting=0)
    bed.clients.clear()
    bed.blame(client, "all_brokers_down")
    assert bed.armed == 1
    assert len(bed.look()) == 1


def _error(name: str, text: str) -> Any:
    from confluent_kafka import KafkaError

    return KafkaError(getattr(KafkaError, name), text)
