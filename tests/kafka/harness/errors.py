"""What the harness raises when it cannot do its work."""

from __future__ import annotations


class HarnessError(Exception):
    """The broker cannot be prepared, started or asked; says why and what to do."""
