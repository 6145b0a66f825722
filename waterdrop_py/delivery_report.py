"""`DeliveryReport`: where a message ended up."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from waterdrop_py._settings.answering import no_attribute
from waterdrop_py._settings.foreign_names import REPORT
from waterdrop_py.message import Message


class Sent(Protocol):
    """What a report is about: a handle, or what was kept of one."""

    @property
    def label(self) -> Any:
        """The label of the message."""

    @property
    def message(self) -> Message:
        """The message itself."""


class DeliveryReport:
    """Where a message ended up. Immutable; its values are read when asked for.

    It can be copied and pickled; a label that cannot be pickled becomes None. Two
    reports are equal when all their values are. Errors are equal by type and text.
    """

    __slots__ = ("_error", "_native", "_sent", "_topic")

    _error: BaseException | None
    _native: Any
    _sent: Sent
    _topic: str

    if not TYPE_CHECKING:  # else a type checker would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            no_attribute(self, name, REPORT.get(name))

    @property
    def topic(self) -> str:
        """The topic it was sent to."""
        return self._topic

    @property
    def partition(self) -> int | None:
        """The partition it is in; None when it reached none."""
        native = self._native
        return None if native is None else _natural(native.partition())

    @property
    def offset(self) -> int | None:
        """Its offset there; None when it has none (failed, or `acks=0`), or when only a
        retry was answered, because the broker had stored it before."""
        native = self._native
        return None if native is None else _natural(native.offset())

    @property
    def timestamp(self) -> int | None:
        """Milliseconds since the epoch, as the broker stored it; or None."""
        native = self._native
        return None if native is None else _natural(native.timestamp()[1])

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from `produce` to the answer, by librdkafka; or None."""
        native = self._native
        latency = None if native is None else native.latency()
        return None if latency is None or latency < 0 else latency * 1000

    @property
    def label(self) -> Any:
        """What the message was labelled with."""
        return self._sent.label

    @property
    def message(self) -> Message:
        """The message itself."""
        return self._sent.message

    @property
    def error(self) -> BaseException | None:
        """The `ProduceError` of a message that was not delivered, else None."""
        return self._error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeliveryReport):
            return NotImplemented
        if self._sent is other._sent:
            return True
        # A label may not survive pickling, and its comparison may raise.
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.topic, self.partition, self.offset, self.timestamp))

    def __copy__(self) -> DeliveryReport:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DeliveryReport:
        try:
            label = copy.deepcopy(self.label, memo)
        except Exception:  # noqa: BLE001 - a lock or a socket is shared
            label = self.label
        twin = DeliveryReport()
        twin.__setstate__(self._kept(label))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        import pickle  # already imported by a caller that pickles

        label = self.label
        try:
            pickle.dumps(label)
        except Exception:  # noqa: BLE001 - a label may raise anything
            label = None
        return DeliveryReport, (), self._kept(label)

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        message, figures, error = kept
        self._sent = _Kept(message)
        self._topic = message.topic
        self._native = None if figures is None else _Figures(figures)
        self._error = error

    def _kept(self, label: Any) -> tuple[Any, ...]:
        figures = None
        if self._native is not None:
            figures = (self.partition, self.offset, self.timestamp, self.latency_ms)
        return replace(self.message, label=label), figures, self._error

    def _values(self) -> tuple[Any, ...]:
        message, figures, error = self._kept(None)
        return message, figures, type(error), str(error)

    def __repr__(self) -> str:
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in ("topic", "partition", "offset", "timestamp", "error")
        )
        return f"DeliveryReport({', '.join(shown)})"


class _Kept(NamedTuple):
    """What a restored report has in place of a handle."""

    message: Message

    @property
    def label(self) -> Any:
        return self.message.label


class _Figures(NamedTuple):
    """What a restored report reads in place of librdkafka's message."""

    kept: tuple[int | None, int | None, int | None, float | None]

    def partition(self) -> int | None:
        return self.kept[0]

    def offset(self) -> int | None:
        return self.kept[1]

    def timestamp(self) -> tuple[int, int | None]:
        return 0, self.kept[2]

    def latency(self) -> float | None:
        latency_ms = self.kept[3]
        return None if latency_ms is None else latency_ms / 1000


def _natural(figure: int | None) -> int | None:
    """None for a negative number, with which librdkafka means that."""
    return None if figure is None or figure < 0 else figure
