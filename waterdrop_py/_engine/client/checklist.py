"""The checklist in errors: what the brokers last said, and what to look at first."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from waterdrop_py._engine.client.kafka_errors import code_name

if TYPE_CHECKING:
    from waterdrop_py._engine.client.counters import MessageCounters

_LONGEST: Final = 500
"""Characters of a report, or of the servers, that a checklist repeats."""
# The cause of a failed connection comes only through `error_cb`, and the last report is
# often "all brokers down". So the most specific report is kept.
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
_FINAL: Final = frozenset({"authentication", "sasl_authentication_failed", "ssl"})
# A handshake that the end of a connection cut short has the same codes, and a token
# provider may succeed the next time.
_PASSING: Final = (
    "transport",
    "timed out",
    "disconnected",
    "closed",
    "reset",
    "oauth token",
    "acquire",
)


class Diagnosis:
    """The newest error of a connection, and the most specific one since a success.

    A success is a delivered message, or metadata. Unobserved reports show in the
    client's counter. Without a lock: the thread that polls writes it, and any thread
    reads it for a checklist.

    Attributes:
        reports: how many errors were reported so far.
        downs: how many of them said that all brokers are down. librdkafka then begins
            again, so others may follow at once.
        answers: how often a broker answered, beyond `Client.acknowledged`.
    """

    __slots__ = (
        "_acknowledged",
        "_client",
        "_code",
        "_down",
        "_newest",
        "_text",
        "answers",
        "downs",
        "reports",
    )

    def __init__(self) -> None:
        self.reports = self.downs = self.answers = 0
        self._code: str | None = None
        self._newest: Any = None
        # Weakly: the client refers to the handler that has this.
        self._client: weakref.ref[MessageCounters] | None = None
        self._forget()

    def note(self, error: Any, client: MessageCounters | None = None) -> None:
        """Note an error of `client`."""
        self._forget_if_outdated()
        self._client = None if client is None else weakref.ref(client)
        self._acknowledged = 0 if client is None else client.acknowledged
        self._newest = error
        self.reports += 1
        code = code_name(error)
        if code == "all_brokers_down":
            self.downs += 1
            self._down = True
        rank = _RANK.get(code, 0)
        if rank and rank >= _RANK.get(self._code or "", 0):
            self._code, self._text = code, str(error.str())

    def clear(self) -> None:
        """Forget the errors: a message or metadata came through."""
        self.answers += 1
        self._forget()

    def note_answer(self) -> None:
        """Note that a broker has answered, if only to refuse."""
        self.answers += 1

    def _forget(self) -> None:
        self._code = None
        self._text = ""
        self._down = False
        self._newest = None
        self._acknowledged = 0
        self._client = None

    def _forget_if_outdated(self) -> None:
        client = None if self._client is None else self._client()
        if client is not None and client.acknowledged != self._acknowledged:
            self._forget()

    @property
    def code(self) -> str | None:
        """The code of the most specific error since the last success."""
        self._forget_if_outdated()
        return self._code

    @property
    def text(self) -> str:
        """librdkafka's text for it."""
        self._forget_if_outdated()
        return self._text

    @property
    def newest(self) -> Any:
        """The newest answer of the brokers, if that is an error; else None."""
        self._forget_if_outdated()
        return self._newest

    @property
    def down(self) -> bool:
        """Whether all brokers were said to be down since the last success."""
        self._forget_if_outdated()
        return self._down

    @property
    def final(self) -> bool:
        """Whether a retry cannot help: credentials, certificates, permissions."""
        code, text = self.code, self.text.lower()
        if code is None:
            return False
        if code.endswith("authorization_failed"):
            return True
        return code in _FINAL and not any(word in text for word in _PASSING)

    def checklist(
        self,
        servers: str,
        *,
        reached: bool = False,
        topic: str | None = None,
        missing: bool = False,
    ) -> tuple[str, ...]:
        """What to look at first, most likely cause first.

        `reached`: a broker has answered the client. `topic`: that of a message, as it
        is shown. `missing`: the cluster does not know that topic.
        """
        code, text = self.code, self.text
        points = [f"librdkafka reported: {text[:_LONGEST]}"] if text else []
        if missing:
            points += [each.format(topic=topic) for each in _MISSING]
            return tuple(points)
        if code is not None:
            points += _points(code, text.lower())
        elif reached:
            points += [each.format(topic=topic or "") for each in _CONNECTED]
        else:
            points += _SILENT
        return (*points, f"bootstrap.servers is {servers[:_LONGEST]!r}: is it right?")


