"""One idle disconnect: the events of a real run on the embedded cluster.

The idle timeout of the run is 2 s, so that the pause between the steps can be seen.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from docs.pictures.svg import HERE, Canvas
from waterdrop_py import Config, Event, Producer
from waterdrop_py.testing import EmbeddedCluster, allow_short_idle_timeouts

if TYPE_CHECKING:
    from docs.pictures.svg import Theme

RECORD: Final = HERE / "timeline.json"
IDLE_MS: Final = 2_000
TOPIC: Final = "orders"


def measure() -> list[list[Any]]:
    """The run whose second message took the median time, of five."""
    with EmbeddedCluster(brokers=3) as cluster, allow_short_idle_timeouts():
        cluster.create_topic(TOPIC, 3)
        runs = [_run(cluster.bootstrap_servers) for _ in range(5)]
    return sorted(runs, key=lambda steps: steps[-1][1] - steps[-3][1])[2]


def _run(servers: str) -> list[list[Any]]:
    """Send, wait for the disconnect, send again; each step with its milliseconds."""
    steps: list[list[Any]] = []
    config = Config(
        kafka={"bootstrap.servers": servers, "linger.ms": 0},
        idle_disconnect_timeout=IDLE_MS,
    )
    with Producer(config) as producer:
        start = time.perf_counter()

        def note(what: str) -> None:
            steps.append([what, (time.perf_counter() - start) * 1000])

        def hear(event: Event) -> None:
            released = event.payload.get("released")
            note(
                event.name
                if released is None
                else f"{event.name} {json.dumps(released)}"
            )

        for name in (
            *("producer.connected", "producer.disconnecting"),
            *("producer.disconnected", "message.acknowledged"),
        ):
            producer.monitor.subscribe(name, hear)
        note("send")
        for partition in range(3):
            producer.produce_sync(TOPIC, b"1", partition=partition)
        time.sleep(IDLE_MS / 1000 + 1)
        note("send")
        producer.produce_sync(TOPIC, b"2", partition=0)
        return steps[:10]


def record() -> None:
    """Measure, and keep the steps from which the picture is drawn."""
    RECORD.write_text(json.dumps(measure()) + "\n")


def draw(theme: Theme) -> Canvas:
    """The steps down the page, with their times; pauses are not to scale."""
    found: list[tuple[str, float]] = [
        (what, at) for what, at in json.loads(RECORD.read_text())
    ]
    first = dict(found[:5])
    closing = [each for each in found if each[0].startswith("producer.disconnect")]
    second = found[-3:]
    released = json.loads(closing[1][0].partition(" ")[2])
    origin = first["message.acknowledged"]
    deadline = origin + IDLE_MS
    again = dict(second)
    rows: list[tuple[str, str, str]] = [
        ("0 ms", "send", "the first of three messages opens a client"),
        (_ms(first["producer.connected"]), "producer.connected", "a client is open"),
        (
            _ms(origin),
            "message.acknowledged",
            "the last activity: the deadline starts here",
        ),
        (
            "",
            "",
            f"idle for {IDLE_MS // 1000} s, the idle_disconnect_timeout of this run",
        ),
        (
            f"+{_ms(closing[0][1] - deadline)}",
            "producer.disconnecting",
            "judged: nothing in flight, so it is safe",
        ),
        (
            f"+{_ms(closing[1][1] - deadline)}",
            "producer.disconnected",
            f"released {released['sockets']} sockets, {released['threads']} threads, "
            f"{released['fds']} descriptors",
        ),
        ("", "", "asleep: no socket, no thread, no connection attempt"),
        ("0 ms", "send", "the next message opens a new client"),
        (
            _ms(again["producer.connected"] - again["send"]),
            "producer.connected",
            "reopened is True",
        ),
        (
            _ms(again["message.acknowledged"] - again["send"]),
            "message.acknowledged",
            "the report, as with any other message",
        ),
    ]
    step, left = 38, 96
    canvas = Canvas(
        640, 24 + step * len(rows) + 22, theme, "One idle disconnect, with its times"
    )
    for number, (at, name, _) in enumerate(rows):
        y = 28 + step * number
        asleep = not name
        if number:
            open_client = number not in {1, 6, 7, 8}
            canvas.path(
                [(left, y - step), (left, y)],
                theme.ours if open_client else theme.line,
                width=3 if open_client else 2,
                dash=not open_client,
            )
        if asleep:
            continue
        canvas.text((left - 16, y + 5), at, colour=theme.muted, size=13, anchor="end")
    for number, (_, name, what) in enumerate(rows):
        y = 28 + step * number
        if not name:
            canvas.text((left + 20, y + 5), what, colour=theme.muted, size=13)
            continue
        canvas.dot((left, y), theme.ours if name != "send" else theme.bare, 6)
        canvas.text((left + 20, y + 1), name, bold=True)
        canvas.text((left + 20, y + 17), what, colour=theme.muted, size=12.5)
    canvas.text(
        (left + 20, 28 + step * len(rows) + 8),
        "+ is the time after the deadline. Solid line: a client is open.",
        colour=theme.muted,
        size=12,
    )
    return canvas


def _ms(value: float) -> str:
    return f"{value:.1f} ms"
