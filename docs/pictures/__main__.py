"""Runs `python -m docs.pictures [--measure]`: writes every picture.

With `--measure`, the runs behind the pictures of sockets and of a disconnect are made
again; without, they are drawn from the figures of the last run.
"""

from __future__ import annotations

import sys

from docs.pictures import (
    architecture,
    badges,
    lanes,
    sockets,
    states,
    timeline,
    timeouts,
)
from docs.pictures.svg import save

PICTURES = {
    "sockets": sockets.draw,
    "architecture": architecture.draw,
    "states": states.draw,
    "timeline": timeline.draw,
    "timeouts": timeouts.draw,
    "lanes": lanes.draw,
}


def main() -> None:
    """Write them all."""
    if "--measure" in sys.argv[1:]:
        sockets.record()
        timeline.record()
    badges.save()
    for name, draw in PICTURES.items():
        save(name, draw)


if __name__ == "__main__":
    main()
