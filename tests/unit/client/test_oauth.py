"""OAuth tokens: what a provider may return."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaException

from waterdrop_py._engine.client.oauth import Tokens
from waterdrop_py._engine.concurrency import clock

if TYPE_CHECKING:
    from waterdrop_py._engine.emitter import Emitter

CONF = {"sasl.mechanisms": "OAUTHBEARER", "security.protocol": " SASL_SSL"}


class Heard:
    """An emitter that keeps the types of errors."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def emit(self, name: str) -> None:
        """Nothing."""

    def error(self, kind: str, _: BaseException) -> None:
        """Keep it."""
        self.errors.append(kind)


def prepared(expiry: Any, heard: Heard | None = None) -> Tokens:
    """The tokens of a provider with this expiry, the first one fetched."""
    emitter = cast("Emitter", heard or Heard())
    tokens = Tokens(lambda _: ("token", expiry), emitter, deque(), lambda _: None)
    tokens.prepare(CONF)
    return tokens


@pytest.mark.parametrize("seconds", [60, 3_600.5, 99 * 365.25 * 86_400])
def test_an_expiry_ahead(seconds: float) -> None:
    """Any within 100 years, however and under whichever alias the login is set."""
    expiry = clock.wall_now() + seconds
    assert prepared(expiry)("") == ("token", expiry)


def test_an_expiry_in_milliseconds() -> None:
    """It is an error that names the seconds: librdkafka would never ask again."""
    expiry = (clock.wall_now() + 3_600) * 1000
    with pytest.raises(KafkaException) as caught:
        prepared(expiry)
    said = caught.value.args[0].str()
    assert "in seconds since the epoch" in said
    assert f"did you mean {expiry / 1000:.0f}?" in said


def test_a_refresh_in_milliseconds() -> None:
    """So is that of a later token, which is told of and raised to librdkafka."""
    heard = Heard()
    expiries = [clock.wall_now() + 60, (clock.wall_now() + 60) * 1000]
    emitter = cast("Emitter", heard)
    due: list[float] = []
    tokens = Tokens(lambda _: ("token", expiries.pop(0)), emitter, deque(), due.append)
    tokens.prepare(CONF)
    tokens("")
    with pytest.raises(KafkaException, match="over 100 years away"):
        tokens("")
    assert heard.errors == ["callbacks.oauth_cb.error"]
    # At 80 % of its life librdkafka asks for the next one; after a failure, any time.
    assert 40 < due[0] - clock.wall_now() < 48
    assert due[1] == 0


@pytest.mark.parametrize("expiry", [0, -1, 1.5, math.nan, math.inf])
def test_no_expiry(expiry: float) -> None:
    """What is over, nowhere and for ever is refused."""
    with pytest.raises(KafkaException, match="no OAuth token"):
        prepared(expiry)
