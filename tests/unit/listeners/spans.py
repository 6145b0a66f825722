"""A tracer provider whose spans a test counts as they start and as they end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from waterdrop_py.listeners.opentelemetry import OpenTelemetryListener

if TYPE_CHECKING:
    from collections.abc import Callable


class Spans(SpanProcessor):
    """The spans of one provider. `on_ending` is called as each one ends."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)
        self.tracer = self.provider.get_tracer("test")
        self.started: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.done: list[ReadableSpan] = []
        self.on_ending: Callable[[], object] = lambda: None

    def listener(self, **options: Any) -> OpenTelemetryListener:
        """A listener that makes these spans."""
        return OpenTelemetryListener(tracer_provider=self.provider, **options)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Count it."""
        self.started[span.context.span_id] += 1

    def on_end(self, span: ReadableSpan) -> None:
        """Count it, and keep it."""
        assert span.context is not None
        self.ended[span.context.span_id] += 1
        self.done.append(span)
        self.on_ending()

    @property
    def all_ended_once(self) -> bool:
        """Whether each span that was started has ended, once."""
        return self.started == self.ended and set(self.ended.values()) <= {1}

    @property
    def outcomes(self) -> list[Any]:
        """The `error.type` of each span that has ended; None where it went well."""
        return [outcome_of(each) for each in self.done]


def outcome_of(span: ReadableSpan) -> Any:
    """Its `error.type`, which goes with a status."""
    found = (span.attributes or {}).get("error.type")
    assert (found is None) == span.status.is_unset
    assert not span.events, "the text of an exception"
    return found


def context_of(headers: Any) -> tuple[int, int] | None:
    """The ids of the trace and of the span in the headers of a message."""
    found = [value for name, value in headers or () if name == "traceparent"]
    assert len(found) < 2
    if not found:
        return None
    _, trace, span, _ = found[0].decode().split("-")
    return int(trace, 16), int(span, 16)
