"""Four lanes: what closes a connection that is idle, and what stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docs.pictures.svg import Canvas

if TYPE_CHECKING:
    from docs.pictures.svg import Theme

END_S: Final = 900
# Each lane: who, what it does, and from when to when connections are open, with how
# many. "cut" is a connection that neither end knows to be gone.
LANES: Final = (
    (
        "librdkafka: connections.max.idle.ms = 60 s",
        "closes one broker connection at a time, and re-makes the last one",
        ((0, 60, 3), (60, END_S, 1)),
        "one connection and every thread stay",
    ),
    (
        "the broker: connections.max.idle.ms = 10 min",
        "closes the connection; the client sees it, and connects again when it sends",
        ((0, 600, 3),),
        "librdkafka's threads stay",
    ),
    (
        "the path: a NAT gateway forgets after 350 s",
        "drops the flow without a word; the next message waits for its timeout",
        ((0, 350, 3), (350, END_S, -3)),
        "both ends believe in it",
    ),
    (
        "waterdrop_py: idle_disconnect_timeout = 5 min",
        "closes everything at once: sockets, threads, descriptors",
        ((0, 300, 3),),
        "nothing is left",
    ),
)


def draw(theme: Theme) -> Canvas:
    """Bars as thick as the number of connections."""
    left, right, step = 20, 620, 92
    bottom = 40 + step * len(LANES)
    canvas = Canvas(640, bottom + 34, theme, "What closes an idle connection, and when")
    canvas.text(
        (left, 24),
        "Three connections after the last message, by who closes them",
        bold=True,
    )

    def place(seconds: float) -> float:
        return left + (right - left) * seconds / END_S

    for minute in range(0, END_S // 60 + 1, 5):
        across = place(minute * 60)
        canvas.path([(across, 36), (across, bottom)], theme.line, width=1)
        anchor = "start" if minute == 0 else "end" if minute * 60 == END_S else "middle"
        label = f"{minute} min" if minute else "0"
        canvas.text(
            (across, bottom + 18), label, colour=theme.muted, size=12, anchor=anchor
        )
    for number, (who, what, spans, left_over) in enumerate(LANES):
        top = 44 + step * number
        colour = theme.ours if who.startswith("waterdrop") else theme.bare
        canvas.text((left, top + 12), who, bold=True, size=14)
        canvas.text((left, top + 29), what, colour=theme.muted, size=13)
        for start, end, count in spans:
            _bars(
                canvas,
                (place(start), top + 38),
                place(end) - place(start),
                count,
                colour,
            )
        last = spans[-1]
        if last[1] < END_S:
            canvas.text(
                (place(last[1]) + 8, top + 56), left_over, colour=theme.muted, size=12
            )
        else:
            where = (right, top + 12)
            canvas.text(where, left_over, colour=theme.muted, size=12, anchor="end")
    return canvas


def _bars(
    canvas: Canvas, at: tuple[float, float], width: float, count: int, colour: str
) -> None:
    for number in range(abs(count)):
        y = at[1] + 3 + number * 9
        if count < 0:
            canvas.path(
                [(at[0], y + 3), (at[0] + width, y + 3)], canvas.theme.warn, dash=True
            )
        else:
            canvas.box((at[0], y), (width, 6), fill=colour, radius=2)
