"""Listeners that pass the library's events to other systems, such as logging.

A listener, and what it depends on, is imported when its name is first used. That raises
an `ImportError` with the extra to install where what it depends on is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from waterdrop_py.listeners.datadog import DatadogListener
    from waterdrop_py.listeners.logging import LoggingListener
    from waterdrop_py.listeners.opentelemetry import OpenTelemetryListener
    from waterdrop_py.listeners.prometheus import PrometheusListener
    from waterdrop_py.listeners.structlog import StructlogListener

__all__ = [
    "DatadogListener",
    "LoggingListener",
    "OpenTelemetryListener",
    "PrometheusListener",
    "StructlogListener",
]

_MODULES: Final = {
    "DatadogListener": "datadog",
    "LoggingListener": "logging",
    "OpenTelemetryListener": "opentelemetry",
    "PrometheusListener": "prometheus",
    "StructlogListener": "structlog",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
