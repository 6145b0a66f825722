"""The public surface has the types with which api.py uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import waterdrop_py

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_the_public_surface_type_checks() -> None:
    """`mypy --strict` accepts every use in api.py, and refuses the marked lines."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(HERE / "api.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_package_says_that_it_is_typed() -> None:
    """The package has `py.typed`, so that type checkers of users read its types."""
    assert (Path(waterdrop_py.__file__).parent / "py.typed").is_file()
