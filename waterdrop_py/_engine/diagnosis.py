"""What librdkafka reported about a connection, and what to look at first."""

from __future__ import annotations

from typing import Any, Final

from waterdrop_py._engine.kafka_errors import code_name

# The cause of a failed connection comes only through `error_cb`, and the last
# word is often "all brokers down": the most specific report is kept.
_RANK: Final[dict[str, int]] = {
    "authentication": 5,
    "topic_authorization_failed": 5,
    "cluster_authorization_failed": 5,
    "sasl_authentication_failed": 5,
    "ssl": 4,
    "resolve": 3,
    "transport": 2,
    "timed_out": 2,
    "all_brokers_down": 1,
}


class Diagnosis:
    """The most telling connection error since the last success. No lock: it is
    written by whoever polls, and read whenever an error needs its checklist."""

    __slots__ = ("code", "text")

    def __init__(self) -> None:
        self.code: str | None = None
        self.text = ""

    def note(self, error: Any) -> None:
        """Take in an error of the client if it says more than the one before."""
        code = code_name(error)
        rank = _RANK.get(code, 0)
        if rank and rank >= _RANK.get(self.code or "", 0):
            self.code, self.text = code, str(error.str())

    def clear(self) -> None:
        """Forget: a message or metadata came through."""
        self.code, self.text = None, ""

    def checklist(self, servers: str) -> tuple[str, ...]:
        """What to look at first, most likely cause first."""
        text = self.text.lower()
        points = [f"librdkafka reported: {self.text}"] if self.text else []
        if self.code == "authentication" or "sasl" in text:
            points += _AUTHENTICATION
        elif self.code == "ssl" or "ssl" in text:
            points += _TLS
        elif self.code == "resolve":
            points += _DNS
        elif "refused" in text:
            points += _REFUSED
        elif "timed out" in text or self.code is None:
            points += _SILENT
        else:
            points += _DROPPED
        return (*points, f"bootstrap.servers is {servers!r}: is it right?")


_REFUSED: Final = [
    "connection refused: is the broker running, and is this its port?",
    "if the first connection works and later ones are refused: advertised.listeners "
    "of the broker must name an address that this host can reach",
]
_DNS: Final = [
    "the name does not resolve: is it spelled right, and known to this host's DNS?",
    "names in advertised.listeners of the broker must resolve here too",
]
_TLS: Final = [
    "TLS failed: is this port a TLS listener, and is security.protocol right?",
    "ssl.ca.location must name the CA that signed the broker's certificate, and the "
    "certificate must name the host connected to",
]
_AUTHENTICATION: Final = [
    "the broker refused the credentials: check sasl.mechanism, sasl.username and "
    "sasl.password (or the token provider)",
    "is security.protocol the one of this listener (SASL_SSL or SASL_PLAINTEXT)?",
]
_SILENT: Final = [
    "no answer: is a firewall or a security group dropping packets to this port?",
    "advertised.listeners of the broker must name an address that this host can reach",
]
_DROPPED: Final = [
    "the broker ended the connection at once: a TLS or SASL listener answers a "
    "plaintext client so; check security.protocol",
    "is the broker up and its listener on this port?",
]
