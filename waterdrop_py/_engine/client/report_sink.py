"""The protocol of what a client hands reports and errors to (`ReportHandler`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterdrop_py._engine.client.checklist import Diagnosis
    from waterdrop_py._engine.emitter import Emitter

_Client_contra = TypeVar("_Client_contra", contravariant=True)


class Resending(Protocol):
    """Messages that are produced again because of what their reports said."""

    @property
    def waiting(self) -> bool:
        """Whether there are such messages; then call `begin`, outside of the poll."""

    @property
    def holds(self) -> bool:
        """Whether it has messages that are in no client just now."""

    def begin(self) -> None:
        """Produce the messages again, on a library thread."""


class ReportSink(Protocol[_Client_contra]):
    """Takes what librdkafka calls back with, for all clients of a connection."""

    foreign: bool
    linger: float

    @property
    def emitter(self) -> Emitter:
        """Sends the producer's events."""

    @property
    def servers(self) -> str:
        """The bootstrap servers, to be shown."""

    @property
    def unobserved(self) -> bool:
        """Whether a successful report concerns its handle alone."""

    @property
    def diagnosis(self) -> Diagnosis:
        """The most specific connection error since the last success."""

    @property
    def resending(self) -> Resending:
        """The messages that are produced again."""

    def take_client(
        self, kafka: Mapping[str, Any], linger: float, *, foreign: bool
    ) -> None:
        """Note that a client was made of `kafka`, with a linger of `linger` seconds."""

    def settle(
        self, client: _Client_contra, handle: Any, error: Any, native: Any
    ) -> None:
        """Give `handle` its outcome, once subscribers have heard of it."""

    def log_together(self, once: bool) -> bool:
        """Whether to log messages that are given up one by one; what it was before."""

    def reconcile(self, client: _Client_contra) -> None:
        """Set right the counters of a client that has nothing left to report."""

    def poll_raised(self, client: _Client_contra, error: Exception) -> None:
        """Report an error that came out of the poll."""

    def thread_raised(self, error: BaseException) -> None:
        """Report what a callback on the poller raised, beyond `Exception`."""

    def poller_slow(self, error: BaseException) -> None:
        """Report that a callback of this producer delays the reports of others."""

    def client_error(self, error: Any, client: _Client_contra | None = None) -> None:
        """Take an error that librdkafka reported for the connection."""

    def callback_raised(self, name: str, error: BaseException) -> None:
        """Report what a user's callback raised."""

    def checklist(
        self, client: _Client_contra | None = None, topic: str | None = None
    ) -> tuple[str, ...]:
        """What to look at when nothing gets through."""
