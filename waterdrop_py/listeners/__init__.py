"""Listeners that pass the library's events to other systems, such as logging.

A listener, and what it depends on, is imported when its name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waterdrop_py.listeners.logging import LoggingListener
    from waterdrop_py.listeners.opentelemetry import OpenTelemetryListener
    from waterdrop_py.listeners.structlog import StructlogListener

__all__ = ["LoggingListener", "OpenTelemetryListener", "StructlogListener"]


def __getattr__(name: str) -> Any:
    if name == "LoggingListener":
        from waterdrop_py.listeners.logging import LoggingListener

        return LoggingListener
    if name == "OpenTelemetryListener":
        from waterdrop_py.listeners.opentelemetry import OpenTelemetryListener

        return OpenTelemetryListener
    if name == "StructlogListener":
        from waterdrop_py.listeners.structlog import StructlogListener

        return StructlogListener
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
