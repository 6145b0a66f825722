"""Where a client's reports and errors go: what it asks of the room above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py._engine.client.checklist import Diagnosis
    from waterdrop_py._engine.emitter import Emitter

_Client_contra = TypeVar("_Client_contra", contravariant=True)


class Resending(Protocol):
    """Messages that are handed over again because of what their reports said."""

    @property
    def waiting(self) -> bool:
        """Whether there are such messages; then call `begin`, outside of the poll."""

    @property
    def holds(self) -> bool:
        """Whether it has messages that are in no client just now."""

    def begin(self) -> None:
        """Hand the messages over again, on a library thread."""


class ReportSink(Protocol[_Client_contra]):
    """Where what librdkafka calls back with goes, for all clients of a connection."""

    foreign: bool
    linger: float

    @property
    def emitter(self) -> Emitter:
        """Sends the producer's events."""

    @property
    def servers(self) -> str:
        """The bootstrap servers, for messages to people."""

    @property
    def unobserved(self) -> bool:
        """Whether a successful report concerns its handle alone."""

    @property
    def diagnosis(self) -> Diagnosis:
        """The most telling connection error since the last success."""

    @property
    def resending(self) -> Resending:
        """What is handed over again."""

    def take_client(
        self, kafka: Mapping[str, Any], linger: float, *, foreign: bool
    ) -> None:
        """A client was made of `kafka`, whose messages wait `linger` seconds."""

    def settle(
        self, client: _Client_contra, handle: Any, error: Any, native: Any
    ) -> None:
        """Give `handle` its outcome, after everybody who wants to know it first."""

    def say_once(self, once: bool) -> bool:
        """Say nothing of single messages that are given up, or do so again; what it
        was before. The caller says it for all of them, as the exit does."""

    def reconcile(self, client: _Client_contra) -> None:
        """Set right the counters of a client that has nothing left to report."""

    def poll_raised(self, client: _Client_contra, error: Exception) -> None:
        """An error came out of the poll."""

    def thread_raised(self, error: BaseException) -> None:
        """Something other than an `Exception` came out of a callback on the poller."""

    def poller_slow(self, error: BaseException) -> None:
        """A callback of this producer's delays the reports of others."""

    def client_error(self, error: Any, client: _Client_contra | None = None) -> None:
        """librdkafka reported an error of the connection."""

    def callback_raised(self, name: str, error: BaseException) -> None:
        """A callback of the user's raised."""

    def checklist(
        self, client: _Client_contra | None = None, topic: str | None = None
    ) -> tuple[str, ...]:
        """What to look at when nothing gets through."""
