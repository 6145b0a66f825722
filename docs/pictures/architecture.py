"""Who does what in a process: the application, producers, threads and librdkafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.pictures.svg import Canvas

if TYPE_CHECKING:
    from docs.pictures.svg import Point, Theme


def draw(theme: Theme) -> Canvas:
    """Boxes and arrows; threads of the library are in its colour."""
    canvas = Canvas(640, 430, theme, "The parts of a process that sends")
    canvas.box((10, 10), (620, 330), stroke=theme.line, radius=10)
    canvas.text((24, 32), "your process", colour=theme.muted, size=13)

    _part(
        canvas,
        (24, 46),
        (592, 54),
        "application",
        "threads, tasks and greenlets that call produce_async() or produce_sync()",
    )
    for number, state in enumerate(("connected", "connected", "disconnected")):
        x = 24.0 + number * 204
        idle = state == "disconnected"
        canvas.path([(x + 92, 100), (x + 92, 126)], theme.muted, arrow=True)
        _part(canvas, (x, 128), (184, 54), "Producer", f"slot: {state}", dash=idle)
        if not idle:
            canvas.path([(x + 92, 182), (x + 92, 262)], theme.muted, arrow=True)
            _part(
                canvas,
                (x, 264),
                (184, 62),
                "librdkafka client",
                "1 + n threads, n sockets",
                colour=theme.bare,
            )
            canvas.path([(x + 92, 326), (x + 92, 366)], theme.bare, arrow=True)
    canvas.box((432, 264), (184, 62), stroke=theme.line, dash=True)
    canvas.text((524, 291), "no client", colour=theme.muted, anchor="middle")
    canvas.text(
        (524, 311), "no thread, no socket", colour=theme.muted, size=12, anchor="middle"
    )
    canvas.path([(524, 182), (524, 196)], theme.line, dash=True)
    canvas.path([(524, 240), (524, 262)], theme.line, dash=True)

    for x, name, what in (
        (24, "poller", "serves delivery reports"),
        (228, "reaper", "sleeps to the next deadline"),
        (432, "workers", "close clients, run callbacks"),
    ):
        canvas.box((x, 198), (184, 40), fill=theme.page, stroke=theme.ours)
        canvas.text((x + 10, 214), name, colour=theme.ours, size=13, bold=True)
        canvas.text((x + 10, 230), what, colour=theme.muted, size=12)
    _part(
        canvas,
        (24, 368),
        (388, 50),
        "Kafka brokers",
        "one connection for each broker that a client has used",
    )
    canvas.box((432, 368), (184, 50), stroke=theme.ours)
    canvas.text((442, 389), "a thread of the library,", colour=theme.ours, size=12)
    canvas.text((442, 406), "one of each in a process", colour=theme.ours, size=12)
    return canvas


def _part(
    canvas: Canvas,
    at: Point,
    size: Point,
    name: str,
    what: str,
    *,
    colour: str | None = None,
    dash: bool = False,
) -> None:
    """A box with a name and a line below it."""
    theme = canvas.theme
    canvas.box(at, size, fill=theme.panel, stroke=colour or theme.muted, dash=dash)
    middle = at[0] + size[0] / 2
    canvas.text((middle, at[1] + size[1] / 2 - 3), name, anchor="middle", bold=True)
    canvas.text(
        (middle, at[1] + size[1] / 2 + 15),
        what,
        anchor="middle",
        colour=theme.muted,
        size=12,
    )
