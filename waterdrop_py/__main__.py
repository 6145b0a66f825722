"""Runs the command `waterdrop` for `python -m waterdrop_py`."""

from __future__ import annotations

import sys

from waterdrop_py.cli import main

if __name__ == "__main__":
    sys.exit(main())
