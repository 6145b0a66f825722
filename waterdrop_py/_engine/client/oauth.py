"""OAuth tokens of a client: the first one is fetched before the client is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException

from waterdrop_py._engine.concurrency import clock
from waterdrop_py._engine.concurrency.signals import from_signal_handler
from waterdrop_py._settings.reading import text_of, word_of
from waterdrop_py.errors import ConfigurationInvalidError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping

    from waterdrop_py._engine.emitter import Emitter

_AUTHENTICATION: Final = KafkaError._AUTHENTICATION  # noqa: SLF001 - its constant
# Seconds. An expiry further away is one in milliseconds.
_FARTHEST: Final = 100 * 365.25 * 86_400
_SHARE: Final = 0.7
_SHORTEST: Final = 2
_LONGEST: Final = 4


class Tokens:
    """A client's `oauth_cb`. No lock: librdkafka asks for one token at a time.

    Without a token, confluent-kafka's constructor waits 10 s and does not say why. So
    the thread that opens the client fetches the first token beforehand. A provider that
    fails is an error at once, with its cause.
    """

    __slots__ = ("_arrived", "_emitter", "_first", "_note_due", "_provider")

    def __init__(
        self,
        provider: Callable[[str], Any],
        emitter: Emitter,
        arrived: deque[tuple[Any, Any, Any]],
        note_due: Callable[[float], None],
    ) -> None:
        """`note_due` is told from when on librdkafka may ask for the next token."""
        self._note_due = note_due
        self._provider = provider
        self._emitter = emitter
        self._arrived = arrived  # `Client.arrived`
        self._first: list[Any] = []

    def prepare(self, conf: Mapping[str, Any]) -> None:
        """Fetch the first token. Blocks as long as the provider does.

        Raises:
            ConfigurationInvalidError: this client would never ask for a token.
            KafkaException: the provider raised, or did not return a token, or one whose
                expiry is over 100 years away.
        """
        _refuse_useless(conf)
        try:
            token = self._fetch(text_of(conf, "sasl.oauthbearer.config"))
        except KafkaException:
            raise
        except BaseException as error:
            if from_signal_handler(error):
                raise
            raise _no_token(f"raised {type(error).__name__}") from error
        if not _is_token(token):
            raise _no_token(
                f"returned {type(token).__name__}, not (token, expiry in epoch "
                "seconds[, principal[, extensions]])"
            )
        if not token[1] > clock.wall_now():  # also not a NaN
            raise _no_token("returned a token that has expired")
        self._first.append(token)

    def __call__(self, config: str) -> Any:
        """A token for librdkafka, at first and before each one expires.

        confluent-kafka drops what is raised here. So what a signal handler raised is
        stored, and the verb that it interrupted raises it.
        """
        try:
            return self._first.pop() if self._first else self._fetch(config)
        except BaseException as error:
            if from_signal_handler(error):
                self._arrived.append((None, _raise, error))
            raise

    def _fetch(self, config: Any) -> Any:
        self._emitter.emit("oauthbearer.token_refresh")
        try:
            token = self._provider(config)
            _refuse_milliseconds(token)
        except BaseException as error:
            self._note_due(0.0)
            if not from_signal_handler(error):
                self._emitter.error("callbacks.oauth_cb.error", error)
            raise  # so that librdkafka knows
        self._note_due(_due(token))
        return token


def _due(token: Any) -> float:
    """From when on librdkafka may ask for the next token, in epoch seconds: at 80 % of
    its life, and earlier where it could not use the token."""
    now = clock.wall_now()
    return now + _SHARE * (token[1] - now) if _is_token(token) else 0.0


def _raise(error: BaseException) -> None:
    raise error


def _refuse_useless(conf: Mapping[str, Any]) -> None:
    # The constructor would wait 10 s for a token that is never asked for.
    mechanism = (text_of(conf, "sasl.mechanism") or "").strip() or None
    protocol = word_of(conf, "security.protocol", "plaintext")
    if mechanism != "OAUTHBEARER" or not protocol.startswith("sasl_"):
        raise ConfigurationInvalidError(
            {
                "oauth_token_provider": "no client would ask for its tokens: "
                f"kafka['sasl.mechanism'] must be 'OAUTHBEARER', got {mechanism!r}, "
                "and kafka['security.protocol'] must be 'sasl_ssl' or "
                f"'sasl_plaintext', got {protocol!r}"
            }
        )


def _is_token(given: Any) -> bool:
    return (
        isinstance(given, tuple)
        and _SHORTEST <= len(given) <= _LONGEST
        and isinstance(given[0], str)
        and isinstance(given[1], int | float)
    )


def _refuse_milliseconds(token: Any) -> None:
    """Refuse an expiry in milliseconds: librdkafka would never ask for a new token."""
    if not _is_token(token):
        return
    expiry = token[1]
    if expiry - clock.wall_now() > _FARTHEST:
        raise _no_token(
            f"must return the expiry in seconds since the epoch, got {expiry:g}, which "
            f"is over 100 years away; did you mean {expiry / 1000:.0f}?"
        )


def _no_token(why: str) -> KafkaException:
    return KafkaException(
        KafkaError(_AUTHENTICATION, f"no OAuth token: the token provider {why}")
    )
