"""`here_only`: what a test patches is met by its own thread."""

from __future__ import annotations

from tests.doubles import Run
from tests.patches import here_only


def test_other_threads_meet_what_was_there() -> None:
    """As the library's threads do after the end of another test."""
    either = here_only(lambda: "fake", lambda: "real")
    assert either() == "fake"
    assert Run(either).result() == "real"
