"""Checks what only a producer needs of a valid `Config`: brokers, a login and files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import confluent_kafka

from waterdrop_py._settings.conflicts import (
    missing_login,
    missing_servers,
    unreadable_files,
)
from waterdrop_py._settings.librdkafka_check import check_properties


def producer_errors(
    kafka: Mapping[str, Any], options: Collection[str], *, factory: Any, deliver: bool
) -> dict[str, str]:
    """Why no producer can be made with these properties, by path.

    `options` are the names that hints may suggest. `factory` is `client_factory`. The
    library's own doubles connect to nothing, so they need neither brokers nor files.
    """
    errors = check_properties(kafka, options)
    if _makes_doubles(factory):
        return errors
    if deliver:
        errors = {**missing_servers(kafka), **errors}
    if factory in (None, confluent_kafka.Producer):
        # A client of another class may add the login itself.
        errors = {**missing_login(kafka), **errors}
    return {**errors, **unreadable_files(kafka)}


def _makes_doubles(factory: Any) -> bool:
    """Whether the factory makes the library's own test doubles."""
    made = factory if isinstance(factory, type) else type(factory)
    return getattr(made, "_needs_no_cluster", False) is True
