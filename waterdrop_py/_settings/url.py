"""Reads `kafka+sasl_ssl://user:password@host1:9093,host2/?option=value` as options.

The URL is split by hand, because neither urllib nor pydantic accepts `_` in a scheme.
Their errors would also echo a password. Errors here show only names of query keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from waterdrop_py._settings.librdkafka import PROPERTIES, SERVERS
from waterdrop_py._settings.reading import is_set
from waterdrop_py._settings.redact import kind
from waterdrop_py._settings.servers import DEFAULT_PORT, LARGEST_PORT, wrong_server
from waterdrop_py._settings.table import foreign_setting
from waterdrop_py._settings.text_sources import join, read_option

if TYPE_CHECKING:
    from waterdrop_py._settings.text_sources import Reading, Rows

SCHEMES = {
    "kafka": "plaintext",
    "kafka+ssl": "ssl",
    "kafka+sasl_plaintext": "sasl_plaintext",
    "kafka+sasl_ssl": "sasl_ssl",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[^\]]+)?\]|[^\s:\[\]@]+)(?::([0-9]{1,5}))?")
_SERVERS = re.compile(r"[\w.-]+:[0-9]{1,5}(?:,[\w.-]+:[0-9]{1,5})*")
"""What is certainly no password: hosts with their ports."""
TAG = "tags."
_TWICE = "is given twice in the URL"
_ELSEWHERE = {
    SERVERS: "did you mean 'bootstrap.servers'? The hosts in the URL are these",
    "security.protocol": (
        "did you mean 'security.protocol'? The scheme names it, as in kafka+ssl://"
    ),
}
_ENCODE = "in a password, '/', '?', '#' and '@' are written %2F, %3F, %23 and %40"


def read_url(url: object, rows: Rows) -> Reading:
    """Read the options of a URL, and what is wrong with it."""
    reading: Reading = ({}, {})
    wrong: list[str] = []
    if isinstance(url, str):
        _read(url, rows, reading, wrong)
    else:
        wrong.append(f"must be a str, got {kind(url)}")
    if wrong:
        reading[1]["url"] = "; ".join(wrong)
    return reading


def _read(url: str, rows: Rows, reading: Reading, wrong: list[str]) -> None:
    scheme, separator, rest = url.partition("://")
    protocol = SCHEMES.get(scheme.lower())
    if not separator or protocol is None:
        wrong.append(
            f"must start with one of {', '.join(f'{name}://' for name in SCHEMES)}"
            + (f"; did you mean 'kafka://{url}'?" if _SERVERS.fullmatch(url) else "")
        )
        return
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    if path or fragment:
        wrong.append(
            f"must have nothing between the hosts and '?', and no '#' ({_ENCODE})"
        )
    kafka: dict[str, Any] = {"security.protocol": protocol}
    if hosts or not slash:
        kafka[SERVERS] = ",".join(_servers(hosts, wrong))
    kafka.update(_credentials(login, protocol, wrong))
    reading[0]["kafka"] = kafka
    _read_query(query, rows, reading, wrong)


def _servers(hosts: str, wrong: list[str]) -> list[str]:
    servers = []
    for number, host in enumerate(hosts.split(","), start=1):
        match = _HOST.fullmatch(host)
        server = f"{unquote(match[1])}:{match[2] or DEFAULT_PORT}" if match else ""
        if match and wrong_server(server) is None:
            servers.append(server)
        else:
            wrong.append(
                f"host number {number} is not of the form host, host:port or "
                f"[IPv6]:port with a port from 1 to {LARGEST_PORT}; commas separate "
                f"hosts ({_ENCODE})"
            )
    return servers


def _credentials(login: str, protocol: str, wrong: list[str]) -> dict[str, str]:
    if not login:
        return {}
    user, colon, password = login.partition(":")
    if not protocol.startswith("sasl_"):
        instead = "kafka+sasl_ssl" if protocol == "ssl" else "kafka+sasl_plaintext"
        wrong.append(f"has a user name, which needs SASL: did you mean {instead}://?")
    if not user:
        wrong.append("has a password but no user name")
    found = {"sasl.username": _decoded(user, wrong)}
    if colon:
        found["sasl.password"] = _decoded(password, wrong)
    return found


def _read_query(query: str, rows: Rows, reading: Reading, wrong: list[str]) -> None:
    values, errors = reading
    tags: dict[str, str] = {}
    seen: set[str] = set()
    for number, pair in enumerate(query.split("&") if query else (), start=1):
        key, equals, text = pair.partition("=")
        # Percent-decoding only: `+` stays, because keys and passwords may hold it.
        name, value = _decoded(key, wrong), _decoded(text, wrong)
        if not equals or not name:
            wrong.append(
                f"query parameter number {number} is not of the form name=value"
            )
        elif name in seen:
            own = name in rows or name.startswith(TAG)
            path = name if own else f"kafka.{name}"
            errors[path] = _TWICE
        elif name.startswith(TAG):
            label = _unquoted(name.removeprefix(TAG))
            if label in tags:
                errors[name] = _TWICE
            tags[label] = _unquoted(value)
        else:
            _read_parameter(name, value, rows, reading)
        seen.add(name)
    if tags:
        join(reading, {"tags": tags}, _TWICE)
    values.setdefault("kafka", {})


def _read_parameter(name: str, value: str, rows: Rows, reading: Reading) -> None:
    """Read an option other than a tag, or a property."""
    if name == "kafka":
        reading[1][name] = "give each librdkafka property by its own name in a URL"
    elif name in rows:
        read_option(rows, name, value, reading)
    elif sentence := _foreign(name):
        reading[1][name] = sentence
    else:
        join(reading, {"kafka": {name: value}}, _TWICE)


def quoted(text: str) -> str:
    """The name or text of a tag as a URL holds it."""
    return text if _unquoted(text) == text else f'"{text}"'


def _unquoted(text: str) -> str:
    """The name or text of a tag: without blanks around it, unless it is in quotes."""
    bare = text.strip()
    in_quotes = len(bare) > 1 and bare[0] == bare[-1] == '"'
    return bare[1:-1] if in_quotes else bare


def _foreign(name: str) -> str:
    """The sentence for a setting of another library; empty for any other name.

    Properties of Java have dots. librdkafka's verdict on them comes with the producer.
    """
    found = foreign_setting(name)
    if found is None or "." in name or name in PROPERTIES:
        return ""
    hint = _ELSEWHERE.get(found.meant, found.sentence)
    return f"names neither an option nor a property of librdkafka; {hint}"


def add_mechanism(kafka: dict[str, Any]) -> None:
    """Add the default mechanism if there is a user name and no mechanism."""
    if is_set(kafka, "sasl.username") and not is_set(kafka, "sasl.mechanism"):
        kafka["sasl.mechanism"] = "PLAIN"


def _decoded(text: str, wrong: list[str]) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        wrong.append("has a percent-encoded part that is not UTF-8")
        return ""
