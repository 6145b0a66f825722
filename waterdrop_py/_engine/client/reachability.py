"""Which clients cannot reach a broker, and when the log says so."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py._engine.logs.log import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waterdrop_py._engine.client.client import Client
    from waterdrop_py.errors import ProduceError

AGAIN: Final = 60.0
"""Seconds between two warnings about the same brokers."""
SILENT: Final = 20.0
"""Seconds without an answer, while messages wait, until a warning. Behind a firewall
that drops packets, librdkafka reports nothing for 30 s."""
DOUBT: Final = 5.0
"""Seconds from an error until a warning, for a client that had reached a broker.
librdkafka also reports an idle connection that the broker closes."""
SETTLED: Final = 1.0
"""Seconds after which an error of one broker is not one of all brokers."""
AT_ONCE: Final = 10
"""Most warnings about new clients of the same brokers within AGAIN."""
PAUSE: Final = 5.0
"""Seconds between two checks that show that the process was suspended."""
_ALL_DOWN: Final = "all_brokers_down"


class _Note(NamedTuple):
    """A connection error, and whether no subscriber heard it."""

    client: Client
    code: str
    error: ProduceError
    unheard: bool


class _Suspect:
    """A client with messages in flight, or with an error that librdkafka reported.

    Attributes:
        heard: how many answers there were at the last check.
        met: the client has reached a broker.
        since: seconds on the clock since when messages wait without an answer.
        all_down: librdkafka has said that no broker is reachable.
        failed: failed messages at `since`; `told`, those at the last warning.
        errors: with their times; to be logged if the client does reach other brokers.
        warned: the log has said that it cannot reach a broker.
    """

    __slots__ = (
        "all_down",
        "blamed_at",
        "errors",
        "failed",
        "heard",
        "met",
        "since",
        "told",
        "warned",
    )

    def __init__(self, client: Client, now: float) -> None:
        self.heard = _heard(client)
        self.met = self.heard > 0
        self.since = now
        self.failed = self.told = client.failed
        self.blamed_at: float | None = None
        self.all_down = self.warned = False
        self.errors: list[tuple[float, ProduceError]] = []


class _Brokers:
    """The warnings about clients of the same `bootstrap.servers`."""

    __slots__ = ("first", "said_at")

    def __init__(self, now: float) -> None:
        self.said_at = now
        self.first = 0


class Reach:
    """Watches clients, and warns about those that cannot reach a broker.

    The poller calls `check` once a second, and it alone decides. `note_error` only
    leaves a note, on any thread that polls. Sends and successful reports cost nothing:
    the answers are read from the client's counters.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all: at import, and in a forked child."""
        self._suspects: dict[Client, _Suspect] = {}
        self._notes: list[_Note] = []
        self._brokers: dict[str, _Brokers] = {}
        self._looked_at: float | None = None

    def note_error(
        self, client: Client, code: str, error: ProduceError, *, unheard: bool
    ) -> None:
        """Note a connection error that librdkafka reported for this client."""
        self._notes.append(_Note(client, code, error, unheard))
        client.poll_soon(client)  # the poller may not know this client yet

    def check(self, clients: Iterable[Client], now: float) -> list[Callable[[], None]]:
        """Check every client; returns the jobs that write the warnings."""
        self._after_a_pause(now)
        self._take_notes(now)
        jobs: list[Callable[[], None]] = []
        unreachable: dict[str, list[Client]] = {}
        for client in self._to_judge(clients, now):
            suspect = self._suspects[client]
            came = self._take_in(client, suspect, now)
            if suspect.warned or self._is_unreachable(client, suspect, now):
                suspect.errors.clear()  # the warning stands for them
                unreachable.setdefault(client.reports.servers, []).append(client)
                continue
            jobs += _errors_of(client, suspect, now, came=came)
            if client.quiet and not suspect.errors:
                del self._suspects[client]
        for servers, group in unreachable.items():
            jobs += self._warn(servers, group, now)
        for servers, brokers in dict(self._brokers).items():
            if servers not in unreachable and now - brokers.said_at >= AGAIN:
                del self._brokers[servers]
        return jobs

    def _to_judge(self, clients: Iterable[Client], now: float) -> list[Client]:
        """The clients to check, each of them as a suspect."""
        for client in clients:
            if not client.quiet and client not in self._suspects:
                self._suspects[client] = _Suspect(client, now)
        for client in list(self._suspects):
            if client.native is None:
                del self._suspects[client]
        return list(self._suspects)

    def _after_a_pause(self, now: float) -> None:
        """Do not count the time during which the process was suspended."""
        before, self._looked_at = self._looked_at, now
        if before is not None and now - before > PAUSE:
            for suspect in self._suspects.values():
                suspect.since += now - before

    def _take_notes(self, now: float) -> None:
        for _ in range(len(self._notes)):
            client, code, error, unheard = self._notes.pop(0)
            suspect = self._suspects.get(client)
            if suspect is None:
                suspect = self._suspects[client] = _Suspect(client, now)
            if suspect.blamed_at is None:
                suspect.blamed_at = now
            if code == _ALL_DOWN:
                suspect.all_down = True
            elif unheard:
                suspect.errors.append((now, error))

    def _take_in(self, client: Client, suspect: _Suspect, now: float) -> bool:
        """Whether anything came through since the last check; then all is well."""
        heard = _heard(client)
        if heard == suspect.heard:
            if not (suspect.warned or _waits(client)):
                suspect.since = now
            return False
        suspect.heard, suspect.since = heard, now
        suspect.failed = suspect.told = client.failed
        suspect.met = True
        suspect.warned = False
        if suspect.blamed_at != now:  # else the error may be the newer of the two
            suspect.all_down, suspect.blamed_at = False, None
            if client.reports.diagnosis.code is not None:
                client.reports.diagnosis.clear()
                suspect.heard = _heard(client)
        return True

    def _is_unreachable(self, client: Client, suspect: _Suspect, now: float) -> bool:
        if suspect.all_down and not suspect.met:
            return True
        if not _waits(client):
            return False
        silent = now - suspect.since
        if suspect.blamed_at is not None and silent >= DOUBT:
            return True
        return silent >= SILENT + client.reports.linger

    def _warn(
        self, servers: str, group: list[Client], now: float
    ) -> list[Callable[[], None]]:
        brokers = self._brokers.get(servers)
        fresh = [client for client in group if not self._suspects[client].warned]
        suffering = [client for client in group if self._suffers(client)]
        if brokers is None:
            brokers = self._brokers[servers] = _Brokers(now)
        for client in fresh:
            self._suspects[client].warned = True
        if suffering and now - brokers.said_at >= AGAIN:
            brokers.said_at, brokers.first = now, 0
            first = (fresh or suffering)[0]
        elif fresh and brokers.first < AT_ONCE:
            brokers.first += 1
            if brokers.first == 1:
                brokers.said_at = now
            first = fresh[0]
        else:
            return []
        text = self._sentence(servers, first, group, now)
        for client in group:
            self._suspects[client].told = client.failed
        return [partial(LOG.log, first.reports.emitter, logging.WARNING, text)]

    def _suffers(self, client: Client) -> bool:
        """Whether messages wait or have failed since the last line."""
        return _waits(client) or client.failed > self._suspects[client].told

    def _sentence(
        self, servers: str, first: Client, group: list[Client], now: float
    ) -> str:
        suspect, reports = self._suspects[first], first.reports
        waiting = sum(client.in_flight() for client in group)
        failed = sum(client.failed - self._suspects[client].failed for client in group)
        silent = int(now - suspect.since)
        counts = f"messages waiting: {waiting}"
        if failed:
            counts += f", failed: {failed}"
        who = f"producer {reports.emitter.producer_id!r}"
        if len(group) > 1:
            who += f" and {len(group) - 1} more"
        points = reports.checklist()[: 2 if reports.diagnosis.code else 1]
        return (
            f"{who} reached no broker of {servers!r}"
            f"{f' for {silent} s' if silent else ''} ({counts}): {'; '.join(points)}"
        )


def _errors_of(
    client: Client, suspect: _Suspect, now: float, *, came: bool
) -> list[Callable[[], None]]:
    """The errors of single brokers, once it is clear that others are reached."""
    if not (came or client.quiet):
        return []
    due = [error for at, error in suspect.errors if came or now - at >= SETTLED]
    suspect.errors = [each for each in suspect.errors if each[1] not in due]
    emitter = client.reports.emitter
    return [partial(LOG.error, emitter, "librdkafka.error", each, {}) for each in due]


def _waits(client: Client) -> bool:
    """Whether messages wait for their reports; not those of the bare client's users."""
    return not client.quiet and client.in_flight() > 0


def _heard(client: Client) -> int:
    """How many answers this client has had from brokers."""
    return (
        client.acknowledged + client.reports.diagnosis.answers - client.answers_before
    )


REACH: Final = Reach()
