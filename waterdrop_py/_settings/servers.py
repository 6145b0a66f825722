"""Checks `bootstrap.servers`: a list of `host[:port]`, as librdkafka reads it.

librdkafka itself accepts any text and only logs what it cannot use.
"""

from __future__ import annotations

import re
from typing import Final

from waterdrop_py._settings.redact import shown

LARGEST_PORT: Final = 65_535
DEFAULT_PORT: Final = 9_092
_BRACKETED = r"\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\]"
_NAMED = r"(?![0-9]+(?:$|:))[A-Za-z0-9_][A-Za-z0-9._-]*"
_SERVER: Final = re.compile(rf"(?:{_BRACKETED}|{_NAMED})(?::([0-9]{{1,5}}))?")
_SCHEMES: Final = {
    "plaintext": "kafka",
    "ssl": "kafka+ssl",
    "sasl_plaintext": "kafka+sasl_plaintext",
    "sasl_ssl": "kafka+sasl_ssl",
}
_LEGAL: Final = f"host:port,host:port with ports from 1 to {LARGEST_PORT}"


def wrong_server(server: str) -> str | None:
    """Why `server` is not `host` or `host:port`, or None."""
    match = _SERVER.fullmatch(server)
    if match is not None:
        if match[1] is None or 0 < int(match[1]) <= LARGEST_PORT:
            return None
        return f"the port of {shown(server)} is not from 1 to {LARGEST_PORT}"
    return f"{shown(server)} is not host:port{_why(server)}"


def wrong_servers(servers: object, protocol: str) -> str | None:
    """What is wrong with the property's value, or None.

    `protocol` is the `security.protocol` in lower case. An entry may begin with it, as
    in `SASL_SSL://host:port`, and with blanks.
    """
    if not isinstance(servers, str) or not servers.strip(", \t\r\n"):
        return f"must name at least one broker as {_LEGAL}, got {shown(servers)}"
    wrong = []
    for number, entry in enumerate(servers.split(","), start=1):
        sentence = _wrong_entry(entry.lstrip(" "), protocol)
        if sentence is not None:
            wrong.append(f"number {number}: {sentence}")
    return f"must be {_LEGAL}; {'; '.join(wrong)}" if wrong else None


def brokers(servers: object, protocol: str) -> list[str]:
    """`host:port` of each broker, in order; empty if the value is not legal."""
    if not isinstance(servers, str) or wrong_servers(servers, protocol) is not None:
        return []
    found = []
    for entry in servers.split(","):
        server = entry.lstrip(" ").rpartition("://")[2]
        has_port = server.rpartition("]")[2].rpartition(":")[1]
        found.append(server if has_port else f"{server}:{DEFAULT_PORT}")
    return found


def _wrong_entry(entry: str, protocol: str) -> str | None:
    scheme, separator, rest = entry.partition("://")
    if not separator:
        return wrong_server(entry)
    named = scheme.lower().replace("kafka+", "").replace("kafka", "plaintext")
    if named not in _SCHEMES:
        return (
            f"{shown(scheme)} is not a protocol of Kafka; {_did_you_mean(rest)}"
            f"the security.protocol is {protocol!r}"
        )
    if named != protocol or scheme.lower() not in _SCHEMES:
        where = rest if wrong_server(rest) is None else "host:port"
        return (
            f"{shown(scheme)} is not the security.protocol, which is {protocol!r}; "
            f"did you mean Producer('{_SCHEMES[named]}://{where}')?"
        )
    return wrong_server(rest)


# The probable mistake for each form of text; the first that matches counts.
_REASONS: Final = (
    (re.compile(r"\s*"), "it is empty; is a variable not set?"),
    (re.compile(r".*([;|]|%2c|\S\s+\S).*", re.I | re.S), "commas separate brokers"),
    (re.compile(r"\s.*|.*\s", re.S), "it has blanks around it"),
    (re.compile(r".*[$%{}<>].*", re.S), "was a placeholder not filled in?"),
    (re.compile(r"[\"'(\[](?!.*::).*"), "it has quotes or brackets around it"),
    (re.compile(r".*[\"'].*"), "it has quotes around it"),
    (re.compile(r".*/.*"), "it must not have a path"),
    (re.compile(r"[^:]+:"), "the port is missing"),
    (re.compile(r"[0-9]+(:.*)?"), "the host is missing"),
    (re.compile(r".*:.*:.*"), "an IPv6 address is written in brackets: [::1]:9092"),
)


def _why(server: str) -> str:
    for pattern, reason in _REASONS:
        if pattern.fullmatch(server):
            return f": {reason}"
    return ""


def _did_you_mean(server: str) -> str:
    fixed = server.rstrip("/")
    return f"did you mean {fixed!r}? " if wrong_server(fixed) is None else ""
