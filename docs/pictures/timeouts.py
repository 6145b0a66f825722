"""The timeouts of a message and of its client on one axis, from the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docs.pictures.svg import Canvas
from waterdrop_py._settings.defaults import MESSAGE_TIMEOUT_MS
from waterdrop_py.config import Config

if TYPE_CHECKING:
    from docs.pictures.svg import Theme

# librdkafka's own defaults, and an idle timeout as the pages recommend it.
LINGER_MS: Final = 5
REQUEST_MS: Final = 30_000
IDLE_MS: Final = 300_000
LAST_S: Final = 330


def _option(name: str) -> int:
    return int(Config.OPTIONS[name].default)


def rows() -> list[tuple[str, int, int, str, str]]:
    """Name, beginning and end in ms, what ends it, and whose it is."""
    queue = _option("wait_timeout_on_queue_full")
    wait = _option("max_wait_timeout")
    close = _option("close_timeout")
    return [
        ("wait_timeout_on_queue_full", 0, queue, "ProduceError queue_full", "ours"),
        ("linger.ms", 0, LINGER_MS, "the batch is sent", "librdkafka"),
        ("request.timeout.ms", 0, REQUEST_MS, "librdkafka tries again", "librdkafka"),
        ("close_timeout", 0, close, "the rest is given up", "ours"),
        (
            "message.timeout.ms",
            0,
            MESSAGE_TIMEOUT_MS,
            "ProduceError msg_timed_out",
            "librdkafka",
        ),
        ("max_wait_timeout", 0, wait, "DeliveryTimeoutError", "ours"),
        ("idle_disconnect_timeout", 0, IDLE_MS, "the client is closed", "ours"),
    ]


def draw(theme: Theme) -> Canvas:
    """One bar for each timeout."""
    left, right, step = 20, 620, 46
    found = rows()
    bottom = 44 + step * len(found)
    canvas = Canvas(640, bottom + 52, theme, "Which timeout ends first")
    canvas.text(
        (left, 24), "Seconds since the call, or since the last activity", bold=True
    )

    def place(ms: float) -> float:
        return left + (right - left) * ms / (LAST_S * 1000)

    for seconds in range(0, LAST_S, 30):
        across = place(seconds * 1000)
        canvas.path([(across, 40), (across, bottom)], theme.line, width=1)
        if seconds % 60 == 0 or seconds == 30:
            canvas.text(
                (across, bottom + 18),
                str(seconds),
                colour=theme.muted,
                size=12,
                anchor="middle",
            )
    for number, (name, start, end, what, whose) in enumerate(found):
        colour = theme.ours if whose == "ours" else theme.bare
        top = 48 + step * number
        width = max(4.0, place(end) - place(start))
        canvas.box((place(start), top + 18), (width, 12), fill=colour, radius=3)
        value = _value(end)
        canvas.text((left + 4, top + 13), f"{name} = {value}", size=13, bold=True)
        after = place(end) + 10
        anchor, at = ("start", after) if after < 460 else ("end", right)
        if anchor == "end":
            canvas.text(
                (at, top + 13), what, colour=theme.muted, size=13, anchor=anchor
            )
        else:
            canvas.text((at, top + 29), what, colour=theme.muted, size=13)
    canvas.text(
        (left, bottom + 42),
        "options of the library",
        colour=theme.ours,
        size=13,
        bold=True,
    )
    canvas.text(
        (200, bottom + 42),
        "properties of librdkafka",
        colour=theme.bare,
        size=13,
        bold=True,
    )
    return canvas


def _value(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms // 1000} s"
