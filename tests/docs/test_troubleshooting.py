"""Every message that the troubleshooting page shows is provoked, and is as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.provoking import tls_listener
from tests.docs.said import documented, is_said
from tests.docs.symptoms import PROVOKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterdrop_py.testing import EmbeddedCluster

ON_KAFKA = {"authentication", "mechanism"}
"""Messages of a real broker's alone: tests/kafka/test_documented_messages.py."""
_MESSAGES = documented()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TLS listener whose certificate is not trusted."""
    with tls_listener(tmp_path_factory.mktemp("tls")) as servers:
        yield servers


@pytest.mark.parametrize("name", sorted(set(_MESSAGES) - ON_KAFKA))
def test_a_message_is_as_the_page_says(
    name: str,
    cluster: EmbeddedCluster,
    tls: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the situation provokes has the lines of the page, in their order."""
    said = PROVOKED[name.replace("-", "_")](cluster=cluster, tls=tls, caplog=caplog)
    cluster.heal()
    assert is_said(_MESSAGES[name], said), said


def test_every_message_is_provoked() -> None:
    """No message stands on the page alone, and none is provoked for nothing."""
    names = {name.replace("-", "_") for name in set(_MESSAGES) - ON_KAFKA}
    assert names == set(PROVOKED)
    assert set(_MESSAGES) >= ON_KAFKA


@pytest.mark.parametrize(
    ("message", "text", "said"),
    [
        (
            "no broker of 'broker:9092' (after 0ms)",
            "no broker of 'h:1' (after 3ms)",
            True,
        ),
        ("one\n  - two", "zero\none\n  - two\nthree", True),
        ("one\n  - two", "one\n  - three", False),
        ("one", "one and more", False),
        ("one ... three", "one two three", True),
    ],
)
def test_how_a_message_is_compared(message: str, text: str, said: bool) -> None:
    """Whole lines, with placeholders, and nothing else."""
    assert is_said(message, text) is said
