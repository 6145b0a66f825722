"""Sockets over thirty minutes: six bare clients beside six producers of the library.

A run on the embedded cluster: real clients and real sockets, counted from /proc. The
library's clock is a `FakeClock`, so that half an hour takes some seconds. Bare clients
keep their sockets whatever the time.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import confluent_kafka

from docs.pictures.svg import HERE, Canvas
from waterdrop_py import Config, Producer, Status
from waterdrop_py._engine.process.resources import count_resources
from waterdrop_py.testing import EmbeddedCluster, FakeClock

if TYPE_CHECKING:
    from docs.pictures.svg import Theme

MINUTES: Final = 30
STEP_S: Final = 15
IDLE: Final = "3m"
TOPIC: Final = "orders"
PARTITIONS: Final = 3
# The minutes in which each of the six sends: occasional messages, and two bursts.
SENDS: Final = (
    (1, 2, 3, 17, 18),
    (2, 3, 19),
    (2, 9, 18, 26),
    (3, 4, 18, 19),
    (3, 18),
    (4, 11, 19, 20),
)
RECORD: Final = HERE / "sockets.json"


def measure() -> dict[str, list[int]]:
    """Run both casts; the sockets of each at every step."""
    with EmbeddedCluster(brokers=3) as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        return {
            "ours": _ours(cluster.bootstrap_servers),
            "bare": _bare(cluster.bootstrap_servers),
        }


def _sockets() -> int:
    count = count_resources()
    assert count is not None, "sockets are counted from /proc"
    return count.sockets


def _steps() -> list[tuple[int, list[int]]]:
    """Each step's second, and which of the six send in it."""
    seconds = range(0, MINUTES * 60 + 1, STEP_S)
    return [
        (
            at,
            [
                n
                for n, minutes in enumerate(SENDS)
                if at % 60 == 0 and at // 60 in minutes
            ],
        )
        for at in seconds
    ]


def _ours(servers: str) -> list[int]:
    before = _sockets()
    found = []
    with FakeClock() as clock:
        config = Config(
            kafka={"bootstrap.servers": servers}, idle_disconnect_timeout=IDLE
        )
        producers = [Producer(config) for _ in SENDS]
        for at, senders in _steps():
            if at:
                clock.advance(STEP_S)
            _settle(producers)
            for number in senders:
                for partition in range(PARTITIONS):
                    producers[number].produce_sync(TOPIC, b"x", partition=partition)
            time.sleep(0.05)
            found.append(_sockets() - before)
        for producer in producers:
            producer.close()
    return found


def _settle(producers: list[Producer]) -> None:
    """Wait until what fell due is closed."""
    end = time.monotonic() + 5
    for producer in producers:
        due = producer.explain_idle().due_in_ms
        while due == 0 and producer.status is not Status.DISCONNECTED:
            assert time.monotonic() < end, "a client that is due was not closed"
            time.sleep(0.01)


def _bare(servers: str) -> list[int]:
    before = _sockets()
    found = []
    clients: dict[int, confluent_kafka.Producer] = {}
    for _, senders in _steps():
        for number in senders:
            if number not in clients:
                clients[number] = confluent_kafka.Producer(
                    {"bootstrap.servers": servers}
                )
            for partition in range(PARTITIONS):
                clients[number].produce(TOPIC, b"x", partition=partition)
            clients[number].flush(10)
        time.sleep(0.02)
        found.append(_sockets() - before)
    for client in clients.values():
        client.close()
    return found


def record() -> None:
    """Measure, and keep the figures from which the picture is drawn."""
    RECORD.write_text(json.dumps(measure()) + "\n")


def draw(theme: Theme) -> Canvas:
    """The picture, from the figures of the last run."""
    found = json.loads(RECORD.read_text())
    canvas = Canvas(640, 300, theme, "TCP sockets to the brokers over 30 minutes")
    left, right, top, bottom = 44, 624, 44, 252
    most = 20

    def place(step: int, sockets: float) -> tuple[float, float]:
        across = left + (right - left) * step * STEP_S / (MINUTES * 60)
        return across, bottom - (bottom - top) * sockets / most

    canvas.text((left - 34, 24), "TCP sockets to the brokers, six producers", bold=True)
    for sockets in range(0, most + 1, 5):
        height = place(0, sockets)[1]
        canvas.path([(left, height), (right, height)], theme.line, width=1)
        canvas.text(
            (left - 8, height + 4),
            str(sockets),
            colour=theme.muted,
            size=12,
            anchor="end",
        )
    for minute in range(0, MINUTES + 1, 5):
        across = place(minute * 60 // STEP_S, 0)[0]
        canvas.text(
            (across, bottom + 20),
            f"{minute} min" if minute == MINUTES else str(minute),
            colour=theme.muted,
            size=12,
            anchor="end" if minute == MINUTES else "middle",
        )
    for name, colour in (("bare", theme.bare), ("ours", theme.ours)):
        points: list[tuple[float, float]] = []
        for step, sockets in enumerate(found[name]):
            if points:
                points.append((place(step, 0)[0], points[-1][1]))
            points.append(place(step, sockets))
        points = _corners(points)
        area = [(left, bottom), *points, (points[-1][0], bottom)]
        canvas.path(area, colour, width=0, fill=colour, opacity=0.14)
        canvas.path(points, colour, width=2.5)
    for minute in sorted({minute for minutes in SENDS for minute in minutes}):
        across = place(minute * 60 // STEP_S, 0)[0]
        canvas.path([(across, bottom), (across, bottom + 6)], theme.ink, width=2.5)
    canvas.text((236, 56), "bare confluent_kafka", colour=theme.bare, bold=True)
    canvas.text((212, 164), "waterdrop_py", colour=theme.ours, bold=True)
    canvas.text(
        (left, bottom + 42),
        "Marks below the axis: messages. The library closes a client after 3 minutes.",
        colour=theme.muted,
        size=13,
    )
    return canvas


def _corners(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points where the line turns."""
    kept = points[:1]
    for point, after in pairwise(points[1:]):
        if not (kept[-1][1] == point[1] == after[1]):
            kept.append(point)
    return [*kept, points[-1]]
