"""Formats values for reprs, errors and warnings, and hides secrets.

A value is shown only if its property is known and not a secret, and if the value itself
does not look like a secret. So a password under a misspelt name stays hidden, and so
does a URL with credentials in the wrong place.
"""

from __future__ import annotations

import re
import reprlib
from datetime import timedelta
from enum import Enum

from waterdrop_py._settings import librdkafka

HIDDEN = "[hidden]"
_LONGEST = 60
_LARGEST = 10**18
# `token.endpoint` is a URL, not a token. A `*.pem` may hold a key next to the
# certificate. `sasl.oauthbearer.config` and the kinit command are free text.
_SECRET = re.compile(
    r"pass|secret|token(?!\.endpoint)|credential|private|\.pem$|jaas"
    r"|^sasl\.oauthbearer\.config$|kinit\.cmd$"
)
# The name contains "credential", but its value is not one.
_OPEN = frozenset({"sasl.oauthbearer.client.credentials.client.id"})
_LOOKS_SECRET = re.compile(r"-----|\n|\r|://[^?]*\?")
_HAS_SECRET = re.compile(r"-----BEGIN|[A-Za-z]://[^?]*[?@]")


class SecretText(str):
    """Text that the user marked as a secret (pydantic's `SecretStr`): never shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


def is_secret(name: str) -> bool:
    """Whether the property of this name holds, or may hold, a secret."""
    return name not in _OPEN and _SECRET.search(name) is not None


def may_hold_secret(name: str, value: object) -> bool:
    """Whether a property's value is a secret, or has one: a key, or a URL with a login.

    For text that others read back: `shown` also hides what merely might be one.
    """
    if is_secret(name) or isinstance(value, SecretText):
        return True
    if not isinstance(value, str):
        return False
    has_login = "@" in value and librdkafka.own_name(name) == librdkafka.SERVERS
    return has_login or _HAS_SECRET.search(value) is not None


def shown_property(name: str, value: object) -> str:
    """The value of a librdkafka property for people to read, or `[hidden]`.

    A property that is not known is hidden.
    """
    bare = name.removeprefix("topic.")
    if value is None or isinstance(value, bool):
        return repr(value)
    if callable(value) or bare in librdkafka.CALLBACKS:
        return f"<{type(value).__name__}>"
    if bare not in librdkafka.PROPERTIES or is_secret(bare):
        return HIDDEN
    return shown(value)


def shown(value: object) -> str:
    """A value for people to read: short, and `[hidden]` if it looks like a secret."""
    if isinstance(value, SecretText):
        return HIDDEN
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int | str) and not isinstance(value, Enum):
        return _shown_text(value) if isinstance(value, str) else _shown_int(value)
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    return kind(value)


def _shown_int(number: int) -> str:
    return repr(number) if abs(number) <= _LARGEST else "an int beyond 10**18"


def kind(value: object) -> str:
    """The value's type with its article: `an int`, `a list`."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def short_repr(value: object) -> str:
    """The shortened `repr` of a value in a message; its type if the repr raises."""
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - the user's own repr, or an int that is too long
        return kind(value)


def spaced(number: int) -> str:
    """A number for people to read: `30000` as `30 000`."""
    if abs(number) > _LARGEST:
        return "more than 10**18" if number > 0 else "less than -10**18"
    return f"{number:,}".replace(",", " ")


def _shown_text(text: str) -> str:
    if _LOOKS_SECRET.search(text):
        return HIDDEN
    before, at, after = text.rpartition("@")
    if at:
        text = f"{HIDDEN}@{after}" if before else text
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return repr(text)
