"""The states of a producer, drawn from the table of legal moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docs.pictures.svg import Canvas
from waterdrop_py._engine.connection.states import STATUS_MOVES, Status

if TYPE_CHECKING:
    from docs.pictures.svg import Point, Theme

SIZE: Final = (156.0, 50.0)
# Where each stands; a status without a place fails the script.
PLACES: Final[dict[Status, Point]] = {
    Status.CONFIGURED: (10, 10),
    Status.CONNECTING: (236, 10),
    Status.CONNECTED: (462, 10),
    Status.DISCONNECTED: (236, 130),
    Status.DISCONNECTING: (462, 130),
    Status.CLOSING: (236, 260),
    Status.CLOSED: (462, 260),
}
NOTES: Final[dict[Status, str]] = {
    Status.CONFIGURED: "nothing was sent yet",
    Status.CONNECTING: "a client is opened",
    Status.CONNECTED: "a client is open",
    Status.DISCONNECTED: "nothing is open",
    Status.DISCONNECTING: "a client is closed",
    Status.CLOSING: "close() has begun",
    Status.CLOSED: "for good",
}


def draw(theme: Theme) -> Canvas:
    """Boxes for statuses, arrows for moves."""
    canvas = Canvas(640, 322, theme, "The statuses of a producer, and its legal moves")
    for before, moves in STATUS_MOVES.items():
        for after in sorted(moves):
            both = before in STATUS_MOVES[after]
            _arrow(canvas, before, after, both=both)
    for status in STATUS_MOVES:
        at = PLACES[status]
        idle = status in {Status.DISCONNECTED, Status.CONFIGURED, Status.CLOSED}
        edge = theme.muted if idle else theme.ours
        fill = theme.panel if idle else theme.page
        canvas.box(at, SIZE, fill=fill, stroke=edge, dash=idle)
        middle = at[0] + SIZE[0] / 2
        canvas.text((middle, at[1] + 22), str(status), anchor="middle", bold=True)
        canvas.text(
            (middle, at[1] + 39),
            NOTES[status],
            colour=theme.muted,
            size=12,
            anchor="middle",
        )
    return canvas


def _arrow(canvas: Canvas, before: Status, after: Status, *, both: bool) -> None:
    """An arrow from the edge of one box to the edge of the other."""
    colour = canvas.theme.muted
    if after is Status.CLOSING:
        _to_closing(canvas, before)
        return
    (x, y), (to_x, to_y) = _middle(before), _middle(after)
    across, down = to_x - x, to_y - y
    # Two moves between the same boxes lie side by side.
    length = (across**2 + down**2) ** 0.5
    aside = (6.0 if both else 0.0) / length
    x, to_x = x + down * aside, to_x + down * aside
    y, to_y = y - across * aside, to_y - across * aside
    start = _edge((x, y), (across, down))
    end = _edge((to_x, to_y), (-across, -down))
    canvas.path([start, end], colour, arrow=True)


def _to_closing(canvas: Canvas, before: Status) -> None:
    """`close()` is legal in nearly every status: lines that meet above its box."""
    colour = canvas.theme.muted
    x, y = PLACES[Status.CLOSING]
    tip = (x + SIZE[0] / 2, y)
    bus = y - 36
    left, top = PLACES[before]
    if before is Status.DISCONNECTED:
        from_here = (left + SIZE[0] / 2, top + SIZE[1])
        canvas.path([from_here, tip], colour, arrow=True)
        return
    outside = {Status.CONFIGURED: 36.0}.get(before, left + SIZE[0] + 8)
    at = top + SIZE[1] / 2
    if before is Status.CONFIGURED:
        points = [(outside, top + SIZE[1]), (outside, bus)]
    else:
        points = [(left + SIZE[0], at), (outside, at), (outside, bus)]
    canvas.path([*points, (tip[0], bus), tip], colour, arrow=True)


def _middle(status: Status) -> Point:
    x, y = PLACES[status]
    return x + SIZE[0] / 2, y + SIZE[1] / 2


def _edge(middle: Point, direction: Point) -> Point:
    """Where a line from the middle of a box in that direction leaves it."""
    across, down = direction
    scale = min(
        (SIZE[0] / 2 + 2) / abs(across) if across else 1e9,
        (SIZE[1] / 2 + 2) / abs(down) if down else 1e9,
    )
    return middle[0] + across * scale, middle[1] + down * scale
