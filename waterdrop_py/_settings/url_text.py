"""Writes options as a URL that `url.py` reads back, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from waterdrop_py._settings import librdkafka
from waterdrop_py._settings.in_force import as_read, properties_in_force, protocol_of
from waterdrop_py._settings.property_kinds import kind_of
from waterdrop_py._settings.redact import may_hold_secret
from waterdrop_py._settings.servers import brokers
from waterdrop_py._settings.url import SCHEMES, TAG, quoted

if TYPE_CHECKING:
    from waterdrop_py._settings.text_sources import Rows

_HIDDEN = "***"
_SAFE = "/:,"
_PROTOCOL = "security.protocol"
_USER, _PASSWORD, _MECHANISM = "sasl.username", "sasl.password", "sasl.mechanism"
_NAMES = {protocol: scheme for scheme, protocol in SCHEMES.items()}


def write_url(options: Mapping[str, Any], rows: Rows) -> str:
    """The URL of the options that differ from their defaults; `***` for secrets."""
    properties = {
        name: value
        for name, value in properties_in_force(options["kafka"]).items()
        if name not in librdkafka.CALLBACKS
    }
    protocol = protocol_of(properties)
    # Reading the URL refuses any other protocol, as a producer would.
    scheme = _NAMES.get(protocol) or f"kafka+{quote(protocol, safe='')}"
    properties.pop(_PROTOCOL, None)
    if _USER in properties:
        # Without it, reading the URL would take PLAIN.
        properties.setdefault(_MECHANISM, "GSSAPI")
    login = _login(properties) if protocol.startswith("sasl_") else ""
    hosts = brokers(properties.get(librdkafka.SERVERS), protocol)
    if hosts:
        del properties[librdkafka.SERVERS]
    query = "&".join([*_properties(properties, rows), *_options(options, rows)])
    servers = ",".join(host.replace("%", "%25") for host in hosts)
    tail = f"/?{query}" if query else "" if hosts else "/"
    return f"{scheme}://{login}{servers}{tail}"


def _login(properties: dict[str, Any]) -> str:
    """User name and password as part of the URL, taken out of the properties."""
    if not str(properties.get(_USER, "")):
        return ""
    text = _quoted(_USER, properties.pop(_USER), safe="")
    if _PASSWORD in properties:
        text += f":{_quoted(_PASSWORD, properties.pop(_PASSWORD), safe='')}"
    return f"{text}@"


def _properties(properties: Mapping[str, Any], rows: Rows) -> Iterator[str]:
    for name, value in properties.items():
        if kind_of(name).known or _is_read_as_property(name, rows):
            yield f"{quote(name, safe='')}={_quoted(name, value)}"


def _is_read_as_property(name: str, rows: Rows) -> bool:
    """Whether a URL can hold a property that librdkafka does not know."""
    return "." in name and name not in rows and not name.startswith(TAG)


def _options(options: Mapping[str, Any], rows: Rows) -> Iterator[str]:
    for name, value in options.items():
        if rows[name].from_text is None:  # the properties, and callables
            continue
        if not isinstance(value, Mapping):
            yield f"{name}={quote(rows[name].to_text(value), safe=_SAFE)}"
            continue
        for label, text in value.items():
            label_there = quote(quoted(label), safe="")
            yield f"{TAG}{label_there}={quote(quoted(text), safe=_SAFE)}"


def _quoted(name: str, value: Any, safe: str = _SAFE) -> str:
    """The value as text for librdkafka, percent-encoded, or `***`."""
    if not kind_of(name).known or may_hold_secret(name, value):
        return _HIDDEN
    return quote(_text(name, value), safe=safe)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower() if kind_of(name).boolean else str(value)
    if not isinstance(value, float):
        return str(value)
    text = str(as_read(name, value))
    if "e" not in text:
        return text
    from decimal import Decimal  # imported for very large and very small numbers only

    return f"{Decimal(text):f}"
