"""Which clients reach no broker, and when the log says so."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from waterdrop_py._engine.logs.log import LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waterdrop_py._engine.client.client import Life
    from waterdrop_py.errors import ProduceError

AGAIN: Final = 60.0
"""Seconds between two warnings of the clients of the same brokers."""
SILENT: Final = 20.0
"""Seconds without any answer, while messages wait, after which a client warns. Behind a
firewall that drops packets librdkafka itself reports nothing for 30 s."""
DOUBT: Final = 5.0
"""Seconds that a client has to come back after librdkafka reported an error, if it
reached a broker before. An idle connection that the broker ends is reported too."""
SETTLED: Final = 1.0
"""Seconds after which an error of one broker is not about to be one of all brokers."""
AT_ONCE: Final = 10
"""First warnings of clients of the same brokers within AGAIN; more are counted."""
PAUSE: Final = 5.0
"""Seconds between two looks from which on the process was suspended meanwhile."""
_ALL_DOWN: Final = "all_brokers_down"


class _Note(NamedTuple):
    """A connection error, and whether no function of the user's heard it."""

    life: Life
    code: str
    error: ProduceError
    unheard: bool


class _Suspect:
    """A client with messages un-acknowledged, or of which librdkafka reported an error.

    Attributes:
        heard: how often a broker was heard at the last look.
        met: the client has reached a broker.
        since: seconds on the clock from which on nothing was heard and messages waited.
        all_down: librdkafka has said that no broker is reachable.
        failed: the client's failed messages at `since`; `told` those of the last line.
        errors: to be logged if the client does reach other brokers, with the moment.
        warned: the log has said that it reaches none.
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

    def __init__(self, life: Life, now: float) -> None:
        self.heard = _heard(life)
        self.met = self.heard > 0
        self.since = now
        self.failed = self.told = life.failed
        self.blamed_at: float | None = None
        self.all_down = self.warned = False
        self.errors: list[tuple[float, ProduceError]] = []


class _Brokers:
    """What was said of the clients of the same `bootstrap.servers`."""

    __slots__ = ("first", "said_at")

    def __init__(self, now: float) -> None:
        self.said_at = now
        self.first = 0


class Reach:
    """Watches clients, and warns of those that reach no broker.

    A library thread calls `look` once a second and alone judges. `blame` only leaves a
    note; whichever thread polls calls it. Sends and successful reports pay nothing:
    what came through is read from the client's counters.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all: at import, and in a forked child."""
        self._suspects: dict[Life, _Suspect] = {}
        self._notes: list[_Note] = []
        self._brokers: dict[str, _Brokers] = {}
        self._looked_at: float | None = None

    def blame(
        self, life: Life, code: str, error: ProduceError, *, unheard: bool
    ) -> None:
        """librdkafka reported a connection error of this client."""
        self._notes.append(_Note(life, code, error, unheard))
        life.arm(life)  # the poller may not know this client yet

    def look(self, lives: Iterable[Life], now: float) -> list[Callable[[], None]]:
        """Judge every client; returns the jobs that write what is to be said."""
        self._after_a_pause(now)
        self._take_notes(now)
        jobs: list[Callable[[], None]] = []
        unreachable: dict[str, list[Life]] = {}
        for life in self._to_judge(lives, now):
            suspect = self._suspects[life]
            came = self._take_in(life, suspect, now)
            if suspect.warned or self._is_unreachable(life, suspect, now):
                suspect.errors.clear()  # the warning stands for them
                unreachable.setdefault(life.reports._servers, []).append(life)
                continue
            jobs += _errors_of(life, suspect, now, came=came)
            if life.quiet and not suspect.errors:
                del self._suspects[life]
        for servers, group in unreachable.items():
            jobs += self._warn(servers, group, now)
        for servers, brokers in tuple(self._brokers.items()):
            if servers not in unreachable and now - brokers.said_at >= AGAIN:
                del self._brokers[servers]
        return jobs

    def _to_judge(self, lives: Iterable[Life], now: float) -> list[Life]:
        """The clients with something to be said of: each is a suspect then."""
        for life in lives:
            if not life.quiet and life not in self._suspects:
                self._suspects[life] = _Suspect(life, now)
        for life in tuple(self._suspects):
            if life.client is None:
                del self._suspects[life]
        return list(self._suspects)

    def _after_a_pause(self, now: float) -> None:
        """The time in which the process was suspended is held against no client."""
        before, self._looked_at = self._looked_at, now
        if before is not None and now - before > PAUSE:
            for suspect in self._suspects.values():
                suspect.since += now - before

    def _take_notes(self, now: float) -> None:
        for _ in range(len(self._notes)):
            life, code, error, unheard = self._notes.pop(0)
            suspect = self._suspects.get(life)
            if suspect is None:
                suspect = self._suspects[life] = _Suspect(life, now)
            if suspect.blamed_at is None:
                suspect.blamed_at = now
            if code == _ALL_DOWN:
                suspect.all_down = True
            elif unheard:
                suspect.errors.append((now, error))

    def _take_in(self, life: Life, suspect: _Suspect, now: float) -> bool:
        """Whether anything came through since the last look; then all is well again."""
        heard = _heard(life)
        if heard == suspect.heard:
            if not (suspect.warned or _waits(life)):
                suspect.since = now
            return False
        suspect.heard, suspect.since = heard, now
        suspect.failed = suspect.told = life.failed
        suspect.met = True
        suspect.warned = False
        if suspect.blamed_at != now:  # else the error may be the newer of the two
            suspect.all_down, suspect.blamed_at = False, None
            if life.reports.diagnosis.code is not None:
                life.reports.diagnosis.clear()
                suspect.heard = _heard(life)
        return True

    def _is_unreachable(self, life: Life, suspect: _Suspect, now: float) -> bool:
        if suspect.all_down and not suspect.met:
            return True
        if not _waits(life):
            return False
        silent = now - suspect.since
        if suspect.blamed_at is not None and silent >= DOUBT:
            return True
        return silent >= SILENT + life.reports.linger

    def _warn(
        self, servers: str, group: list[Life], now: float
    ) -> list[Callable[[], None]]:
        brokers = self._brokers.get(servers)
        fresh = [life for life in group if not self._suspects[life].warned]
        suffering = [life for life in group if self._suffers(life)]
        if brokers is None:
            brokers = self._brokers[servers] = _Brokers(now)
        for life in fresh:
            self._suspects[life].warned = True
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
        for life in group:
            self._suspects[life].told = life.failed
        return [partial(LOG.say, first.reports._emitter, logging.WARNING, text)]

    def _suffers(self, life: Life) -> bool:
        """Whether messages wait or have failed since the last line."""
        return _waits(life) or life.failed > self._suspects[life].told

    def _sentence(
        self, servers: str, first: Life, group: list[Life], now: float
    ) -> str:
        suspect, reports = self._suspects[first], first.reports
        waiting = sum(life.in_flight() for life in group)
        failed = sum(life.failed - self._suspects[life].failed for life in group)
        silent = int(now - suspect.since)
        counts = f"messages waiting: {waiting}"
        if failed:
            counts += f", failed: {failed}"
        who = f"producer {reports._emitter.producer_id!r}"
        if len(group) > 1:
            who += f" and {len(group) - 1} more"
        points = reports.checklist()[: 2 if reports.diagnosis.code else 1]
        return (
            f"{who} reached no broker of {servers!r}"
            f"{f' for {silent} s' if silent else ''} ({counts}): {'; '.join(points)}"
        )


def _errors_of(
    life: Life, suspect: _Suspect, now: float, *, came: bool
) -> list[Callable[[], None]]:
    """The errors of single brokers, once it is clear that others are reached."""
    if not (came or life.quiet):
        return []
    due = [error for at, error in suspect.errors if came or now - at >= SETTLED]
    suspect.errors = [each for each in suspect.errors if each[1] not in due]
    emitter = life.reports._emitter
    return [partial(LOG.error, emitter, "librdkafka.error", each, {}) for each in due]


def _waits(life: Life) -> bool:
    """Whether messages wait for their reports. What users of the bare client send is
    not ours to judge."""
    return not life.quiet and life.in_flight() > 0


def _heard(life: Life) -> int:
    """How often this client has heard a broker."""
    return life.acknowledged + life.reports.diagnosis.answers - life.answers_before


REACH: Final = Reach()