def of_connection(code: str) -> bool:
    """Whether an error with that code says that a broker could not be reached."""
    return code in _RANK


def _points(code: str, text: str) -> list[str]:
    for telltale, points in _BY_TEXT:
        if telltale in text:
            return points
    return _BY_CODE.get(code, _DROPPED)


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
_NO_TLS_THERE: Final = [
    "the broker ended the TLS handshake: is this port a plaintext listener? then "
    "security.protocol must be plaintext or sasl_plaintext, or the port another one",
    "does the listener require a client certificate (ssl.keystore.location)?",
]
_CERTIFICATE: Final = [
    "the broker's certificate is not trusted: ssl.ca.location must name the CA that "
    "signed it",
    "the certificate must name the host connected to, and must not have expired",
]
_MECHANISM: Final = [
    "the listener does not offer this sasl.mechanism; those it does are in the report",
    "if the report names none, it is a listener without SASL: security.protocol must "
    "be ssl or plaintext, or the port another one",
]
_AUTHENTICATION: Final = [
    "authentication failed, the broker refused the credentials: check sasl.mechanism, "
    "sasl.username and sasl.password (or the token provider)",
    "is security.protocol the one of this listener (SASL_SSL or SASL_PLAINTEXT)?",
]
_TOKEN: Final = [
    "authentication could not begin, there is no valid OAuth token: did the token "
    "provider raise, or return one that has expired?",
    "what it raised is in error.occurred, with type callbacks.oauth_cb.error",
]
_SILENT: Final = [
    "no answer: is a firewall or a security group dropping packets to this port? no "
    "broker has ever answered this client",
    "advertised.listeners of the broker must name an address that this host can reach",
    "with sasl.mechanism OAUTHBEARER: is there an oauth_token_provider? without a "
    "token librdkafka waits, and reports nothing",
]
_CONNECTED: Final = [
    "a broker has answered this client, and no report has come since: is the leader of "
    "the partition up, and reachable at its advertised.listeners?",
    "with acks=all the report waits for the replicas: are there min.insync.replicas?",
    "does the topic {topic} exist? where auto.create.topics.enable is false, it is "
    "not created",
]
_MISSING: Final = [
    "the cluster does not know the topic {topic}",
    "it is not created by sending where auto.create.topics.enable of the brokers, or "
    "allow.auto.create.topics of this producer, is false: create it",
    "without the ACL to DESCRIBE a topic, it looks as if it did not exist",
]
_DROPPED: Final = [
    "the broker ended the connection at once: a TLS listener does so to a plaintext "
    "client, and a SASL listener to one without SASL; check security.protocol",
    "is the broker up and its listener on this port?",
]
# Phrases of librdkafka's reports (measured with 2.13 to 2.16 against Kafka 4), the most
# specific ones first. None may occur in a URL: that of a TLS listener with SASL begins
# with sasl_ssl://, whatever went wrong.
_BY_TEXT: Final = (
    ("refused", _REFUSED),
    ("connecting to a plaintext broker listener", _NO_TLS_THERE),
    ("certificate verify failed", _CERTIFICATE),
    ("supported mechanisms", _MECHANISM),
    ("oauth token", _TOKEN),
    ("authentication", _AUTHENTICATION),
    ("ssl handshake", _TLS),
    ("ssl connection closed", _NO_TLS_THERE),
    ("timed out", _SILENT),
)
_BY_CODE: Final = {
    "authentication": _AUTHENTICATION,
    "sasl_authentication_failed": _AUTHENTICATION,
    "ssl": _TLS,
    "resolve": _DNS,
}
