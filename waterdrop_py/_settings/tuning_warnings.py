"""Warns about settings that are legal but will surprise (`TuningWarning`)."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from waterdrop_py._settings.defaults import message_timeout_ms
from waterdrop_py._settings.librdkafka import PROPERTIES
from waterdrop_py._settings.reading import number_of, text_of, word_of
from waterdrop_py._settings.redact import shown, spaced
from waterdrop_py.errors import TuningWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = "waterdrop_py."


def warn_about(kafka: Mapping[str, Any], *, idle: int, wait: int) -> None:
    """Issue a `TuningWarning`, at the caller's line outside the library, for each one.

    `idle` is `idle_disconnect_timeout` and `wait` is `max_wait_timeout`, both in ms.
    """
    for surprise in (
        _idle_surprise(kafka, idle),
        _wait_surprise(kafka, wait),
        _unused_surprise(kafka, "sasl."),
        _unused_surprise(kafka, "ssl."),
    ):
        if surprise:
            warnings.warn(surprise, TuningWarning, stacklevel=_callers_level())


def warn_of_parents_id(transactional_id: str) -> None:
    """Issue a `TuningWarning` in a forked child that uses its parent's id."""
    warnings.warn(
        f"the transactional.id {transactional_id!r} is the one of the parent process: "
        "two processes with one id fence each other, and a fenced producer can send "
        "nothing more; give each process an id of its own",
        TuningWarning,
        stacklevel=_callers_level(),
    )


def warn_of_fixed_ids(pool: str) -> None:
    """Issue a `TuningWarning` in a forked child that uses a pool of its parent's."""
    warnings.warn(
        f"pool {pool!r} has the transactional ids of the parent process: two processes "
        "with one id fence each other; give it a callable that knows the worker, or "
        "build the pool after the fork",
        TuningWarning,
        stacklevel=_callers_level(),
    )


def _idle_surprise(kafka: Mapping[str, Any], idle: int) -> str | None:
    native = number_of(kafka, "connections.max.idle.ms") or 0
    if native <= 0 or not 0 < idle <= native:
        return None
    return (
        f"idle_disconnect_timeout ({spaced(idle)} ms) is not above "
        f"connections.max.idle.ms ({spaced(native)} ms), which is better left unset: "
        "librdkafka alone never reaches zero connections, it keeps closing and "
        "re-opening the last one"
    )


def _wait_surprise(kafka: Mapping[str, Any], wait: int) -> str | None:
    message = message_timeout_ms(kafka)
    if message is None or 0 < message <= wait:
        return None
    bound = f"{spaced(message)} ms" if message else "0, forever"
    return (
        f"message.timeout.ms ({bound}) is above max_wait_timeout ({spaced(wait)} ms): "
        "a sync call would give up before the outcome of its message is known"
    )


def _unused_surprise(kafka: Mapping[str, Any], prefix: str) -> str | None:
    names = [
        name
        for name in kafka
        if name.startswith(prefix) and name in PROPERTIES and text_of(kafka, name)
    ]
    if not names:
        return None
    protocol = word_of(kafka, "security.protocol", "plaintext")
    layer = prefix.removesuffix(".")
    if layer in protocol.split("_"):
        return None
    meant = {"plaintext": layer, "ssl": "sasl_ssl"}.get(protocol, "sasl_ssl")
    if layer == "sasl" and protocol == "plaintext":
        meant = "sasl_plaintext' or 'sasl_ssl"
    return (
        f"{', '.join(sorted(names))} {'is' if len(names) == 1 else 'are'} set and "
        f"not used: security.protocol is {shown(protocol)}; did you mean '{meant}'?"
    )


def _callers_level() -> int:
    """The `stacklevel`, for the caller, of the first frame outside the library."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
