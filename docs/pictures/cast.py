"""Records `waterdrop demo` in a terminal of 84 x 24, and draws it as an animation.

`make cast` runs it. termtosvg draws; it needs no network, and an old setuptools.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from docs.pictures.svg import HERE

COLUMNS, LINES = 84, 24
# Fewer frames make a smaller file; a pause at the end lets the result be read.
SHORTEST_MS: Final = 250
LAST_MS: Final = 8_000
LARGEST: Final = 400_000
# termtosvg's scheme has greys where a terminal has bright colours: bold green would be
# dark grey on dark grey.
_COLOUR: Final = r"\.color{} {{fill: (#[0-9a-f]{{6}})}}"


def record(command: list[str]) -> list[str]:
    """Run a command in a terminal of its own; the lines of an asciicast."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    header = {"version": 2, "width": COLUMNS, "height": LINES}
    lines = [json.dumps(header)]
    env = {**os.environ, "TERM": "xterm-256color"}
    start = time.monotonic()

    def add(text: str) -> None:
        lines.append(json.dumps([time.monotonic() - start, "o", text]))

    add("$ waterdrop demo\r\n")
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, env=env, close_fds=True
    )
    os.close(child)
    while True:
        ready = select.select([parent], [], [], 0.2)[0]
        if ready:
            try:
                data = os.read(parent, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            add(data.decode(errors="replace"))
        elif process.poll() is not None:
            break
    if process.wait() != 0:
        sys.exit(f"{command} ended with {process.returncode}")
    return lines


def brighten(path: Path) -> None:
    """Give colours 9 to 14 those of 1 to 6."""
    text = path.read_text()
    for number in range(1, 7):
        found = re.search(_COLOUR.format(number), text)
        assert found is not None, number
        bright = f".color{number + 8} {{fill: {found[1]}}}"
        text = re.sub(_COLOUR.format(number + 8), bright, text)
    path.write_text(text)


def main() -> None:
    """Write demo.svg."""
    lines = record([sys.executable, "-m", "waterdrop_py", "demo"])
    with TemporaryDirectory() as folder:
        cast = Path(folder) / "demo.cast"
        cast.write_text("\n".join(lines) + "\n")
        subprocess.run(
            [
                *(sys.executable, "-m", "termtosvg", "render", cast, HERE / "demo.svg"),
                *("-m", str(SHORTEST_MS), "-D", str(LAST_MS), "-t", "window_frame"),
            ],
            check=True,
        )
    brighten(HERE / "demo.svg")
    size = (HERE / "demo.svg").stat().st_size
    if size > LARGEST:
        sys.exit(f"demo.svg has {size} bytes; at most {LARGEST} are allowed")
    print(f"written: demo.svg, {size} bytes")


if __name__ == "__main__":
    main()
